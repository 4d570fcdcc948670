"""The command line that the next boot gives the kernel, as files say."""

from __future__ import annotations

import re
from typing import Dict, Iterator, Tuple

from nodespec.checks import _boot, _grub, _loaders
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

FILES = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")  # what entries of /boot/loader are made with
FIRMWARE = "/boot/firmware/cmdline.txt"  # of a Raspberry Pi, whose firmware adds to it
DEFAULTS, MORE = "/etc/default/grub", "/etc/default/grub.d"
NAMES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
ADDED = ("BOOT_IMAGE", "initrd")  # by loaders themselves


class Line(NamedTuple):
    """A command line. `whole`: nothing is added to it."""

    text: str
    whole: bool


def next_line(tree: Tree) -> Observation[Line]:
    """The command line of the kernel that the next boot starts."""
    return tree.once(_next)


def _next(tree: Tree) -> Observation[Line]:
    kernel = _boot.at_rest(tree)
    if not isinstance(kernel, Value):
        return kernel
    if kernel.value.offer:
        offer = kernel.value.offer
        return Value(Line(offer.options, whole=True), offer.at)
    for path in (*FILES, FIRMWARE):
        text = tree.text(path, _loaders.LIMIT)
        if isinstance(text, Value):
            line = Line(" ".join(text.value.split()), whole=path != FIRMWARE)
            return Value(line, text.evidence._replace(inferred=True))
        if isinstance(text, Unknown):
            return text
    return _of_defaults(tree)


def _of_defaults(tree: Tree) -> Observation[Line]:
    """What grub-mkconfig would make, which adds where the root is."""
    text = tree.text(DEFAULTS, _loaders.LIMIT)
    if isinstance(text, Absent):
        return Unknown(DEFERRED, "only a running machine can tell: no boot loader's configuration says it")
    names = tree.names(MORE)
    more = names.value if isinstance(names, Value) else ()
    said: Dict[str, str] = {}
    at = Evidence(DEFAULTS, inferred=True)
    for look in (text, *(tree.text(f"{MORE}/{name}", _loaders.LIMIT) for name in more if name.endswith(".cfg"))):
        if not isinstance(look, Value):
            return look
        for line in look.value.split("\n"):
            for name, value in _assigned(line, said):
                at = at._replace(source=look.evidence.source) if name in NAMES else at
                said[name] = value
    return Value(Line(" ".join(filter(None, (said.get(name, "") for name in NAMES))), whole=False), at)


def _assigned(line: str, said: Dict[str, str]) -> Iterator[Tuple[str, str]]:
    """Variables that a line of a shell's assigns, but what a command would have to say."""
    if len(line) > _grub.LONGEST or "`" in line or "$(" in line:
        return
    for words in _grub.statements(line, said):
        for word in words[words[0] == "export" :]:
            name, equals, value = word.partition("=")
            if not re.fullmatch(r"\w+", name) or not equals:
                break
            yield name, value[: _grub.LONGEST]  # or each line could double it

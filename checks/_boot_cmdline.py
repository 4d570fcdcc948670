"""The command line that the next boot gives the kernel, read from files."""

from __future__ import annotations

import re

from nodespec.checks import _boot_next, _kernel_names
from nodespec.checks._boot_offers import MAX_CONFIG_BYTES, Offer
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Tuple

CMDLINE_FILES = (
    "/etc/kernel/cmdline",
    "/usr/lib/kernel/cmdline",
)  # kernel-install copies these to the entries of /boot/loader
FIRMWARE_CMDLINES = (
    "/boot/firmware/cmdline.txt",
    "/boot/cmdline.txt",
)  # of a Raspberry Pi, whose firmware adds parameters
GRUB_DEFAULTS, GRUB_DEFAULTS_FOLDER = "/etc/default/grub", "/etc/default/grub.d"
GRUB_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
LOADER_PARAMETERS = ("BOOT_IMAGE", "initrd")  # boot loaders add these themselves
PROC_CMDLINE = "/proc/cmdline"
MAX_VALUE_CHARS = 8192  # characters; the limit is above that of every kernel


class KernelCommandLine(NamedTuple):
    """A command line.

    `whole`: nothing is added to it. `open`: parameters that may be present, or may have other values.
    """

    text: str
    whole: bool
    open: Tuple[str, ...] = ()


def resolve_cmdline(tree: Tree) -> Observation[KernelCommandLine]:
    """Return the command line of the kernel that the next boot starts."""
    return tree.once(_resolve_cmdline)


def find_open_parameter(tree: Tree, *names: str) -> Optional[Unknown]:
    """Return why parameters of the next boot are unknown, or None.

    The entries that may boot differ in one of these names, or the entry is not known and a file of a boot loader has
    one of them. A `*` at the end of a name matches any continuation.
    """
    if tree.running:
        running = tree.line(PROC_CMDLINE)
        return running if isinstance(running, Unknown) else None
    line = resolve_cmdline(tree)
    if isinstance(line, Unknown) and line.reason != DEFERRED:
        from nodespec.checks import _boot_mentions  # noqa: PLC0415

        return line if _boot_mentions.may_be_set(tree, names) else None
    for parameter in line.value.open if isinstance(line, Value) else ():
        for name in names:
            if parameter == name or (name.endswith("*") and parameter.startswith(name[:-1])):
                say = f"the entries that the next boot may start differ in the kernel parameter {parameter}"
                return Unknown("unsupported", say, "--kernel RELEASE selects an installed kernel")
    return None


def _resolve_cmdline(tree: Tree) -> Observation[KernelCommandLine]:
    offers = _boot_next.find_next_offers(tree)
    if isinstance(offers, Unknown):
        return offers
    if isinstance(offers, Value):
        at = offers.value[0].at._replace(inferred=offers.evidence.inferred)
        return Value(_intersect_cmdlines(offers.value), at)
    for path in (*CMDLINE_FILES, *FIRMWARE_CMDLINES):
        text = tree.text(path, MAX_CONFIG_BYTES)
        if isinstance(text, Value):
            line = KernelCommandLine(" ".join(text.value.split()), whole=path not in FIRMWARE_CMDLINES)
            return Value(line, text.evidence._replace(inferred=True))
        if isinstance(text, Unknown):
            return text
    return _infer_from_grub_defaults(tree)


def _intersect_cmdlines(offers: Tuple[Offer, ...]) -> KernelCommandLine:
    """Return what the command lines of all possible entries have in common."""
    lines = [line for offer in offers for line in offer.lines]
    is_whole = all(offer.whole for offer in offers)
    if len(set(lines)) == 1:
        return KernelCommandLine(lines[0], is_whole)
    words = [_split_cmdline(line) for line in lines]
    text = " ".join(word for word in words[0] if all(word in other for other in words[1:]))
    parameters = [set(_kernel_names.parse_cmdline(line)) for line in lines]
    common = parameters[0].intersection(*parameters)
    return KernelCommandLine(
        text, is_whole, tuple(sorted({name for name, _ in parameters[0].union(*parameters) - common}))
    )


def _split_cmdline(line: str) -> List[str]:
    return re.findall(r'(?:[^\s"]|"[^"]*"?)+', line)


def _infer_from_grub_defaults(tree: Tree) -> Observation[KernelCommandLine]:
    """Infer what grub-mkconfig would write from its defaults; it also adds the root."""
    text = tree.text(GRUB_DEFAULTS, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        nowhere = Unknown(DEFERRED, "only a running machine can tell: no boot loader configuration has a command line")
        return text if isinstance(text, Unknown) else nowhere
    names = tree.names(GRUB_DEFAULTS_FOLDER)
    more = names.value if isinstance(names, Value) else ()
    variables: Dict[str, str] = {}
    at = Evidence(GRUB_DEFAULTS, inferred=True)
    for file in (
        text,
        *(tree.text(f"{GRUB_DEFAULTS_FOLDER}/{name}", MAX_CONFIG_BYTES) for name in more if name.endswith(".cfg")),
    ):
        if not isinstance(file, Value):
            return file
        for line in file.value.split("\n"):
            for name, value in _parse_shell_assignments(line, variables):
                at = at._replace(source=file.evidence.source) if name in GRUB_VARIABLES else at
                variables[name] = value
    return Value(
        KernelCommandLine(" ".join(filter(None, (variables.get(name, "") for name in GRUB_VARIABLES))), whole=False), at
    )


def _parse_shell_assignments(line: str, variables: Dict[str, str]) -> Iterator[Tuple[str, str]]:
    """Yield the variables that a shell line assigns; skip command substitutions."""
    if len(line) > MAX_VALUE_CHARS or "`" in line or "$(" in line:
        return
    from nodespec.formats.grub_syntax import GrubCommand, parse_script  # noqa: PLC0415

    try:
        commands = parse_script(line)
    except ValueError:
        return
    for command in commands:
        words = command.words if isinstance(command, GrubCommand) else ()
        texts = ["".join(variables.get(p.text, "") if p.variable else p.text for p in word) for word in words]
        for word in texts[texts[:1] == ["export"] :]:
            name, equals, value = word.partition("=")
            if not re.fullmatch(r"\w+", name) or not equals:
                break
            yield name, value[:MAX_VALUE_CHARS]  # Without the limit each line could double the value.

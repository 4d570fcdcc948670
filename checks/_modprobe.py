"""Reader of modprobe.d: aliases, blacklists, install commands, soft dependencies.

It follows kmod and modprobe.d(5). kmod skips hidden files and folders, sorts files by name, and reads the first file of
a name. It joins a line that ends with a backslash to the next one without a blank.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_names, _kernel_version
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple, Union

NULL, CMDLINE = "/dev/null", "/proc/cmdline"
SOFTDEP = "modules.softdep"  # depmod writes it to the module tree; kmod sorts it with the files by name
VERBS = ("alias", "blacklist", "install", "softdep")


class ModprobeLine(NamedTuple):
    """A line `install NAME REST`.

    `name` may have wildcards, and has `_` in place of `-`. `file` is the base name of the file.
    """

    verb: str
    name: str
    rest: str
    evidence: Evidence
    file: str = ""


class ModprobeConfig(NamedTuple):
    """The lines of all files by verb, in the order of kmod.

    Of a blacklist only the names are kept.
    """

    aliases: Tuple[ModprobeLine, ...] = ()
    installs: Tuple[ModprobeLine, ...] = ()
    softdeps: Tuple[ModprobeLine, ...] = ()
    blacklist: Mapping[str, Evidence] = {}

    def find_aliases(self, name: str) -> Tuple[ModprobeLine, ...]:
        """Return the aliases that a name matches; kmod tries them first."""
        return tuple(line for line in self.aliases if matches_pattern(name, line.name))

    def find_install(self, name: str) -> Optional[ModprobeLine]:
        """Return the first install command that matches a module."""
        return next((line for line in self.installs if matches_pattern(name, line.name)), None)


def read_modprobe_config(tree: Tree) -> Union[ModprobeConfig, Unknown]:
    """Return the whole configuration; unknown if a file that may matter is unreadable."""
    return tree.once(_read_modprobe_config)


def _read_modprobe_config(tree: Tree) -> Union[ModprobeConfig, Unknown]:
    files = _list_config_files(tree)
    if isinstance(files, Unknown):
        return files
    unknown = None if tree.running else _find_open_blacklist(tree)
    if unknown:
        return unknown
    lines: List[ModprobeLine] = []
    for name in sorted(files):
        text = Value("", Evidence(files[name])) if _is_null(tree, files[name]) else tree.text(files[name])
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value):
            lines += parse_modprobe(text.value, text.evidence)
    return _group_by_verb([*lines, *_parse_cmdline_blacklist(tree)])


def _find_open_blacklist(tree: Tree) -> Optional[Unknown]:
    from nodespec.checks import _boot_cmdline  # noqa: PLC0415

    return _boot_cmdline.find_open_parameter(tree, "modprobe.blacklist")


def _group_by_verb(lines: List[ModprobeLine]) -> ModprobeConfig:
    by_verb: Dict[str, List[ModprobeLine]] = {verb: [] for verb in VERBS}
    for line in lines:
        by_verb[line.verb].append(line)
    alias, blacklist, install, softdep = (tuple(by_verb[verb]) for verb in VERBS)
    return ModprobeConfig(alias, install, softdep, {line.name: line.evidence for line in reversed(blacklist)})


def _parse_cmdline_blacklist(tree: Tree) -> Iterator[ModprobeLine]:
    """Parse `modprobe.blacklist=nouveau,floppy`, which counts like lines of a file."""
    if tree.running:
        line = tree.line(CMDLINE)
    else:
        from nodespec.checks import _boot_cmdline  # noqa: PLC0415

        line = _boot_cmdline.resolve_cmdline(tree).then(lambda line: line.text)
    if not isinstance(line, Value):
        return
    for key, names in _kernel_names.parse_cmdline(line.value):
        if key == "modprobe.blacklist":
            yield from (
                ModprobeLine("blacklist", _kernel_names.normalize_name(name), "", line.evidence)
                for name in names.split(",")
                if name
            )


def _list_config_files(tree: Tree) -> Union[Mapping[str, str], Unknown]:
    """Return the files in force, by name."""
    files: Dict[str, str] = {}
    dangling: Dict[str, str] = {}
    for folder in _kernel_version.MODPROBE_FOLDERS:
        listed = tree.names(folder) if tree.running or not folder.startswith("/run/") else Absent(Evidence(folder))
        if isinstance(listed, Unknown):
            return listed
        for name in listed.value if isinstance(listed, Value) else ():
            path = f"{folder}/{name}"
            if name in files or name.startswith(".") or not name.endswith(".conf"):
                continue
            counts = _is_config_file(tree, path)
            if isinstance(counts, Unknown):
                return counts
            if counts and name in dangling:
                message = f"{dangling[name]} is a broken link, and the version of kmod decides whether it hides {path}"
                return Unknown("unsupported", message, f"remove it, or link it to {NULL}")
            if counts:
                files[name] = path
            elif isinstance(tree.link(path), Value):
                dangling.setdefault(name, path)
    return files


def _is_config_file(tree: Tree, path: str) -> Union[bool, Unknown]:
    entry = tree.entry(path)
    if isinstance(entry, Unknown):
        return entry
    return _is_null(tree, path) or (isinstance(entry, Value) and entry.value.kind != "directory")


def _is_null(tree: Tree, path: str) -> bool:
    """Return whether a file links to /dev/null, which an offline image may lack."""
    target = tree.link(path)
    return isinstance(target, Value) and target.value == NULL


def parse_modprobe(text: str, at: Evidence) -> Iterator[ModprobeLine]:
    """Parse the lines of a file, such as `install floppy /bin/false`.

    kmod ignores invalid lines.
    """
    for number, line in join_modprobe_lines(text):
        words = re.match(r"[\t ]*([^\t ]+)[\t ]+([^\t ]+)(?:[\t ](.*))?", line, re.DOTALL)
        if not words or line[0] == "#" or words[1] not in VERBS:
            continue
        verb, name, arguments = words[1], words[2], words[3] or ""
        if verb == "alias":
            arguments = (*re.findall("[^\t ]+", arguments), "")[0]
        try:
            name, arguments = replace_dashes(name), replace_dashes(arguments) if verb == "alias" else arguments
        except ValueError:
            continue
        if arguments or verb == "blacklist":
            yield ModprobeLine(verb, name, arguments, at._replace(line=number), at.source.rpartition("/")[2])


def join_modprobe_lines(text: str) -> Iterator[Tuple[int, str]]:
    r"""Yield lines joined at backslashes, with the number of their first line.

    `\x` is x, and a NUL ends a line.
    """
    number, following, line = 1, 1, ""
    for piece in re.findall(r"\\\n|\\.|\n|[^\\\n]+", text + "\n", re.DOTALL):
        following += piece[-1] == "\n"
        if piece == "\n":
            if line.partition("\0")[0]:
                yield number, line.partition("\0")[0]
            number, line = following, ""
        elif piece != "\\\n":
            line += piece[piece[0] == "\\" :]


def replace_dashes(name: str) -> str:
    """Replace `-` by `_` outside brackets; ValueError for an unbalanced bracket.

    kmod compares names and patterns in this form.
    """
    parts = re.fullmatch(r"(?:[^\[\]]|\[[^\]]*\])*", name)
    if not parts:
        raise ValueError(f"`{name[:80]}` has an unbalanced bracket")
    return re.sub(r"\[[^\]]*\]|-", lambda part: "_" if part[0] == "-" else part[0], name)


def find_softdeps(tree: Tree, name: str) -> Union[Tuple[Tuple[str, ...], Tuple[str, ...]], Unknown]:
    """Return the soft dependencies of a module: only the first matching line counts.

    kmod loads them before and after the module if it can.
    """
    lines = tree.once(_read_softdeps)
    if isinstance(lines, Unknown):
        return lines
    line = next((line for line in lines if matches_pattern(name, line.name)), None)
    return _parse_softdep(line.rest) if line else ((), ())


def _read_softdeps(tree: Tree) -> Union[Tuple[ModprobeLine, ...], Unknown]:
    config, folder = read_modprobe_config(tree), _kernel_version.find_module_tree(tree)
    if isinstance(config, Unknown):
        return config
    text = tree.text(f"{folder.value}/{SOFTDEP}") if isinstance(folder, Value) else Absent(Evidence(SOFTDEP))
    if isinstance(text, Unknown):
        return text
    listed = list(parse_modprobe(text.value, text.evidence)) if isinstance(text, Value) else []
    module_lines = (line for line in listed if line.verb == "softdep")
    # The sort is stable and keeps the order within each file.
    return tuple(sorted((*config.softdeps, *module_lines), key=lambda line: line.file))


def _parse_softdep(arguments: str) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Parse `pre: a b post: c` to (a, b) and (c,)."""
    names: Dict[str, List[str]] = {"": [], "pre:": [], "post:": []}
    mode = ""
    for word in arguments.split():
        if word in ("pre:", "post:"):
            mode = word
        else:
            names[mode].append(word)
    return tuple(names["pre:"]), tuple(names["post:"])


def matches_pattern(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern, as in fnmatch(3)."""
    if not set("*?[") & set(pattern):
        return name == pattern
    from fnmatch import fnmatchcase  # noqa: PLC0415

    return fnmatchcase(name, pattern.replace("[^", "[!"))

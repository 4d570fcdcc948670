"""Command line of a systemd service: ExecStart, drop-ins, quotes and variables.

https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines
"""

from __future__ import annotations

import re
from os.path import basename

from nodespec.checks import _init_system, _systemd_units
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Sequence, Tuple

    from nodespec.checks._systemd_syntax import UnitLine
    from nodespec.host.tree import Tree

UNRESOLVED = "\0"  # a placeholder in a word for text that cannot be resolved
EXEC_START_HINT = "run `systemctl show -p ExecStart` on the running machine"
_WORD = r"""(?s)(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+"""
_PIECE = r"""(?s)\\(.)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^"'\\]+)"""
_VARIABLE = r"(?a)\$\$|\$\{(\w+)\}"
_ASSIGNMENT = r"(?a)[A-Za-z_]\w*="


class CommandLine(NamedTuple):
    """The words of a command line, the program first, and its source line."""

    words: Tuple[str, ...]
    at: Evidence

    def option(self, *names: str) -> Optional[str]:
        """Return the last value of an option, `--name VALUE` or `--name=VALUE`."""
        values = self.options(*names)
        return values[-1] if values else None

    def options(self, *names: str) -> List[str]:
        """Return the values of an option in order."""
        values = []
        for number, word in enumerate(self.words):
            name, equals, value = word.partition("=")
            if number and name in names:
                values.append(value if equals else "".join(self.words[number + 1 : number + 2]))
        return values


def read_service_command(tree: Tree, unit: str, program: str) -> Observation[CommandLine]:
    """Return the command line with which a service starts a program.

    Absent if systemd is not the init system, or has no such unit. Unknown if the unit starts another program, or its
    words cannot be resolved.
    """
    readings = read_service_lines(tree, unit)
    if not isinstance(readings, Value):
        return readings
    lines = list_effective_lines(readings.value, "ExecStart")
    if not lines:
        return Absent(readings.evidence, f"{unit} has no ExecStart")
    if len(lines) > 1:
        message = f"{readings.evidence} has {len(lines)} ExecStart lines; one is expected"
        return Unknown("unsupported", message, EXEC_START_HINT)
    words = tuple(_expand_words(tree, lines[0].value, readings.value))
    return _require_program(words, lines[0], program)


def read_service_variables(tree: Tree, unit: str) -> Observation[Dict[str, str]]:
    """Return the environment variables that a service sets.

    If a file is not known, the key "" stands for all other names.
    """
    readings = read_service_lines(tree, unit)
    if not isinstance(readings, Value):
        return readings
    return Value(_read_unit_variables(tree, readings.value), readings.evidence)


def read_service_lines(tree: Tree, unit: str) -> Observation[Sequence[UnitLine]]:
    """Return the lines of a service and its drop-ins.

    Absent if systemd is not the init system, or has no such unit.
    """
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Absent) or (isinstance(system, Value) and system.value != "systemd"):
        return Absent(Evidence(_systemd_units.UNIT_PATH), f"systemd does not start {unit}")
    file = _systemd_units.find_unit_file(tree, unit)
    if not isinstance(file, Value):
        return file
    return system if isinstance(system, Unknown) else _load_service_lines(tree, unit)


def _load_service_lines(tree: Tree, unit: str) -> Observation[Sequence[UnitLine]]:
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    units = _systemd_at_boot.load_unit_files(tree)[0]
    fragment = units.find_fragment(unit)
    if fragment.state != "loaded":
        return Absent(Evidence(fragment.path or _systemd_units.UNIT_PATH), f"{unit} is {fragment.state}")
    readings = units.read_lines(fragment, units.list_unit_names(unit, fragment))
    if units.unread or readings is None:
        return units.unread or Unknown("malformed", f"{fragment.path} cannot be parsed", "correct the file")
    return Value(readings, Evidence(fragment.path))


def _require_program(words: Tuple[str, ...], line: UnitLine, program: str) -> Observation[CommandLine]:
    """Return the words if they start the program and all are known."""
    if words and basename(words[0]) == "env":
        words = tuple(_strip_env(words[1:]))
    if not words or basename(words[0]) != program:
        return Unknown(
            "unsupported", f"{line.at}: `{line.value[:80]}` does not start {program} itself", EXEC_START_HINT
        )
    if UNRESOLVED in "".join(words):
        return Unknown("unsupported", f"{line.at}: `{line.value[:200]}` cannot be resolved", EXEC_START_HINT)
    return Value(CommandLine(words, line.at), line.at)


def list_effective_lines(readings: Sequence[UnitLine], name: str) -> List[UnitLine]:
    """Return the lines of [Service] in force: an empty value resets earlier ones."""
    lines: List[UnitLine] = []
    for reading in readings:
        if (reading.section, reading.name) == ("Service", name):
            lines = [*lines, reading] if reading.value else []
    return lines


def _strip_env(words: Sequence[str]) -> Sequence[str]:
    """Return the command after `env NAME=VALUE ...`."""
    remaining = list(words)
    while remaining and re.match(_ASSIGNMENT, remaining[0]):
        remaining.pop(0)
    return remaining


def _expand_words(tree: Tree, text: str, readings: Sequence[UnitLine]) -> Iterator[str]:
    """Yield the words with variables expanded.

    A variable that is a whole word may expand to several words or none.
    """
    prefix = re.match(r"[@:+!|-]*", text)
    signs = prefix[0] if prefix else ""
    words = list(split_words(text[len(signs) :].strip()))
    if "@" in signs:
        del words[1:2]
    variables = _read_unit_variables(tree, readings) if "$" in text and ":" not in signs else None
    for word in words:
        alone = re.fullmatch(r"\$(\w+)", word, re.ASCII)
        if variables is None:
            yield word
        elif alone:
            yield from split_words(_get_variable(alone[1], variables), specifiers=False)
        else:
            yield _substitute_variables(word, variables)


def _substitute_variables(word: str, variables: Dict[str, str]) -> str:
    return re.sub(_VARIABLE, lambda match: "$" if match[0] == "$$" else _get_variable(match[1], variables), word)


def _get_variable(name: str, variables: Dict[str, str]) -> str:
    """Return the value of a variable; empty if nothing sets it."""
    return variables.get(name, variables.get("", ""))


def _read_unit_variables(tree: Tree, readings: Sequence[UnitLine]) -> Dict[str, str]:
    """Return the variables of Environment= and EnvironmentFile=.

    If a file is not known, the key "" stands for all other names.
    """
    variables: Dict[str, str] = {}
    for reading in list_effective_lines(readings, "Environment"):
        for word in split_words(reading.value):
            name, equals, value = word.partition("=")
            if equals:
                variables[name] = value
    for reading in list_effective_lines(readings, "EnvironmentFile"):
        path = reading.value.lstrip("-")
        text = tree.text(path, _systemd_units.MAX_TEXT_BYTES) if path.startswith("/") else None
        if any(sign in path for sign in "%*?[") or text is None or isinstance(text, Unknown):
            return {"": UNRESOLVED}
        variables.update(_parse_environment_file(text.value) if isinstance(text, Value) else {})
    for reading in list_effective_lines(readings, "PassEnvironment"):
        variables.update(dict.fromkeys(reading.value.split(), UNRESOLVED))
    return variables


def _parse_environment_file(text: str) -> Dict[str, str]:
    """Parse an environment file: `NAME="a value"` is a shell word."""
    variables = {}
    for _, line in _systemd_units.list_content_lines(text):
        name, equals, value = line.partition("=")
        if equals:
            words = list(split_words(value.strip(), specifiers=False))
            variables[name.strip()] = words[0] if len(words) == 1 else value.strip() if words else ""
    return variables


def split_words(text: str, *, specifiers: bool = True) -> Iterator[str]:
    r"""Split words and remove quotes: `--a "b c" \d` is `--a`, `b c`, `d`."""
    for match in re.finditer(_WORD, text):
        word = ""
        for escaped, double, single, plain in re.findall(_PIECE, match[0]):
            word += plain or escaped or re.sub(r"\\(.)", r"\1", double or single)
        yield re.sub("%(.)", lambda specifier: "%" if specifier[1] == "%" else UNRESOLVED, word) if specifiers else word

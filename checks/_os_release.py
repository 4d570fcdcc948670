"""Reader of os-release(5), the file in which a distribution identifies itself."""

from __future__ import annotations

import re

from nodespec.host.tree import CHUNK_BYTES, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Mapping

FILES = ("/etc/os-release", "/usr/lib/os-release")


class OsReleaseLine(NamedTuple):
    """A line of os-release: its number, and the raw value with its quotes."""

    line: int
    written: str


def read_field_or_default(tree: Tree, name: str, default: str) -> Observation[str]:
    """Return a field, or its default if the file exists without it."""
    value, assignments = read_field(tree, name), tree.once(read_os_release)
    if isinstance(value, Absent) and isinstance(assignments, Value):
        return Value(default, assignments.evidence._replace(inferred=True))
    return value


def read_field(tree: Tree, name: str) -> Observation[str]:
    """Return a field; an empty one is absent."""
    assignments = tree.once(read_os_release)
    if not isinstance(assignments, Value):
        return assignments
    line, written = assignments.value.get(name, OsReleaseLine(0, ""))
    value = Value(written, assignments.evidence._replace(line=line)).then(_parse_shell_word)
    return Absent(assignments.evidence) if isinstance(value, Value) and not value.value else value


def read_os_release(tree: Tree) -> Observation[Mapping[str, OsReleaseLine]]:
    """Return the fields of os-release.

    The second file counts only if the first does not exist. If neither exists, the result is unknown.
    """
    read = tree.text(FILES[0], CHUNK_BYTES)
    if isinstance(read, Absent):
        read = tree.text(FILES[1], CHUNK_BYTES)
    if isinstance(read, Absent):
        message = f"neither {FILES[0]} nor {FILES[1]} found"
        return Unknown("not found", message, "install the package that has os-release")
    return read.then(_parse_os_release)


def _parse_os_release(text: str) -> Mapping[str, OsReleaseLine]:
    """Parse assignments by name; ValueError if the text has none.

    If a name is assigned twice, the later value counts, as in a shell.
    """
    lines = ((number, re.match(r"\s*([A-Za-z_]\w*)=(.*)", row)) for number, row in enumerate(text.split("\n"), 1))
    assignments = {match[1]: OsReleaseLine(number, match[2]) for number, match in lines if match}
    if not assignments and re.search(r"^\s*[^#\s]", text, re.MULTILINE):
        raise ValueError("no assignment found; expected lines such as ID=debian")
    return assignments


# Compiled for the first value that is more than one word, or one text in double quotes.
_PIECE = r'"(?P<double>(?:[^"\\]|\\.)*)"|\'(?P<single>[^\']*)\'|\\(?P<escaped>.)|(?P<plain>[^\s"\'\\]+)'


def _parse_shell_word(written: str) -> str:
    """Parse a value as a shell word without expansions; blanks in it are folded."""
    if written.isalnum():
        return written
    if len(written) > 1 and written[0] == written[-1] == '"' and '"' not in written[1:-1] and "\\" not in written:
        return " ".join(written[1:-1].split())
    word, offset, pattern = "", 0, re.compile(_PIECE)
    while offset < len(written) and not written[offset].isspace():
        piece = pattern.match(written, offset)
        if not piece:
            raise ValueError("a quote is not closed")
        double = re.sub(r'\\(["$`\\])', r"\1", piece["double"] or "")
        word += double or piece["single"] or piece["escaped"] or piece["plain"] or ""
        offset = piece.end()
    # A shell runs the rest as a command; systemd takes it as text.
    if written[offset:].strip() and not re.match(r"\s+#", written[offset:]):
        raise ValueError("contains a blank outside of quotes")
    return " ".join(word.split())

"""The content of files: lines by pattern, values by pointer, entries of a directory by glob, and digests."""

from __future__ import annotations

import re
import warnings

from nodespec.formats.data_tree import DataNode, UnsupportedSyntaxError, find_node, parse_pointer
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Tuple, Union

    from nodespec.facts.value_types import Datum
    from nodespec.host.tree import Entry, Tree

MAX_LINE_CHARS = 4096  # Characters of a line that is matched.
MAX_PATTERN_CHARS = 1000  # Characters of a pattern.
FOUND = "there"  # The value of a line that matches.
MAX_LIST = 1000  # Values of a list in a file.


def compile_line_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the pattern of a line. Raises ValueError if it is not valid."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"the pattern has {len(pattern)} characters; the maximum is {MAX_PATTERN_CHARS}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"`{pattern}` is not a valid regular expression: {error}") from None


def check_pointer(pointer: str) -> object:
    """Raise ValueError if a text is not a pointer."""
    return parse_pointer(pointer)


def check_glob(glob: str) -> object:
    """Raise ValueError if a text is not a glob of names in one directory."""
    if "/" in glob or not re.search(r"[*?\[]", glob):
        raise ValueError(f"`{glob}` is not a glob of the names in a directory; for one file, name its path")
    return glob


class FileContent:
    """The content of one file, read and parsed once."""

    def __init__(self, tree: Tree, path: str, entry: Entry) -> None:
        self.tree, self.path, self.entry = tree, path, entry
        self._lines: Union[Observation[Tuple[str, ...]], None] = None
        self._parsed: Dict[str, Observation[DataNode]] = {}

    def ask(self, question: str, argument: str) -> Observation[Datum]:
        """Answer a question: `lines`, `entries`, or the name of a format."""
        if question == "entries":
            return list_matching_entries(self.tree, self.path, self.entry, argument)
        if self.entry.kind != "file":
            return Absent(Evidence(self.path), f"a {self.entry.kind} has no content")
        return self._find_line(argument) if question == "lines" else self._find_value(question, argument)

    def _find_line(self, argument: str) -> Observation[Datum]:
        if self._lines is None:
            self._lines = self.tree.text(self.path).then(lambda text: tuple(line.strip() for line in text.split("\n")))
        lines = self._lines
        if not isinstance(lines, Value):
            return lines
        pattern, long_line = compile_line_pattern(argument), 0
        for number, line in enumerate(lines.value, 1):
            if len(line) > MAX_LINE_CHARS:
                long_line = long_line or number
            elif (line or number < len(lines.value)) and pattern.fullmatch(line):
                return Value(FOUND, Evidence(self.path, number))
        if long_line:
            say = f"{self.path}:{long_line}: a line has more than {MAX_LINE_CHARS} characters, and is not matched"
            return Unknown("unsupported", say)
        return Absent(Evidence(self.path), "no line matches")

    def _find_value(self, kind: str, pointer: str) -> Observation[Datum]:
        root = self._parsed.get(kind)
        if root is None:
            root = self._parsed[kind] = self._parse(kind)
        if not isinstance(root, Value):
            return root
        node = find_node(root.value, pointer)
        if node is None:
            return Absent(Evidence(self.path), f"{pointer} is not set")
        return _observe_node(node, self.path)

    def _parse(self, kind: str) -> Observation[DataNode]:
        from nodespec.formats import structured  # noqa: PLC0415 - only needed if a spec asks for content

        text = self.tree.text(self.path, structured.MAX_TEXT_BYTES)
        if not isinstance(text, Value):
            return text
        try:
            return Value(structured.parse_structured(kind, text.value), text.evidence)
        except UnsupportedSyntaxError as error:
            return Unknown("unsupported", f"{self.path}: {error}")
        except (ValueError, RecursionError) as error:
            return Unknown("malformed", f"{self.path}: {error}")


def _observe_node(node: DataNode, path: str) -> Observation[Datum]:
    """Return the value of a node: a text, or the texts of a list."""
    if node.problem:
        return Unknown("unsupported", f"{path}: {node.problem}")
    at = Evidence(path, node.line)
    if isinstance(node.value, str):
        value, *others = (" ".join(text.split()) for text in (node.value, *node.others))
        return Value(value, at, tuple(dict.fromkeys(other for other in others if other != value)))
    if isinstance(node.value, dict):
        return Value("{...}" if node.value else "{}", at)
    if len(node.value) > MAX_LIST:
        return Unknown("unsupported", f"{at}: a list of more than {MAX_LIST} values")
    members = [_observe_node(item, path) for item in node.value]
    if any(not isinstance(member, Value) or member.others for member in members):
        return Unknown("unsupported", f"{at}: the list has a value that programs read differently", "name its index")
    return Value(frozenset(_flatten(member) for member in members), at)


def _flatten(member: Observation[Datum]) -> str:
    value = member.value if isinstance(member, Value) else ""
    return "[...]" if isinstance(value, frozenset) else str(value)


def list_matching_entries(tree: Tree, path: str, entry: Entry, glob: str = "*") -> Observation[FrozenSet[str]]:
    """Return the names in a directory that match a glob; absent if none does. `*` and `?` match a leading dot too."""
    if entry.kind != "directory":
        return Absent(Evidence(path), f"a {entry.kind} has no entries")
    names = tree.names(path)
    if not isinstance(names, Value) or glob == "*":
        return names.then(frozenset)
    from fnmatch import fnmatchcase  # noqa: PLC0415 - only needed for a glob

    matching = frozenset(name for name in names.value if fnmatchcase(name, glob))
    return Value(matching, names.evidence) if matching else Absent(names.evidence, "no entry matches")


def compute_digest(tree: Tree, path: str, entry: Entry) -> Observation[str]:
    """Return the SHA-256 of a file, as `sha256:` and hexadecimal digits."""
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, and is only needed for a digest

    if entry.kind != "file":
        return Absent(Evidence(path), f"a {entry.kind} has no content")
    return tree.read(path).then(lambda data: f"sha256:{sha256(data).hexdigest()}")

"""Mutation points: draw a stable sample from the sources, and write all its mutants into one copy of them.

A mutant is a small change of one expression. The sample is drawn by a hash of the change and its statement, with the
identifiers numbered. A renamed identifier, a moved function or an edit elsewhere thus redraws little. The copy holds
every mutant of the sample (mutant schemata, Untch et al. 1993): each point becomes a conditional expression, and the
environment variable NODESPEC_MUTANT, or `sys.mutant` within a process, selects the mutant that takes effect.
"""

from __future__ import annotations

import ast
import hashlib
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20261128
FOLDERS = ("nodespec/judge", "nodespec/model", "nodespec/facts", "nodespec/host", "nodespec/author/spec", "checks")
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
# No point is in these: a mutant of an annotation, a decorator or a type argument changes nothing that runs, or it is
# evaluated at import; the texts of messages and what is raised are not compared word by word.
IGNORED_FIELDS = ("annotation", "returns", "decorator_list")
IGNORED_NODES = (ast.Raise, ast.JoinedStr)
SWITCH = """
def _mutant(number, os=__import__("os"), sys=__import__("sys")):
    selected = sys.__dict__.get("mutant")
    if selected is None:
        selected = sys.mutant = int(os.environ.get("NODESPEC_MUTANT", "-1"))
        sys.reached = set()
    if number not in sys.reached:
        sys.reached.add(number)
        log = os.environ.get("NODESPEC_MUTANT_LOG")
        if log:
            try:
                file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                os.write(file, ("%d %s\\n" % (number, os.environ.get("PYTEST_CURRENT_TEST", ""))).encode())
                os.close(file)
            except OSError:
                pass
    return number == selected

"""
Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Point(NamedTuple):
    """One change: its file, function and kind; the text that it replaces, and which of several equal ones; by what.

    `start` and `end` are offsets in bytes. `shape` is the statement with numbered identifiers, `context` the
    digest of the function in the same way. By the digest `key` the point is drawn.
    """

    file: str
    function: str
    kind: str
    text: str
    ordinal: int
    start: int
    end: int
    instead: str
    shape: str
    context: str
    key: str = ""

    @property
    def name(self) -> str:
        """The key in the list of survivors."""
        return f"{self.file} {self.function} {self.kind} `{' '.join(self.text.split())}` {self.ordinal}"


def draw_points(top: Path) -> List[Point]:
    """Return all points of the sources in the order in which the seed draws them."""
    files = sorted(file for folder in FOLDERS for file in (top / folder).glob("*.py") if file.name != "__init__.py")
    points = [point for file in files for point in find_points(file, top)]
    seen: Dict[str, int] = {}
    drawn = []
    for point in sorted(points, key=lambda point: (point.context, point.start, point.kind)):
        place = f"{SEED} {point.file.rpartition('/')[0]} {point.kind} {point.shape}"
        seen[place] = seen.get(place, -1) + 1
        drawn.append(point._replace(key=hashlib.sha256(f"{place} {seen[place]}".encode()).hexdigest()))
    return sorted(drawn, key=lambda point: point.key)


def find_points(file: Path, top: Path) -> Iterator[Point]:
    """Yield every point of a module in the order of its source."""
    source = file.read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    seen: Dict[Tuple[str, str, str], int] = {}
    for name, function in _functions(ast.parse(source)):
        context = hashlib.sha256(_shape(function, {}, whole=True).encode()).hexdigest()
        for statement in _statements(function.body):
            outline = _shape(statement, {})
            for number, (node, kind, instead) in enumerate(_changes(statement)):
                start = lines[node.lineno - 1] + node.col_offset
                end = lines[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
                text = source[start:end].decode()
                ordinal = seen[name, kind, text] = seen.get((name, kind, text), -1) + 1
                path = file.relative_to(top).as_posix()
                yield Point(path, name, kind, text, ordinal, start, end, instead, f"{number} {outline}", context)


def _functions(tree: ast.Module) -> Iterator[Tuple[str, Function]]:
    for node in tree.body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield (f"{node.name}." if isinstance(node, ast.ClassDef) else "") + inner.name, inner


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body and those inside them."""
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        yield statement
        for part in ast.iter_child_nodes(statement):
            if isinstance(part, ast.stmt):
                yield from _statements([part])
            elif isinstance(part, (ast.ExceptHandler, ast.match_case)):
                yield from _statements(part.body)


def _own_parts(statement: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of a node that are not statements of their own."""
    for field, value in ast.iter_fields(statement):
        if field not in IGNORED_FIELDS:
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, ast.AST) and not isinstance(part, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                    yield part


def _changes(node: ast.AST) -> Iterator[Tuple[ast.expr, str, str]]:
    """Yield the changes of a statement without those inside it: the replaced expression, the kind, and the new text."""
    yield from _changes_of(node)
    if not isinstance(node, IGNORED_NODES):
        for part in _own_parts(node):
            yield from _changes(part)


def _changes_of(node: ast.AST) -> Iterator[Tuple[ast.expr, str, str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield node, "comparison", f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
    elif isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "boolean", f"({word.join(f'({ast.unparse(value)})' for value in node.values)})"
        yield node, "dropped", f"({ast.unparse(node.values[0])})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "not", f"bool({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, "constant", str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node, "number", f"({node.value} + 1)"
        yield node, "number less", f"({node.value} - 1)"
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield node.value, "returned", "None"
    elif isinstance(node, (ast.If, ast.IfExp)):
        yield node.test, "branch never", f"(({ast.unparse(node.test)}) and False)"
        yield node.test, "branch always", f"(({ast.unparse(node.test)}) or True)"


def _shape(node: ast.AST, names: Dict[str, str], *, whole: bool = False) -> str:
    """Return a statement, without those inside it unless `whole`, as text with numbered identifiers."""
    texts = []
    for field, value in ast.iter_fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                inside = isinstance(part, (ast.stmt, ast.ExceptHandler, ast.match_case))
                if field not in IGNORED_FIELDS and (whole or not inside):
                    texts.append(_shape(part, names, whole=whole))
            elif isinstance(part, str) and field in ("id", "attr", "arg", "name"):
                texts.append(names.setdefault(part, f"n{len(names)}"))
            elif part is not None and field not in ("kind", "type_comment"):
                texts.append(repr(part))
    return f"{type(node).__name__}({' '.join(texts)})"


def instrument(source: bytes, points: Sequence[Tuple[int, Point]]) -> bytes:
    """Return a module with these numbered mutants, each behind a switch."""
    inside = sorted(points, key=lambda item: (item[1].start, -item[1].end))
    woven = _weave(source, 0, len(source), inside)
    tree = ast.parse(woven)
    last = 0
    for node in tree.body:  # after the docstring and the imports from __future__
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        last = node.end_lineno or 0
    lines = woven.splitlines(keepends=True)
    return b"".join([*lines[:last], SWITCH.encode(), *lines[last:]])


def _weave(source: bytes, start: int, end: int, points: List[Tuple[int, Point]]) -> bytes:
    made, position = [], start
    while points:
        (number, point), points = points[0], points[1:]
        count = next((i for i, (_, inner) in enumerate(points) if inner.start >= point.end), len(points))
        inside, points = points[:count], points[count:]
        original = _weave(source, point.start, point.end, inside)
        made += [source[position : point.start], f"({point.instead} if _mutant({number}) else (".encode(), original]
        made.append(b"))")
        position = point.end
    return b"".join([*made, source[position:end]])

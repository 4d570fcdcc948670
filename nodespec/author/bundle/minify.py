"""What a bundle carries, made small and quick: sources without what only people read, and code for one Python.

Code saves compiling at every start, which takes twice as long as all else, on a Python whose bytecode is that of the
one that made the bundle. Every other compiles the sources.
"""

from __future__ import annotations

import ast
import json
import marshal
import re
import subprocess
import sys
import types
import zlib
from typing import Iterator, Mapping, Sequence, Tuple

# a string, or blanks and a comment; as Python 3.9 has strings, which hold no others
_COMMENT = re.compile(
    r"""("{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|[ \t]*\#[^\n]*""",
    re.DOTALL,
)


def bare(name: str, source: str) -> str:
    """A module without comments, and without docstrings but those of the manual. Every line stands where it stood."""
    lines = source.split("\n")
    for first, column, last in _docstrings(name, source):
        lines[first - 1] = f'{lines[first - 1][:column]}""'
        lines[first:last] = [""] * (last - first)
    return _COMMENT.sub(lambda found: found[1] or "", "\n".join(lines))


def _docstrings(name: str, source: str) -> Iterator[Tuple[int, int, int]]:
    """Of each its first line, the column, and its last line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and not _is_manual(name, node):
            first = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            if first:
                yield first.lineno, first.col_offset, first.end_lineno or 0


def _is_manual(name: str, node: ast.AST) -> bool:
    """Whether it is a family, or one of its facts: what it says is what `explain` tells."""
    family = name.startswith("nodespec.checks.") and "._" not in name
    return family and (isinstance(node, ast.Module) or bool(getattr(node, "decorator_list", ())))


def compiled(sources: Mapping[str, str], room: int) -> bytes:
    """The code of as many of these modules as there is room for, in their order, as marshal has it by name, compressed.

    The same bytes each time, which takes a process of its own: what else one has met shows in what marshal writes.
    """
    told = json.dumps({"sources": sources, "room": room}).encode()
    alike = {"PYTHONHASHSEED": "0"}  # by it constant sets have their order
    return subprocess.run(  # noqa: S603 - this very file
        [sys.executable, "-s", "-S", __file__], input=told, env=alike, stdout=subprocess.PIPE, check=True
    ).stdout


def _fitting(sources: Mapping[str, str], room: int) -> bytes:
    codes = [(name, _code(name, source)) for name, source in sources.items()]
    few, many = 0, len(codes) + 1  # so many fit, so many do not
    while many - few > 1:
        some = (few + many) // 2
        few, many = (some, many) if len(_packed(codes[:some])) <= room else (few, some)
    return _packed(codes[:few])


def _packed(codes: Sequence[Tuple[str, types.CodeType]]) -> bytes:
    return zlib.compress(marshal.dumps(dict(codes)), 9)


def _code(name: str, source: str) -> types.CodeType:
    """The code of a module, without what says on which line it stands: the source is compiled where that is asked."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return _placeless(compile(tree, name, "exec", dont_inherit=True))


def _placeless(code: types.CodeType) -> types.CodeType:
    inner = tuple(_placeless(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=inner, co_linetable=b"")


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.buffer.write(_fitting(asked["sources"], asked["room"]))

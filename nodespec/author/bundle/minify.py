"""Minify the modules of a bundle, and compile them to bytecode.

Comments and most docstrings are removed. Bytecode saves compiling at every start, which takes twice as long as the rest
of a run. It works only on a Python with the bytecode version of the one that built the bundle; others compile the
sources.
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

MARSHAL_VERSION = 2  # All Python versions read it, and the output is reproducible.
# Match a string, or white space and a comment. Strings do not nest in the syntax of Python 3.9.
_COMMENT = re.compile(
    r"""("{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|[ \t]*\#[^\n]*""",
    re.DOTALL,
)


def minify_source(name: str, source: str) -> str:
    """Remove comments and docstrings from a module, except the docstrings of facts.

    Line numbers do not change.
    """
    lines = source.split("\n")
    for first, column, last in _iter_docstrings(name, source):
        lines[first - 1] = f'{lines[first - 1][:column]}""'
        lines[first:last] = [""] * (last - first)
    return _COMMENT.sub(lambda match: match[1] or "", "\n".join(lines))


def _iter_docstrings(name: str, source: str) -> Iterator[Tuple[int, int, int]]:
    """Yield the first line, the column, and the last line of each docstring to remove."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and not _is_manual(name, node):
            first = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            if first:
                yield first.lineno, first.col_offset, first.end_lineno or 0


def _is_manual(name: str, node: ast.AST) -> bool:
    """Return whether a node is a family or a fact: `explain` prints its docstring."""
    family = name.startswith("nodespec.checks.") and "._" not in name
    return family and (isinstance(node, ast.Module) or bool(getattr(node, "decorator_list", ())))


def compile_modules(sources: Mapping[str, str], started: int, room: int) -> bytes:
    """Return the bytecode of the first modules that fit in `room` bytes, marshaled.

    The content is a pair: the bytecode by name of the first `started` modules, compressed together, and that of the
    others, each compressed by itself, since a check imports few of them. A separate process makes the bytes
    reproducible, because the state of an interpreter, such as interned strings, affects the output of marshal.
    """
    request = json.dumps({"sources": sources, "started": started, "room": room}).encode()
    environment = {"PYTHONHASHSEED": "0"}  # the hash seed determines the order of constant sets
    return subprocess.run(  # noqa: S603 - runs this file
        [sys.executable, "-s", "-S", __file__], input=request, env=environment, stdout=subprocess.PIPE, check=True
    ).stdout


def _compile_fitting(sources: Mapping[str, str], started: int, room: int) -> bytes:
    codes = [(name, marshal.dumps(_compile_module(name, source))) for name, source in sources.items()]
    few, many = 0, len(codes) + 1  # `few` modules fit, `many` do not
    while many - few > 1:
        some = (few + many) // 2
        few, many = (some, many) if len(_encode_codes(codes[:some], started)) <= room else (few, some)
    return _encode_codes(codes[:few], started)


def _encode_codes(codes: Sequence[Tuple[str, bytes]], started: int) -> bytes:
    together = zlib.compress(marshal.dumps(dict(codes[:started]), MARSHAL_VERSION), 9)
    single = {name: zlib.compress(code, 9) for name, code in codes[started:]}
    return marshal.dumps((together, single), MARSHAL_VERSION)


def _compile_module(name: str, source: str) -> types.CodeType:
    """Compile a module without annotations and line tables.

    To get line numbers, set NODESPEC_DEBUG: the sources are then compiled.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return _strip_line_table(compile(tree, name, "exec", dont_inherit=True))


def _strip_line_table(code: types.CodeType) -> types.CodeType:
    inner = tuple(
        _strip_line_table(constant) if isinstance(constant, types.CodeType) else constant for constant in code.co_consts
    )
    return code.replace(co_consts=inner, co_linetable=b"")


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    sys.stdout.buffer.write(_compile_fitting(asked["sources"], asked["started"], asked["room"]))

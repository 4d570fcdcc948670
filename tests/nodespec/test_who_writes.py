"""No module but the writer opens, makes, changes or removes a file: read from the sources."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Iterator, Set, Tuple

import pytest

import nodespec

PACKAGE = Path(nodespec.__file__).parent
WRITERS = {"output.file", "output.access", "output.path", "preflight.tree_writer"}
CHANGING = {
    *("chmod", "chown", "fchmod", "fchown", "lchown", "link", "makedirs", "mkdir", "mkfifo", "mknod", "remove"),
    *("removedirs", "removexattr", "rename", "renames", "replace", "rmdir", "setxattr", "symlink", "truncate"),
    *("ftruncate", "unlink", "utime", "posix_fallocate", "copy_file_range", "sendfile"),
}
MAKING = {"tempfile", "shutil"}  # modules whose every function makes files
NAMED = {"write_text", "write_bytes", "touch", "FileIO"}
WRITING = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC", "O_TMPFILE"}
EXCEPTIONS = {
    ("entry", "exit_with"): "/dev/full stands for a standard output that the caller closed",
    ("errors", "silence_stream"): "/dev/null stands for a stream that takes nothing more",
    ("host.path_helper", "_serve"): "/dev/null stands for the standard streams of a child",
    ("output.spool", "_open_file"): "a file without a name holds a long report until all of it is known",
    ("author.spec.precompiled", "write_plans"): "the directories of the plans, when nodespec is built",
}


def sources() -> Iterator[Path]:
    for folder, _, names in os.walk(PACKAGE, followlinks=True):
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def calls(tree: ast.AST, function: str = "") -> Iterator[Tuple[str, ast.Call]]:
    """All calls, with the function that they stand in."""
    for node in ast.iter_child_nodes(tree):
        within = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, ast.Call):
            yield within, node
        yield from calls(node, within)


def writes(call: ast.Call) -> bool:
    """Whether a call writes, or may."""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if name == "os.open":
        return any(flag in ast.unparse(call) for flag in WRITING)
    if last in ("open", "fdopen") and name.partition(".")[0] in ("open", "io", "os", "gzip", "bz2", "lzma"):
        given = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
        mode = given[0] if given else ast.Constant("r")
        return not isinstance(mode, ast.Constant) or bool(set(str(mode.value)) & set("wax+"))
    made = name.startswith("os.") and last in CHANGING
    return made or last in NAMED or name.partition(".")[0] in MAKING or last == "TemporaryFile"


def found() -> Set[Tuple[str, str]]:
    return {
        (module(path), function)
        for path in sources()
        if module(path) not in WRITERS
        for function, call in calls(ast.parse(path.read_text("utf-8")))
        if writes(call)
    }


def test_no_module_but_the_writer_writes_files() -> None:
    assert {module(path) for path in sources()} >= WRITERS
    assert found() == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "text",
    [
        'open(path, "w")',
        'open(path, mode="ab")',
        "open(path, mode)",
        'gzip.open(path, "xb")',
        "os.open(path, os.O_WRONLY)",
        "os.open(path, os.O_RDONLY | os.O_CREAT)",
        'os.fdopen(3, "w")',
        "os.replace(a, b)",
        "os.chmod(a, 1)",
        "tempfile.mkstemp()",
        "Path(a).write_text(b)",
    ],
)
def test_what_writes_is_recognized(text: str) -> None:
    ((_, call),) = list(calls(ast.parse(text)))[:1]
    assert writes(call)


@pytest.mark.parametrize("text", ["open(path)", 'open(path, "rb")', "os.open(path, os.O_RDONLY)", "text.replace(a, b)"])
def test_what_reads_is_not(text: str) -> None:
    ((_, call),) = calls(ast.parse(text))
    assert not writes(call)

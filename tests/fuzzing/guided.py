"""One parser, fuzzed by what its inputs reach: libFuzzer by way of atheris, which `pip install atheris` brings.

    python tests/fuzzing/guided.py PARSER [FOLDER] [-max_total_time=60] [-rss_limit_mb=1024] [-timeout=5] ...

FOLDER is where inputs that reach something new are kept, for the next time; all else are libFuzzer's own options. It
ends at the first input that shows a fault, and writes that beside where it runs; given as the only argument behind
PARSER, the file of such an input shows it again.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ContextManager, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), *(str(TOP / "tests" / part) for part in ("", "nodespec"))]


class Atheris(Protocol):
    """What is used of atheris, which says nothing of its types."""

    def instrument_imports(self, include: list[str]) -> ContextManager[object]: ...
    def Setup(self, argv: list[str], test: Callable[[bytes], None]) -> object: ...  # noqa: N802 - its own name
    def Fuzz(self) -> None: ...  # noqa: N802 - likewise


def main(name: str, options: list[str]) -> None:
    atheris = cast("Atheris", import_module("atheris"))
    with atheris.instrument_imports(include=["nodespec"]):
        from parsers import PARSERS  # noqa: PLC0415 - instrumented as it is imported
    parser = PARSERS[name]()
    corpus = Path(tempfile.mkdtemp(prefix=f"nodespec-{name}-"))
    for number, seed in enumerate(parser.seeds):
        (corpus / f"{number}").write_bytes(seed)

    def test(data: bytes) -> None:
        parser.read(data)

    again = [one for one in options if not one.startswith("-")]
    atheris.Setup([sys.argv[0], *options, *([] if again and Path(again[0]).is_file() else [str(corpus)])], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

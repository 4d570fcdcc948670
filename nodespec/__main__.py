"""Entry point of the program `nodespec`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    try:  # noqa: SIM105 - `python3 -m` searches the current directory first, which may hold a contextlib.py
        sys.path.remove(os.getcwd())
    except (OSError, ValueError):  # The current directory was deleted.
        pass

from nodespec import __version__
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, List, NoReturn, Optional


def main(argv: Optional[List[str]] = None) -> int:
    """Run nodespec with arguments and return the exit code.

    `--help` raises SystemExit.
    """
    args = sys.argv[1:] if argv is None else argv
    if args == ["--version"]:
        print(f"nodespec {__version__}")  # noqa: T201 - printed before anything else is imported
        return 0
    from nodespec.entry import run_guarded  # noqa: PLC0415 - after `run` has installed the finder

    return run_guarded(_run_command, args)


def _run_command(args: List[str]) -> int:
    from nodespec.errors import UsageError  # noqa: PLC0415 - likewise

    try:
        return _dispatch(args)
    except UsageError as error:
        from nodespec.author.commands.usage_hints import improve_usage_error  # noqa: PLC0415 - after an error only

        raise improve_usage_error(args, error) from None


def _dispatch(args: List[str]) -> int:
    from nodespec.options import parse_check  # noqa: PLC0415 - after `run` has installed the finder

    plain = parse_check(args[1:], bundled=False) if args[:1] == ["check"] else None
    if plain:
        from nodespec.author.commands.check import check  # noqa: PLC0415 - `--version` needs no command

        return check(plain)
    from nodespec.author.commands.main import run as command  # noqa: PLC0415 - likewise

    return command(args)


def run(program: Callable[[], int] = main) -> NoReturn:
    """Run the console script."""
    from nodespec.module_finder import install_finder  # noqa: PLC0415 - for the program only

    install_finder()
    from nodespec.entry import exit_with  # noqa: PLC0415 - imported by the finder

    exit_with(program)


if __name__ == "__main__":
    run()

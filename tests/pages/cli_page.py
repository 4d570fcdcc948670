"""Generate docs/cli.md from the parsers of the command line: `python tests/pages/cli_page.py > docs/cli.md`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Dict, Iterator, List, Tuple

from nodespec.author.commands.examples import EXAMPLES
from nodespec.author.commands.main import COMMANDS, make_parser

HEAD = """\
# Command line

Generated from the program by `python tests/pages/cli_page.py > docs/cli.md`. `nodespec COMMAND --help` prints the same.
A [bundle](recipes.md) has the commands `check`, `facts`, `explain` and `gate`. Their options are the same, without
`--specs` and `--set`: a bundle contains its specs and params.

A SPEC is the name of a spec of the library, or a file: a name that ends in `.yaml`, `.yml` or `.json`, begins with `/`,
`./` or `../`, or is `-` for standard input. [Exit codes](exit-codes.md) are the same for all commands.
"""


def subcommands(top: argparse.ArgumentParser) -> Dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands below a parser, by name."""
    actions = top._actions  # noqa: SLF001 - argparse has no public list of its actions
    found = [action for action in actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    return dict(found[0].choices) if found else {}


def commands() -> Iterator[Tuple[str, argparse.ArgumentParser, str]]:
    """Yield every command that can be run: its words, its parser and what it does."""
    for name, command in subcommands(make_parser()).items():
        below = subcommands(command)
        if below:
            yield from ((f"{name} {action}", found, COMMANDS[name][0]) for action, found in below.items())
        else:
            yield name, command, COMMANDS[name][0]


def arguments(command: argparse.ArgumentParser) -> List[argparse.Action]:
    """Return the arguments and options of a command, without --help."""
    return [action for action in command._actions if not isinstance(action, argparse._HelpAction)]  # noqa: SLF001


def _option(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else str(action.metavar or action.dest)
    return " ".join(filter(None, (name, value)))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(name: str, command: argparse.ArgumentParser, purpose: str) -> Iterator[str]:
    yield from ("", f"## nodespec {name}", "", f"{purpose[0].upper()}{purpose[1:]}.", "", "```text")
    yield f"{command.format_usage().strip().removeprefix('usage: ')}"
    yield from ("```", "", "| argument | meaning |", "|---|---|")
    for action in arguments(command):
        yield f"| `{_cell(_option(action))}` | {_cell(action.help or '')} |"
    yield from ("", "| example | |", "|---|---|")
    for line, meaning in EXAMPLES[name]:
        yield f"| `{_cell(line)}` | {meaning} |"


def page() -> str:
    """Return the page."""
    os.environ["COLUMNS"] = "100"
    return HEAD + "\n".join(line for command in commands() for line in _section(*command)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())

"""The page of the command line: generated, with a help text and an example for every option."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import cli_page
import pytest

from nodespec.author.commands.examples import EXAMPLES
from nodespec.author.commands.main import parse_command_line

if TYPE_CHECKING:
    import argparse

TOP = Path(__file__).parents[2]
COMMANDS = {name: command for name, command, _ in cli_page.commands()}
ARGUMENTS = [(name, action) for name, command in COMMANDS.items() for action in cli_page.arguments(command)]
LINES = [line for examples in EXAMPLES.values() for line, _ in examples]


def words(line: str) -> list[str]:
    return shlex.split(line.split(" > ", maxsplit=1)[0])


def test_page_matches_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    made = cli_page.page()
    kept = (TOP / "docs" / "cli.md").read_text(encoding="utf-8")
    normal = " ".join  # Python versions wrap the usage lines differently
    assert normal(made.split()) == normal(kept.split()), "run: python tests/pages/cli_page.py > docs/cli.md"


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == sorted(COMMANDS)


@pytest.mark.parametrize(("name", "action"), ARGUMENTS, ids=lambda item: getattr(item, "dest", item))
def test_every_argument_has_help_and_an_example(name: str, action: argparse.Action) -> None:
    assert action.help, f"nodespec {name}: {action.dest} has no help text"
    assert not action.help.endswith(".")
    if action.option_strings:
        used = [line for line, _ in EXAMPLES[name] if {*action.option_strings} & {*words(line)}]
        assert used, f"add an example of {action.option_strings} to TEXTS in nodespec/parsers.py, or to EXAMPLES"


@pytest.mark.parametrize("line", LINES)
def test_examples_are_valid_command_lines(line: str) -> None:
    program, *argv = words(line)
    assert program == "nodespec"
    args = parse_command_line(argv)
    assert line in {example for example, _ in EXAMPLES[f"{args.command} {getattr(args, 'action', '')}".strip()]}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_examples(name: str) -> None:
    shown = " ".join(COMMANDS[name].format_help().split())
    assert all(" ".join(line.split()) in shown for line, _ in EXAMPLES[name])

"""Plain command lines of `check` give the same arguments as argparse; everything else is left to argparse."""

from __future__ import annotations

import argparse
import random
from typing import Dict, List, Optional, Tuple

import pytest

from nodespec.author.commands.main import make_parser as make_program_parser
from nodespec.author.commands.main import parse_command_line
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.options import LIST, OPTIONS, SECONDS, SWITCH, parse_check
from nodespec.preflight.main import _make_parser as make_bundle_parser

PLAIN_WORDS = ("kubernetes/1.35", "a.yaml", "", "x=y", "5", "0.5", "1e3", "text", "json=-", "/", "*", "a b", "\udcff")
ODD_WORDS = ("-", "--", "-h", "--help", "-1", "-otext", "-o=text", "--roo", "--root=/x", "--s", "--all=1", "-x", "-a b")
BAD_SECONDS = ("86400.5", "nan", "inf", "-1", "x", "1_0", "٣", "86400", " 5 ")
KINDS = {option.flag: option.kind for option in OPTIONS}
FLAGS = (*KINDS,)
CASES = 4000


@pytest.fixture(scope="module")
def bundle_parser() -> argparse.ArgumentParser:
    return make_bundle_parser(resolve(["container-host"], Library(), {}))


def parse_slowly(words: List[str], parser: Optional[argparse.ArgumentParser]) -> Optional[Dict[str, object]]:
    """The arguments by argparse, of a bundle where its parser is given; None if it refuses them or prints help."""
    try:
        found = parser.parse_args(["check", *words]) if parser else parse_command_line(["check", *words])
    except (UsageError, SystemExit):
        return None
    return {name: value for name, value in vars(found).items() if name not in ("command", "version")}


def generate_words(chance: random.Random) -> List[str]:
    """Words that are mostly a plain command line, with few mistakes."""
    words: List[str] = []
    for _ in range(chance.randrange(5)):
        flag = chance.choice(FLAGS)
        value = chance.choice((*BAD_SECONDS, "5", "0")) if KINDS[flag] == SECONDS else chance.choice(PLAIN_WORDS)
        words += [flag] if KINDS[flag] == SWITCH else [flag, value]
    specs = [chance.choice(PLAIN_WORDS) for _ in range(chance.choice((0, 0, 1, 1, 1, 2)))]
    at = chance.randrange(len(words) + 1)
    words[at:at] = specs
    if chance.random() < 0.3:
        words.insert(chance.randrange(len(words) + 1), chance.choice((*ODD_WORDS, *FLAGS)))
    if words and chance.random() < 0.1:
        del words[chance.randrange(len(words))]
    return words


@pytest.mark.parametrize("bundled", [False, True])
def test_both_parsers_agree_on_thousands_of_command_lines(
    bundle_parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str], *, bundled: bool
) -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    plain = refused = 0
    for _ in range(CASES):
        words = generate_words(chance)
        quick = parse_check(words, bundled=bundled)
        slow = parse_slowly(words, bundle_parser if bundled else None)
        plain += quick is not None
        refused += slow is None
        if quick is not None:
            assert vars(quick) == slow, words
    assert plain > CASES // 8
    assert refused > CASES // 10
    capsys.readouterr()


@pytest.mark.parametrize(
    "line",
    [
        "kubernetes/1.35",
        "kubernetes/1.35 container-host --set role=worker --set swap=off --strict --all",
        "--image /srv/node.tar --platform linux/arm64 --kernel 6.1.0 spec.yaml",
        "spec.yaml --root /host -o text -o json=r.json --wait 60 --deadline 5",
        "--facts recordings --only kernel.* --skip swap.* --waivers w.yaml --specs specs spec.yaml",
    ],
)
def test_usual_command_lines_are_plain(line: str) -> None:
    words = line.split()
    quick = parse_check(words, bundled=False)
    assert quick is not None
    assert vars(quick) == parse_slowly(words, None)


@pytest.mark.parametrize(
    "line",
    [
        *("", "--help", "a --strict b", "a --root /x --image y", "a --root /x --root /y", "a --only", "a --wait 86401"),
        *("a -otext", "a --roo /x", "a --root=/x", "a -- b", "a --facts -", "a --deadline nan", "a --nosuch x"),
    ],
)
def test_everything_else_is_left_to_argparse(line: str) -> None:
    assert parse_check(line.split(), bundled=False) is None
    assert parse_check([word for word in line.split() if word != "a"] or ["a"], bundled=True) is None


@pytest.mark.parametrize("bundled", [False, True])
def test_the_table_has_every_option_as_argparse_reads_it(
    bundle_parser: argparse.ArgumentParser, *, bundled: bool
) -> None:
    parser = bundle_parser if bundled else make_program_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    check = commands.choices["check"]
    found: Dict[str, Tuple[str, object]] = {
        flag: (type(action).__name__, action.default)
        for action in check._actions  # noqa: SLF001 - argparse has no other list of them
        for flag in action.option_strings
        if flag not in ("-h", "--help")
    }
    table = [option for option in OPTIONS if not (bundled and option.group == "library")]
    actions = {LIST: "_AppendAction", SWITCH: "_StoreTrueAction"}
    defaults: Dict[str, object] = {LIST: [], SWITCH: False}
    assert found == {
        option.flag: (actions.get(option.kind, "_StoreAction"), defaults.get(option.kind, option.default))
        for option in table
    }
    (group,) = check._mutually_exclusive_groups  # noqa: SLF001 - likewise
    exclusive = [action.option_strings[0] for action in group._group_actions]  # noqa: SLF001 - likewise
    assert exclusive == [option.flag for option in OPTIONS if option.group == "exclusive"]

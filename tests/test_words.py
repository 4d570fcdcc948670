"""Words that the project does not use, over everything that a person reads.

The test reads all pages, specs and help texts, and the docstrings, comments and messages of the packages in ROOMS.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest
import yaml

from nodespec.author.commands.main import make_parser

TOP = Path(__file__).parents[1]
PAGES = sorted([*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")])
SPECS = sorted((TOP / "specs").rglob("*.yaml"))
ROOMS: Tuple[str, ...] = (
    ".ci",
    "checks",
    "nodespec/__init__.py",
    "nodespec/__main__.py",
    "nodespec/api.py",
    "nodespec/author",
    "nodespec/entry.py",
    "nodespec/errors.py",
    "nodespec/escape.py",
    "nodespec/facts",
    "nodespec/formats",
    "nodespec/host",
    "nodespec/images",
    "nodespec/judge",
    "nodespec/model",
    "nodespec/options.py",
    "nodespec/parsers.py",
    "nodespec/output",
    "nodespec/preflight",
    "nodespec/recording",
    "nodespec/records.py",
    "nodespec/run",
    "nodespec/sha256.py",
    "reports",
    "tests/stages",
)
DOCUMENTED_ROOMS = ("tests/stages",)  # docstrings and comments; their messages are read in the logs of .ci/run only

ARCHAIC = (
    "anew|nought|naught|whence|thence|hence|hither|thereof|whereof|therein|wherein|herein|thereby|whereby|upon|lest"
)
BRITISH = "colour|behaviour|honour|favour|neighbour|licence|catalogue|artefact|judgement"
BRITISH_VERBS = "recogni|standardi|organi|normali|summari|seriali|initiali|optimi|minimi|authori|customi"
COMPARED = "longer|more|less|later|earlier|larger|smaller|newer|older"
WORDS: Dict[str, str] = {  # what is not written, and what to write instead
    r"mend(s|ed|ing)?": "fix",
    r"doors?": "access: live, --root, image, recording",
    rf"(is|are|was|were|be) no(?! ({COMPARED})\b)": "not found, not set, not a",
    r"of which": "two sentences",
    r"who(m)?(so)?ever": "anyone who, a user who",
    r"for who": "for users who",
    r"be (it|they)": "whether",
    r"so (it is|they are)": "a plain sentence",
    r"befell|befall(s|en)?": "happened to",
    r"bears? (the|a|that|this|its) name": "is named",
    r"alike": "equal, the same, both",
    r"sights?": "observation, clause result",
    r"looked (at|through|upon)|(a|the|each|every|first|one|this) look": "observed, read, searched; hint",
    r"(is|are|was|were|be) (said|told)": "reported, printed, named",
    r"(is|are|was|were|be) wanted": "required, expected",
    r"what (is|are) (asked|told|said|fed|seen|there)": "the noun",
    r"comes? of": "results from",
    ARCHAIC: "again, nothing, from, in, by, on, so that not",
    r"for want of|goes? without saying|such as (it|they)|as ever": "a plain phrase",
    r"mistakes?": "usage error, spec error",
    r"believed": "trusted, valid",
    r"(stands?|lies?) (in|there|here|beside|below|under|behind|before|where|on)": "is in, follows, precedes",
    rf"\w*({BRITISH})\w*": "US spelling",
    rf"\w*({BRITISH_VERBS})s(e|es|ed|ing|ation)": "US spelling: -ize",
}
BANNED = [(re.compile(rf"(?<![\w`/-])(?:{word})(?![\w-])", re.IGNORECASE), better) for word, better in WORDS.items()]
CODE = re.compile(r"```.*?^```|``.+?``|`[^`\n]+`|\]\([^)]*\)|https?://\S+", re.MULTILINE | re.DOTALL)


def complaints(text: str, where: str) -> List[str]:
    """Return one line for every banned word of a text, with code and links left out."""
    prose = CODE.sub(lambda code: "\n" * code[0].count("\n") + "`", text)
    found = []
    for pattern, better in BANNED:
        for match in pattern.finditer(prose):
            line = prose.count("\n", 0, match.start()) + 1
            found.append(f"{where}:{line}: {match[0]!r}; write: {better}")
    return found


def spec_texts(node: object, path: str = "") -> Iterator[Tuple[str, str]]:
    """Yield the texts of a spec that a report shows: title, why and fix, with their place."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"title", "why", "fix"} and isinstance(value, str):
                yield f"{path}.{key}", value
            yield from spec_texts(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from spec_texts(value, f"{path}[{number}]")


def code_texts(source: str) -> Iterator[Tuple[int, str]]:
    """Yield docstrings, messages (strings with a blank) and comments of a module, with their line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    yield from comments(source)


def comments(source: str) -> Iterator[Tuple[int, str]]:
    """Yield the comments of a module with their line, without the codes of linters."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"noqa: [A-Z\d, ]+|type: \S+", "", token.string)


def documentation_texts(source: str) -> Iterator[Tuple[int, str]]:
    """Yield the docstrings and comments of a module, with their line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
    yield from comments(source)


def code_complaints(path: Path, texts_of: Callable[[str], Iterator[Tuple[int, str]]] = code_texts) -> List[str]:
    name = path.relative_to(TOP)
    texts = texts_of(path.read_text(encoding="utf-8"))
    return [line for number, text in texts for line in complaints(text, f"{name}:{number}")]


def modules(room: str) -> List[Path]:
    """Return the modules of a room: a package, or one module."""
    path = TOP / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def help_texts(top: argparse.ArgumentParser) -> Iterator[Tuple[str, str]]:
    """Yield all help texts of a parser and of the commands below it."""
    yield top.prog, f"{top.description or ''}\n{top.epilog or ''}"
    for action in top._actions:  # noqa: SLF001 - argparse has no public list of its actions
        yield f"{top.prog} {action.dest}", action.help or ""
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                yield f"{top.prog} {choice.dest}", choice.help or ""
            for command in action.choices.values():
                yield from help_texts(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_standard_words(page: Path) -> None:
    assert complaints(page.read_text(encoding="utf-8"), page.name) == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stem)
def test_specs_use_standard_words(spec: Path) -> None:
    texts = spec_texts(yaml.safe_load(spec.read_text(encoding="utf-8")))
    assert [line for place, text in texts for line in complaints(text, place)] == []


def test_help_uses_standard_words() -> None:
    assert [line for where, text in help_texts(make_parser()) for line in complaints(text, where)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_use_standard_words(room: str) -> None:
    assert modules(room)
    assert [line for path in modules(room) for line in code_complaints(path)] == []


@pytest.mark.parametrize("room", DOCUMENTED_ROOMS)
def test_programs_are_documented_in_standard_words(room: str) -> None:
    assert modules(room)
    assert [line for path in modules(room) for line in code_complaints(path, documentation_texts)] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("how to mend it", 1),
        ("`mend` and ```door```", 0),
        ("It is no longer absent.", 0),
        ("It is no module.", 1),
        ("Whoever looked at it", 2),
        ("colourful", 1),
        ("See [the door](door.md).", 1),
        ("The specification recommends standards.", 0),
    ],
)
def test_words_are_found_in_prose_only(text: str, count: int) -> None:
    assert len(complaints(text, "text")) == count

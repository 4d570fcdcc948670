"""An operator that the loader reads, and that the schema, the page of the language and the examples lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patching import replace_once

if TYPE_CHECKING:
    from pathlib import Path

TESTS = ("tests/nodespec/test_operators.py",)
NOTICED_BY = (
    "test_an_operator_has_examples_that_load_and_judge_both_ways[begins]",
    "test_the_schema_takes_the_examples_of_an_operator[begins]",
    "test_the_page_of_the_language_tells_an_operator[begins]",
    "test_the_schema_knows_the_operators_of_the_loader_and_no_other",
)


def apply(top: Path) -> None:
    """Add `begins: TEXT` to the loader alone."""
    path = top / "nodespec/judge/expectation.py"
    replace_once(path, '"same-as", "param")', '"same-as", "param", "begins")')
    replace_once(
        path,
        '    if name == "matches":\n',
        '    if name == "begins":\n'
        '        return Expect(f"beginning with {arg}", lambda value: str(value).startswith(str(arg)), opaque=True)\n'
        '    if name == "matches":\n',
    )

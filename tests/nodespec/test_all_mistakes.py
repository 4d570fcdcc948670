"""All mistakes of a spec that do not follow from one another are told at once."""

from __future__ import annotations

from typing import List

import pytest
from pretended import Shelf

from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError


def told(body: str, **others: str) -> List[str]:
    """The positions and the beginnings of what is told."""
    with pytest.raises(UsageError) as mistake:
        resolve(["a"], Shelf({"a": body, **others}), {})
    assert not any("follows from" in line for line in mistake.value.messages)
    return [line.split(" ", 1)[0] for line in mistake.value.messages]


def test_a_misspelt_key_at_the_top_hides_nothing() -> None:
    body = """\
nodespec: 1
titel: x
extends: [b]
params:
  n: {default: x, type: number, wy: no}
  m: {default: {running: a, resting: b}}
drop: [nothing, none]
require:
  kernel: {vrsion: 1, version: [foo bar, "5.10+"]}
  os: {id: {is: x, why: []}, nothing: 1}
  moduels: {x: loaded}
recommend:
  cpu: {count: many}
rules:
  - not a rule
  - {name: BAD, when: {kernel: {vers: 1}, os: {idd: x}}, any: [{os: {i: x}}, {cpu: {c: 1}}]}
  - {name: two, wen: x, require: {os: {id: {param: nosuch}}}}
  - {name: three, every: packages, where: {vers: 1}, require: {nothing: 1}}
"""
    said = told(body, b="require: {os: {name: x}}")
    lines = [line.split(":")[1] for line in said]
    assert " ".join(lines) == "2 5 5 6 7 7 9 9 9 10 10 11 13 15 16 16 16 16 16 17 17 18 18"


def test_what_follows_from_a_mistake_is_not_told() -> None:
    assert told("parms: {n: {default: 2}}\nrequire: {cpu: {count: {param: n}}}") == ["a:2:1:"]
    assert told("params: {n: {default: x, type: number}}\nrequire: {cpu: {count: {param: n}}}") == ["a:2:23:"]
    assert told("extend: [b]\ndrop: [os.id]\nrequire: {cpu: {count: 2}}", b="require: {os: {id: x}}") == ["a:2:1:"]
    assert told("extends: [c]\ndrop: [os.id]\nrequire: {cpu: {count: 2}}") == ["a:2:11:"]
    assert told("extends: [b]\ndrop: [os.id]", b="require: {os: {id: [x, x]}}") == ["b:2:24:"]
    assert told("requre: {os: {id: x}}") == ["a:2:1:"]


def test_mistakes_of_several_files_are_told_together() -> None:
    said = told("extends: [b, c, d]\nrequire: {os: {idd: x}}", b="require: [", c="require: {cpu: {cnt: 1}}")
    assert sorted(line.split(":")[0] for line in said) == ["a", "a", "b", "c"]


def test_keys_that_are_given_twice_are_all_told_and_hide_nothing() -> None:
    said = told("title: x\ntitle: y\nrequire: {os: {id: x, id: y, idd: z}}\nname: a\nname: b")
    assert said == ["a:3:1:", "a:4:23:", "a:4:30:", "a:6:1:"]


def test_an_expectation_with_several_mistakes_tells_each() -> None:
    said = told("require: {cgroups: {version: [3, 1, 4]}, kernel: {version: {any: [a b, '5+'], none: ['<']}}}")
    assert len(said) == 5


def test_a_language_of_another_version_is_all_that_is_told() -> None:
    assert told("nodespec: 2\nrequir: {}") == ["a:1:11:"]
    assert told('nodespec: 1\nrequires: ">=99"\nrequir: {}') == ["a:2:11:"]


@pytest.mark.parametrize(("count", "hints"), [(9, 9), (10, 10), (11, 10), (12, 10)])
def test_ten_drops_of_nothing_have_a_suggestion(count: int, hints: int) -> None:
    """The search for a similar name is slow."""
    names = [f"kernel.config.OPTION_{number}X" for number in range(count)]
    base = "require: {kernel: {config: {" + ", ".join(f"OPTION_{number}: enabled" for number in range(count)) + "}}}"
    with pytest.raises(UsageError) as error:
        resolve(["a"], Shelf({"a": f"extends: [b]\ndrop: [{', '.join(names)}]\n", "b": base}), {})
    said = [line for line in error.value.messages if "matches no inherited requirement or rule" in line]
    assert len(said) == count
    assert sum("did you mean" in line for line in said) == hints

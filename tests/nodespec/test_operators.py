"""Every operator, word and predicate of the spec language: loader, JSON Schema, documentation and examples agree.

The tests are parametrized over the registries `OPERATORS` and `WORDS` and over the types of the declared facts, so that
a new one fails here until the schema takes it, docs/spec-language.md tells it and `MEANING` has examples of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, Tuple, Union

import jsonschema
import pytest
import yaml
from pretended import Said, planned
from test_good_specs import CPUS, ID, MEANING, Place, outcome

from nodespec.author.spec.json_schema import schema
from nodespec.errors import UsageError
from nodespec.facts import declaration
from nodespec.facts.declaration import Group, Leaf, Table
from nodespec.facts.value_types import Datum, Kind, SetOf
from nodespec.judge.expectation import OPERATORS, REQUIREMENT_KEYS

VALIDATOR = jsonschema.Draft202012Validator(schema())
LANGUAGE = (Path(__file__).parents[2] / "docs/spec-language.md").read_text()
EXPECTATIONS = LANGUAGE.partition("## Expectations\n")[2].partition("\n## ")[0]
Example = Tuple[Place, str, List[Said], List[Said]]
PARAM: Example = (ID, "{param: distribution}", ["debian"], ["fedora"])
SAME: Example = (("kernel", "next"), "{same-as: kernel.release}", ["6.1.0-50-amd64"], ["6.1.0-49-amd64"])
PARAMS = "params: {distribution: {default: debian}}\n"


def written(place: Place, expects: str) -> str:
    for name in reversed(place):
        expects = f"{{{name!r}: {expects}}}"
    return f"require: {expects}"


def operators_in(expects: object) -> FrozenSet[str]:
    """The keys of an expectation, at any depth."""
    if isinstance(expects, dict):
        return frozenset(map(str, expects)).union(*map(operators_in, expects.values()))
    return frozenset().union(*map(operators_in, expects)) if isinstance(expects, list) else frozenset()


EXAMPLES: Dict[str, List[Example]] = {name: [] for name in OPERATORS}
for example in [*MEANING, PARAM, SAME]:
    for name in operators_in(yaml.load(example[1], Loader=yaml.BaseLoader)) & set(OPERATORS):  # noqa: S506 - texts only
        EXAMPLES[name].append(example)


def validated(text: str) -> List[str]:
    document = yaml.load(f"nodespec: 1\n{text}", Loader=yaml.BaseLoader)  # noqa: S506 - texts only
    return [f"{error.json_path}: {error.message[:200]}" for error in VALIDATOR.iter_errors(document)]


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_has_examples_that_load_and_judge_both_ways(operator: str) -> None:
    passes = fails = 0
    for place, expects, met, unmet in EXAMPLES[operator]:
        if "param" in expects:  # judged as the text of the parameter
            planned(a=f"{PARAMS}{written(place, expects)}")
            expects = "debian"  # noqa: PLW2901 - what it comes to
        others: Dict[str, Said] = {"kernel.release": SAME[2][0]} if "same-as" in expects else {}
        passes += [outcome(place, expects, seen, others) for seen in met].count("pass")
        fails += [outcome(place, expects, seen, others) for seen in unmet].count("fail")
    assert (passes > 0, fails > 0) == (True, True)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_schema_takes_the_examples_of_an_operator(operator: str) -> None:
    assert EXAMPLES[operator]
    assert [validated(PARAMS + written(place, expects)) for place, expects, *_ in EXAMPLES[operator]] == [
        [] for _ in EXAMPLES[operator]
    ]


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_page_of_the_language_tells_an_operator(operator: str) -> None:
    assert re.search(rf"`\{{?{operator}(?:: [^`]*)?`", EXPECTATIONS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_schema_refuses_an_operator_that_is_misspelt(operator: str) -> None:
    for place, expects, *_ in EXAMPLES[operator]:
        misspelt = re.sub(rf"\b{operator}:", f"{operator}q:", expects)
        if misspelt == expects:
            continue
        assert validated(PARAMS + written(place, misspelt))
        with pytest.raises(UsageError):
            planned(a=PARAMS + written(place, misspelt))


def operators_of_the_schema() -> FrozenSet[str]:
    """What the schema takes beside columns of tables: the properties of every expectation but the words."""
    found: List[FrozenSet[str]] = []
    for definition in schema()["$defs"].values():  # type: ignore[union-attr]
        assert isinstance(definition, dict)
        mapping_ = definition.get("then")
        if isinstance(mapping_, dict) and isinstance(definition.get("else"), dict) and "properties" in mapping_:
            properties = mapping_["properties"]
            assert isinstance(properties, dict)
            if {"is", "any", "none"} <= set(properties):
                found.append(frozenset(properties))
    assert len(found) > 10
    return frozenset().union(*found)


def test_the_schema_knows_the_operators_of_the_loader_and_no_other() -> None:
    assert operators_of_the_schema() == {*OPERATORS, *REQUIREMENT_KEYS, "tags", "aliases"}


def test_the_page_of_the_language_tells_no_operator_that_there_is_not() -> None:
    told = re.findall(r"`\{?([a-z]+): (?:\[|E|R|\.\.|p)", EXPECTATIONS)
    assert set(told) <= {*OPERATORS, "tags"}
    assert len(set(told)) >= 8


@pytest.mark.parametrize("name", ["above", "isnt", "one_of", "when"])
@pytest.mark.parametrize("place", [CPUS, ID])
def test_an_unregistered_operator_is_refused_by_loader_and_schema(place: Place, name: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}`"):
        planned(a=written(place, f"{{{name}: 2}}"))
    assert validated(written(place, f"{{{name}: 2}}"))


# words


@pytest.mark.parametrize("name", REQUIREMENT_KEYS)
def test_a_word_stands_beside_an_expectation_a_rule_and_a_row(name: str) -> None:
    places = (
        f"require: {{cpu: {{count: {{is: 2, {name}: the text}}}}}}",
        f"require: {{packages: {{runc: {{is: present, {name}: the text}}}}}}",
        f"rules: [{{name: r, {name}: the text, require: {{cpu: {{count: 2}}}}}}]",
    )
    for text in places:
        (requirement,) = planned(a=text).requirements
        assert getattr(requirement, name) == "the text"
        assert validated(text) == []
    assert f"`{name}`" in EXPECTATIONS


# predicates


def kinds() -> Iterator[Tuple[str, Kind[Datum]]]:
    """The type of every declared fact and column."""
    for family in declaration.list_families():
        declared = declaration.load_family(family)
        members = declared.members if isinstance(declared, Group) else {"": declared}
        for member, fact in members.items():
            yield from of_fact(f"{family}.{member}".rstrip("."), fact)


def of_fact(name: str, fact: Union[Leaf, Table]) -> Iterator[Tuple[str, Kind[Datum]]]:
    if isinstance(fact, Leaf):
        yield name, fact.kind
        return
    yield f"{name}.KEY", fact.row
    yield from ((f"{name}.KEY.{column}", kind) for column, kind in fact.columns.items())


PREDICATES = sorted({(name, predicate) for name, kind in kinds() for predicate in kind.words})
FACTS = (Path(__file__).parents[2] / "docs/facts.md").read_text()


def test_there_are_predicates() -> None:
    assert {predicate for _, predicate in PREDICATES} >= {"enabled", "disabled", "usable"}


@pytest.mark.parametrize(("name", "predicate"), PREDICATES)
def test_a_predicate_loads_fits_the_schema_and_is_documented(name: str, predicate: str) -> None:
    text = written(tuple(name.replace("KEY", "br_netfilter").split(".")), predicate)
    assert planned(a=text).requirements
    assert validated(text) == []
    assert f"`{predicate}`" in FACTS + LANGUAGE


@pytest.mark.parametrize("name", sorted(name for name, kind in kinds() if not isinstance(kind, SetOf)))
def test_the_schema_takes_a_list_and_operators_of_every_fact(name: str) -> None:
    """Of what the loader takes of a fact, the schema refuses nothing."""
    place = tuple(name.replace("KEY", "x").split("."))
    for expects in ("[a, b]", "{not: a}", "{any: [1, 2]}", "{none: ['1', '2']}", "{equals: a}", "{is: {not: present}}"):
        text = written(place, expects)
        try:
            planned(a=text)
        except UsageError:
            continue
        assert validated(text) == []

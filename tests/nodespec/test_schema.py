"""The JSON Schema for editors: sound, never against the loader, and of some use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator, List, Type

import jsonschema
import pytest
import yaml
from test_bad_specs import BAD, Bad
from test_good_specs import MEANING, PARAMS
from test_verify import SPEC

from nodespec import specs
from nodespec.__main__ import main
from nodespec.author.spec.json_schema import schema
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.facts import declaration
from nodespec.model.json_types import Json

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
LIBRARY = [Path(specs.__file__).parent / f"{name}.yaml" for name in Library().names()]
LOADERS: List[Type[yaml.BaseLoader] | Type[yaml.SafeLoader]] = [yaml.BaseLoader, yaml.SafeLoader]


def documents(text: str) -> Iterator[Json]:
    """A text as nodespec reads it, and as an editor that takes `yes` for a flag and 1.30 for a number does."""
    for loader in LOADERS:
        yield json.loads(json.dumps(yaml.load(text, Loader=loader), default=str))  # noqa: S506 - texts only


def refused(text: str) -> List[str]:
    return [
        f"{error.json_path}: {error.message[:200]}" for one in documents(text) for error in VALIDATOR.iter_errors(one)
    ]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_grows_by_less_than_a_thousand_characters_a_fact() -> None:
    assert len(json.dumps(SCHEMA)) < 1_000 * sum(map(count_facts, declaration.list_families()))


def count_facts(family: str) -> int:
    """Count the facts of a family, and the columns of its tables."""
    declared = declaration.load_family(family)
    members = declared.members.values() if isinstance(declared, declaration.Group) else (declared,)
    return sum(max(1, len(getattr(member, "columns", ()))) for member in members)


def test_every_reference_leads_somewhere() -> None:
    definitions = SCHEMA["$defs"]
    assert isinstance(definitions, dict)
    for part in json.dumps(SCHEMA).split('"$ref": "#/$defs/')[1:]:
        assert part.split('"')[0] in definitions


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_it_takes_every_spec_of_the_library(path: Path) -> None:
    assert refused(path.read_text()) == []


GOOD = [
    SPEC,
    PARAMS,
    "extends: [container-host]\ndrop: [kernel.config.*]\nrequires: '>=0.1'\ntitle: x\nrequire: {cpu: {count: 2}}",
    "params: {n: {type: number, default: 4}}\nrequire: {cpu: {count: {param: n, not: 5}}}",
    "params: {v: {default: '>=5'}}\nrequire: {kernel: {version: {param: v}}}",
    "params: {v: {default: a}}\nrules: [{name: r, when: {params: {v: ''}}, require: {cpu: {count: 2}}}]",
    "rules: [{name: r, some: modules, require: {any: [loaded, builtin]}, or-none: true}]",
    "rules: [{name: r, some: kernel.config, where: {matches: 'b.*'}, require: {not: [enabled, '250']}}]",
    "rules: [{name: r, every: packages, where: {status: installed}, require: {version: '>=1 <2 || 3'}}]",
    """rules: [{name: r, every: packages, where: {any: [{status: installed}, {not: {architecture: all}}]},
    require: {architecture: {matches: 'a.*'}}}]""",
    """rules: [{name: r, when: {any: [{os: {id: debian}}, {all: [{cpu: {count: 2}}, {not: {os: {id: x}}}]}]},
    require: {swap: {total: 0}}}]""",
    "rules: [{name: r, level: recommended, why: x, any: [{os: {id: debian}}, {os: {id: 'a\n\n  b'}}]}]",
    "require: {packages: {a: {is: {not: present}}, b: {is: present, version: 1.30}, c: [absent]}}",
    "require: {sysctl: {vm.x: '', vm.y: 0x10, vm.z: -1, vm.w: yes}}",
    "require: {os: {id: {not: ''}}}",
    "require: {kernel: {release: {matches: ''}}}",
]


def expectations() -> Iterator[str]:
    """Every expectation whose meaning is shown."""
    for place, expects, _, _ in MEANING:
        body = expects
        for name in reversed(place):
            body = f"{{{name!r}: {body}}}"
        yield f"require: {body}"


@pytest.mark.parametrize("body", [*GOOD, *dict.fromkeys(expectations())])
def test_it_refuses_nothing_that_the_loader_takes(body: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"nodespec: 1\n{body}\n")
    assert resolve([str(path)], Library(), {}).requirements
    assert refused(path.read_text()) == []


def caught(bad: Bad) -> bool:
    """Whether an editor would underline it, by YAML or by the schema."""
    try:
        document = yaml.load(bad.text, Loader=yaml.BaseLoader)  # noqa: S506 - texts only
    except yaml.YAMLError:
        return True
    return not VALIDATOR.is_valid(document)


def test_it_catches_a_good_share_of_what_is_wrong() -> None:
    found = [bad for bad in BAD if caught(bad)]
    assert len(found) >= 160, f"{len(found)} of {len(BAD)}"


@pytest.mark.parametrize(
    "body",
    [
        "require: {kernle: {release: x}}",
        "require: {kernel: {relese: x}}",
        "require: {modules: {overlay: useable}}",
        "require: {cgroups: {controllers: cpu}}",
        "require: {packages: {runc: {versoin: 1}}}",
        "require: {cpu: {count: {iss: 2}}}",
        "require: {cpu: {count: {is: 2, why: [x]}}}",
        "require: {cpu: {count: {aliases: [x], is: 2}}}",
        "require: {files: {/etc/x: {mode: 0999}}}",
        "rules: [{name: Big, require: {cpu: {count: 2}}}]",
        "rules: [{name: r, when: {cpu: {count: {is: 2, why: x}}}, require: {os: {id: x}}}]",
        "rules: [{name: r, every: packges, require: {status: installed}}]",
        "rules: [{name: r, every: packages, require: {stauts: installed}}]",
        "rules: [{name: r, any: [{cpu: {count: 2}}]}]",
        "params: {x: {type: text, choices: [a, b]}}\nrequire: {cpu: {count: 2}}",
        "unknown: x",
    ],
)
def test_it_catches(body: str) -> None:
    assert not VALIDATOR.is_valid(yaml.load(f"nodespec: 1\n{body}", Loader=yaml.BaseLoader))  # noqa: S506 - texts


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Dict

import pytest

from nodespec.author.spec import precompiled
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError

TOP = Path(__file__).parents[2]
NAMES = Library().names()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plans")
    precompiled.write_plans(str(made))
    return made


@pytest.fixture
def plans(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(precompiled, "PLANS_DIR", str(folder))
    return folder


def ready(name: str, given: Dict[str, str], library: Library | None = None) -> object:
    return precompiled._load_precompiled(name, library or Library(), given)  # noqa: SLF001 - whether one lies there is what is asked


@pytest.mark.usefixtures("plans")
@pytest.mark.parametrize("name", NAMES)
def test_a_plan_made_ahead_is_the_plan_that_is_made_now(name: str) -> None:
    plan = resolve([name], Library(), {})
    assert ready(name, {}) == plan
    others = {param.name: param.choices[-1] for param in plan.params if param.choices}
    assert ready(name, others) == (resolve([name], Library(), others) if others else plan)


@pytest.mark.usefixtures("plans")
def test_several_specs_have_no_plan_of_one_of_them() -> None:
    for names in (NAMES[:2], NAMES[1::-1]):
        assert precompiled.load_plan(names, Library(), {}) == resolve(names, Library(), {})


def test_one_spec_has_its_plan_without_being_read(plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespec.author.spec.resolver.resolve", None)
    assert (plans / f"{NAMES[0]}.plan").exists()
    assert precompiled.load_plan([NAMES[0]], Library(), {}).specs[-1].name == NAMES[0]


@pytest.mark.usefixtures("plans")
def test_a_param_that_cannot_be_set_so_is_told_as_ever() -> None:
    for given in ({"role": "king"}, {"rule": "worker"}):
        with pytest.raises(UsageError) as now:
            resolve(["kubernetes/1.35"], Library(), given)
        with pytest.raises(UsageError) as told:
            precompiled.load_plan(["kubernetes/1.35"], Library(), given)
        assert told.value.messages == now.value.messages


@pytest.mark.usefixtures("plans")
def test_another_text_of_that_name_is_what_counts(tmp_path: Path) -> None:
    body = "nodespec: 1\nrequire: {memory: {total: '>=1Ti'}}\n"
    Path(tmp_path, "container-host.yaml").write_text(body)
    library = Library((str(tmp_path),))
    assert ready("kubernetes/1.35", {}, library) is None  # which extends it
    assert [one.id for one in precompiled.load_plan(["container-host"], library, {}).requirements] == ["memory.total"]


def test_a_plan_whose_params_stand_in_expectations_is_not_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, made = tmp_path / "library", tmp_path / "made"
    library.mkdir()
    for name, want in (("bound", "{param: least}"), ("free", "'>=2Gi'")):
        params = "params: {least: {default: 1Gi, choices: [1Gi, 2Gi], why: w}}"
        text = f"nodespec: 1\n{params}\nrequire: {{memory: {{total: {want}}}}}"
        Path(library, f"{name}.yaml").write_text(text)
    Path(library, "unset.yaml").write_text(text.replace("default: 1Gi, ", ""))
    monkeypatch.setattr("nodespec.author.spec.library.BUILT_IN_DIR", str(library))
    monkeypatch.setattr(precompiled, "BUILT_IN_DIR", str(library))
    monkeypatch.setattr(precompiled, "PLANS_DIR", str(made))
    precompiled.write_plans(str(made))
    assert sorted(os.listdir(made)) == ["bound.plan", "free.plan"]
    assert ready("bound", {}) == resolve(["bound"], Library(), {})
    assert ready("bound", {"least": "2Gi"}) is None
    assert ready("free", {"least": "2Gi"}) == resolve(["free"], Library(), {"least": "2Gi"})
    Path(library, "free.yaml").write_text(text + " ")
    assert ready("free", {}) is None


DAMAGED = {
    "empty": b"",
    "no plan": b"[]",
    "no object": marshal.dumps([], precompiled.MARSHAL_VERSION),
    "no sources": marshal.dumps({}, precompiled.MARSHAL_VERSION),
    "nothing in it": marshal.dumps({"sources": {}, "bindable": True, "plan": {}}, precompiled.MARSHAL_VERSION),
    "sources of another kind": marshal.dumps({"sources": 1}, precompiled.MARSHAL_VERSION),
    "cut off": marshal.dumps({"sources": {"a": ["b", 1, 2]}}, precompiled.MARSHAL_VERSION)[:-3],
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=list(DAMAGED))
def test_a_plan_that_cannot_be_read_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bytes
) -> None:
    Path(tmp_path, "container-host.plan").write_bytes(damaged)
    monkeypatch.setattr(precompiled, "PLANS_DIR", str(tmp_path))
    assert precompiled.load_plan(["container-host"], Library(), {}) == resolve(["container-host"], Library(), {})


def test_with_a_plan_nothing_is_imported_that_reads_specs(folder: Path) -> None:
    code = (
        "import sys; from nodespec.author.spec import precompiled; precompiled.PLANS_DIR = sys.argv.pop(1);"
        "from nodespec.__main__ import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), "check", "kubernetes/1.35", "--set", "role=control-plane"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    modules = set(done.stderr.split())
    assert "nodespec.reports.text" in modules
    read = ("resolver", "yaml_source", "statements", "fact_tree", "satisfiability", "sysspec")
    readers = {"yaml", *(f"nodespec.author.spec.{name}" for name in read)}
    assert all(find_spec(name) for name in readers)
    assert not modules & readers

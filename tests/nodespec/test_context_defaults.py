"""Params whose default depends on the context: bound where a host is judged, through plans, bundles and recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Dict, Tuple

import jsonschema
import pytest
from pretended import Said, Shelf, bound, planned, report

from nodespec.__main__ import main
from nodespec.author.spec import json_schema, precompiled
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.model import plan as plans
from nodespec.model import plan_json
from nodespec.model.plan import Plan
from nodespec.model.report import Report
from nodespec.output.manual import format_plan

if TYPE_CHECKING:
    from pathlib import Path

    from nodespec.author.spec.library import SpecText

SPEC = """
params:
  stage: {default: {running: joining, at-rest: image}, choices: [joining, image, joined], why: when}
  least: {default: {running: 2, at-rest: 4}, type: number}
require:
  cpu: {count: {param: least}}
  memory: {total: {any: [{param: least}, ">=8Gi"]}}
rules:
  - {name: early, when: {params: {stage: joining}}, require: {ports: {10250: free}}}
  - {name: baked, when: {params: {stage: image}}, require: {os: {machine_id: absent}}}
"""
SAID: Dict[str, Said] = {"cpu.count": 2, "memory.total": 4, "ports.10250": "free", "os.machine_id": "set"}


def outcomes(one: Report) -> Dict[str, str]:
    return {finding.id: finding.outcome for finding in one.findings}


def params(one: Report) -> Tuple[str, ...]:
    return tuple(f"{param.name}={param.value}: {param.source}" for param in one.params)


def mistake(*names: str, **texts: str) -> str:
    with pytest.raises(UsageError) as told:
        planned(*names, **texts)
    return str(told.value)


RUNNING = {
    "cpu.count": "pass",
    "memory.total": "fail",
    "early.ports.10250": "pass",
    "baked.os.machine_id": "not-applicable",
}
AT_REST = {
    "cpu.count": "fail",
    "memory.total": "pass",
    "early.ports.10250": "not-applicable",
    "baked.os.machine_id": "fail",
}


def test_the_context_chooses_the_default_in_conditions_and_in_expectations() -> None:
    plan = planned(a=SPEC)
    running, at_rest = report(plan, SAID), report(plan, SAID, context="at rest")
    assert outcomes(running) == RUNNING
    assert outcomes(at_rest) == AT_REST
    assert params(running) == ("stage=joining: default (running)", "least=2: default (running)")
    assert params(at_rest) == ("stage=image: default (at rest)", "least=4: default (at rest)")


def test_the_evidence_of_a_condition_names_the_context() -> None:
    found = {one.id: one for one in report(planned(a=SPEC), SAID, context="at rest").findings}
    assert found["early.ports.10250"].parts[0].evidence[0].source == "default of stage (at rest)"


def test_set_overrides_both_defaults() -> None:
    plan = bound({"stage": "joined", "least": "2"}, a=SPEC)
    for context in ("running", "at rest"):
        one = report(plan, SAID, context=context)
        assert params(one) == ("stage=joined: set", "least=2: set")
        assert outcomes(one)["cpu.count"] == "pass"


def test_a_plan_keeps_both_defaults_on_its_way_through_json() -> None:
    plan = planned(a=SPEC)
    again = plans.decode_plan(json.loads(json.dumps(plan_json.encode_plan(plan))))
    assert outcomes(report(again, SAID)) == RUNNING
    assert outcomes(report(again, SAID, context="at rest")) == AT_REST
    assert plans.compute_digest(again.requirements, again.params) == plan.specs[0].digest
    assert plan_json.encode_plan(plan)["params"] == plan_json.encode_plan(again)["params"]


def test_a_plan_without_such_a_param_is_written_as_earlier_versions_read_it() -> None:
    plan = planned(a="params: {least: {default: 2}}\nrequire: {cpu: {count: {param: least}}}")
    (param,) = json.loads(json.dumps(plan_json.encode_plan(plan)["params"]))
    assert [*param] == ["name", "value", "source", "why", "kind", "choices", "known"]
    assert plan.specs[0].digest == "1fc309df926a110f41ba2e02e1580ff828b12d875b4a0d40fe4b69a5bb59ec69"


def test_the_digest_is_that_of_the_spec_whatever_the_context() -> None:
    plan = planned(a=SPEC)
    digests = {one.specs[0].digest for one in (report(plan, SAID), report(plan, SAID, context="at rest"))}
    other = planned(a=SPEC.replace("at-rest: image", "at-rest: joined"))
    assert digests == {plan.specs[0].digest}
    assert other.specs[0].digest != plan.specs[0].digest


@pytest.mark.parametrize(
    ("child", "defaults"),
    [
        ("joined", ("joined", "joined")),
        ("{at-rest: joined}", ("joining", "joined")),
        ("{running: image}", ("image", "image")),
        ("{running: image, at-rest: joining}", ("image", "joining")),
    ],
)
def test_a_child_changes_the_default_of_either_context(child: str, defaults: Tuple[str, str]) -> None:
    plan = planned("b", a=SPEC, b=f"extends: [a]\nparams: {{stage: {{default: {child}}}}}")
    bound_ = [plans.bind_defaults(plan, context).params[0].value for context in ("running", "at rest")]
    assert tuple(bound_) == defaults


def test_a_grandchild_changes_what_a_child_changed() -> None:
    child = "extends: [a]\nparams: {stage: {default: {at-rest: joined}, choices: [joining, joined]}}"
    plan = planned("c", a=SPEC, b=child, c="extends: [b]\nparams: {stage: {default: {running: joined}}}")
    assert [plans.bind_defaults(plan, context).params[0].value for context in ("running", "at rest")] == [
        "joined",
        "joined",
    ]


def test_a_grandchild_cannot_widen_what_a_child_narrowed() -> None:
    child = "extends: [a]\nparams: {stage: {default: joined, choices: [joining, joined]}}"
    wide = "extends: [b]\nparams: {stage: {choices: [joining, image]}}"
    assert "c:3:27: `image` is not an inherited choice" in mistake("c", a=SPEC, b=child, c=wide)


def test_a_child_gives_a_default_to_a_param_without_one() -> None:
    parent = "params: {n: {type: number}}\nrequire: {cpu: {count: {param: n}}}"
    assert "`n` has no default" in mistake("a", a=parent)
    plan = planned("b", a=parent, b="extends: [a]\nparams: {n: {default: 3}}")
    assert plan.params[0].value == "3"


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("{running: joining}", "a:2:27: `default` has no `at-rest`"),
        ("{at-rest: joining}", "a:2:27: `default` has no `running`"),
        ("{running: joining, resting: image}", "a:2:46: unknown key `resting`"),
        ("{running: joining, at-rest: imago}", "a:2:55: `imago` is not one of joining, image; did you mean `image`?"),
        ("{}", "a:2:27: `default` must not be empty"),
    ],
)
def test_every_default_must_be_right(text: str, say: str) -> None:
    body = f"params: {{stage: {{default: {text}, choices: [joining, image]}}}}\nrequire: {{os: {{id: x}}}}"
    assert say in mistake("a", a=body)


def test_an_inherited_default_must_be_among_the_choices_of_a_child() -> None:
    narrow = "extends: [a]\nparams: {stage: {choices: [joining, joined]}}"
    assert "the inherited default of `stage` (at rest) is not valid: `image` is not one of" in mistake(
        "b", a=SPEC, b=narrow
    )


@pytest.mark.parametrize("context", ["running", "at-rest"])
def test_what_a_default_makes_of_a_requirement_is_proven_in_each_context(context: str) -> None:
    other = "at-rest" if context == "running" else "running"
    body = f"""
params: {{n: {{default: {{{context}: ">=1", {other}: "2"}}}}}}
require: {{cpu: {{count: {{all: [{{param: n}}, "<1"]}}}}}}"""
    assert "cannot pass" in mistake("a", a=body)
    text = body.replace('">=1"', '">=0"').replace('{all: [{param: n}, "<1"]}', "{param: n}")
    assert "`cpu.count: >=0` cannot fail" in mistake("a", a=text)


def test_a_contradiction_in_one_context_is_told() -> None:
    child = "extends: [a]\nrequire: {cpu: {count: 2}}"
    parent = "params: {n: {default: {running: 2, at-rest: 3}}}\nrequire: {cpu: {count: {param: n}}}"
    assert "contradicts" in mistake("b", a=parent, b=child)


def test_the_manual_shows_both_defaults() -> None:
    text = "\n".join(format_plan(planned(a=SPEC)))
    assert "--set stage=joining (at rest: image) of joining, image, joined: when" in text


def test_the_schema_takes_either_form() -> None:
    validator = jsonschema.Draft202012Validator(json_schema.schema())
    for default, right in (
        ("joining", True),
        ({"running": "joining", "at-rest": "image"}, True),
        ({"at-rest": "image"}, True),
        ({}, False),
        ({"resting": "image"}, False),
    ):
        body = {"nodespec": 1, "params": {"stage": {"default": default}}, "require": {"os": {"id": "x"}}}
        assert validator.is_valid(body) is right, default


# through the command line


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "node.yaml"
    path.write_text(f"nodespec: 1\n{SPEC}", "utf-8")
    return str(path)


def recording(context: str) -> str:
    facts = {
        "cpu.count": [2, "/x"],
        "memory.total": [4, "/x"],
        "ports": {"asked": {"10250": ["free", "/x"]}},
        "os.machine_id": ["set", "/x"],
    }
    head = {"nodespec-facts": 1, "context": context, "door": "live" if context == "running" else "image /x"}
    return json.dumps({**head, "host": {"name": context}, "tool": "x", "time": "2026-12-31T23:59:59Z", "facts": facts})


def test_a_directory_of_mixed_recordings_has_each_in_its_context(spec: str, tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}-image.json").write_text(recording("at rest"), "utf-8")
        (folder / f"{number}-node.json").write_text(recording("running"), "utf-8")
    made = tmp_path / "made.json"
    assert main(["check", spec, "--facts", str(folder), "-o", f"json={made}"]) == 10
    for one in json.loads(made.read_text("utf-8"))["reports"]:
        found = {finding["id"]: finding["outcome"] for finding in one["findings"]}
        assert found == (RUNNING if one["context"] == "running" else AT_REST)
    assert main(["verify", str(made)]) == 0


def test_a_bundle_has_the_defaults_of_both_contexts(spec: str, tmp_path: Path) -> None:
    bundle = str(tmp_path / "preflight")
    assert main(["bundle", spec, "-o", bundle]) == 0
    for context, expected in (("running", RUNNING), ("at rest", AT_REST)):
        facts = tmp_path / "facts.json"
        facts.write_text(recording(context), "utf-8")
        done = subprocess.run(
            [sys.executable, "-I", bundle, "check", "--facts", str(facts), "-o", "json"],
            capture_output=True,
            check=False,
        )
        (one,) = json.loads(done.stdout)["reports"]
        assert {finding["id"]: finding["outcome"] for finding in one["findings"]} == expected


def test_a_precompiled_plan_keeps_both_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precompiled.write_plans(str(tmp_path))
    monkeypatch.setattr(precompiled, "PLANS_DIR", str(tmp_path))
    assert os.listdir(tmp_path)
    for given in ({}, {"role": "control-plane"}, {"stage": "joined"}):
        now = resolve(["kubernetes/1.35"], Library(), given)
        ready = precompiled._load_precompiled("kubernetes/1.35", Library(), given)  # noqa: SLF001 - whether one lies there is asked
        assert isinstance(ready, Plan)
        assert ready == now
        for context, stage in (("running", "joining"), ("at rest", "image")):
            assert plans.bind_defaults(ready, context).params[0].value == given.get("stage", stage)


def test_the_shelf_is_asked_once_for_each_document() -> None:
    """Standard input is read once, though what depends on the context is proven twice."""

    class Once(Shelf):
        def find(self, name: str, beside: str = "") -> SpecText:
            found = super().find(name, beside)
            self.texts = {}
            return found

    assert resolve(["a"], Once({"a": SPEC}), {}).params


# a fix for each context

FIXES = """
rules:
  - name: quiet
    fix: {running: swapoff -a, at-rest: remove swap from fstab}
    require:
      swap: {total: 0}
      memory: {total: {is: ">=1Gi", fix: buy more}}
"""


def fixes(plan: Plan, context: str) -> Dict[str, str]:
    said: Dict[str, Said] = {"swap.total": 1, "memory.total": 1}
    return {finding.id: finding.fix for finding in report(plan, said, context=context).findings}


def test_a_fix_is_that_of_the_context() -> None:
    plan = planned(spec=FIXES)
    own = {"quiet.memory.total": "buy more"}
    assert fixes(plan, "running") == {"quiet.swap.total": "swapoff -a", **own}
    assert fixes(plan, "at rest") == {"quiet.swap.total": "remove swap from fstab", **own}
    assert plans.decode_plan(json.loads(json.dumps(plan_json.encode_plan(plan)))) == plan


def test_a_fix_of_one_context_only_is_refused() -> None:
    assert "`fix` has no `at-rest`; write one text, or one for each of running, at-rest" in mistake(
        spec="require: {swap: {total: {is: 0, fix: {running: swapoff -a}}}}"
    )
    assert "unknown key `resting`" in mistake(
        spec="require: {swap: {total: {is: 0, fix: {running: swapoff -a, resting: b}}}}"
    )


def test_the_digest_covers_the_fix_at_rest() -> None:
    other = planned(spec=FIXES.replace("from fstab", "from the image"))
    assert planned(spec=FIXES).specs[0].digest != other.specs[0].digest


def test_the_schema_requires_a_fix_for_each_context() -> None:
    both = {"running": "a", "at-rest": "b"}
    valid = {"nodespec": 1, "title": "t", "require": {"swap": {"total": {"is": 0, "fix": both}}}}
    jsonschema.validate(valid, json_schema.schema())
    del both["at-rest"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(valid, json_schema.schema())

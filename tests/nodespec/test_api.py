"""The public interface judges as the command line does."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nodespec import api
from nodespec.__main__ import main

HOSTS = Path(__file__).parents[1] / "hosts"
TREE = str(HOSTS / "rest-debian-12-grub")


def test_the_example_of_the_module_runs() -> None:
    example = [line[4:] for line in (api.__doc__ or "").splitlines() if line.startswith("    ")]
    done = subprocess.run([sys.executable, "-c", "\n".join(example)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] in (["conformant", "0"], ["nonconformant", "10"], ["indeterminate", "11"])


def test_a_report_equals_that_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", "container-host", "--image", TREE, "-o", "json"])
    expected = json.loads(capsys.readouterr().out)["reports"][0]
    report = api.judge(api.load_spec("container-host"), api.observe(image=TREE))
    got = json.loads(api.render([report], "json"))["reports"][0]
    assert report.exit == code
    assert {**got, "time": ""} == {**expected, "time": ""}


def test_params_waivers_and_choices_count(tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "nodespec: 1\ntitle: t\nparams: {id: {default: debian, why: w}}\n"
        "require: {os: {id: {param: id}, version: '>=99'}}\n"
    )
    waivers = tmp_path / "w.yaml"
    waivers.write_text(
        "nodespec-waivers: 1\nwaivers: [{ids: [os.version], hosts: ['*'], reason: r, owner: o, expires: 2031-01-01}]\n"
    )
    plan, host = api.load_spec(str(spec)), api.observe(image=TREE)
    assert api.judge(plan, host).exit == 10
    assert api.judge(plan, host, waivers=api.load_waivers(str(waivers)), now=1_800_000_000).exit == 0
    assert api.judge(plan, host, waivers=api.load_waivers(str(waivers)), now=2_000_000_000).exit == 10
    assert api.judge(plan, host, skip=["os.version"]).exit == 0
    other = api.load_spec(str(spec), params={"id": "fedora"})
    assert [f.outcome for f in api.judge(other, host, only=["os.id"]).findings] == ["fail", "skipped"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: api.load_spec("nosuch"), "nosuch"),
        (lambda: api.load_spec("container-host", params={"nosuch": "1"}), "nosuch"),
        (lambda: api.observe(image="/nonexistent"), "/nonexistent"),
        (lambda: api.observe(recording="/nonexistent"), "/nonexistent"),
        (lambda: api.observe("/usr"), "/usr"),
        (lambda: api.observe(kernel="6.1"), "--image"),
        (lambda: api.judge(api.load_spec("container-host"), api.observe(image=TREE), only=["nosuch"]), "nosuch"),
        (lambda: api.render([], "nosuch"), "nosuch"),
    ],
)
def test_a_mistake_of_the_caller_is_a_spec_error(call: object, said: str) -> None:
    assert callable(call)
    with pytest.raises(api.SpecError, match=said):
        call()


def test_every_public_function_is_documented_and_typed() -> None:
    tree = ast.parse(inspect.getsource(api))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {node.name for node in functions} <= set(api.__all__)
    for node in functions:
        assert ast.get_docstring(node), node.name
        assert node.returns is not None, node.name

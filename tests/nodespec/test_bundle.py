"""One text file that checks a spec with nothing installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pretended import planned
from unhurried import PROGRAM, unhurry

from nodespec.author.bundle import build
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.facts.declaration import list_families

TOP = Path(__file__).parents[2]
SPEC = """\
nodespec: 1
title: a small node
require:
  os: {id: {matches: "[a-z]+"}}
  commands: {sh: present}
  memory: {total: ">=1Mi"}
  ports: {1: free}
recommend:
  cpu: {count: ">=100000"}
"""


@pytest.fixture(scope="module")
def preflight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "small.yaml").write_text(SPEC, encoding="utf-8")
    spec = (
        (folder / "small.yaml")
        .read_text(encoding="utf-8")
        .replace("os: {id: present}", "os: {id: {matches: '[a-z]+'}}")
    )
    (folder / "small.yaml").write_text(spec, encoding="utf-8")
    done = nodespec("bundle", "./small.yaml", "-o", "preflight", folder=folder)
    assert done.returncode == 0, done.stderr
    unhurry(folder / "preflight")
    return folder / "preflight"


def nodespec(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP)},
        capture_output=True,
        text=True,
        check=False,
    )


def run(path: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """With a Python that sees nothing but its standard library, in a folder where nothing can be written."""
    command = [sys.executable, "-I", "-S", "-" if stdin else str(path), *args]
    return subprocess.run(command, cwd="/", input=stdin, capture_output=True, text=True, check=False)


def test_it_judges_as_the_program_does(preflight: Path) -> None:
    own = nodespec("check", "./small.yaml", "-o", "json", folder=preflight.parent)
    done = run(preflight, "check", "-o", "json")
    assert done.returncode == own.returncode == 0, done.stderr
    ours, theirs = (json.loads(one.stdout)["reports"][0] for one in (own, done))
    for volatile in ("time",):
        del ours[volatile], theirs[volatile]
    assert ours == theirs


def test_it_runs_from_standard_input(preflight: Path) -> None:
    done = run(preflight, "check", stdin=preflight.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CONFORMANT")


@pytest.mark.parametrize(("format_", "begins"), [("text", "CONFORMANT"), ("json", "{"), ("junit", "<?xml")])
def test_it_writes_the_formats_of_a_node(preflight: Path, format_: str, begins: str) -> None:
    assert run(preflight, "check", "-o", format_).stdout.startswith(begins)


def test_a_format_that_is_not_carried_is_refused(preflight: Path) -> None:
    done = run(preflight, "check", "-o", "html")
    assert done.returncode == 2
    assert "unknown format" in done.stderr


def test_a_recommendation_enforced_fails_and_a_waiver_as_json_lets_it(preflight: Path, tmp_path: Path) -> None:
    assert run(preflight, "check", "--strict").returncode == 10
    waiver = {"ids": ["recommended.cpu.*"], "hosts": ["*"], "reason": "r", "owner": "o", "expires": "2099-01-01"}
    (tmp_path / "w.json").write_text(json.dumps({"nodespec-waivers": 1, "waivers": [waiver]}), encoding="utf-8")
    done = run(preflight, "check", "--strict", "--waivers", str(tmp_path / "w.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waived" in done.stdout
    del waiver["reason"]
    (tmp_path / "w.json").write_text(json.dumps({"nodespec-waivers": 1, "waivers": [waiver]}), encoding="utf-8")
    assert run(preflight, "check", "--waivers", str(tmp_path / "w.json")).returncode == 2


def test_what_a_spec_is_called_is_never_code(tmp_path: Path) -> None:
    name = "./a\nraise SystemExit(9)\n#\udcff.yaml"
    (tmp_path / name).write_text(SPEC, encoding="utf-8")
    done = nodespec("bundle", name, "-o", "preflight", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "preflight", "check").returncode == 0
    assert run(tmp_path / "preflight", "--version").stdout.startswith("nodespec ")


def test_it_names_its_specs_and_explains_them(preflight: Path) -> None:
    plan = resolve([str(preflight.parent / "small.yaml")], Library(), {})
    assert f"sha256:{plan.specs[0].digest}" in run(preflight, "--version").stdout
    assert "wanted   ports.1 free" in run(preflight, "explain", "ports.1").stdout
    assert "/sys/devices/system/cpu/online" in run(preflight, "explain", "cpu.count").stdout
    assert "total:" in run(preflight, "facts", "memory").stdout


@pytest.mark.parametrize(
    "args", [("chek",), (), ("check", "--only", "nothing"), ("facts", "nonsense"), ("explain", "x")]
)
def test_a_mistake_is_one_line_and_exits_2(preflight: Path, args: tuple[str, ...]) -> None:
    done = run(preflight, *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_same_inputs_give_the_same_bytes_and_only_what_is_named_is_carried() -> None:
    plan = resolve(["kubernetes/1.35"], Library(), {})
    text = build.build_bundle(plan, [])
    assert text == build.build_bundle(plan, [])
    assert text.isascii()
    assert len(text) < 800_000
    assert build.find_used_families(plan) <= set(list_families())


def test_a_bundle_has_the_family_of_a_fact_that_another_is_compared_with() -> None:
    compared = "rules: [{name: r, any: [{swap: {total: {same-as: memory.total}}}, {cpu: {count: '>1'}}]}]"
    assert build.find_used_families(planned(a=compared)) == {"swap", "memory", "cpu"}


def test_nothing_of_the_author_s_half_is_needed(preflight: Path) -> None:
    spy = f"""
import os, sys
os._exit = sys.exit  # or nothing would be said afterwards
sys.argv = ["preflight", "check"]
try:
    exec(open({str(preflight)!r}).read())
finally:
    foreign = [name for name in sys.modules if name.split(".")[0] in ("yaml", "jsonschema", "jinja2")]
    foreign += [name for name in sys.modules if name.startswith("nodespec.author")]
    print(foreign, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", spy], cwd="/", capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_an_older_python_gets_one_sentence(preflight: Path) -> None:
    older = f"import sys; sys.version_info = (3, 8, 18); exec(open({str(preflight)!r}).read())"
    done = subprocess.run([sys.executable, "-c", older], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "nodespec: a complete Python 3.9 or later is required: Python 3.8\n"


@pytest.mark.parametrize(
    ("module", "command", "said"),
    [
        ("zlib", "check", "a complete Python 3.9 or later is required"),
        ("json", "check", "a complete Python 3.9 or later is required: No module named 'json'"),
        ("argparse", "--help", "this Python has no module `argparse`"),
    ],
)
def test_a_python_that_lacks_a_module_gets_one_sentence(preflight: Path, module: str, command: str, said: str) -> None:
    words = ["preflight", *command.split()]
    bare = f"import sys; sys.modules[{module!r}] = None; sys.argv = {words}; exec(open({str(preflight)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", bare], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"nodespec: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_no_module_of_the_author_s_half_is_carried_nor_a_family_that_no_spec_names(preflight: Path) -> None:
    whole, small = (
        build.collect_sources(sorted({*build.HEAD_FAMILIES, *build.find_used_families(resolve([spec], Library(), {}))}))
        for spec in ("kubernetes/1.35", str(preflight.parent / "small.yaml"))
    )
    assert not [name for name in {*whole, *small} if name.startswith("nodespec.author")]
    assert {"nodespec.judge.judge", "nodespec.host.tree", "nodespec.facts"} <= {*whole} & {*small}
    assert {name for name in small if name.startswith("nodespec.checks.") and "._" not in name} == {
        f"nodespec.checks.{name}" for name in ("commands", "cpu", "kernel", "memory", "os", "ports", "packages")
    }  # of packages the kernel's version at rest is asked

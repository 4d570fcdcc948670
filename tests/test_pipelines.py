"""Pipelines use the exit codes rightly: the GitHub action, the GitLab job, cloud-init and the hook of pre-commit."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from unhurried import PROGRAM

TOP = Path(__file__).parents[1]
RECIPES = (TOP / "docs/recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", RECIPES, re.MULTILINE | re.DOTALL)
SPECS = {  # what any machine is by it, and the exit code
    "conformant": ("require: {memory: {total: '>=1Mi'}}", 0),
    "nonconformant": ("require: {memory: {total: '>=1000Ti'}}", 10),
    "indeterminate": ("recommend: {memory: {total: '>=1Mi'}}", 11),
    "error": ("require: {memory: {totals: '>=1Mi'}}", 2),
}
WAIVERS = """\
nodespec-waivers: 1
waivers:
  - {ids: [os.id], hosts: ["*"], reason: r, owner: o, expires: 2099-12-31}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with specs, and programs of a path: `nodespec` is that of this checkout."""
    for name, (text, _) in SPECS.items():
        (tmp_path / f"{name}.yaml").write_text(f"nodespec: 1\nname: {name}\ntitle: {name}\n{text}\n")
    program(tmp_path / "bin/nodespec", f'exec {shlex.join(PROGRAM)} "$@"')
    return tmp_path


def program(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(TOP), **env}
    argv = ["/bin/sh", "-c", command]
    return subprocess.run(argv, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def act(folder: Path, spec: str, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Run the step of the action: its status, what it prints, its outputs and the summary."""
    files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    command = f"bash {shlex.quote(str(TOP / 'distribution/action-check'))}"
    done = run(command, folder, SPEC=spec, REPORTS="reports", **files, **inputs)
    written = dict(line.split("=", 1) for line in (folder / "output").read_text().splitlines())
    summary = folder / "summary"
    return done.returncode, done.stdout, written, summary.read_text() if summary.exists() else ""


@pytest.mark.parametrize("conclusion", SPECS)
def test_action_fails_for_any_code_but_0(conclusion: str, folder: Path) -> None:
    code = SPECS[conclusion][1]
    status, printed, outputs, summary = act(folder, f"./{conclusion}.yaml")
    assert (status, outputs) == (code, {"exit-code": str(code), "conclusion": conclusion})
    assert len(re.findall(r"^::error ", printed, re.MULTILINE)) == bool(code)
    assert (conclusion.upper() in summary.upper()) == (conclusion != "error")
    assert (folder / "reports/nodespec.xml").exists() == (conclusion != "error")


@pytest.mark.parametrize("conclusion", SPECS)
def test_action_warns_of_indeterminate_only(conclusion: str, folder: Path) -> None:
    status, printed, outputs, _ = act(folder, f"./{conclusion}.yaml", INDETERMINATE="warn")
    assert status == {"nonconformant": 10, "error": 2}.get(conclusion, 0)
    assert outputs["exit-code"] == str(SPECS[conclusion][1])
    assert ("::warning " in printed) == (conclusion == "indeterminate")


def test_action_takes_params_waivers_and_an_image(folder: Path) -> None:
    (folder / "image/etc").mkdir(parents=True)
    (folder / "image/etc/os-release").write_text("ID=debian\n")
    spec = "params: {distribution: {choices: [debian, ubuntu], why: w}}\nrequire: {os: {id: {param: distribution}}}"
    (folder / "zone.yaml").write_text(f"nodespec: 1\nname: zone\ntitle: zone\n{spec}\n")
    (folder / "waivers.yaml").write_text(WAIVERS)
    status, printed, *_ = act(folder, "./zone.yaml", IMAGE="image", SET="distribution=debian", WAIVERS="waivers.yaml")
    assert status == 0, printed


def test_action_hands_every_input_to_its_step() -> None:
    action: dict[str, Any] = yaml.safe_load((TOP / "action.yml").read_text())
    (step,) = (step for step in action["runs"]["steps"] if step.get("id") == "check")
    used = {name for value in step["env"].values() for name in re.findall(r"inputs\.([\w-]+)", value)}
    assert used == {*action["inputs"]}
    outputs = {
        name for one in action["outputs"].values() for name in re.findall(r"check\.outputs\.([\w-]+)", one["value"])
    }
    assert outputs == {*action["outputs"]}


def test_gitlab_job_warns_of_indeterminate_only(folder: Path) -> None:
    (shown,) = (body for body in BLOCKS if "allow_failure" in body)
    job = yaml.safe_load(shown)["nodespec"]
    install, check = job["script"]
    assert install == "pip install nodespec"
    assert job["allow_failure"] == {"exit_codes": [11]}
    for conclusion, (_, code) in SPECS.items():
        line = check.replace("kubernetes/1.35 --image rootfs.tar", f"./{conclusion}.yaml")
        assert run(f"set -e\n{line}", folder).returncode == code
    assert f"junit={job['artifacts']['reports']['junit']}" in check


def shellify(commands: list[str]) -> str:
    """The script that cloud-init makes of `runcmd`: no `set -e`. The stage `pipelines` compares it with cloud-init."""
    return "\n".join(["#!/bin/sh", *commands]) + "\n"


def pre_kubeadm_commands() -> list[str]:
    (shown,) = (body for body in BLOCKS if "preKubeadm" in body)
    return list(yaml.safe_load(shown)["spec"]["template"]["spec"]["preKubeadmCommands"])


@pytest.mark.parametrize("code", [0, 2, 10, 11, 70])
def test_cluster_api_does_not_join_unless_the_check_passes(code: int, folder: Path) -> None:
    program(folder / "bin/python3", f"exit {code}")
    program(folder / "bin/kubeadm", "touch joined")
    commands = [*pre_kubeadm_commands(), "kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml"]
    run(shellify(commands), folder)
    assert (folder / "joined").exists() == (code == 0)


def test_cluster_api_joins_without_exit(folder: Path) -> None:
    """Why the recipe has `|| exit 1`."""
    program(folder / "bin/python3", "exit 10")
    program(folder / "bin/kubeadm", "touch joined")
    (command,) = pre_kubeadm_commands()
    run(shellify([command.removesuffix(" || exit 1"), "kubeadm join"]), folder)
    assert (folder / "joined").exists()


@pytest.mark.parametrize("code", [0, 10, 11, 2])
def test_cloud_init_recipe_does_not_join_unless_the_check_passes(code: int, folder: Path) -> None:
    (shown,) = (body for body in BLOCKS if body.startswith("#cloud-config"))
    ((shell, flag, command),) = yaml.safe_load(shown)["runcmd"]
    program(folder / "bin/python3", f"exit {code}")
    program(folder / "bin/kubeadm", "touch joined")
    run(shlex.join([shell, flag, command]), folder)
    assert (folder / "joined").exists() == (code == 0)


def test_kubeadm_recipe_does_not_join_unless_the_check_passes(folder: Path) -> None:
    (line,) = re.findall(r"^python3 -I preflight check .* && kubeadm join .*$", RECIPES, re.MULTILINE)
    program(folder / "bin/kubeadm", "touch joined")
    for code in (10, 11, 0):
        program(folder / "bin/python3", f"exit {code}")
        run(line, folder)
        assert (folder / "joined").exists() == (code == 0)


def test_hook_of_pre_commit_selects_specs() -> None:
    (hook,) = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text())
    assert (hook["entry"], hook["language"], hook["types"]) == ("nodespec lint", "python", ["yaml"])
    chosen = ("specs/node.yaml", "a/specs/b/c.yml", "spec/x.yaml", "nodespecs/x.yaml", "edge.nodespec.yaml")
    left = ("deploy/x.yaml", "specs.yaml", "myspecs/x.yaml", "specs/README.md", "nodespec.yaml")
    assert [name for name in chosen if not re.search(hook["files"], name)] == []
    assert [name for name in left if re.search(hook["files"], name)] == []


def test_no_recipe_ignores_the_exit_code() -> None:
    blocks = "".join(BLOCKS)
    assert not re.search(r"nodespec check.*\|\| true|preflight check.*(\|\| true|; *kubeadm)", blocks)

"""Recipes of docs/recipes.md with real programs: pre-commit, the schemas of GitHub and GitLab, and cloud-init.

    python tests/stages/pipelines.py CACHE

pre-commit installs what is committed and lints a good and a bad spec. check-jsonschema validates the action
and the jobs. cloud-init of Debian validates the user data, and makes the script of a `runcmd` that Cluster API writes:
only `|| exit 1` keeps it from running kubeadm. The exit status is 1 where anything is wrong.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import debian
from install import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
CLOUD_INIT = ("configobj", "jinja2", "jsonpatch", "jsonschema", "oauthlib", "pyyaml", "requests")  # what it imports
GOOD = "nodespec: 1\nname: fit\ntitle: fit\nrequire: {memory: {total: '>=1Mi'}}\n"
SHELLIFY = "import json, sys; from cloudinit.util import shellify; print(shellify(json.load(open(sys.argv[1]))))"


def main(cache: Path) -> int:
    """Return the exit status; print what was tried."""
    cache.mkdir(parents=True, exist_ok=True)
    tools = cache / "pipelines-tools"
    if not (tools / "bin/check-jsonschema").exists():
        environment(tools, "pre-commit", "check-jsonschema", *CLOUD_INIT)
    wrong = [*hook(tools, cache), *schemas(tools), *user_data(tools, cache)]
    for line in wrong:
        print(f"wrong    {line}")
    return int(bool(wrong))


def hook(tools: Path, cache: Path) -> Iterator[str]:
    """Yield what the hook does wrong in a repository with specs."""
    with tempfile.TemporaryDirectory(prefix="nodespec-") as name:
        folder = Path(name)
        clone = folder / "nodespec"
        debian.said("git", "-c", "safe.directory=*", "clone", "--quiet", str(TOP), str(clone))
        site = folder / "site"
        (site / "specs").mkdir(parents=True)
        debian.said("git", "init", "--quiet", str(site))
        (site / "specs/fit.yaml").write_text(GOOD)
        (site / "specs/unfit.yaml").write_text(GOOD.replace("total", "totals"))
        (site / "other.yaml").write_text("a: 1\n")
        debian.said("git", "-C", str(site), "add", ".")
        for chosen, status, said in (
            ("fit", 0, "Passed"),
            ("unfit", 1, "unknown fact `totals` of `memory`"),
            ("other", 0, "Skipped"),
        ):
            file = f"specs/{chosen}.yaml" if chosen != "other" else "other.yaml"
            argv = [str(tools / "bin/pre-commit"), "try-repo", str(clone), "nodespec-lint", "--files", file]
            env = {"HOME": str(folder), "PRE_COMMIT_HOME": str(cache / "pre-commit"), "PATH": "/usr/bin:/bin"}
            done = subprocess.run(argv, cwd=site, env=env, capture_output=True, text=True, check=False)
            if done.returncode != status or not re.search(said, done.stdout):
                yield f"pre-commit on {file}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    print("pre-commit try-repo: a valid spec, an invalid spec, and a file that is not a spec")


def shown(begins: str) -> str:
    """Return the YAML block of the recipes that contains a text."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (TOP / "docs/recipes.md").read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (block for block in blocks if begins in block)
    return str(found)


def schemas(tools: Path) -> Iterator[str]:
    """Yield what the published schemas refuse."""
    with tempfile.TemporaryDirectory(prefix="nodespec-") as name:
        workflow = Path(name, "workflow.yml")
        workflow.write_text(f"on: push\n{shown('uses: OWNER/nodespec')}")
        job = Path(name, ".gitlab-ci.yml")
        job.write_text(shown("allow_failure"))
        broken = Path(name, "broken.yml")
        broken.write_text("name: nodespec\nruns: {using: composite}\n")
        for schema, file, status in (
            ("github-actions", TOP / "action.yml", 0),
            ("github-actions", broken, 1),
            ("github-workflows", workflow, 0),
            ("gitlab-ci", job, 0),
        ):
            argv = [str(tools / "bin/check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(file)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode != status:
                yield f"{schema}: {done.stdout}{done.stderr}"
    print("check-jsonschema: the action, a workflow, a GitLab job, and an invalid file")


def user_data(tools: Path, cache: Path) -> Iterator[str]:
    """Yield what cloud-init does otherwise than the recipes say."""
    modules = debian.unpacked("trixie", ("cloud-init",), cache) / "usr/lib/python3/dist-packages"
    python = ("env", f"PYTHONPATH={modules}", str(tools / "bin/python"))
    with tempfile.TemporaryDirectory(prefix="nodespec-") as name:
        file = Path(name, "user-data")
        for text, valid in ((shown("#cloud-config"), True), ("#cloud-config\nruncmd: 5\n", False)):
            file.write_text(text)
            argv = [*python, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(file)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if valid != (done.returncode == 0):
                yield f"cloud-init schema: {done.stdout}{done.stderr}"
        (command,) = re.findall(r"^ +- (python3 -I .* \|\| exit 1)$", shown("preKubeadmCommands"), re.MULTILINE)
        joined = []
        for line in (command, command.removesuffix(" || exit 1")):
            file.write_text(json.dumps([line.replace("python3", "false", 1), "echo JOINED"]))
            script = debian.said(*python, "-c", SHELLIFY, str(file))
            done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
            joined.append("JOINED" in done.stdout)
    if joined != [False, True]:
        yield f"whether kubeadm runs after a failed check, with and without `|| exit 1`: {joined}"
    print("cloud-init: a failed preKubeadmCommand ends the script only with `|| exit 1`")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: pipelines.py CACHE")
    sys.exit(main(Path(sys.argv[1]).resolve()))

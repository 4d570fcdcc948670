"""The stages of `.ci/run`: what each runs, how long it may take, what it needs, and what its result depends on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import inputs
from inputs import PROGRAM
from lanes import SKIP, Lanes, Stage

TOP = Path(__file__).resolve().parents[1]
PATH = os.environ["PATH"]
PACKAGES = (
    *(
        "strace",
        "valgrind",
        "rpm",
        "libdpkg-perl",
        "umoci",
        "skopeo",
        "systemd-boot",
        "fonts-dejavu-core",
        "fonts-liberation",
        "zsh",
        "fish",
        "man-db",
    ),
    *("python3-venv", "debootstrap", "debian-archive-keyring", "e2fsprogs", "util-linux", "kmod", "cpio"),
    *("busybox-static", "systemd", "procps", "qemu-system-x86", "qemu-user-static", "qemu-utils", "fdisk"),
    *("golang-go", "containerd", "runc", "crun", "chromium", "chromium-driver"),
)
WHOLE = (".",)  # all files of the checkout
# Stages that change mounts, ports, modules, control groups or packages of this machine, or compare what two commands
# see of it: only one of them runs at a time.
MACHINE = ("machine",)
GO = ("go",)  # stages that build in the same directories of the cache
READY = ("environment", "packages")

PYTEST = ("{python}", "-m", "pytest", "-p", "no:cacheprovider")
EXHAUSTIVE = (*PYTEST, "--exhaustive", "-m", "sampled and not root")  # ./test runs a sample of their cases
COMPLETION = (*PYTEST, "--exhaustive", "tests/pages/test_completion.py")  # with the shells of PACKAGES
UPDATE = "apt-get -qq update"
INSTALL = f"apt-get -qq -oDPkg::Lock::Timeout=300 install --yes --no-install-recommends {' '.join(PACKAGES)}"
# everything but nodespec itself, which ./test builds in the checkout meanwhile
LIBRARIES = """\
python3 -m venv '{out}/venv' && '{python}' .ci/stages.py requirements >'{out}/requirements.txt' &&
'{python}' -m pip install --quiet --requirement '{out}/requirements.txt' && '{python}' -m pyright --version"""
EDITABLE = "'{python}' -m pip install --quiet --no-deps --no-build-isolation --editable ."
# pytest's status 5: it selected no test
ROOT_TESTS = f"""\
'{{python}}' -m pytest -p no:cacheprovider -m root; status=$?
[ $status -ne 5 ] || {{{{ echo 'no test is marked root'; exit {SKIP}; }}}}
exit $status"""


def twice(command: str) -> Tuple[str, str, str]:
    """Return the command of a script that is tried again, because the network can fail once."""
    return "sh", "-c", f"{{{{ {command}; }}}} || {{{{ sleep 10; {command}; }}}}"


def script(
    name: str,
    cap: int,
    *,
    args: Sequence[str] = ("{cache}",),
    root: bool = True,
    network: bool = False,
    after: Tuple[str, ...] = (),
    apart: Tuple[str, ...] = (),
    optional: bool = False,
    paths: Sequence[str] = PROGRAM,
    daily: bool = False,
) -> Stage:
    """Return the stage of tests/stages/NAME.py; its result depends on everything that it imports, and on `paths`."""
    file = f"tests/stages/{name}.py"
    return Stage(
        name,
        cap,
        ("{python}", file, *args),
        root=root,
        network=network,
        needs=READY,
        after=after,
        apart=apart,
        optional=optional,
        paths=(file, *paths),
        daily=daily,
    )


def linter(name: str, cap: int, *command: str) -> Stage:
    """Return the stage of a program that reads the whole checkout."""
    return Stage(name, cap, command, needs=("environment",), paths=WHOLE)


def table() -> List[Stage]:
    """Return all stages. A stage starts before those after it if it can."""
    stages = [*_list_first_stages(), *_list_later_stages()]
    names = {stage.name for stage in stages}
    files = sorted((TOP / "tests/stages").glob("*.py"))  # every program there is a stage
    more = [file.stem for file in files if "\nif __name__ ==" in file.read_text(encoding="utf-8")]
    rest = [script(name, 900, args=(f"{{cache}}/{name}",), paths=WHOLE) for name in more if name not in names]
    return [*stages, *rest]


def _list_first_stages() -> List[Stage]:
    """Return the stages that others need, and the linters."""
    return [
        Stage("test", 1800, ("./test",), quiet=True),
        # these two only download: the tests read which packages this machine has
        Stage("downloads", 1800, twice(f"{UPDATE} && {INSTALL} --download-only"), root=True, network=True),
        Stage("libraries", 900, twice(LIBRARIES), network=True),
        Stage("environment", 900, twice(EDITABLE), needs=("libraries",), after=("test",)),
        Stage(
            "packages",
            1800,
            twice(INSTALL),
            root=True,
            network=True,
            needs=("downloads",),
            after=("test",),
            apart=MACHINE,
        ),
        linter("ruff-check", 180, "{python}", "-m", "ruff", "check"),
        linter("ruff-format", 180, "{python}", "-m", "ruff", "format", "--check"),
        linter("imports", 180, "{out}/venv/bin/lint-imports", "--no-cache"),
        linter("mypy", 540, "{python}", "-m", "mypy"),
        linter("pyright", 900, "{python}", "-m", "pyright", "--pythonpath", "{python}"),
    ]


def _list_later_stages() -> List[Stage]:
    """Return the stages that need those; each program of tests/stages without a row of its own comes after them."""
    return [
        # long stages come first, so that both lanes end together
        script("debian", 2700, args=("{cache}", "bookworm"), network=True, paths=()),
        Stage("root-tests", 1260, ("sh", "-c", ROOT_TESTS), root=True, needs=READY, apart=MACHINE, paths=WHOLE),
        script("gate", 2700, after=("debian",)),
        script("readme", 2700, apart=MACHINE, paths=WHOLE, daily=True),
        script("fuzz", 2700, root=False, paths=("tests", "docs", "README.md")),
        script("trees", 2700, network=True, after=("debian",), apart=MACHINE, daily=True),
        script("containerd_config", 2700, args=("{cache}/containerd",), network=True, apart=GO, paths=()),
        script("boots", 2700, after=("trees",)),
        script(
            "guest",
            2700,
            after=("debian", "oracle"),
            apart=GO,
            paths=(*PROGRAM, "tests/stages/oracle.go", "tests/stages/guest_programs"),
        ),
        script("faults", 1800, args=("{cache}/faults",), apart=MACHINE, paths=(*PROGRAM, "tests/hosts")),
        script("images", 900, after=("debian",), apart=MACHINE, paths=(*PROGRAM, "README.md")),
        script("contracts", 600, root=False, paths=WHOLE),
        script("inference", 900, network=True, paths=("tests/checks",), daily=True),
        script("unit_graph", 900, paths=("tests/faults", "tests/requirements")),
        script("browser", 540, apart=MACHINE, paths=(*PROGRAM, "tests/reports")),
        script("install", 900, root=False, paths=WHOLE, daily=True),
        Stage("completion", 300, COMPLETION, root=True, needs=READY, paths=WHOLE),
        Stage("exhaustive", 300, EXHAUSTIVE, needs=("environment",), paths=WHOLE),
        script("deb", 1200, network=True, optional=True, apart=MACHINE, paths=WHOLE, daily=True),
        script("pipelines", 600, root=False, network=True, paths=WHOLE, daily=True),
        script("oci_image", 600, optional=True, after=("deb",), apart=MACHINE, paths=WHOLE),
        script("installers", 600, root=False, network=True, apart=GO, paths=WHOLE, daily=True),
        script("kmod_oracle", 360, paths=()),
        script("network", 120, apart=MACHINE, paths=()),
        script("pythons", 1260, after=("trees",), apart=MACHINE, daily=True),
        script("os_corpus", 360, root=False, network=True, paths=()),
        script("junit_schema", 360, root=False, network=True, paths=("tests/reports",)),
        script("oracle", 360, network=True, apart=(*MACHINE, *GO), paths=(*PROGRAM, "tests/stages/oracle.go")),
        script("container", 900, after=("debian",), apart=MACHINE, paths=(*PROGRAM, "docs/recipes.md")),
        script("inside", 900, after=("debian",), apart=MACHINE),
        script("privilege", 900, apart=MACHINE, paths=(*PROGRAM, "docs/privilege.md")),
        script("containerd", 540, args=(), apart=MACHINE),
        script("sysctl_oracle", 360, paths=()),
        script("mutants", 7200, args=("{cache}", "--strict"), root=False, optional=True, paths=WHOLE),
    ]


def print_requirements() -> int:
    """Print what pip installs for nodespec, its tests and its linters, without nodespec itself."""
    import tomllib  # noqa: PLC0415 - the virtual environment has Debian's Python, 3.11

    document = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    extras = document["project"]["optional-dependencies"]
    wanted = [*document["build-system"]["requires"], *document["project"]["dependencies"]]
    wanted += [
        line for name in ("html", "reports", "test", "lint") for line in extras[name] if not line.startswith("nodespec")
    ]
    print("\n".join(wanted))
    return 0


class Digests:
    """Digests of the inputs of stages."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self.imports: Optional[inputs.Imports] = None

    def digest(self, stage: Stage) -> str:
        """Return the digest of what the result of a stage depends on; empty if Git cannot list the files."""
        day = time.strftime("%Y-%m-%d", time.gmtime()) if stage.daily else ""
        machine = (inputs.describe_machine(), inputs.site_packages(self.python))
        try:
            self.imports = self.imports or inputs.Imports(TOP)
            imported = self.imports.files_of(stage.paths)
            return inputs.digest(TOP, (*stage.paths, *imported), (*stage.command, day, *machine))
        except (OSError, SyntaxError, ValueError, subprocess.CalledProcessError):
            return ""


def link_newest_go(out: Path) -> None:
    """Put the newest Go before any other, as a link: the directory of another Go can contain another Python."""
    command = [".ci/newest-go"]
    environment = {**os.environ, "PATH": PATH}
    found = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    if found:
        link = out / "bin/go"
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(found)
        os.environ["PATH"] = f"{link.parent}:{PATH}"


def main(words: List[str]) -> int:
    """Run the stages; the exit status."""
    if words == ["requirements"]:
        return print_requirements()
    everything = words[:1] == ["--all"]
    out = Path(tempfile.mkdtemp(prefix="nodespec-ci."))
    out.chmod(0o755)
    kept = os.environ.get("CI_CACHE")
    cache = Path(kept).absolute() if kept else out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    python = out / "venv/bin/python"
    places = {"out": str(out), "cache": str(cache), "python": str(python)}

    def ended(stage: Stage) -> None:
        if stage.name == "packages":  # Debian's Go can be new
            link_newest_go(out)

    link_newest_go(out)
    passed = cache / "passed" if kept else None
    lanes = Lanes(table(), out, places, passed=passed, digest=Digests(python).digest, ended=ended)
    status = lanes.run(words[everything:], everything=everything, version=inputs.read_version(TOP))
    if not lanes.failed and not kept:  # gigabytes; after a failure somebody wants to read them
        subprocess.run(["/bin/rm", "-rf", "--one-file-system", str(cache), str(out / "venv")], check=False)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""nodespec as it is installed: what is in the wheel and the source distribution, and does it work far from its source?

    python tests/stages/install.py

What is committed is cloned, built and installed with pip into virtual environments in a temporary folder. The commands
run from `/`, and where this is run by root also as nobody. The exit status is 1 where something is not as it must be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from debian import twice

TOP = Path(__file__).parents[2]
FOLDERS = ("checks", "reports", "specs")
LINKS = {f"nodespec/{folder}" for folder in FOLDERS}
# a spec, and the exit code of judging any machine by it
SPECS = {
    "conformant": ("require: {memory: {total: '>=1Mi'}}", 0),
    "nonconformant": ("require: {memory: {total: '>=1000Ti'}}", 10),
    "indeterminate": ("recommend: {memory: {total: '>=1Mi'}}", 11),
    "mistaken": ("require: {memory: {totals: '>=1Mi'}}", 2),
}
NOT_FOR_BUILDING = {
    ".ci",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".pre-commit-hooks.yaml",
    "action.yml",
    "benchmarks",
    "demo",
    "lint",
    "test",
    "tests",
}
SHORT = 500  # characters of a report that says nothing
FORMATS = ("text", "json", "junit", "markdown", "html")
SECOND = "import sys; from nodespec.__main__ import main; main(sys.argv[1:]); print(*sys.modules, sep='\\n')"


class StageError(RuntimeError):
    """Something is not as it must be."""


def main() -> int:
    """Print what was checked; return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # nobody comes here, too
        try:
            clone = Path(folder, "clone")
            ran(0, "git", "-c", "safe.directory=*", "clone", "--quiet", str(TOP), str(clone))
            wheel = built(folder, clone)
            installed(folder, wheel)
            bare(folder, clone)
        except StageError as wrong:
            print(f"wrong    {wrong}")
            return 1
    return 0


def built(folder: Path, clone: Path) -> Path:
    """Build the wheel from the source distribution, and check the content of both."""
    tracked = ran(0, "git", "-C", str(clone), "ls-files").split()
    python = environment(folder / "building", "build")
    twice(lambda: ran(0, python, "-m", "build", "--outdir", str(folder / "dist"), str(clone)))
    alone = ("--no-deps", "--wheel-dir", str(folder / "direct"))
    twice(lambda: ran(0, python, "-m", "pip", "wheel", "--quiet", *alone, str(clone)))
    (wheel,), (direct,) = (folder / "dist").glob("*.whl"), (folder / "direct").glob("*.whl")
    contents, again = zipped(wheel), zipped(direct)
    wanted = {moved(name) for name in tracked if name.partition("/")[0] in ("nodespec", *FOLDERS)} - LINKS
    plans = {name.replace("/specs/", "/plans/").replace(".yaml", ".plan") for name in wanted if name.endswith(".yaml")}
    lies = {name for name in contents if ".dist-info/" not in name and ".data/" not in name}
    same("the wheel, the four folders and the plans of the library", lies, wanted | plans)
    same("the wheel by way of the source distribution and without", contents, again)
    same("the license", sum(name.endswith(".dist-info/licenses/LICENSE") for name in contents), 1)
    (archive,) = (folder / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        files = {member.name.partition("/")[2] for member in tar if member.isfile()}
    real = {name for name in tracked if not (clone / name).is_symlink()}
    debian = {name for name in real if name.startswith("distribution/debian/")}  # its package adds this folder itself
    left = {name.partition("/")[0] for name in real - files - debian}
    same("what is tracked and not in the source distribution", left - NOT_FOR_BUILDING, set())
    print(f"the wheel has {len(contents)} files, the source distribution {len(files)}")
    return wheel


def moved(name: str) -> str:
    """Return the path of a file of the repository in the wheel."""
    return f"nodespec/{name}" if name.startswith(FOLDERS) else name


def zipped(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        # RECORD lists the others with their digests, in no fixed order
        return {info.filename: archive.read(info) for info in archive.infolist() if "/RECORD" not in info.filename}


def installed(folder: Path, wheel: Path) -> None:
    """What is installed does, from /, all that it promises."""
    python = environment(folder / "installed", f"{wheel}[all]")
    program = str(Path(python).with_name("nodespec"))
    version = wheel.name.split("-")[1]
    same("--version", ran(0, program, "--version"), f"nodespec {version}\n")
    names = {line.split()[0] for line in ran(0, program, "specs").splitlines()}
    same("the library", names >= {"container-host", "kubernetes/1.35", "sig-node/system-validators"}, wanted=True)
    out = folder / "out"
    out.mkdir()
    out.chmod(0o777)  # nobody writes here, too
    looking = users(program)
    for name, (text, code) in SPECS.items():
        spec = out / f"{name}.yaml"
        spec.write_text(f"nodespec: 1\nname: test/{name}\ntitle: A machine\n{text}\n")
        for user in looking:
            ran(code, *user, program, "check", str(spec))
    for number, user in enumerate(looking):
        written = out / f"report-{number}"
        goals = [word for form in FORMATS for word in ("-o", f"{form}={written}.{form}")]
        ran((0, 10, 11), *user, program, "check", "kubernetes/1.35", *goals)
        for form in FORMATS:
            again = ran((0, 10, 11), *user, program, "report", f"{written}.json", "-o", form)
            same(f"{form}, rendered again", again, Path(f"{written}.{form}").read_text())
            same(f"whether {form} says anything", len(again) > SHORT, wanted=True)
        ran((0, 10, 11), *user, program, "verify", f"{written}.json")
    same("whether YAML is read for a spec of the library", "yaml" in modules(python, Path("/")), wanted=False)
    counts = f"{len(SPECS)} exit codes, {len(FORMATS)} formats written and rendered again"
    print(f"installed: {counts}, for {len(looking)} users")


def bare(folder: Path, clone: Path) -> None:
    """A clone works without being installed, where Python has PyYAML."""
    python = environment(folder / "bare", "pyyaml")
    version = ran(0, python, "-m", "nodespec", "--version", cwd=clone)
    same("the clone's version", version.startswith("nodespec "), wanted=True)
    modules(python, clone)
    written = ran((0, 10, 11), python, "-m", "nodespec", "check", "kubernetes/1.35", "-o", "json", cwd=clone)
    same("a report", len(json.loads(written)["reports"]), 1)
    print("a clone works with PyYAML only")


def modules(python: str, cwd: Path) -> list[str]:
    """What the main job imports; no module under a second name."""
    names = ran(0, python, "-c", SECOND, "check", "kubernetes/1.35", "-o", "json=/dev/null", cwd=cwd).split()
    same("modules beside nodespec's", {*FOLDERS, "nodespec.checks"} & {*names}, {"nodespec.checks"})
    return names


def users(program: str) -> list[list[str]]:
    """Return how to run the program as this user, and as nobody."""
    if os.geteuid():
        return [[]]
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*nobody, program, "--version"], cwd="/", capture_output=True, check=False)
    if done.returncode:
        print(f"skipped  as nobody, who must not run {os.path.realpath(Path(program).with_name('python'))}")
    return [[]] if done.returncode else [[], nobody]


def environment(folder: Path, *packages: str) -> str:
    """A new virtual environment with these packages: its Python."""
    ran(0, sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin/python")
    twice(lambda: ran(0, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages))
    return python


def ran(codes: int | tuple[int, ...], *argv: str, cwd: Path = Path("/")) -> str:
    """What a program prints that exits so."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode not in (codes if isinstance(codes, tuple) else (codes,)):
        raise StageError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise StageError(f"{what}: found {str(found)[:2000]}, wanted {str(wanted)[:2000]}")


if __name__ == "__main__":
    sys.exit(main())

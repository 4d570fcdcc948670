"""A bundle imports nothing from its own folder or from the current directory, which others may write to."""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
import sys
import sysconfig
import zipfile
from typing import TYPE_CHECKING, Iterable

import pytest
from unhurried import unhurry

from nodespec.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

SPEC = "nodespec: 1\nname: unfit\ntitle: unfit\nrequire: {memory: {total: '>=1000Ti'}}\n"
PYTHON = os.path.realpath(sys.executable)  # the one that is installed: a virtual environment has paths of its own
OPTIONAL = {"zstandard", "yaml", "jsonschema", "jinja2", "nodespec", "sitecustomize", "usercustomize"}
NAMES = sys.stdlib_module_names | OPTIONAL
PLANTED = """\
import posix
posix.close(posix.open({marker!r}, posix.O_CREAT | posix.O_WRONLY, 0o644))
posix._exit(0)
"""
COMMANDS = (
    "check",
    "check -o json",
    "check -o junit={out}/junit.xml --wait 0.1",
    "check --image {out}",
    "facts -o {out}/host.json.gz",
    "check --facts {out}/host.json.gz",
    "facts evil",
    "explain memory.total",
    "--help",
    "--version",
    "chekc",
    "gate run",
    "gate install --into {out}",
    "gate remove --into {out}",
)
FORMS = {
    "relative path": "cd {bundles} && python3 preflight check",
    "relative path, isolated": "cd {bundles} && python3 -I preflight check",
    "absolute path": "python3 {bundles}/preflight check",
    "absolute path, isolated": "python3 -I {bundles}/preflight check",
    "isolated, without site": "python3 -I -S {bundles}/preflight check",
    "without site": "python3 -S {bundles}/preflight check",
    "executable": "{bundles}/preflight check",
    "executable, relative": "cd {bundles} && ./preflight check",
    "symbolic link": "ln -sf {bundles}/preflight linked && python3 linked check",
    "relative symbolic link": "ln -sf ../bundles/preflight linked && ./linked check",
    "standard input": "python3 - check <{bundles}/preflight",
    "standard input, isolated": "python3 -I - check <{bundles}/preflight",
    "standard input, without site": "python3 -S - check <{bundles}/preflight",
    "standard input from a pipe": "cat {bundles}/preflight | python3 - check",
    "standard input as a file": "python3 /dev/stdin check <{bundles}/preflight",
    "over SSH": "env -i HOME=$PWD PATH=$PATH sh -c 'cd; python3 -I - check' <{bundles}/preflight",
    "command, isolated": "python3 -I -c 'exec(open(\"{bundles}/preflight\").read())' check",
    "deleted directory": "mkdir gone; cd gone; rmdir ../gone; python3 {bundles}/preflight check",
    "deleted directory, standard input": "mkdir gone; cd gone; rmdir ../gone; python3 - check <{bundles}/preflight",
    "profiler, isolated": "python3 -I -m cProfile {bundles}/preflight check",
}
PROGRAMS = (
    "python3 .",
    "python3 -I .",
    "python3 {home}",
    "python3 -I {home}",
    "python3 ../a.zip",
    "python3 -I ../a.zip",
)


@pytest.fixture(scope="module")
def preflight(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made")
    (folder / "spec.yaml").write_text(SPEC, encoding="utf-8")
    assert main(["bundle", str(folder / "spec.yaml"), "-o", str(folder / "preflight")]) == 0
    unhurry(folder / "preflight")
    return (folder / "preflight").read_text(encoding="ascii")


@pytest.fixture(scope="module")
def planted(preflight: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, and a current directory, with a module in both for every name."""
    top = tmp_path_factory.mktemp("hostile")
    for name in ("bundles", "home", "ran", "out", "bin"):
        (top / name).mkdir()
    (top / "bin/python3").symlink_to(PYTHON)
    (top / "bundles/preflight").write_text(preflight, encoding="ascii")
    (top / "bundles/preflight").chmod(0o755)
    for folder in ("bundles", "home"):
        plant(top / folder, NAMES, top / "ran")
    return top


@pytest.fixture
def hostile(planted: Path) -> Path:
    """The same, where nothing has run yet."""
    for name in ran(planted):
        (planted / "ran" / name).unlink()
    return planted


def plant(folder: Path, names: Iterable[str], ran: Path) -> None:
    """Write modules that leave a file in `ran` and exit 0: as sources, packages, or bytecode in turn."""
    for number, name in enumerate(sorted(names)):
        source = folder / f"{name}.py"
        source.write_text(PLANTED.format(marker=str(ran / name)), encoding="utf-8")
        if number % 3 == 1:
            (folder / name).mkdir()
            source.rename(folder / name / "__init__.py")
        elif number % 3 == 2:
            py_compile.compile(str(source), str(folder / f"{name}.pyc"))
            source.unlink()


def shell(folder: Path, line: str, home: str = "home", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line in the hostile home."""
    path = f"{folder / 'bin'}:/usr/bin:/bin"
    words = {name: str(folder / name) for name in ("bundles", "out", "home")}
    return subprocess.run(
        ["/bin/sh", "-c", line.format(**words)],
        cwd=folder / home,
        env={"PATH": path, "HOME": str(folder / home), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def ran(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "ran"))


@pytest.mark.parametrize("form", FORMS)
def test_no_planted_module_runs_however_a_bundle_is_started(hostile: Path, form: str) -> None:
    done = shell(hostile, FORMS[form])
    assert ran(hostile) == []
    assert done.returncode == 10, done.stderr
    assert done.stdout.lstrip().startswith("NONCONFORMANT")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 has -P")
@pytest.mark.parametrize("form", ["python3 -P - check <{bundles}/preflight", "python3 -P {bundles}/preflight check"])
def test_no_planted_module_runs_where_python_adds_no_folder(hostile: Path, form: str) -> None:
    assert (shell(hostile, form).returncode, ran(hostile)) == (10, [])


def test_no_planted_module_runs_whatever_a_bundle_is_asked(hostile: Path) -> None:
    metadata = hostile / "home/evil-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text("[nodespec.checks]\nevil = evil\n", encoding="utf-8")
    plant(hostile / "home", ["evil"], hostile / "ran")
    exits = [shell(hostile, f"python3 - {command} <{{bundles}}/preflight").returncode for command in COMMANDS[:-2]]
    exits += [shell(hostile, f"python3 {{bundles}}/preflight {command}").returncode for command in COMMANDS[-2:]]
    assert ran(hostile) == []
    assert exits == [10, 10, 10, 2, 0, 10, 2, 0, 0, 0, 2, 10, 0, 0]


def test_every_module_that_a_bundle_imports_is_planted(hostile: Path) -> None:
    """Without this the tests above could miss a module."""
    spy = hostile / "spy"
    spy.write_text(
        "import os, sys\n"
        "os._exit = sys.exit\n"
        "sys.argv = sys.argv[1:]\n"
        "try:\n"
        "    exec(open(sys.argv[0]).read())\n"
        "finally:\n"
        "    print('modules:', *{name.split('.')[0] for name in sys.modules}, file=sys.stderr)\n",
        encoding="utf-8",
    )
    imported = set()
    for command in COMMANDS:
        done = shell(hostile, f"python3 -I -S {spy} {{bundles}}/preflight {command}")
        imported |= set(re.findall(r"^modules: (.*)", done.stderr, re.MULTILINE)[0].split())
    assert {"argparse", "json", "zlib", "gzip", "importlib", "nodespec"} <= imported
    assert imported - {"__main__", "sys"} <= NAMES


@pytest.fixture
def chosen(hostile: Path, preflight: str, tmp_path: Path) -> Path:
    """A folder with modules that Python does not import before it runs a bundle."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/__main__.py").write_text(preflight, encoding="ascii")
    python = [str(hostile / "bin/python3"), "-c", "import sys; print(*sys.modules)"]  # with the .pth files of its site
    started = subprocess.run(python, capture_output=True, text=True, check=True).stdout.split()
    names = {"argparse", "binascii", "json", "zlib"} - {*started}
    assert names
    plant(tmp_path / "home", names, hostile / "ran")
    (tmp_path / "bin").symlink_to(hostile / "bin")
    return tmp_path


@pytest.mark.parametrize("form", ["python3 {bundles}/preflight check", "python3 -S - check <{bundles}/preflight"])
def test_the_standard_library_comes_before_python_path(hostile: Path, chosen: Path, form: str) -> None:
    """What Python imports before it runs a bundle, as sitecustomize, only -I keeps from there."""
    (chosen / "bundles").symlink_to(hostile / "bundles")
    for variable in (str(chosen / "home"), f":{chosen}", "."):
        assert (shell(chosen, form, PYTHONPATH=variable).returncode, ran(hostile)) == (10, []), variable


def test_no_planted_module_runs_where_a_command_runs_a_bundle(hostile: Path, chosen: Path) -> None:
    """Python 3.13 itself imports linecache from the current directory before it runs a command."""
    form = "python3 -c 'exec(open(\"__main__.py\").read())' check"
    assert (shell(chosen, form).returncode, ran(hostile)) == (10, [])


@pytest.mark.parametrize("form", PROGRAMS)
def test_no_planted_module_runs_in_a_directory_or_archive_that_is_run(hostile: Path, chosen: Path, form: str) -> None:
    """What Python itself imports to run one, as importlib, is the program's own."""
    with zipfile.ZipFile(chosen / "a.zip", "w") as archive:
        for path in sorted((chosen / "home").rglob("*")):
            archive.write(path, path.relative_to(chosen / "home"))
    assert (shell(chosen, f"{form} check").returncode, ran(hostile)) == (10, [])


@pytest.mark.parametrize("form", ["python3 -", "python3 -S -", "python3 -I -", "python3 /dev/stdin"])
@pytest.mark.parametrize("folder", [sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")])
def test_a_bundle_runs_in_the_folders_of_the_standard_library(hostile: Path, form: str, folder: str) -> None:
    done = shell(hostile, f"cd {folder} && {form} check <{{bundles}}/preflight")
    assert done.returncode == 10, done.stderr


def test_a_bundle_runs_in_a_program_that_has_the_standard_library_first(hostile: Path) -> None:
    program = "import sys; del sys.path[:2]; file = sys.argv.pop(1); exec(open(file).read())"
    done = shell(hostile, f"python3 -c '{program}' {{bundles}}/preflight check", home="out")
    assert done.returncode == 10, done.stderr


def test_nothing_is_compiled_into_the_standard_library(preflight: str) -> None:
    assert "sys.dont_write_bytecode = True" in preflight[: preflight.index("import binascii")]

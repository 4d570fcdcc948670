"""The gate that boots with the machine: what is installed, what it says, and what opens it all the same."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Iterator

import pytest
from made_bundles import build_bundles_once

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.host.machine import Machine
from nodespec.preflight import gate
from nodespec.preflight.tree_writer import TreeWriter

if TYPE_CHECKING:
    from pathlib import Path

    from nodespec.model.plan import Plan

FIT = "nodespec: 1\nname: fit\ntitle: fit\nrequire: {memory: {total: '>=1Mi'}}\n"
UNFIT = "nodespec: 1\nname: unfit\ntitle: unfit\nrequire: {memory: {total: '>=1000Ti'}}\n"
FILES = (
    "etc/nodespec/preflight",
    "etc/systemd/system/kubelet.service.d/50-nodespec-gate.conf",
    "etc/systemd/system/nodespec-gate.service",
)


@pytest.fixture(scope="module", autouse=True)
def _one_build() -> Iterator[None]:
    with build_bundles_once():
        yield


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "spec.yaml").write_text(UNFIT, encoding="utf-8")
    (tmp_path / "root").mkdir()
    return tmp_path / "spec.yaml"


def held(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_it_is_installed_and_removed_whole(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = spec.parent / "root"
    assert main(["gate", "install", str(spec), "--into", str(root), "--wait", "90"]) == 0
    assert held(root) == list(FILES)
    said = capsys.readouterr().out
    assert all(f"wrote {root}/{name}\n" in said for name in FILES)
    text = (root / FILES[2]).read_text(encoding="utf-8")
    assert re.search(r"^ExecStart=python3 -I -S /etc/nodespec/preflight gate run .*--wait 90$", text, re.MULTILINE)
    assert "`python3 -I /etc/nodespec/preflight gate remove`" in text
    units = configparser.RawConfigParser(strict=False)
    units.read([root / name for name in FILES[1:]])
    assert units["Unit"]["before"] == "kubelet.service"
    assert units["Unit"]["requires"] == "nodespec-gate.service"
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 0  # anew, over its own files
    (root / "etc/nodespec/waivers.json").touch()
    assert main(["gate", "remove", "--into", str(root)]) == 0
    assert held(root) == ["etc/nodespec/waivers.json"]
    assert not (root / FILES[1]).parent.exists()
    assert main(["gate", "remove", "--into", str(root)]) == 2


def test_a_bundle_installs_itself(spec: Path) -> None:
    root, bundle = spec.parent / "root", spec.parent / "preflight"
    assert main(["bundle", str(spec), "-o", str(bundle)]) == 0
    argv = [sys.executable, "-I", "-S", str(bundle), "gate", "install", "--into", str(root)]
    subprocess.run(argv, check=True, capture_output=True)
    assert held(root) == list(FILES)
    assert (root / FILES[0]).read_bytes() == bundle.read_bytes()
    assert os.access(root / FILES[0], os.X_OK)
    argv = [sys.executable, str(root / FILES[0]), "gate", "remove", "--into", str(root)]
    subprocess.run(argv, check=True, capture_output=True)
    assert held(root) == []


@pytest.mark.parametrize(
    "form",
    [
        "{python} - {install} <../preflight",
        "{python} -I - {install} <../preflight",
        "cat ../preflight | {python} /dev/stdin {install}",
        "{python} -c 'exec(open(\"../preflight\").read())' {install}",
    ],
)
def test_a_bundle_that_is_not_a_file_installs_nothing_and_no_file_in_its_place(spec: Path, form: str) -> None:
    """A file that is named as the arguments name standard input would be what runs at every boot."""
    bundle, hostile = spec.parent / "preflight", spec.parent / "hostile"
    assert main(["bundle", str(spec), "-o", str(bundle)]) == 0
    hostile.mkdir()
    for name in ("-", "-c", "stdin"):
        (hostile / name).write_text("# Made by nodespec\nraise SystemExit(0)\n", encoding="ascii")
    command = form.format(python=sys.executable, install=f"gate install --into {spec.parent}/root")
    done = subprocess.run(["/bin/sh", "-c", command], cwd=hostile, capture_output=True, check=False)
    assert done.returncode == 2, done.stdout
    assert b"as a file" in done.stderr
    assert not held(spec.parent / "root")


def test_printing_writes_nothing(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = spec.parent / "root"
    assert main(["gate", "install", str(spec), "--into", str(root), "--print", "--unit", "k3s"]) == 0
    assert held(root) == []
    assert "# /etc/systemd/system/k3s.service.d/50-nodespec-gate.conf\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["a b", "../x.service", "nodespec-gate", "kubelet.mount", "a\nb.service", "x%n.service"]
)
def test_a_unit_that_cannot_be_meant_is_refused(spec: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (str(spec), "./nosuch.yaml"):  # before the bundle is built
        assert main(["gate", "install", asked, "--into", str(spec.parent / "root"), "--unit", name]) == 2
        assert capsys.readouterr().err.startswith("--unit")
    assert not list((spec.parent / "root").iterdir())


def test_what_somebody_else_wrote_is_kept_and_nothing_is_installed(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = spec.parent / "root"
    theirs = root / FILES[1]  # the last that is written
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Unit]\n", encoding="utf-8")
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 2
    assert held(root) == [FILES[1]]
    assert not (root / "etc/nodespec").exists()
    assert "nodespec did not write it" in capsys.readouterr().err


def test_where_one_file_cannot_be_written_the_others_are_as_before(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = spec.parent / "root"
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 0
    before = {name: (root / name).read_bytes() for name in FILES}

    write = TreeWriter.write

    def full(tree: TreeWriter, path: str, content: bytes, mode: int = 0) -> None:
        if path.endswith(".conf") and mode:
            raise OSError(28, "No space left on device", path)
        write(tree, path, content, mode)

    monkeypatch.setattr(TreeWriter, "write", full)
    assert main(["gate", "install", str(spec), "--into", str(root), "--strict"]) == 2
    assert {name: (root / name).read_bytes() for name in FILES} == before
    assert "No space left on device; nothing is installed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host beside the image, with a gate that must stay as it is."""
    host = tmp_path_factory.mktemp("host")
    (host / "spec.yaml").write_text(UNFIT, encoding="utf-8")
    assert main(["gate", "install", str(host / "spec.yaml"), "--into", str(host)]) == 0
    return host


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in held(root)}


LED_OUT = ("etc", "etc/nodespec", "etc/systemd", "etc/systemd/system", "etc/systemd/system/kubelet.service.d")


@pytest.mark.parametrize(("number", "name"), [*enumerate([*LED_OUT, *FILES])])
def test_no_link_leads_out_of_an_image(
    spec: Path, outside: Path, number: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, before = spec.parent / "root", contents(outside)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(outside / name, (root / name).parent) if number % 2 else outside / name
    (root / name).symlink_to(target)
    for argv in (["install", str(spec), "--strict"], ["remove"]):
        assert main(["gate", *argv, "--into", str(root)]) == 2
        assert contents(outside) == before
        assert held(root) == ([name] if name in FILES else [])  # itself, by its link
    assert (root / name).is_symlink()
    said = capsys.readouterr().err
    assert f"{root}/{name}" in said
    assert "nothing is installed" in said


def test_links_inside_an_image_are_those_of_the_image(spec: Path) -> None:
    root = spec.parent / "root"
    (root / "usr/etc").mkdir(parents=True)
    (root / "etc").symlink_to("/usr/etc")  # which it is not on this machine
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 0
    assert held(root) == [f"usr/{name}" for name in FILES]
    assert main(["gate", "remove", "--into", str(root)]) == 0
    assert held(root) == []
    assert (root / "etc").is_symlink()


def test_a_link_that_is_planted_under_a_temporary_name_is_not_followed(spec: Path) -> None:
    root, victim = spec.parent / "root", spec.parent / "victim"
    victim.write_text("precious", encoding="utf-8")
    victim.chmod(0o600)
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.{os.getpid()}.tmp").symlink_to(victim)
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 0
    assert victim.read_text(encoding="utf-8") == "precious"
    assert victim.stat().st_mode & 0o777 == 0o600


def test_modes_do_not_hang_on_the_umask(spec: Path) -> None:
    root, mask = spec.parent / "root", os.umask(0o077)
    try:
        for _ in range(2):
            assert main(["gate", "install", str(spec), "--into", str(root)]) == 0
            assert [(root / name).stat().st_mode & 0o777 for name in FILES] == [0o755, 0o644, 0o644]
            (root / FILES[0]).chmod(0o600)
    finally:
        os.umask(mask)


def test_a_list_of_overrides_that_is_a_fifo_does_not_hang(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "override").write_text("ann: INC-42", encoding="utf-8")
    os.mkfifo(tmp_path / "state/overrides")
    assert gate.run_gate_command(["run"], plans["unfit"], ()) == 0  # and it does not wait for a reader
    assert "overrides: " in capsys.readouterr().err


# what the unit runs


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Plan]:
    """A fit and an unfit plan; what the gate reads and writes lies in a folder."""
    found = {}
    for name, text in (("fit", FIT), ("unfit", UNFIT)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        found[name] = resolve([str(tmp_path / f"{name}.yaml")], Library(), {})
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(gate, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(gate, "OVERRIDE_FILE", str(tmp_path / "override"))
    monkeypatch.setattr(gate, "WAIVERS_FILE", str(tmp_path / "waivers.json"))
    return found


def test_an_unfit_machine_is_told_what_to_do(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.run_gate_command(["run"], plans["unfit"], ()) == 10
    last = capsys.readouterr().out.splitlines()[-3:]
    assert last[0] == "kubelet.service does not start: fail memory.total"
    assert f"echo WHO and WHY >{tmp_path}/override" in last[2]
    assert (tmp_path / "state/gate.txt").read_text(encoding="utf-8").startswith("NONCONFORMANT")
    assert not (tmp_path / "state/overrides").exists()


def test_a_fit_machine_may_start(plans: dict[str, Plan], capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.run_gate_command(["run", "--unit", "k3s.service"], plans["fit"], ()) == 0
    assert capsys.readouterr().out.endswith("k3s.service may start\n")


def test_an_override_opens_and_leaves_its_trace(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slept(_: float) -> None:
        raise AssertionError

    monkeypatch.setattr("nodespec.run.check.time.sleep", slept)
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    (tmp_path / "override").write_text("ann: INC-42\x1b[2J,\nno other node left\n", encoding="utf-8")
    assert gate.run_gate_command(["run", "--wait", "600"], plans["unfit"], ()) == 0  # and does not wait
    reason = "ann: INC-42\\x1b[2J, no other node left"
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        f"<4>OVERRIDDEN by {tmp_path}/override: {reason}",
        "<4>kubelet.service starts anyway: fail memory.total",
    ]
    (stored,) = json.loads((tmp_path / "state/gate.json").read_text(encoding="utf-8"))["reports"]
    assert stored["conclusion"] == "nonconformant"
    assert any("starts anyway, because of" in notice for notice in stored["notices"])
    kept = (tmp_path / "state/overrides").read_text(encoding="utf-8")
    assert re.fullmatch(rf"\S+Z exit 10 {tmp_path}/override: {re.escape(reason)}\n", kept)


def test_an_override_without_a_reason_is_none(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "override").write_text(" \n", encoding="utf-8")
    assert gate.run_gate_command(["run"], plans["unfit"], ()) == 10
    assert "no reason is given" in capsys.readouterr().err


def test_an_override_opens_even_where_the_gate_itself_is_broken(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    (tmp_path / "waivers.json").write_text("{", encoding="utf-8")
    assert gate.run_gate_command(["run"], plans["fit"], ()) == 2
    assert "does not start: exit 2, see above" in capsys.readouterr().out
    monkeypatch.setattr("nodespec.run.check.judge_host", broken)
    (tmp_path / "override").write_text("bob: the gate is broken", encoding="utf-8")
    assert gate.run_gate_command(["run"], plans["fit"], ()) == 0
    assert "exit 2" in capsys.readouterr().out


def test_waivers_of_the_machine_are_heeded(plans: dict[str, Plan], tmp_path: Path) -> None:
    waiver = {"ids": ["memory.total"], "hosts": ["*"], "reason": "r", "owner": "o", "expires": "2099-01-01"}
    (tmp_path / "waivers.json").write_text(json.dumps({"nodespec-waivers": 1, "waivers": [waiver]}), encoding="utf-8")
    assert gate.run_gate_command(["run"], plans["unfit"], ()) == 11  # no required requirement passes
    (stored,) = json.loads((tmp_path / "state/gate.json").read_text(encoding="utf-8"))["reports"]
    assert stored["findings"][0]["disposition"] == "waived"


def test_a_word_on_the_kernels_command_line_overrides_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Machine(str(tmp_path))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/stat").write_text("1 (x) S 0\n", encoding="utf-8")
    (tmp_path / "proc/cmdline").write_text('root=/dev/vda nodespec.override="bob: INC-43" quiet\n', encoding="utf-8")
    monkeypatch.setattr(gate, "Machine", lambda: host)
    assert gate.find_override() == gate.Override("nodespec.override", "bob: INC-43")
    (tmp_path / "proc/cmdline").write_text("nodespec.override quiet\n", encoding="utf-8")
    host = Machine(str(tmp_path))
    assert gate.find_override() is None
    assert "nodespec.override: no reason is given" in capsys.readouterr().err


def test_its_state_is_printed(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = spec.parent / "state"
    root.mkdir()
    assert main(["gate", "status", "--into", str(root)]) == 2
    assert capsys.readouterr().err == f"no gate is installed in {root}\n"
    assert main(["gate", "install", str(spec), "--into", str(root)]) == 0
    capsys.readouterr()
    assert main(["gate", "status", "--into", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line for line in lines if line.startswith("installed")} == {f"installed  {root}/{path}" for path in FILES}
    assert "guards     kubelet.service" in lines
    assert f"last run   none: {root}/var/lib/nodespec/gate.txt does not exist" in lines
    (root / "var/lib/nodespec").mkdir(parents=True)
    (root / "var/lib/nodespec/gate.txt").write_text("NONCONFORMANT: 1 fail\x1b[31m\nnode.yaml on a\nfail\n")
    (root / "var/lib/nodespec/overrides").write_text("2026-01-01 first\n2026-02-02 second\n")
    assert main(["gate", "status", "--into", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:7] == [
        "last run   NONCONFORMANT: 1 fail\\x1b[31m",
        "last run   node.yaml on a",
        "overridden 2 times, last 2026-02-02 second",
    ]
    assert lines[7].startswith("version    nodespec ")

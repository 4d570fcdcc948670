from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import kubelet
from nodespec.facts.declaration import Group, load_family
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS
from nodespec.model.observation import Absent, Evidence, Limits, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SEARCHED = Absent(Evidence(":".join(PROGRAMS)))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the program, of which Debian has no package: where a script that prints may be put."""
    monkeypatch.setattr("nodespec.host.tree.PROGRAMS", (str(tmp_path),))
    return tmp_path / "kubelet"


def script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


def test_the_family_has_these_facts() -> None:
    declared = load_family("kubelet")
    assert isinstance(declared, Group)
    read = {"config", "flags", "removed_flags", "proxies"}
    state = {"credentials", "kubeconfig", "leftovers", "cpu_manager_state", "memory_manager_state"}
    assert set(declared.members) == {"version", "path", "running", "enabled", "starts_at_boot"} | read | state


def test_the_version_is_the_one_printed(installed: Path) -> None:
    script(installed, '[ "$*" = --version ] && echo Kubernetes v1.35.0')
    assert kubelet.version.probe(Machine()) == Value("1.35.0", Evidence("kubelet --version"))
    assert kubelet.path.probe(Machine()) == Value(str(installed), Evidence(str(installed)))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("echo k3s version v1.35.0+k3s1",), "malformed"),
        (("exit 0",), "malformed"),
        (("echo not Kubernetes v1.35.0",), "malformed"),
        (("echo Kubernetes v1.35.0", "exit 3"), "failed"),
        (("yes",), "failed"),  # stopped
        (("sleep 99",), "timed out"),
    ],
)
def test_what_says_no_version_is_unknown(installed: Path, lines: tuple[str, ...], reason: str) -> None:
    machine = Machine()
    machine.limits = Limits(peer_seconds=0.2) if reason == "timed out" else machine.limits
    script(installed, *lines)
    seen = kubelet.version.probe(machine)
    assert isinstance(seen, Unknown)
    assert seen.reason == reason


def test_where_none_is_installed_it_is_absent(installed: Path) -> None:
    assert not installed.exists()
    assert isinstance(kubelet.version.probe(Machine()), Absent)
    assert isinstance(kubelet.path.probe(Machine()), Absent)


def test_nothing_below_another_root_is_run(make_tree: MakeTree) -> None:
    root = make_tree({"/usr/bin/kubelet": "#!/bin/sh\n"})
    assert kubelet.version.probe(Machine(root)) == SEARCHED
    (Path(root) / "usr/bin/kubelet").chmod(0o755)
    assert kubelet.path.probe(Machine(root)) == Value("/usr/bin/kubelet", Evidence("/usr/bin/kubelet"))
    seen = kubelet.version.probe(Machine(root))
    assert isinstance(seen, Unknown)
    assert seen.reason == "refused"


PROCESSES = {"/proc/self/stat": "", "/proc/1/comm": "systemd\n", "/proc/2/comm": "kthreadd\n", "/proc/meminfo": ""}


@pytest.mark.parametrize(
    ("comm", "running", "source"),
    [
        ("kubelet\n", True, "/proc/712/comm"),
        ("kubelet-proxy\n", False, "/proc/*/comm"),
        ("kubeletx", False, "/proc/*/comm"),
        (b"\xffkubelet", False, "/proc/*/comm"),
        ("", False, "/proc/*/comm"),
        (None, False, "/proc/*/comm"),  # ended since it was listed
    ],
)
def test_whether_it_runs_is_told_by_its_name(
    make_tree: MakeTree, comm: Union[str, bytes, None], running: object, source: str
) -> None:
    files = {**PROCESSES, **({"/proc/712/comm": comm} if comm is not None else {"/proc/712": None})}
    assert kubelet.running.probe(Machine(make_tree(files))) == Value(running, Evidence(source))


def test_that_it_does_not_run_is_said_only_where_all_processes_are_seen(make_tree: MakeTree) -> None:
    seen = kubelet.running.probe(Machine(make_tree({"/proc/self/stat": "", "/proc/3300/comm": "bash\n"})))
    assert seen == Unknown("hidden", "/proc/1/comm: /proc does not show process 1", "run as root, or without hidepid")


def test_a_process_that_cannot_be_read_might_be_it(make_tree: MakeTree) -> None:
    files = {**PROCESSES, "/proc/712/comm/x": ""}  # in place of permission, which root has
    seen = kubelet.running.probe(Machine(make_tree(files)))
    assert isinstance(seen, Unknown)
    files["/proc/713/comm"] = "kubelet\n"
    assert kubelet.running.probe(Machine(make_tree(files))) == Value(value=True, evidence=Evidence("/proc/713/comm"))


def test_without_proc_nothing_is_said(make_tree: MakeTree) -> None:
    for files in ({"/etc/passwd": ""}, {"/proc": None}):
        seen = kubelet.running.probe(Machine(make_tree(files)))
        assert isinstance(seen, Unknown)
        assert seen.reason == "hidden"


@settings(max_examples=100)
@given(st.text() | st.text().map("Kubernetes v1{}".format))
def test_a_version_is_one_word(text: str) -> None:
    try:
        said = kubelet._parse_printed_version(text)  # noqa: SLF001 - whatever the program prints
    except ValueError:
        return
    assert said[:1].isdigit()
    assert not set(said) & set(" \n\t")

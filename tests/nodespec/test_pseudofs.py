"""What it means that a path below /proc or /sys does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Union

import pytest

from nodespec.checks import kernel, modules
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

WHOLE = {"/proc/self/stat": "", "/proc/uptime": "", "/proc/1/stat": "", "/sys/kernel/notes": ""}
NO_PROC = Unknown("hidden", "/proc is not mounted here", "mount /proc")
NO_SYS = Unknown("hidden", "/sys is not mounted here", "mount /sys")
SECURITY = "/sys/kernel/security"
NO_SECURITYFS = Unknown(
    "hidden", "/sys/kernel/security has no securityfs mounted", "mount -t securityfs securityfs /sys/kernel/security"
)


@pytest.mark.parametrize(
    "path", ["/proc/swaps", "/proc/sys/net/nosuch", "/proc/7/comm", "/proc/self/nosuch", "/sys/nosuch", "/sys/module/x"]
)
def test_what_a_whole_file_system_lacks_is_absent(make_tree: MakeTree, path: str) -> None:
    machine = Machine(make_tree({**WHOLE, "/proc/sys/net/x": ""}))
    assert machine.text(path) == machine.entry(path) == machine.names(path) == machine.link(path)
    assert machine.text(path) == Absent(Evidence(path))


@pytest.mark.parametrize(
    ("files", "path", "seen"),
    [
        ({"/etc/x": ""}, "/proc/swaps", NO_PROC),
        ({"/proc": None}, "/proc/swaps", NO_PROC),
        ({"/proc/uptime": ""}, "/proc/swaps", NO_PROC),
        ({"/etc/x": ""}, "/proc", NO_PROC),
        ({"/etc/x": ""}, "/sys/module/x", NO_SYS),
        ({"/sys": None}, "/sys/module/x", NO_SYS),
        ({"/sys/kernel": None}, "/sys/kernel", Value((), Evidence("/sys/kernel"))),
        ({"/sys/kernel": None}, "/sys/kernel/x", NO_SYS),
        ({"/sys/devices/x": ""}, "/sys/kernel/x", Absent(Evidence("/sys/kernel/x"))),
        ({**WHOLE, "/sys/kernel/security": None}, "/sys/kernel/security/lockdown", NO_SECURITYFS),
        ({**WHOLE, "/sys/kernel/security": None}, "/sys/kernel/security", NO_SECURITYFS),
        (
            {**WHOLE, "/sys/kernel/security/lsm": ""},
            "/sys/kernel/security/x",
            Absent(Evidence("/sys/kernel/security/x")),
        ),
        # what the kernel itself makes where the file system can be mounted
        (WHOLE, f"{SECURITY}/x", Absent(Evidence(f"{SECURITY}/x"))),
    ],
)
def test_what_is_not_recognized_or_not_mounted_is_hidden(
    make_tree: MakeTree, files: Mapping[str, Union[str, bytes, None]], path: str, seen: object
) -> None:
    assert Machine(make_tree(files)).names(path) == seen


@pytest.mark.parametrize(
    ("more", "shown"), [("/proc/self/stat", False), ("/proc/77/stat", False), ("/proc/uptime", True), ("/proc/x", True)]
)
def test_a_procfs_of_processes_only_shows_no_other_absence(make_tree: MakeTree, more: str, *, shown: bool) -> None:
    machine = Machine(make_tree({"/proc/self/stat": "", "/proc/1/stat": "", "/proc/thread-self/stat": "", more: ""}))
    partial = Unknown("hidden", "/proc/swaps: /proc shows processes only (subset=pid)", "run without ProcSubset=pid")
    assert machine.text("/proc/swaps") == (Absent(Evidence("/proc/swaps")) if shown else partial)
    assert machine.text("/proc/1/x") == Absent(Evidence("/proc/1/x"))


def test_a_process_is_not_absent_where_the_first_is_hidden(make_tree: MakeTree) -> None:
    machine = Machine(make_tree({"/proc/self/stat": "", "/proc/uptime": ""}))
    hidden = Unknown("hidden", "/proc/7/comm: /proc does not show process 1", "run as root, or without hidepid")
    assert machine.text("/proc/7/comm") == hidden


def test_a_link_is_followed_to_what_decides(make_tree: MakeTree) -> None:
    links = {"/proc/device-tree": "/sys/firmware/devicetree/base", "/proc/7/root": "/"}
    files = {"/proc/self/stat": "", "/proc/uptime": "", "/proc/7/stat": "", "/sys/firmware": None}
    machine = Machine(make_tree(files, links))
    assert machine.text("/proc/device-tree/model") == NO_SYS
    assert machine.text("/proc/7/root/etc/nosuch") == Absent(Evidence("/proc/7/root/etc/nosuch"))


RELEASE = "6.1.0-50-amd64"
MODULES = {
    **WHOLE,
    "/proc/sys/kernel/osrelease": RELEASE,
    "/proc/modules/x": "",  # a directory in its place cannot be read
    f"/lib/modules/{RELEASE}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    f"/lib/modules/{RELEASE}/modules.dep": "kernel/fs/overlayfs/overlay.ko:\n",
}


def test_what_may_be_loaded_is_not_called_loadable_only(make_tree: MakeTree) -> None:
    rows = modules.modules.probe(Machine(make_tree(MODULES)))
    seen = rows.observe("overlay")
    assert isinstance(seen, Value)
    assert (seen.value, seen.others) == ("blocked", ("loaded",))  # no modprobe is here to load it
    assert isinstance(rows.observe("ext4"), Value)
    assert isinstance(rows.observe("nosuch"), Unknown)
    assert isinstance(rows.rest, Unknown)


def test_a_version_is_not_guessed_where_the_source_that_says_it_is_masked(
    make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/sys/kernel/osrelease": "5.15.0-25-generic", "/proc/version_signature": "Ubuntu 5.15.0-25 5.15.30"}
    machine = Machine(make_tree({**WHOLE, **files}))
    assert kernel.version.probe(machine) == Value("5.15.30", Evidence("/proc/version_signature"))
    line, masked = machine.line, Unknown("hidden", "/proc/version_signature is masked by another mount")
    monkeypatch.setattr(machine, "line", lambda path: masked if path == "/proc/version_signature" else line(path))
    assert kernel.version.probe(machine) == masked


def test_what_a_unit_makes_inaccessible_is_hidden(make_tree: MakeTree) -> None:
    """InaccessiblePaths= and ProtectKernelModules= put an empty directory of mode 000 there, which root can open."""
    root = make_tree({"/boot": None, "/etc/x": "", "/empty": None})
    Path(root, "boot").chmod(0)
    machine = Machine(root)
    for seen in (machine.names("/boot"), machine.text("/boot/config"), machine.entry("/boot/loader/entries")):
        assert isinstance(seen, Unknown)
        assert seen.reason in ("hidden", "no permission")
    Path(root, "boot").chmod(0o755)
    machine = Machine(root)  # a run remembers what is sealed
    assert machine.names("/boot") == Value((), Evidence("/boot"))
    assert machine.text("/boot/loader/x") == Absent(Evidence("/boot/loader/x"))
    assert machine.names("/empty") == Value((), Evidence("/empty"))


def test_a_root_that_cannot_be_opened_is_unknown(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(make_tree({"/proc/self/stat": "", "/proc/uptime": ""}))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("nodespec.host.directory.PathWalk", refuse)
    seen = machine.line("/proc/cmdline")
    assert isinstance(seen, Unknown)
    assert seen.reason == "no permission"
    assert machine.resolved("/proc/cmdline") == ""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Union

import pytest

from nodespec.checks import _systemd_units, kubelet
from nodespec.checks._runtime_catalog import RUNTIMES
from nodespec.checks.runtime import runtime
from nodespec.facts.declaration import Columns, Rows, Table, resolve_place
from nodespec.facts.value_types import Datum
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import PROGRAMS, Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row

Files = Dict[str, Union[str, bytes, None]]
SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
STATUS = "/var/lib/dpkg/status"
UNIT = "/usr/lib/systemd/system/containerd.service"
WANTS = "/etc/systemd/system/multi-user.target.wants"
SEARCHED = Evidence(":".join(PROGRAMS))


def packages(**versions: str) -> Files:
    """A database of dpkg; of names, `_` is `.`."""
    form = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n"
    return {STATUS: "\n".join(form.format(name.replace("_", "."), version) for name, version in versions.items())}


def host(make_tree: MakeTree, *programs: str, files: Files, links: Mapping[str, str] = {}) -> Tree:
    """A tree with programs, which need not be what they are called."""
    root = make_tree({**dict.fromkeys(programs, ""), "/etc/machine-id": "0" * 31 + "1", **files}, {**SYSTEMD, **links})
    for program in programs:
        Path(root + program).chmod(0o755)
    return DirectoryTree(root)


def row(tree: Tree, name: str) -> Mapping[str, Observation[Datum]]:
    assert runtime.resting
    found = runtime.resting(tree).observe(name)
    assert isinstance(found, Value), found
    assert isinstance(found.value, Columns)
    return found.value


def seen(tree: Tree, name: str) -> Dict[str, object]:
    """The columns that are not left open: values as they are, what is absent as None."""
    columns: Dict[str, object] = {}
    for column, found in row(tree, name).items():
        if isinstance(found, Unknown):
            assert found.reason == "deferred", found
            continue
        columns[column] = found.value if isinstance(found, Value) else None
        for one in found.evidence.source.split(", "):
            assert any(fnmatchcase(one, source) for source in runtime.resting_sources), one
    return columns


def test_containerd_is_told_by_its_package_its_unit_and_its_files(make_tree: MakeTree) -> None:
    config = (
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\nSystemdCgroup = true\n'
    )
    files: Files = {
        **packages(containerd="1.6.20~ds1-1+deb12u1"),
        "/etc/containerd/config.toml": config,
        UNIT: "[Service]\nExecStart=/usr/bin/containerd\n",
    }
    links = {f"{WANTS}/containerd.service": UNIT}
    assert seen(host(make_tree, "/usr/bin/containerd", files=files, links=links), "containerd") == {
        "version": "1.6.20",
        "path": "/usr/bin/containerd",
        "enabled": True,
        "starts_at_boot": True,
        "cgroup_driver": "systemd",
        "snapshotter": "overlayfs",
        "default_handler": "runc",
        "registry_config_path": None,
        "cdi": False,
        "cni_conf_dir": "/etc/cni/net.d",
        "cni_bin_dirs": {"/opt/cni/bin"},
        "root": "/var/lib/containerd",
    }


def test_what_only_answers_can_tell_is_left_open(make_tree: MakeTree) -> None:
    columns = row(host(make_tree, "/usr/bin/containerd", files={}), "containerd")
    for column in ("running", "socket", "api", "conditions", "handlers", "features"):
        assert columns[column] == Unknown("deferred", "only a running machine can tell")


@pytest.mark.parametrize(("version", "driver"), [("1.7.2-1", "cgroupfs"), ("2.1.5-1", "cgroupfs"), ("3.0.0-1", None)])
def test_without_a_file_the_driver_is_that_of_the_version(make_tree: MakeTree, version: str, driver: object) -> None:
    found = row(host(make_tree, "/usr/bin/containerd", files=packages(containerd=version)), "containerd")
    assert getattr(found["cgroup_driver"], "value", None) == driver


@pytest.mark.parametrize(
    ("name", "package"),
    [
        *(("containerd", name) for name in ("containerd", "containerd.io", "moby-containerd")),
        *(("docker", name) for name in ("docker.io", "docker-ce", "moby-engine")),
        ("crio", "cri-o"),
        ("cri-dockerd", "cri-dockerd"),
        ("runc", "runc"),
        ("crun", "crun"),
    ],
)
def test_a_runtime_comes_in_packages_of_several_names(make_tree: MakeTree, name: str, package: str) -> None:
    tree = host(make_tree, f"/usr/bin/{RUNTIMES[name].program}", files=packages(**{package: "5:27.3.1-1~debian.12"}))
    assert row(tree, name)["version"] == Value("27.3.1", Evidence(STATUS, 4))


@pytest.mark.parametrize(
    ("program", "files"),
    [
        ("/usr/local/bin/containerd", packages(containerd="1.7.2-1")),
        ("/usr/bin/containerd", packages(bash="5")),
        ("/usr/bin/containerd", {}),
    ],
)
def test_a_program_that_no_package_has_is_not_asked(make_tree: MakeTree, program: str, files: Files) -> None:
    said = f"only a running machine can tell: no package has the version of {program}"
    assert row(host(make_tree, program, files=files), "containerd")["version"] == Unknown("deferred", said)


def test_a_database_that_cannot_be_read_is_told(make_tree: MakeTree) -> None:
    version = row(host(make_tree, "/usr/bin/containerd", files={STATUS: None}), "containerd")["version"]
    assert isinstance(version, Unknown)
    assert version.reason == "failed"


def test_a_socket_starts_its_service_in_time(make_tree: MakeTree) -> None:
    units = {f"/lib/systemd/system/docker.{kind}": "[Unit]" for kind in ("service", "socket")}
    links = {"/etc/systemd/system/sockets.target.wants/docker.socket": "/lib/systemd/system/docker.socket"}
    tree = host(make_tree, "/usr/bin/dockerd", files={**units}, links=links)
    assert row(tree, "docker")["enabled"] == Value(value=True, evidence=Evidence(next(iter(links))))


MASKED = {f"{WANTS}/containerd.service": UNIT, "/etc/systemd/system/containerd.service": "/dev/null"}


@pytest.mark.parametrize("links", [{}, MASKED])
def test_what_is_disabled_or_masked_is_not_started(make_tree: MakeTree, links: Mapping[str, str]) -> None:
    tree = host(make_tree, "/usr/bin/containerd", files={UNIT: "[Unit]"}, links=links)
    assert seen(tree, "containerd")["enabled"] is False


def test_without_a_unit_nothing_starts_it(make_tree: MakeTree) -> None:
    enabled = row(host(make_tree, "/usr/bin/containerd", files={}), "containerd")["enabled"]
    assert enabled == Absent(Evidence(_systemd_units.UNIT_PATH), "unit containerd.service not found")


def test_runc_is_no_service_and_keeps_no_images(make_tree: MakeTree) -> None:
    columns = row(host(make_tree, "/usr/sbin/runc", files=packages(runc="1.1.5+ds1-1+deb12u1")), "runc")
    for column in ("enabled", "running", "socket", "api", "conditions", "handlers", "features", "cgroup_driver"):
        assert columns[column] == Absent(SEARCHED, "runc is not a service"), column
    assert columns["snapshotter"] == Absent(SEARCHED, "runc does not store images")


def test_only_what_is_installed_is_a_row(make_tree: MakeTree) -> None:
    tree = host(make_tree, "/usr/bin/crun", "/usr/bin/crio", files={"/run/containerd/containerd.sock": ""})
    assert runtime.resting
    rows: Rows[Row] = runtime.resting(tree)
    assert set(rows.every()) == {"crun", "crio"}
    assert rows.observe("containerd") == Absent(SEARCHED, "containerd is not installed")
    assert seen(tree, "crio")["cgroup_driver"] == "systemd"


def test_without_a_search_path_nothing_is_missing(make_tree: MakeTree) -> None:
    tree = DirectoryTree(make_tree({"/etc/os-release": "ID=debian\n"}))
    assert runtime.resting
    assert kubelet.path.resting
    for seen in (runtime.resting(tree).observe("docker"), kubelet.path.resting(tree)):
        assert seen == Unknown("not found", "no directory of the search path exists")


def test_nothing_in_a_tree_is_run(make_tree: MakeTree, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    tree = host(make_tree, "/usr/bin/kubelet", "/usr/bin/containerd", files={})
    for name in ("kubelet", "containerd"):
        Path(f"{tree.root}/usr/bin/{name}").write_text(f"#!/bin/sh\ntouch {ran}\n")
    assert seen(tree, "containerd")
    assert kubelet.version.resting
    assert isinstance(kubelet.version.resting(tree), Unknown)
    assert not ran.exists()


class TestKubelet:
    KUBELET = "/usr/lib/systemd/system/kubelet.service"

    def test_its_version_is_its_package_s(self, make_tree: MakeTree) -> None:
        tree = host(make_tree, "/usr/bin/kubelet", files=packages(kubelet="1.35.0-1.1"))
        assert kubelet.version.resting
        found = kubelet.version.resting(tree)
        assert found == Value("1.35.0", Evidence(STATUS, 4))
        assert any(fnmatchcase(STATUS, source) for source in kubelet.version.resting_sources)

    def test_without_the_program_there_is_none(self, make_tree: MakeTree) -> None:
        assert kubelet.version.resting
        assert kubelet.version.resting(host(make_tree, files=packages(kubelet="1.35.0-1.1"))) == Absent(SEARCHED)

    @pytest.mark.parametrize("look", [Tree, Machine])
    def test_whether_it_is_enabled_is_the_same_live_and_at_rest(self, make_tree: MakeTree, look: type[Tree]) -> None:
        link = f"{WANTS}/kubelet.service"
        mounted = "22 1 0:21 / /proc rw - proc proc rw\n"
        files: Files = {
            self.KUBELET: "[Unit]",
            "/proc/cmdline": "",
            "/proc/1/mountinfo": mounted,
            "/proc/self/mountinfo": mounted,
        }
        root = host(make_tree, files=files, links={link: self.KUBELET}).root
        table = resolve_place(("kubelet", "enabled")).fact
        assert not isinstance(table, Table)
        probe = table.probe if look is Machine else table.resting
        assert probe
        assert probe(Machine(root)) == Value(value=True, evidence=Evidence(link))
        assert any(fnmatchcase(link, source) for source in table.sources)


OLD_CRI, NEW_CRI = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"


@pytest.mark.parametrize(
    ("release", "mixed", "driver"),
    [
        ("2.0.5-1", False, "systemd"),
        ("2.0.5-1", True, None),
        ("2.1.5-1", False, "systemd"),
        ("2.1.5-1", True, "cgroupfs"),
    ],
)
def test_plugins_of_two_versions_in_one_file(
    make_tree: MakeTree,
    release: str,
    mixed: bool,  # noqa: FBT001 - a parameter of a table
    driver: Optional[str],
) -> None:
    """Releases of containerd 2.0 differ in which of them counts; 2.1 keeps what the newer one sets."""
    options = "containerd.runtimes.runc.options]\nSystemdCgroup = {}\n"
    config = f"version = 2\n[plugins.'{OLD_CRI}'." + options.format("true")
    if mixed:
        config += f"[plugins.'{NEW_CRI}'." + options.format("false")
    files = {**packages(containerd=release), "/etc/containerd/config.toml": config}
    found = row(host(make_tree, "/usr/bin/containerd", files=files), "containerd")["cgroup_driver"]
    assert (found.value if isinstance(found, Value) else None) == driver
    assert driver or (isinstance(found, Unknown) and found.reason == "unsupported")

from __future__ import annotations

import json
import socket
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence, Tuple, Union

import fake_peers
import pytest
from fake_peers import Fake, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodespec.checks import runtime
from nodespec.checks._runtime_catalog import MORE_COLUMNS, RUNTIMES
from nodespec.facts.declaration import Columns, Table, resolve_place
from nodespec.facts.value_types import Datum, OneOf
from nodespec.host.cri import CRI_VERSIONS
from nodespec.host.machine import Machine, ProgramResult
from nodespec.model.observation import Absent, Evidence, Lacking, Limits, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SOCKETS = {
    "containerd": "/run/containerd/containerd.sock",
    "crio": "/run/crio/crio.sock",
    "docker": "/run/docker.sock",
    "cri-dockerd": "/run/cri-dockerd.sock",
}
CONTAINERD = SOCKETS["containerd"]
PRINTED_TWO = "containerd github.com/containerd/containerd/v2 v2.1.5 fcd43222d6b0\n"
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALLED: Mapping[str, Union[str, bytes, None]] = {f"/usr/bin/{runtime.program}": "" for runtime in RUNTIMES.values()}


class Host(Machine):
    """A machine below a root that counts what is asked of it, and whose programs print what they are told to."""

    def __init__(self, root: str, **prints: str) -> None:
        super().__init__(root)
        self.ran: List[str] = []
        self.connected: List[str] = []
        self.prints = prints

    def run(self, argv: Sequence[str]) -> Observation[ProgramResult]:
        self.ran.append(" ".join(argv))
        if argv[0] not in self.prints:
            return super().run(argv)
        return Value(ProgramResult(0, self.prints[argv[0]]), Evidence(" ".join(argv)))

    def connect(self, path: str) -> Union[socket.socket, Lacking]:
        self.connected.append(path)
        return super().connect(path)


@pytest.fixture
def root(make_tree: MakeTree) -> str:
    """A host on which every runtime's program is installed, and nothing runs."""
    made = make_tree(INSTALLED)
    for program in INSTALLED:
        Path(made + program).chmod(0o755)
    return made


def row(machine: Machine, name: str) -> Mapping[str, Observation[Datum]]:
    found = runtime.runtime.probe(machine).observe(name)
    assert isinstance(found, Value)
    assert isinstance(found.value, Columns)
    return found.value


def seen(machine: Machine, name: str) -> Dict[str, object]:
    """The columns of a row: values as they are, what is absent as None, what is unknown as its reason."""
    columns: Dict[str, object] = {}
    for column, found in row(machine, name).items():
        if isinstance(found, Unknown):
            columns[column] = found.reason
            continue
        columns[column] = found.value if isinstance(found, Value) else None
        for one in found.evidence.source.split(", "):
            assert any(fnmatchcase(one, source) for source in declared().sources), one
    return columns


def declared() -> Table:
    found = resolve_place(("runtime",)).fact
    assert isinstance(found, Table)
    return found


def version(name: str, number: str) -> bytes:
    return field(1, "0.1.0") + field(2, name) + field(3, number) + field(4, "v1")


CONDITIONS = field(1, field(1, [field(1, "RuntimeReady") + field(2, 1), field(1, "NetworkReady") + field(2, 0)]))
KATA = {"options": None}
RUNC = {"options": {"BinaryName": "", "SystemdCgroup": True}}
CONFIG = json.dumps({"containerd": {"defaultRuntimeName": "runc", "runtimes": {"runc": RUNC, "kata": KATA}}})
STORE = "/var/lib/containerd/io.containerd.snapshotter.v1"
ONE: Dict[str, fake_peers.Reply] = {  # as containerd 1.6 and 1.7 answer
    "runtime.v1.RuntimeService/Version": version("containerd", "1.7.28"),
    "runtime.v1.RuntimeService/Status": CONDITIONS
    + field(2, [field(1, "golang") + field(2, '"go1.23"'), field(1, "config") + field(2, CONFIG)]),
    "runtime.v1.ImageService/ImageFsInfo": field(1, field(2, field(1, f"{STORE}.overlayfs"))),
}
TWO: Dict[str, fake_peers.Reply] = {  # as containerd 2 answers
    "runtime.v1.RuntimeService/Version": version("containerd", "v2.2.0+unknown"),
    "runtime.v1.RuntimeService/Status": CONDITIONS
    + field(3, [field(2, field(1, 1) + field(2, 1)), field(1, "crun"), field(1, "runc") + field(2, field(1, 1))])
    + field(4, field(1, 1)),
    "runtime.v1.RuntimeService/RuntimeConfig": b"\n\0",  # an empty message: systemd is 0
    "runtime.v1.ImageService/ImageFsInfo": field(
        1, [field(2, field(1, "/data/io.containerd.snapshotter.v1.zfs")), field(2, field(1, "/x"))]
    ),
}


def without(methods: Mapping[str, fake_peers.Reply], *names: str) -> Dict[str, fake_peers.Reply]:
    return {method: reply for method, reply in methods.items() if not method.endswith(names)}


def test_containerd_1_says_what_its_configuration_has(root: str) -> None:
    with Fake(root, CONTAINERD, fake_peers.grpc(ONE)):
        assert seen(Machine(root), "containerd") == {
            "version": "1.7.28",
            "path": "/usr/bin/containerd",
            "enabled": "not found",  # no init system stands there
            "starts_at_boot": "not found",
            "running": True,
            "socket": CONTAINERD,
            "api": "v1",
            "conditions": {"RuntimeReady"},
            "handlers": {"runc", "kata"},
            "features": frozenset(),
            "cgroup_driver": "systemd",
            "snapshotter": "overlayfs",
            "runtime_config": False,
            "default_handler": "runc",
            "handler_features": "unsupported",
            "sandbox_image": "unsupported",  # the default of a release
            "registry_config_path": None,
            "cdi": False,
            "cni_conf_dir": "/etc/cni/net.d",
            "cni_bin_dirs": {"/opt/cni/bin"},
            "root": "/var/lib/containerd",
        }


def test_containerd_2_says_it_itself(root: str) -> None:
    with Fake(root, CONTAINERD, fake_peers.grpc(TWO)):
        found = row(Machine(root), "containerd")
        assert found["cgroup_driver"] == Value(
            "systemd", Evidence(f"{CONTAINERD} runtime.v1.RuntimeService/RuntimeConfig")
        )
        assert found["version"] == Value("2.2.0+unknown", Evidence(f"{CONTAINERD} runtime.v1.RuntimeService/Version"))
        assert found["snapshotter"] == Value(
            "zfs", Evidence(f"{CONTAINERD} runtime.v1.ImageService/ImageFsInfo", inferred=True)
        )
        shown = seen(Machine(root), "containerd")
    assert shown["handlers"] == {"runc", "crun"}
    assert shown["features"] == {"supplemental_groups_policy", "recursive_read_only_mounts", "user_namespaces"}
    assert shown["handler_features"] == {"runc/recursive_read_only_mounts"}
    assert (shown["runtime_config"], shown["cdi"]) == (True, True)
    assert shown["registry_config_path"] == "/etc/containerd/certs.d:/etc/docker/certs.d"


def test_crio_is_asked_in_both_ways(root: str) -> None:
    said = {"storage_driver": "overlay", "cgroup_driver": "cgroupfs"}
    cri = {**TWO, "runtime.v1.RuntimeService/Version": version("cri-o", "1.35.0")}
    grpc, http = fake_peers.grpc(without(cri, "RuntimeConfig")), fake_peers.http({"/info": json.dumps(said)})

    def both(connected: socket.socket) -> None:
        (http if connected.recv(3, socket.MSG_PEEK) == b"GET" else grpc)(connected)

    with Fake(root, SOCKETS["crio"], both):
        found = seen(Machine(root), "crio")
    assert found["version"] == "1.35.0"
    assert found["cgroup_driver"] == "cgroupfs"
    assert found["snapshotter"] == "overlay"
    assert found["conditions"] == {"RuntimeReady"}


def test_docker_is_asked_over_http(root: str) -> None:
    said = {
        "ServerVersion": "28.2.2",
        "CgroupDriver": "systemd",
        "Driver": "overlay2",
        "Runtimes": {"runc": {}, "nvidia": {}},
        "DefaultRuntime": "nvidia",
    }
    with Fake(root, SOCKETS["docker"], fake_peers.http({"/info": json.dumps(said)})) as docker:
        found = seen(Machine(root), "docker")
        assert found.pop("default_handler") == "nvidia"
        assert {found.pop(column) for column in MORE_COLUMNS if column != "default_handler"} == {None, "unsupported"}
        assert found == {
            "version": "28.2.2",
            "path": "/usr/bin/dockerd",
            "enabled": "not found",  # no init system stands there
            "starts_at_boot": "not found",
            "running": True,
            "socket": SOCKETS["docker"],
            "api": None,
            "conditions": None,
            "handlers": {"runc", "nvidia"},
            "features": None,
            "cgroup_driver": "systemd",
            "snapshotter": "overlay2",
        }
        assert docker.met == 2  # once to see whether it runs, once for all that it says
        api = row(Machine(root), "docker")["api"]
    assert isinstance(api, Absent)
    assert api.say == "Docker does not serve the CRI; cri-dockerd does so for Docker"


def test_cri_dockerd_says_the_version_of_docker_and_is_not_believed(root: str) -> None:
    with Fake(root, SOCKETS["cri-dockerd"], fake_peers.grpc(ONE)):
        found = row(Host(root, **{"cri-dockerd": "cri-dockerd 0.3.21 (9a8a9fe)\n"}), "cri-dockerd")
        assert found["version"] == Value("0.3.21", Evidence("cri-dockerd --version"))
        assert found["api"] == Value("v1", Evidence(f"{SOCKETS['cri-dockerd']} runtime.v1.RuntimeService/Version"))
        assert found["snapshotter"] == Absent(Evidence(PROGRAMS), "cri-dockerd does not store images")


def test_plugin_disabled_is_absence_of_the_cri_and_says_what_to_do(root: str) -> None:
    with Fake(root, CONTAINERD, fake_peers.grpc({"containerd.services.version.v1.Version/Version": b""})):
        machine = Host(root, containerd="containerd containerd.io 1.7.27 05044ec\n")
        found = row(machine, "containerd")
        absent = Absent(
            Evidence(f"{CONTAINERD} runtime.v1.RuntimeService/Version"),
            "the cri plugin of containerd is disabled or did not start; remove it from disabled_plugins in "
            "/etc/containerd/config.toml, or search containerd's log for its error, and restart containerd",
        )
        assert [found[column] for column in ("api", "conditions", "handlers", "features")] == [absent] * 4
        assert found["running"] == Value(value=True, evidence=Evidence(CONTAINERD))
        assert found["version"] == Value("1.7.27", Evidence("containerd --version"))
        assert found["cgroup_driver"] == Value("cgroupfs", Evidence("/usr/bin/containerd", inferred=True))


@pytest.mark.parametrize("name", ["containerd", "crio", "docker", "cri-dockerd"])
@pytest.mark.parametrize("left", [False, True], ids=["no socket", "nobody listens"])
def test_not_running_is_a_value_and_what_it_would_say_is_absent(name: str, left: bool, root: str) -> None:  # noqa: FBT001
    if left:
        with Fake(root, SOCKETS[name], fake_peers.silent):
            pass
    found = row(Machine(root), name)
    running = found["running"]
    assert isinstance(running, Value)
    assert running.value is False
    assert SOCKETS[name] in running.evidence.source
    for column in ("socket", "api", "conditions", "features"):
        absent = found[column]
        assert isinstance(absent, Absent)
        assert absent.say == f"{name} does not run: nothing listens on {SOCKETS[name]}"


def test_other_api_version_is_told_and_spoken(root: str) -> None:
    old = {method.replace(".v1.", ".v1alpha2."): reply for method, reply in ONE.items()}
    with Fake(root, CONTAINERD, fake_peers.grpc(old)):
        found = row(Machine(root), "containerd")
        assert found["api"] == Value("v1alpha2", Evidence(f"{CONTAINERD} runtime.v1alpha2.RuntimeService/Version"))
        assert found["conditions"] == Value(
            frozenset({"RuntimeReady"}), Evidence(f"{CONTAINERD} runtime.v1alpha2.RuntimeService/Status")
        )
        assert found["version"] == Value("1.7.28", Evidence(f"{CONTAINERD} runtime.v1alpha2.RuntimeService/Version"))


@pytest.mark.parametrize("name", ["containerd", "crio", "docker"])
def test_accepts_and_says_nothing_is_unknown_in_time_and_once(name: str, root: str) -> None:
    host = Host(root)
    host.limits = Limits(peer_seconds=0.2)
    with Fake(root, SOCKETS[name], fake_peers.silent):
        found = seen(host, name)
    assert found["running"] is True
    asked = ("handlers",) if name == "docker" else ("api", "conditions", "handlers", "features")
    assert {found[column] for column in asked} == {"timed out"}
    assert host.connected == [SOCKETS[name]] * 2  # to see whether it runs, and for all that it does not say


def test_no_permission_is_unknown_and_says_who_may(root: str) -> None:
    why = Unknown("no permission", f"{CONTAINERD} may not be opened by uid 1000", "run as root")

    class Forbidden(Host):
        def connect(self, path: str) -> Union[socket.socket, Lacking]:
            return why if path == CONTAINERD else super().connect(path)

    found = row(
        Forbidden(root, containerd="containerd github.com/containerd/containerd/v2 v2.1.5 fcd43222\n"), "containerd"
    )
    for column in ("running", "socket", "api", "conditions", "handlers", "features", "cgroup_driver"):
        assert found[column] == why
    assert found["version"] == Value("2.1.5", Evidence("containerd --version"))


def test_errors_of_the_server_are_unknown(root: str) -> None:
    answers: Dict[str, fake_peers.Reply] = {
        **TWO,
        "runtime.v1.RuntimeService/Status": (14, "server is not initialized yet"),
    }
    answers["runtime.v1.RuntimeService/RuntimeConfig"] = field(1, field(1, 7))
    with Fake(root, CONTAINERD, fake_peers.grpc(answers)):
        found = row(Machine(root), "containerd")
        method = f"{CONTAINERD} runtime.v1.RuntimeService"
        assert found["conditions"] == Unknown("failed", f"{method}/Status: server is not initialized yet")
        assert found["cgroup_driver"] == Unknown(
            "malformed", f"{method}/RuntimeConfig: the cgroup driver is neither systemd nor cgroupfs"
        )


def test_a_runtime_that_names_no_handlers_is_no_runtime_without(root: str) -> None:
    with Fake(root, SOCKETS["crio"], fake_peers.grpc({**TWO, "runtime.v1.RuntimeService/Status": CONDITIONS})):
        found = row(Machine(root), "crio")["handlers"]
    assert found == Unknown(
        "unsupported", f"{SOCKETS['crio']} runtime.v1.RuntimeService/Status lists no handlers", "upgrade crio"
    )


@pytest.mark.parametrize(
    ("name", "printed", "version"),
    [
        ("containerd", "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n", "1.6.20~ds1"),
        ("containerd", "containerd github.com/containerd/containerd/v2 v2.1.5 fcd43222d6b0\n", "2.1.5"),
        ("crio", "crio version 1.35.0\nVersion:        1.35.0\nGoVersion:      go1.25.1\n", "1.35.0"),
        ("docker", "Docker version 28.2.2, build e6534b4\n", "28.2.2"),
        ("cri-dockerd", "cri-dockerd 0.3.21 (9a8a9fe)\n", "0.3.21"),
        ("runc", "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n", "1.1.5+ds1"),
        ("runc", "runc version 1.4.0-rc.1\n", "1.4.0-rc.1"),
        ("crun", "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\n", "1.8.1"),
    ],
)
def test_what_programs_print_is_understood(name: str, printed: str, version: str, root: str) -> None:
    program = RUNTIMES[name].program
    found = row(Host(root, **{program: printed}), name)["version"]
    assert found == Value(version, Evidence(f"{program} --version"))
    declared().columns["version"].position(version)


@pytest.mark.parametrize("printed", ["", "runc version unknown\n", "runc v1\n", "1\u0967.2", "x" * 100_000])
def test_what_is_no_version_is_malformed(printed: str, root: str) -> None:
    found = row(Host(root, runc=printed), "runc")["version"]
    assert isinstance(found, Unknown)
    assert found.reason == "malformed"
    assert len(found.say) < 200


def test_a_runtime_is_there_by_its_program_or_by_its_socket(root: str) -> None:
    rows = runtime.runtime.probe(Machine(root))
    assert set(rows.every()) == set(RUNTIMES)
    Path(f"{root}/usr/bin/dockerd").unlink()
    found = runtime.runtime.probe(Machine(root)).observe("docker")
    assert found == Absent(Evidence(f"{PROGRAMS}, /run/docker.sock"), "docker is not installed")
    assert "docker" not in runtime.runtime.probe(Machine(root)).every()
    with Fake(root, SOCKETS["docker"], fake_peers.silent):
        found = runtime.runtime.probe(Machine(root)).observe("docker")
        assert isinstance(found, Value)
        assert found.evidence == Evidence("/run/docker.sock")
    with Fake(root, "/run/k3s/containerd/containerd.sock", fake_peers.grpc(ONE)):
        assert seen(Machine(root), "containerd")["socket"] == "/run/k3s/containerd/containerd.sock"


def test_programs_below_another_root_are_not_run(root: str) -> None:
    found = row(Machine(root), "runc")
    version = found["version"]
    assert isinstance(version, Unknown)
    assert version.reason == "refused"
    assert found["running"] == Absent(Evidence(PROGRAMS), "runc is not a service")
    assert seen(Machine(root), "crun")["snapshotter"] is None


def test_columns_are_looked_at_when_they_are_read_and_once(root: str) -> None:
    with Fake(root, CONTAINERD, fake_peers.grpc(TWO)) as fake:
        machine = Host(root)
        found = row(machine, "containerd")
        assert found["path"] == Value("/usr/bin/containerd", Evidence("/usr/bin/containerd"))
        assert (machine.connected, machine.ran) == ([], [])
        assert isinstance(found["running"], Value)
        assert machine.connected == [CONTAINERD]
        again = row(machine, "containerd")
        for column in runtime.COLUMNS:
            assert found[column] == again[column]
        calls = machine.connected.count(CONTAINERD)
        assert machine.ran == []
    # whether it runs, Version, Status, RuntimeConfig, and by each of two readers ImageFsInfo
    assert fake.met == calls == 1 + 2 + 1 + 2


MAIN = "/etc/containerd/config.toml"
V2, V3 = 'plugins."io.containerd.grpc.v1.cri".containerd', "plugins.'io.containerd.cri.v1.runtime'.containerd"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ("cgroupfs", "/usr/bin/containerd", 0)),
        ({MAIN: "version = 2\n"}, ("cgroupfs", MAIN, 0)),
        ({MAIN: f"version = 2\n[{V2}.runtimes.runc.options]\nSystemdCgroup = true\n"}, ("systemd", MAIN, 3)),
        ({MAIN: "[plugins.cri.containerd.runtimes.runc]\noptions = {SystemdCgroup = true}\n"}, ("systemd", MAIN, 2)),
        # the part of another version of the file counts for nothing
        ({MAIN: f"[{V2}.runtimes.runc.options]\nSystemdCgroup = true\n"}, ("cgroupfs", MAIN, 0)),
        ({MAIN: f"version = 2\n[{V3}.runtimes.runc.options]\nSystemdCgroup = true\n"}, ("cgroupfs", MAIN, 0)),
        # it is the default handler's that counts
        (
            {
                MAIN: f'version = 2\n[{V2}]\ndefault_runtime_name = "crun"\n'
                f"[{V2}.runtimes.runc.options]\nSystemdCgroup = true\n"
                f"[{V2}.runtimes.crun.options]\nSystemdCgroup = false\n"
            },
            ("cgroupfs", MAIN, 7),
        ),
        # what is imported comes later, and may import in a circle
        (
            {
                MAIN: f'version = 2\nimports = ["conf.d/*.toml"]\n'
                f"[{V2}.runtimes.runc.options]\nSystemdCgroup = false\n",
                "/etc/containerd/conf.d/one.toml": f'version = 2\nimports = ["{MAIN}"]\n'
                f"[{V2}.runtimes.runc.options]\nSystemdCgroup = true\n",
                "/etc/containerd/conf.d/one.txt": f"version = 2\n[{V2}.runtimes.runc.options]\nSystemdCgroup = false\n",
            },
            ("systemd", "/etc/containerd/conf.d/one.toml", 4),
        ),
    ],
)
def test_the_cgroup_driver_of_containerd_that_does_not_run_is_configured(
    files: Mapping[str, str], expected: Tuple[str, str, int], root: str, make_tree: MakeTree
) -> None:
    make_tree(files)
    driver, path, line = expected
    machine = Host(root, containerd="containerd github.com/containerd/containerd 1.7.28 b98a3aa\n")
    assert row(machine, "containerd")["cgroup_driver"] == Value(driver, Evidence(path, line, inferred=not line))


def test_without_configuration_containerd_2_uses_its_defaults(root: str, make_tree: MakeTree) -> None:
    found = row(Host(root, containerd=PRINTED_TWO), "containerd")
    assert found["cgroup_driver"] == Value("cgroupfs", Evidence("/usr/bin/containerd", inferred=True))
    assert found["snapshotter"] == Value("overlayfs", Evidence("/usr/bin/containerd", inferred=True))
    make_tree(
        {"/etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter='zfs'\n"}
    )
    found = row(Host(root, containerd=PRINTED_TWO), "containerd")
    assert found["snapshotter"] == Value("zfs", Evidence("/etc/containerd/config.toml", 3))


def test_configuration_that_cannot_be_read_is_unknown(root: str, make_tree: MakeTree) -> None:
    make_tree(
        {"/etc/containerd/config.toml": None, "/etc/crio/crio.conf": None, "/etc/docker/daemon.json": "[" * 100_000}
    )
    for name, reason in (("containerd", "failed"), ("crio", "failed"), ("docker", "malformed")):
        found = row(Machine(root), name)["cgroup_driver"]
        assert isinstance(found, Unknown)
        assert found.reason == reason


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("crio", {}, Value("systemd", Evidence("/usr/bin/crio", inferred=True))),
        (
            "crio",
            {
                "/etc/crio/crio.conf": '[crio.runtime]\ncgroup_manager = "systemd"\n',
                "/etc/crio/crio.conf.d/10-crio.conf": '[crio.runtime]\n# cgroup_manager = "systemd"\n',
                "/etc/crio/crio.conf.d/20-own.conf": '[crio.runtime]\ncgroup_manager = "cgroupfs"\n',
            },
            Value("cgroupfs", Evidence("/etc/crio/crio.conf.d/20-own.conf", 2)),
        ),
        (
            "docker",
            {},
            Unknown(
                "not found",
                "/etc/docker/daemon.json does not set it, and docker selects a value when it starts",
                "start docker",
            ),
        ),
        (
            "docker",
            {"/etc/docker/daemon.json": '{"exec-opts": ["isolation=hyperv", 5, "native.cgroupdriver=systemd"]}'},
            Value("systemd", Evidence("/etc/docker/daemon.json")),
        ),
    ],
)
def test_the_cgroup_driver_of_what_does_not_run_is_configured(
    name: str, files: Mapping[str, str], expected: Observation[str], root: str, make_tree: MakeTree
) -> None:
    make_tree(files)
    assert row(Machine(root), name)["cgroup_driver"] == expected


def test_names_are_those_of_the_table() -> None:
    assert [runtime._resolve_runtime_name(name) for name in ("cri-o", "dockerd", "crun")] == ["crio", "docker", "crun"]  # noqa: SLF001
    with pytest.raises(ValueError, match=r"`containrd` is not one of .*did you mean `containerd`"):
        runtime._resolve_runtime_name("containrd")  # noqa: SLF001


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=100) | st.binary(max_size=60).map(lambda body: fake_peers.answered(field(1, body) + body))
)
def test_whatever_is_said_every_column_is_observed(data: bytes, root: str) -> None:
    def answer(connected: socket.socket) -> None:
        connected.recv(1 << 16)
        connected.sendall(data)

    for name, path in SOCKETS.items():
        Path(root + path).unlink(missing_ok=True)
        with Fake(root, path, answer):
            assert set(seen(Machine(root), name)) == set(runtime.COLUMNS)


def test_a_program_that_fails_is_told_with_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crun").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "crun").chmod(0o755)
    monkeypatch.setattr("nodespec.host.tree.PROGRAMS", (str(tmp_path),))
    version = row(Machine(), "crun")["version"]
    assert version == Unknown("failed", "crun --version ended with status 127", "reinstall crun")


def test_the_versions_of_the_api_are_those_that_are_asked_for() -> None:
    api = runtime.COLUMNS["api"]
    assert isinstance(api, OneOf)
    assert api.choices == CRI_VERSIONS

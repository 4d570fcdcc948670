"""Services by unit: files, the answers of systemd over D-Bus, control groups, OpenRC."""

from __future__ import annotations

import struct
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, Mapping, Union, cast

import pytest
from fake_peers import Fake
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _services_files, _services_live
from nodespec.checks._services_limit import LIMITLESS, Limit
from nodespec.checks.services import services
from nodespec.facts.declaration import resolve_place
from nodespec.formats import dbus
from nodespec.host import systemd_manager
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import DEFERRED, Absent, Observation, Unknown, Value

if TYPE_CHECKING:
    import socket

    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
ID = {"/etc/machine-id": "76ef8a4054b94d31b43391f87bfb5073\n"}
UNITS = "/usr/lib/systemd/system"
UNIT = "[Service]\nExecStart=/usr/bin/containerd\n[Install]\nWantedBy=multi-user.target\n"
LIBRARY = {"/usr/lib/systemd/libsystemd-shared-252.so": ""}
Files = Mapping[str, Union[str, bytes, None]]


def cell(tree: DirectoryTree, unit: str, column: str) -> Observation[Datum]:
    key = resolve_place(("services", unit)).fact.key(unit)  # type: ignore[union-attr]
    resting = services.probe if isinstance(tree, Machine) else services.resting
    assert resting
    row = resting(tree).observe(key)  # type: ignore[arg-type]
    if not isinstance(row, Value):
        return row
    found: Observation[Datum] = cast("Mapping[str, Observation[Datum]]", row.value)[column]
    if not isinstance(found, Unknown):
        for source in found.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in services.sources), source
    return found


def value(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else type(seen).__name__.lower()


def rest(make_tree: MakeTree, files: Files, column: str) -> object:
    root = make_tree({f"{UNITS}/containerd.service": UNIT, **ID, **files}, SYSTEMD)
    return value(cell(DirectoryTree(root), "containerd", column))


def test_a_name_without_a_type_is_a_service() -> None:
    key = services.key
    assert key("containerd") == key("containerd.service") == "containerd.service"
    assert key("apt-daily.timer") == "apt-daily.timer"
    assert key("a.b") == "a.b.service"
    for wrong in ("getty@", "getty@.service", "a/b", "sda.device", "user.slice", "init.scope", "", "."):
        with pytest.raises(ValueError, match="`"):
            key(wrong)


def test_a_masked_unit_is_masked_and_starts_never(make_tree: MakeTree) -> None:
    mask = {"/etc/systemd/system/containerd.service": "/dev/null"}
    root = make_tree({f"{UNITS}/containerd.service": UNIT, **ID}, {**SYSTEMD, **mask})
    seen = {name: value(cell(DirectoryTree(root), "containerd", name)) for name in ("load", "masked", "enabled")}
    assert seen == {"load": "masked", "masked": True, "enabled": False}
    assert value(cell(DirectoryTree(root), "containerd", "starts_at_boot")) is False
    assert value(cell(DirectoryTree(root), "containerd", "nofile")) == "absent"


def test_a_unit_that_is_not_there_is_absent_in_every_column(make_tree: MakeTree) -> None:
    root = make_tree(ID, SYSTEMD)
    for column in services.columns:
        assert value(cell(DirectoryTree(root), "firewalld", column)) == "absent"


@pytest.mark.parametrize("column", ["active", "state", "substate", "failed"])
def test_the_state_of_a_unit_at_rest_is_deferred(make_tree: MakeTree, column: str) -> None:
    root = make_tree({f"{UNITS}/containerd.service": UNIT, **ID}, SYSTEMD)
    seen = cell(DirectoryTree(root), "containerd", column)
    assert isinstance(seen, Unknown)
    assert seen.reason == DEFERRED


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [
        ("LimitNOFILE=65536", 65536, 65536),
        ("LimitNOFILE=1024:4096", 1024, 4096),
        ("LimitNOFILE=infinity", LIMITLESS, LIMITLESS),
        ("LimitNOFILE=5\nLimitNOFILE=", 1024, 524288),
        ("LimitNOFILE=5\nLimitNOFILE=many", 5, 5),
        ("LimitNOFILE=9:5", 1024, 524288),
        ("", 1024, 524288),
    ],
)
def test_limits_of_open_files(make_tree: MakeTree, text: str, soft: int, hard: int) -> None:
    files: Files = {f"{UNITS}/containerd.service": f"{UNIT}[Service]\n{text}\n", **LIBRARY}
    assert rest(make_tree, files, "nofile_soft") == soft
    assert value(cell(DirectoryTree(make_tree({})), "containerd", "nofile")) == hard


def test_a_drop_in_and_system_conf_decide_in_this_order(make_tree: MakeTree) -> None:
    conf: Files = {"/etc/systemd/system.conf": "[Manager]\nDefaultLimitNOFILE=77\nDefaultTasksMax=9\n"}
    root = make_tree({f"{UNITS}/containerd.service": UNIT, **ID, **conf}, SYSTEMD)
    assert value(cell(DirectoryTree(root), "containerd", "nofile")) == 77
    assert value(cell(DirectoryTree(root), "containerd", "tasks")) == 9
    drop_in = "/etc/systemd/system/containerd.service.d/10-limits.conf"
    make_tree({drop_in: "[Service]\nLimitNOFILE=88\nTasksMax=infinity\n"})
    assert value(cell(DirectoryTree(root), "containerd", "nofile")) == 88
    assert value(cell(DirectoryTree(root), "containerd", "tasks")) == LIMITLESS
    assert value(cell(DirectoryTree(root), "containerd", "drop_ins")) == frozenset({drop_in})


@pytest.mark.parametrize("text", ["TasksMax=15%", "", "TasksMax=0"])
def test_a_part_of_the_threads_is_deferred_at_rest(make_tree: MakeTree, text: str) -> None:
    assert rest(make_tree, {f"{UNITS}/containerd.service": f"{UNIT}[Service]\n{text}\n"}, "tasks") == "unknown"


@pytest.mark.parametrize(
    ("files", "order"),
    [
        ({f"{UNITS}/kubelet.service": f"[Unit]\nAfter=containerd.service\n{UNIT}"}, "before"),
        ({f"{UNITS}/kubelet.service": f"[Unit]\nBefore=containerd.service\n{UNIT}"}, "after"),
        ({f"{UNITS}/kubelet.service": UNIT}, "none"),
        ({}, "absent"),
        (
            {
                f"{UNITS}/kubelet.service": f"[Unit]\nAfter=gate.service\n{UNIT}",
                f"{UNITS}/gate.service": f"[Unit]\nAfter=containerd.service\n{UNIT}",
                f"{UNITS}/multi-user.target": "[Unit]\nWants=gate.service\n",
            },
            "before",
        ),
    ],
)
def test_order_relative_to_the_kubelet(make_tree: MakeTree, files: Files, order: str) -> None:
    assert rest(make_tree, files, "kubelet_order") == order


def test_an_instance_uses_its_template(make_tree: MakeTree) -> None:
    root = make_tree({f"{UNITS}/agent@.service": UNIT, **ID}, SYSTEMD)
    assert value(cell(DirectoryTree(root), "agent@one", "enabled")) is False
    assert value(cell(DirectoryTree(root), "agent@one", "load")) == "loaded"
    assert value(cell(DirectoryTree(root), "other@one", "load")) == "absent"


# a running systemd, as a server that answers for one unit


def text(value: str) -> bytes:
    return struct.pack(">I", len(value)) + value.encode() + b"\0"


def reply(serial: int, kind: int, signature: str, body: bytes, error: str = "") -> bytes:
    """A message as systemd sends it, in big-endian order, which it may use too."""

    def field(code: int, kind: str, data: bytes) -> bytes:
        return bytes([code, 1]) + kind.encode() + b"\0" + data

    fields = field(5, "u", struct.pack(">I", serial))
    for code, form, data in (
        (4, "s", text(error) if error else b""),
        (8, "g", bytes([len(signature)]) + signature.encode() + b"\0"),
    ):
        if data:
            fields += bytes(-len(fields) % 8) + field(code, form, data)
    head = struct.pack(">cBBBIII", b"B", kind, 0, 1, len(body), serial + 1000, len(fields)) + fields
    return head + bytes(-len(head) % 8) + body


def manager(properties: Mapping[str, Union[str, int]]) -> Callable[[socket.socket], None]:
    """A systemd that has one unit with these properties loaded, or none."""

    def answer(connected: socket.socket) -> None:
        with connected.makefile("rb") as stream:
            assert stream.readline().startswith(b"\0AUTH EXTERNAL ")
            assert stream.readline() == b"BEGIN\r\n"  # before the answer, as systemd needs it
            connected.sendall(b"OK 0123456789abcdef\r\n")
            while head := stream.read(16):
                message = head + stream.read(dbus.measure_message(head) - 16)
                assert message[2] == dbus.NO_AUTO_START
                connected.sendall(reply(7, 4, "s", text("a signal before each reply")))
                connected.sendall(answer_call(message, struct.unpack("<I", message[8:12])[0]))

    def answer_call(message: bytes, serial: int) -> bytes:
        if b"Hello\0" in message:
            return reply(serial, 2, "s", text(":1.5"))
        if b"GetUnit\0" in message:
            found = reply(serial, 2, "o", text("/org/freedesktop/systemd1/unit/x"))
            return found if properties else reply(serial, 3, "", b"", systemd_manager.NO_SUCH_UNIT)
        name = next(name for name in properties if f"{name}\0".encode() in message)
        return reply(serial, 2, "v", variant(properties[name]))

    return answer


def variant(value: Union[str, int]) -> bytes:
    if isinstance(value, int):
        return b"\1u\0\0" + struct.pack(">I", value)
    return b"\1s\0\0" + text(value)


PROCESS = {"/proc/self/stat": "", "/proc/1/comm": "systemd", "/proc/uptime": "", "/run/systemd/system": None}
ACTIVE: Mapping[str, Union[str, int]] = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": 42,
}
GROUP = "/sys/fs/cgroup/system.slice"


def live(
    make_tree: MakeTree, files: Files = MappingProxyType({}), links: Mapping[str, str] = MappingProxyType({})
) -> Machine:
    sysfs: Files = {"/sys/kernel/x": "", "/sys/devices/x": "", "/run/systemd/units/x": ""}
    every = {f"{UNITS}/containerd.service": UNIT, **ID, **PROCESS, **sysfs, **files}
    return Machine(make_tree(every, {**SYSTEMD, **links}))


@pytest.mark.parametrize(
    ("state", "active", "failed"),
    [("active", True, False), ("reloading", True, False), ("failed", False, True), ("activating", False, False)],
)
def test_systemd_answers_over_its_private_socket(make_tree: MakeTree, state: str, active: bool, failed: bool) -> None:  # noqa: FBT001
    machine = live(make_tree)
    with Fake(machine.root, systemd_manager.PRIVATE, manager({**ACTIVE, "ActiveState": state})) as server:
        seen = {name: value(cell(machine, "containerd", name)) for name in ("state", "active", "failed", "substate")}
    assert seen == {"state": state, "active": active, "failed": failed, "substate": "running"}
    assert server.met == 4  # each cell is of a row of its own here


def test_a_unit_that_is_not_loaded_is_inactive(make_tree: MakeTree) -> None:
    machine = live(make_tree)
    with Fake(machine.root, systemd_manager.PRIVATE, manager({})):
        assert value(cell(machine, "containerd", "state")) == "inactive"
        assert value(cell(machine, "containerd", "active")) is False
        assert value(cell(machine, "nosuch", "active")) == "absent"


def test_the_system_bus_is_not_contacted_where_it_would_be_started(make_tree: MakeTree) -> None:
    machine = live(make_tree)
    with Fake(machine.root, systemd_manager.SYSTEM_BUS, manager(ACTIVE)) as server:
        assert value(cell(machine, "containerd", "substate")) == "unknown"
        assert server.met == 0
        make_tree({}, {f"{systemd_manager.INVOCATIONS}dbus.service": "0123"})
        assert value(cell(Machine(machine.root), "containerd", "substate")) == "running"
        assert server.met == 1


def test_a_link_of_an_invocation_is_evidence_without_an_answer(make_tree: MakeTree) -> None:
    machine = live(make_tree)
    assert value(cell(machine, "containerd", "active")) is False
    failed = cell(machine, "containerd", "failed")
    assert isinstance(failed, Value)
    assert {failed.value, *failed.others} == {False, True}
    make_tree({}, {f"{systemd_manager.INVOCATIONS}containerd.service": "0123"})
    failed, active = cell(machine, "containerd", "failed"), cell(machine, "containerd", "active")
    assert isinstance(failed, Value)
    assert isinstance(active, Value)
    assert {failed.value, *failed.others} == {False}
    assert {active.value, *active.others} == {False, True}


@pytest.mark.parametrize("answer", [b"", b"REJECTED EXTERNAL\r\n", b"OK 1\r\n" + b"l\2\0\1" + b"\xff" * 12, b"x" * 600])
def test_a_hostile_systemd_is_unknown(make_tree: MakeTree, answer: bytes) -> None:
    machine = live(make_tree)

    def send(connected: socket.socket) -> None:
        connected.recv(100)
        connected.sendall(answer)

    with Fake(machine.root, systemd_manager.PRIVATE, send):
        assert value(cell(machine, "containerd", "substate")) == "unknown"


def limits(soft: object, hard: object) -> str:
    return f"Limit   Soft Limit   Hard Limit   Units\nMax open files            {soft}      {hard}     files\n"


def test_limits_in_force_are_those_of_the_processes(make_tree: MakeTree) -> None:
    files: Files = {
        f"{GROUP}/containerd.service/cgroup.procs": "42\n43\n",
        f"{GROUP}/containerd.service/pids.max": "max\n",
        f"{GROUP}/pids.max": "500\n",
        "/proc/42/limits": limits(1024, "unlimited"),
        "/proc/43/limits": limits(1024, "unlimited"),
        "/etc/systemd/system/containerd.service.d/x.conf": "[Service]\nLimitNOFILE=5\nTasksMax=5\n",
    }
    machine = live(make_tree, files)
    seen = {name: value(cell(machine, "containerd", name)) for name in ("nofile", "nofile_soft", "tasks")}
    assert seen == {"nofile": LIMITLESS, "nofile_soft": 1024, "tasks": 500}


def test_the_main_process_decides_where_processes_differ(make_tree: MakeTree) -> None:
    files: Files = {
        f"{GROUP}/containerd.service/cgroup.procs": "42\n43\n",
        "/proc/42/limits": limits(7, 8),
        "/proc/43/limits": limits(9, 9),
    }
    machine = live(make_tree, files)
    assert value(cell(machine, "containerd", "nofile")) == "unknown"
    with Fake(machine.root, systemd_manager.PRIVATE, manager(ACTIVE)):
        assert value(cell(machine, "containerd", "nofile")) == 8


def test_limits_of_a_service_that_may_run_elsewhere_are_unknown(make_tree: MakeTree) -> None:
    machine = live(make_tree, LIBRARY, {f"{systemd_manager.INVOCATIONS}containerd.service": "0123"})
    assert value(cell(machine, "containerd", "nofile")) == "unknown"


def test_openrc_states_are_directories(make_tree: MakeTree) -> None:
    files: Files = {
        **PROCESS,
        "/etc/inittab": "::sysinit:/sbin/openrc sysinit\n",
        "/bin/busybox": "BusyBox v1.36",
        "/sbin/openrc": "",
        "/etc/init.d/containerd": "#!/sbin/openrc-run\n",
        "/etc/init.d/chronyd": "#!/sbin/openrc-run\n",
        "/run/openrc/started/x": "",
    }
    links = {
        "/sbin/init": "/bin/busybox",
        "/run/openrc/started/containerd": "/etc/init.d/containerd",
        "/etc/runlevels/default/chronyd": "/etc/init.d/chronyd",
    }
    machine = Machine(make_tree(files, links))
    assert value(cell(machine, "containerd", "state")) == "active"
    assert value(cell(machine, "containerd", "enabled")) is False
    assert value(cell(machine, "chronyd", "active")) is False
    assert value(cell(machine, "chronyd", "starts_at_boot")) is True
    assert value(cell(machine, "nosuch", "active")) == "absent"


@pytest.mark.parametrize(
    ("name", "path"),
    [("-.slice", ""), ("system.slice", "/system.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice")],
)
def test_path_of_a_slice(name: str, path: str) -> None:
    assert _services_live.get_slice_path(name) == path


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_limits_are_read_as_they_are_written(soft: int, hard: int) -> None:
    kind = Limit()
    assert kind.read(kind.written(soft)) == soft
    assert kind.read("infinity") == LIMITLESS > hard
    low, high = sorted((soft, hard))
    assert _services_files.parse_resource_limit(f"{low}:{high}") == (low, high)


@given(st.binary(max_size=200), st.sampled_from([b"l", b"B"]))
def test_no_message_of_dbus_raises_anything_else(data: bytes, order: bytes) -> None:
    try:
        message = dbus.decode_message(order + data)
        message.read_value()
    except ValueError:
        pass


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20), max_size=3))
def test_a_call_is_decoded_as_it_was_encoded(arguments: list[str]) -> None:
    data = dbus.encode_call(dbus.DbusCall("/a/b", "c.d", "E", tuple(arguments), "f.g"), 9)
    assert dbus.measure_message(data[:16]) == len(data)
    message = dbus.decode_message(data)
    assert (message.kind, message.signature) == (dbus.METHOD_CALL, "s" * len(arguments))
    if arguments:
        assert message.read_value() == arguments[0]
    with pytest.raises(ValueError, match="truncated"):
        dbus.decode_message(data[:-1])


def test_a_message_is_bounded() -> None:
    def head(body: int) -> bytes:
        return struct.pack("<cBBBIII", b"l", 2, 0, 1, body, 1, 0)

    assert dbus.measure_message(head(131056)) == 131072
    with pytest.raises(ValueError, match="longer than"):
        dbus.measure_message(head(131057))


def test_absent_is_not_inactive(make_tree: MakeTree) -> None:
    seen = cell(DirectoryTree(make_tree(ID, SYSTEMD)), "firewalld", "active")
    assert isinstance(seen, Absent)
    assert "firewalld" in seen.say


def test_a_mask_does_not_make_other_units_unknown(make_tree: MakeTree) -> None:
    """The mask /dev/null is not a regular file; each column of the masked unit is read before the other unit."""
    machine = live(make_tree, {}, {"/run/systemd/system/other.service": "/dev/null"})
    make_tree({"/dev/null": None})
    row = services.probe(machine).observe("other.service")
    assert isinstance(row, Value)
    columns = cast("Mapping[str, Observation[Datum]]", row.value)
    assert {name: value(columns[name]) for name in ("load", "masked")} == {"load": "masked", "masked": True}
    assert value(columns["tasks"]) in ("absent", "unknown")
    assert value(cell(machine, "containerd", "load")) == "loaded"


def test_a_timer_has_no_limits(make_tree: MakeTree) -> None:
    root = make_tree({f"{UNITS}/apt-daily.timer": "[Timer]\nOnCalendar=daily\n", **ID, **LIBRARY}, SYSTEMD)
    tree = DirectoryTree(root)
    assert [value(cell(tree, "apt-daily.timer", name)) for name in ("load", "nofile", "tasks")] == [
        *("loaded", "absent", "absent")
    ]

"""What a container runtime says over the CRI, the interface by which the kubelet drives it."""

from __future__ import annotations

import re
from typing import FrozenSet, Tuple

from nodespec.formats.protobuf import Message
from nodespec.host.machine import Machine
from nodespec.host.peer import Peer
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

APIS = ("v1", "v1alpha2")  # the newest first


class Hello(NamedTuple):
    """A runtime that answered: at which socket, in which version of the CRI, and its own version."""

    socket: str
    api: str
    version: str


class Status(NamedTuple):
    """The state of a runtime. The last two are empty where it does not say."""

    conditions: FrozenSet[str]  # that hold
    features: FrozenSet[str]  # of the runtime, and of its default handler
    handlers: FrozenSet[str]
    cgroup_driver: str


def hello(machine: Machine, socket: str) -> Observation[Hello]:
    """Who listens at a socket; absent where it is somebody who does not speak the CRI."""
    silent = []
    for api in APIS:
        answer = _ask(machine, socket, f"runtime.{api}.RuntimeService/Version")
        if isinstance(answer, Value):
            return Value(Hello(socket, api, answer.value.text(3)), answer.evidence)
        if isinstance(answer, Unknown):
            return answer
        silent.append(answer)
    return silent[0]


def status(machine: Machine, runtime: Hello) -> Observation[Status]:
    """`Status`, asked to be verbose: in its configuration containerd 1 says what it otherwise does not."""
    return _call(machine, runtime, "RuntimeService/Status", b"\x08\x01").then(_status)


def cgroup_driver(machine: Machine, runtime: Hello) -> Observation[str]:
    """`RuntimeConfig`, which containerd has since 2.0 and CRI-O since 1.28."""
    return _call(machine, runtime, "RuntimeService/RuntimeConfig").then(_driver)


def snapshotter(machine: Machine, runtime: Hello) -> Observation[str]:
    """`ImageFsInfo`: containerd names the directory of its images after its default snapshotter, which comes first."""
    answer = _call(machine, runtime, "ImageService/ImageFsInfo").then(_snapshotter)
    return Value(answer.value, answer.evidence._replace(inferred=True)) if isinstance(answer, Value) else answer


def _call(machine: Machine, runtime: Hello, method: str, message: bytes = b"") -> Observation[Message]:
    answer = _ask(machine, runtime.socket, f"runtime.{runtime.api}.{method}", message)
    if isinstance(answer, Absent):
        return Unknown("unsupported", f"{answer.evidence}: the runtime does not have it", "upgrade the runtime")
    return answer


def _ask(machine: Machine, socket: str, method: str, message: bytes = b"") -> Observation[Message]:
    """What a method answers; absent where the server does not have it."""
    said = f"{socket} {method}"
    connected = machine.connect(socket)
    if isinstance(connected, (Absent, Unknown)):
        return connected
    from nodespec.host import grpc  # noqa: PLC0415 - only where somebody listens

    with connected:
        reply = grpc.call(Peer(connected, socket, machine.patience), method, message)
    if isinstance(reply, Unknown):
        return reply
    if reply.status == grpc.UNIMPLEMENTED:
        return Absent(Evidence(said))
    if reply.status:
        return Unknown("failed", f"{said}: {reply.message[:200] or f'gRPC status {reply.status}'}")
    return Value(reply.body, Evidence(said)).then(Message)


def _status(said: Message) -> Status:
    handlers = {handler.text(1): handler.part(2) for handler in said.parts(3)}
    default = handlers.pop("", Message(b""))  # it stands there by its name too
    features = {
        "supplemental_groups_policy": said.part(4).number(1),
        "recursive_read_only_mounts": default.number(1),
        "user_namespaces": default.number(2),
    }
    config = next((info.text(2) for info in said.parts(2) if info.text(1) == "config"), "")
    runtimes, driver = _configured(config)
    return Status(
        frozenset(condition.text(1) for condition in said.part(1).parts(1) if condition.number(2)),
        frozenset(feature for feature, there in features.items() if there),
        frozenset(handlers) or runtimes,
        driver,
    )


def _driver(said: Message) -> str:
    driver = said.part(1).number(1)
    if not said.has(1) or driver > 1:
        raise ValueError("a cgroup driver that is neither systemd nor cgroupfs")
    return "cgroupfs" if driver else "systemd"


def _snapshotter(said: Message) -> str:
    path = said.parts(1)[0].part(2).text(1) if said.has(1) else ""
    match = re.search(r"/io\.containerd\.snapshotter\.v1\.([\w-]{1,99})$", path)
    if not match:
        raise ValueError(f"`{path[:80]}` is not named after a snapshotter")
    return match[1]


def _configured(config: str) -> Tuple[FrozenSet[str], str]:
    """The handlers, and the cgroup driver of the default one, of containerd's configuration."""
    document = inside(parsed(config or "{}"), "containerd")
    default, runtimes = inside(document, "defaultRuntimeName"), inside(document, "runtimes")
    runtime = inside(runtimes, str(default))
    driver = _runc_driver(runtime) if isinstance(runtime, dict) else ""
    return frozenset(map(str, runtimes)) if isinstance(runtimes, dict) else frozenset(), driver


def _runc_driver(runtime: object) -> str:
    """The cgroup driver of a runtime: cgroupfs unless an option says otherwise; empty where runc does not run it."""
    if inside(runtime, "runtimeType") not in (None, "", "io.containerd.runc.v1", "io.containerd.runc.v2"):
        return ""
    said = [inside(runtime, "options", name) for name in ("SystemdCgroup", "systemdcgroup", "systemdCgroup")]
    systemd = next((value for value in said if value is not None), False)
    return {True: "systemd", False: "cgroupfs"}[systemd] if isinstance(systemd, bool) else ""


def parsed(text: str) -> object:
    """A JSON document; ValueError where it is none."""
    import json  # noqa: PLC0415 - only where a runtime answers

    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def inside(document: object, *names: str) -> object:
    """What a JSON document has below these names, or nothing."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document

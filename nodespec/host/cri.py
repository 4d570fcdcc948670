"""Query a container runtime over the CRI, the interface that the kubelet uses.

https://github.com/kubernetes/cri-api
"""

from __future__ import annotations

import re

from nodespec.formats.protobuf import Message
from nodespec.host.machine import Machine
from nodespec.host.peer import Peer
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import FrozenSet, Tuple

HANDLER_FEATURES = {1: "recursive_read_only_mounts", 2: "user_namespaces"}
CRI_VERSIONS = ("v1", "v1alpha2")  # The newest version first.


class CriRuntime(NamedTuple):
    """A runtime that answered: its socket, its version of the CRI, its own version."""

    socket: str
    api: str
    version: str


class CriStatus(NamedTuple):
    """The state of a runtime; fields are empty if they are not reported."""

    conditions: FrozenSet[str]  # The conditions that are true.
    features: FrozenSet[str]  # Features of the runtime and of its default handler.
    handlers: FrozenSet[str]
    cgroup_driver: str
    default_handler: str
    handler_features: FrozenSet[str]
    lists_features: bool


def identify_runtime(machine: Machine, socket: str) -> Observation[CriRuntime]:
    """Return the runtime at a socket; absent if the server does not implement the CRI."""
    silent = []
    for api in CRI_VERSIONS:
        answer = _ask_server(machine, socket, f"runtime.{api}.RuntimeService/Version")
        if isinstance(answer, Value):
            return Value(CriRuntime(socket, api, answer.value.text(3)), answer.evidence)
        if isinstance(answer, Unknown):
            return answer
        silent.append(answer)
    return silent[0]


def fetch_status(machine: Machine, runtime: CriRuntime) -> Observation[CriStatus]:
    """Call `CriStatus` in verbose mode, and return the state of the runtime.

    containerd 1 reports its handlers and its cgroup driver only in the verbose configuration.
    """
    return _call_method(machine, runtime, "RuntimeService/Status", b"\x08\x01").then(_decode_status)


def fetch_cgroup_driver(machine: Machine, runtime: CriRuntime) -> Observation[str]:
    """Call `RuntimeConfig`; containerd has it since 2.0, CRI-O since 1.28."""
    return _call_method(machine, runtime, "RuntimeService/RuntimeConfig").then(_decode_driver)


def fetch_snapshotter(machine: Machine, runtime: CriRuntime) -> Observation[str]:
    """Call `ImageFsInfo`, and return the default snapshotter.

    containerd names the directory of its images after its default snapshotter, which it lists first.
    """
    answer = _call_method(machine, runtime, "ImageService/ImageFsInfo").then(_decode_snapshotter)
    return Value(answer.value, answer.evidence._replace(inferred=True)) if isinstance(answer, Value) else answer


def _call_method(machine: Machine, runtime: CriRuntime, method: str, message: bytes = b"") -> Observation[Message]:
    answer = _ask_server(machine, runtime.socket, f"runtime.{runtime.api}.{method}", message)
    if isinstance(answer, Absent):
        return Unknown("unsupported", f"{answer.evidence}: the runtime does not support it", "upgrade the runtime")
    return answer


def _ask_server(machine: Machine, socket: str, method: str, message: bytes = b"") -> Observation[Message]:
    """Return the answer of a method; absent if the server does not implement it."""
    said = f"{socket} {method}"
    connected = machine.connect(socket)
    if isinstance(connected, (Absent, Unknown)):
        return connected
    from nodespec.host import grpc  # noqa: PLC0415 - only needed for a connected socket

    with connected:
        reply = grpc.call_method(Peer(connected, socket, machine.patience), method, message)
    if isinstance(reply, Unknown):
        return reply
    if reply.status == grpc.UNIMPLEMENTED:
        return Absent(Evidence(said))
    if reply.status:
        return Unknown("failed", f"{said}: {reply.message[:200] or f'gRPC status {reply.status}'}")
    return Value(reply.body, Evidence(said)).then(Message)


def _decode_status(said: Message) -> CriStatus:
    handlers = {handler.text(1): handler.part(2) for handler in said.parts(3)}
    listed = bool(handlers)
    default = handlers.pop("", Message(b""))  # The default handler is also listed by its name.
    features = {
        "supplemental_groups_policy": said.part(4).number(1),
        "recursive_read_only_mounts": default.number(1),
        "user_namespaces": default.number(2),
    }
    config = next((info.text(2) for info in said.parts(2) if info.text(1) == "config"), "")
    runtimes, driver = _parse_config(config)
    name = get_nested(parse_json(config or "{}"), "containerd", "defaultRuntimeName")
    return CriStatus(
        frozenset(condition.text(1) for condition in said.part(1).parts(1) if condition.number(2)),
        frozenset(feature for feature, there in features.items() if there),
        frozenset(handlers) or runtimes,
        driver,
        name if isinstance(name, str) else "",
        frozenset(
            f"{handler}/{feature}"
            for handler, part in handlers.items()
            for number, feature in HANDLER_FEATURES.items()
            if part.number(number)
        ),
        listed,
    )


def _decode_driver(said: Message) -> str:
    driver = said.part(1).number(1)
    if not said.has(1) or driver > 1:
        raise ValueError("the cgroup driver is neither systemd nor cgroupfs")
    return "cgroupfs" if driver else "systemd"


def _decode_snapshotter(said: Message) -> str:
    path = said.parts(1)[0].part(2).text(1) if said.has(1) else ""
    match = re.search(r"/io\.containerd\.snapshotter\.v1\.([\w-]{1,99})$", path)
    if not match:
        raise ValueError(f"`{path[:80]}` does not name a snapshotter")
    return match[1]


def _parse_config(config: str) -> Tuple[FrozenSet[str], str]:
    """Return the handlers of a containerd configuration and the cgroup driver.

    The cgroup driver is that of the default handler.
    """
    document = get_nested(parse_json(config or "{}"), "containerd")
    default, runtimes = get_nested(document, "defaultRuntimeName"), get_nested(document, "runtimes")
    runtime = get_nested(runtimes, str(default))
    driver = _find_runc_driver(runtime) if isinstance(runtime, dict) else ""
    return frozenset(map(str, runtimes)) if isinstance(runtimes, dict) else frozenset(), driver


def _find_runc_driver(runtime: object) -> str:
    """Return the cgroup driver of a runtime; empty if it is not runc.

    The default is cgroupfs, unless an option sets systemd.
    """
    if get_nested(runtime, "runtimeType") not in (None, "", "io.containerd.runc.v1", "io.containerd.runc.v2"):
        return ""
    said = [get_nested(runtime, "options", name) for name in ("SystemdCgroup", "systemdcgroup", "systemdCgroup")]
    systemd = next((value for value in said if value is not None), False)
    return {True: "systemd", False: "cgroupfs"}[systemd] if isinstance(systemd, bool) else ""


def parse_json(text: str) -> object:
    """Parse a JSON document. Raises ValueError if it is not valid."""
    import json  # noqa: PLC0415 - only needed for the answer of a runtime

    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def get_nested(document: object, *names: str) -> object:
    """Return the value below these names in a JSON document, or None."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document

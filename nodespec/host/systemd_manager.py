"""Query the running systemd over D-Bus, with calls that load no unit and start nothing.

`GetUnit` returns an error for a unit that is not loaded, and never loads it. Properties are read only of a unit that it
returned: reading an object path that is not loaded would load the unit. A message never starts a service
(NO_AUTO_START), and the system bus is contacted only if it runs, because a connection to its socket would start it.

https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html
"""

from __future__ import annotations

from nodespec.formats.dbus import (
    ERROR,
    FIXED_HEADER_BYTES,
    METHOD_RETURN,
    DbusCall,
    DbusReply,
    decode_message,
    encode_call,
    measure_message,
)
from nodespec.host.machine import Machine
from nodespec.host.peer import Peer
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    import socket
    from typing import Dict, Iterator, Mapping, Sequence, Tuple, Union

PRIVATE, SYSTEM_BUS = "/run/systemd/private", "/run/dbus/system_bus_socket"
SOURCES = (f"{PRIVATE}*", f"{SYSTEM_BUS}*")
BUS_SERVICES = ("dbus.service", "dbus-broker.service")
INVOCATIONS = "/run/systemd/units/invocation:"  # A link for each service that is not inactive.
SYSTEMD = "org.freedesktop.systemd1"
NO_SUCH_UNIT = f"{SYSTEMD}.NoSuchUnit"
DENIED = ("org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired")
MAX_LINE_BYTES = 512  # Bytes of a line of the authentication.
NOT_LOADED: Mapping[str, Union[str, int]] = {"LoadState": "", "ActiveState": "inactive", "SubState": "dead"}


def fetch_unit(
    machine: Machine, unit: str, properties: Sequence[str], of_kind: Sequence[str] = ()
) -> Observation[Mapping[str, Union[str, int]]]:
    """Return properties of a unit, and properties of its kind, such as MainPID of a service.

    A unit that systemd has not loaded is inactive.
    """
    connected, path = _connect(machine)
    if isinstance(connected, (Absent, Unknown)):
        return (
            connected if isinstance(connected, Unknown) else Unknown("hidden", f"{path} {connected.say or 'not found'}")
        )
    with connected:
        peer = Peer(connected, path, machine.patience)
        try:
            bus = _Bus(peer, machine.uid, hello=path == SYSTEM_BUS)
            return Value(bus.read_properties(unit, properties, of_kind), Evidence(f"{path} GetUnit {unit}"))
        except _CallError as error:
            reason = "no permission" if error.name in DENIED else "failed"
            return Unknown(reason, f"{path}: {error.name[:100]}", "run as root")
        except OSError as error:
            return peer.make_failure(error)
        except ValueError as error:
            return Unknown("malformed", f"{path}: {error}")


def _connect(machine: Machine) -> Tuple[Union[socket.socket, Absent, Unknown], str]:
    """Return a connection to systemd itself, else to the system bus if that runs."""
    connected = machine.connect(PRIVATE)
    if not isinstance(connected, (Absent, Unknown)):
        return connected, PRIVATE
    running = any(isinstance(machine.link(f"{INVOCATIONS}{name}"), Value) for name in BUS_SERVICES)
    if running:
        return machine.connect(SYSTEM_BUS), SYSTEM_BUS
    if isinstance(connected, Absent):
        return connected, PRIVATE
    return connected._replace(look="run as root, or start dbus.service"), PRIVATE


class _CallError(Exception):
    """Raised for an error that a method returned."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Bus:
    """An authenticated connection. The methods raise OSError, ValueError and _CallError."""

    def __init__(self, peer: Peer, uid: int, *, hello: bool) -> None:
        self._peer, self._pieces, self._data, self._serial = peer, peer.pieces(), b"", 0
        # BEGIN is sent with the authentication: systemd 252 waits for more data if it reads BEGIN and a call together.
        peer.send(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\nBEGIN\r\n")
        answer = self._read_line()
        if not answer.startswith(b"OK "):
            raise _CallError(f"authentication: {answer[:80].decode('utf-8', 'backslashreplace')}")
        if hello:
            name = "org.freedesktop.DBus"
            self._call(DbusCall("/org/freedesktop/DBus", name, "Hello", (), name))

    def read_properties(
        self, unit: str, properties: Sequence[str], of_kind: Sequence[str]
    ) -> Mapping[str, Union[str, int]]:
        """Return the values of properties by name."""
        manager = f"{SYSTEMD}.Manager"
        try:
            reply = self._call(DbusCall("/org/freedesktop/systemd1", manager, "GetUnit", (unit,), SYSTEMD))
        except _CallError as error:
            if error.name == NO_SUCH_UNIT:
                return NOT_LOADED
            raise
        path = str(reply.read_value())
        kind = f"{SYSTEMD}.{unit.rpartition('.')[2].capitalize()}"
        values: Dict[str, Union[str, int]] = {}
        for interface, names in ((f"{SYSTEMD}.Unit", properties), (kind, of_kind)):
            for name in names:
                get = DbusCall(path, "org.freedesktop.DBus.Properties", "Get", (interface, name), SYSTEMD)
                values[name] = self._call(get).read_value()
        return values

    def _call(self, call: DbusCall) -> DbusReply:
        """Return the reply to a call; skip signals."""
        self._serial += 1
        self._peer.send(encode_call(call, self._serial))
        for reply in self._iter_messages():
            if reply.serial == self._serial and reply.kind == METHOD_RETURN:
                return reply
            if reply.serial == self._serial and reply.kind == ERROR:
                raise _CallError(reply.error)
        raise ValueError("the connection was closed before a reply")

    def _iter_messages(self) -> Iterator[DbusReply]:
        while self._fill(FIXED_HEADER_BYTES):
            length = measure_message(self._data)
            if not self._fill(length):
                return
            message, self._data = self._data[:length], self._data[length:]
            yield decode_message(message)

    def _fill(self, size: int) -> bool:
        """Receive until there are as many bytes; False if the connection ends before."""
        while len(self._data) < size:
            piece = next(self._pieces, b"")
            if not piece:
                return False
            self._data += piece
        return True

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._data:
            if len(self._data) > MAX_LINE_BYTES or not self._fill(len(self._data) + 1):
                raise ValueError("no answer to the authentication")
        line, _, self._data = self._data.partition(b"\r\n")
        return line

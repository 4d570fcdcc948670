"""The clock: whether it is synchronized, its errors, what sets it, its time zone.

A wrong clock breaks TLS: certificates are not valid yet, or no longer. The kernel's own state decides, as `timedatectl`
shows it, so that every daemon counts: chronyd, systemd-timesyncd, ntpd. Nothing is asked over the network.
"""

from __future__ import annotations

import re

from nodespec.checks import _services_at_boot
from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Whole
from nodespec.facts.value_types import Flag, Form, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional

    from nodespec.host.clock import ClockState

ADJTIMEX = ("adjtimex(2)",)
# An error of 16 s is the kernel's word for "not synchronized": NTP_PHASE_LIMIT in <linux/timex.h>.
UNSYNCHRONIZED = 16_000_000
# Daemons by the name of their process, which the kernel cuts to 15 characters, and by their units.
PROCESSES = {
    "chronyd": "chronyd",
    "systemd-timesyn": "systemd-timesyncd",
    "systemd-timesyncd": "systemd-timesyncd",
    "ntpd": "ntpd",
    "ptp4l": "ptp4l",
    "phc2sys": "phc2sys",
}
UNITS = {
    "chronyd": ("chrony.service", "chronyd.service"),
    "systemd-timesyncd": ("systemd-timesyncd.service",),
    "ntpd": ("ntp.service", "ntpd.service", "ntpsec.service", "openntpd.service"),
    "ptp4l": ("ptp4l.service",),
    "phc2sys": ("phc2sys.service",),
}
LOCALTIME, TIMEZONE, ADJTIME = "/etc/localtime", "/etc/timezone", "/etc/adjtime"
# A name of tzdata: Europe/Berlin, America/Argentina/Buenos_Aires, Etc/GMT+1, UTC.
ZONE = Form(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}", 100, "the name of a time zone, such as Europe/Berlin")


@fact(Flag(), sources=ADJTIMEX, fix="run a time daemon, such as chronyd or systemd-timesyncd; required: {want}")
def synchronized(machine: Machine) -> Observation[bool]:
    """Whether the clock is synchronized with another one, as the kernel has it.

    True if the maximum error is below 16 s, which is what `timedatectl` tests. The kernel increases that error by
    0.5 ms a second, so that a clock whose daemon stopped is synchronized for some hours more. A virtual machine whose
    hypervisor sets the clock is not synchronized in this sense.
    """
    return machine.once(_read_state).then(lambda state: state.maximum_error < UNSYNCHRONIZED)


@fact(Whole(), sources=ADJTIMEX, moves=True, fix="see the sources of the time daemon; required: {want} ms")
def maximum_error(machine: Machine) -> Observation[int]:
    """The greatest error that the clock can have, in milliseconds. 16000 and more: it is not synchronized.

    It grows by itself while no daemon corrects the clock.
    """
    return machine.once(_read_state).then(lambda state: _to_milliseconds(state.maximum_error))


@fact(Whole(), sources=ADJTIMEX, moves=True, fix="see the sources of the time daemon; required: {want} ms")
def estimated_error(machine: Machine) -> Observation[int]:
    """The error that the time daemon expects, in milliseconds. Without a daemon it is 16000."""
    return machine.once(_read_state).then(lambda state: _to_milliseconds(state.estimated_error))


@fact(
    Whole(),
    sources=(*ADJTIMEX, "/proc/*/comm"),
    moves=True,
    fix="wait until the clock is corrected; required: {want} ms",
)
def offset(machine: Machine) -> Observation[int]:
    """The offset that the kernel still has to correct, in milliseconds, without its sign.

    systemd-timesyncd and ntpd let the kernel correct the clock. chronyd corrects it itself, so that the offset is
    unknown: use `time.maximum_error`.
    """
    running = _list_running_daemons(machine)
    if isinstance(running, Value) and "chronyd" in running.value:
        say = f"{running.evidence}: chronyd does not give the kernel its offset"
        return Unknown("unsupported", say, "use time.maximum_error")
    return machine.once(_read_state).then(lambda state: _to_milliseconds(abs(state.offset)))


@fact(
    SetOf(OneOf(*UNITS)),
    sources=("/proc/*/comm",),
    fix="install and enable one time daemon, such as chrony",
)
def daemons(machine: Machine) -> Observation[FrozenSet[str]]:
    """Time daemons: chronyd, systemd-timesyncd, ntpd, ptp4l, phc2sys.

    Those that run, by the names of their processes; also one in a container. Two that set the same clock disturb each
    other. `ntpd` is that of ntp, NTPsec, OpenNTPD and busybox. At rest it is the set of those that a boot starts.
    """
    return _list_running_daemons(machine)


@daemons.at_rest(*_services_at_boot.SOURCES)
def _daemons_at_rest(tree: Tree) -> Observation[FrozenSet[str]]:
    found: List[str] = []
    at = Evidence("/etc/systemd/system")
    for daemon, units in UNITS.items():
        for unit in units:
            started = _services_at_boot.is_started_at_boot(tree, unit)
            if isinstance(started, Unknown):
                return started
            if isinstance(started, Value) and started.value:
                found.append(daemon)
                at = started.evidence
    return Value(frozenset(found), at)


@fact(
    ZONE,
    sources=(LOCALTIME, TIMEZONE),
    same_at_rest=True,
    fix="timedatectl set-timezone {word}",
)
def timezone(tree: Tree) -> Observation[str]:
    """The time zone: Europe/Berlin, Etc/UTC, UTC.

    The target of the link /etc/localtime below a directory `zoneinfo`. Without that file it is UTC. If it is not a
    link, /etc/timezone has the name (inferred).
    """
    entry = tree.entry(LOCALTIME, follow=False)
    if isinstance(entry, Absent):
        return Value("UTC", entry.evidence)
    if isinstance(entry, Unknown):
        return entry
    if entry.value.kind == "link":
        return tree.link(LOCALTIME).then(_parse_zone_path)
    named = tree.line(TIMEZONE)
    if isinstance(named, Absent):
        return Unknown("unsupported", f"{LOCALTIME} is a {entry.value.kind}, which does not name its time zone")
    return Value(named.value, named.evidence._replace(inferred=True)) if isinstance(named, Value) else named


@fact(Flag(), sources=(ADJTIME,), same_at_rest=True, fix="timedatectl set-local-rtc 0; required: {want}")
def rtc_in_local_time(tree: Tree) -> Observation[bool]:
    """Whether the hardware clock has local time, by the third line of /etc/adjtime.

    Without that file it has UTC. In local time the clock is wrong at each change to daylight saving time until a daemon
    corrects it.
    """
    text = tree.text(ADJTIME, 4096)
    if isinstance(text, Absent):
        return Value(value=False, evidence=text.evidence)
    return text.then(_parse_adjtime)


def _list_running_daemons(machine: Machine) -> Observation[FrozenSet[str]]:
    names = machine.names("/proc")
    if not isinstance(names, Value):
        return names
    found: List[str] = []
    unread: Optional[Unknown] = None
    at = Evidence("/proc/*/comm")
    for name in filter(str.isdigit, names.value):
        comm = machine.line(f"/proc/{name}/comm")
        if isinstance(comm, Value) and comm.value in PROCESSES:
            found.append(PROCESSES[comm.value])
            at = comm.evidence
        elif isinstance(comm, Unknown):
            unread = unread or comm
    init = machine.line("/proc/1/comm")  # If process 1 is visible, all processes are.
    unread = unread or (init if isinstance(init, Unknown) else None)
    return unread or Value(frozenset(found), at)


def _read_state(_: Machine) -> Observation[ClockState]:
    from nodespec.host import clock  # noqa: PLC0415

    return clock.read_clock()


def _to_milliseconds(microseconds: int) -> int:
    """Return milliseconds, rounded up."""
    return -(-max(microseconds, 0) // 1000)


def _parse_zone_path(target: str) -> str:
    """Parse `../usr/share/zoneinfo/Europe/Berlin` to `Europe/Berlin`. Raises ValueError."""
    match = re.search(r"zoneinfo/(?:(?:posix|right)/)?(.+)$", target)
    if not match:
        raise ValueError(f"the link leads to `{target[:80]}`, which is not below a directory zoneinfo")
    return match[1]


def _parse_adjtime(text: str) -> bool:
    """Parse the third line of /etc/adjtime: `LOCAL` or `UTC`; without it, UTC. Raises ValueError."""
    lines = text.splitlines()
    word = lines[2].strip() if len(lines) > 2 else "UTC"  # noqa: PLR2004 - the third line
    if word not in ("LOCAL", "UTC"):
        raise ValueError(f"the third line `{word[:40]}` is neither UTC nor LOCAL")
    return word == "LOCAL"

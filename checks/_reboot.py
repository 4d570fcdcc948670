"""Whether installed updates wait for a reboot, by files alone."""

from __future__ import annotations

from nodespec.checks import _boot_next, _rpm
from nodespec.checks._sqlite import SqliteDatabase
from nodespec.facts.value_types import RELEASE_NAME
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, Optional

    from nodespec.host.machine import Machine

MARKS = ("/run/reboot-required", "/run/reboot-needed")
# Hooks that write /run/reboot-required on Debian and Ubuntu.
HOOKS = (
    "/etc/kernel/postinst.d/unattended-upgrades",
    "/etc/kernel/postinst.d/update-notifier",
    "/usr/share/update-notifier/notify-reboot-required",
)
STAT, OSRELEASE = "/proc/stat", "/proc/sys/kernel/osrelease"
# Packages whose update needs a reboot: `NEED_REBOOT` of the plugin needs_restarting of dnf.
NEED_REBOOT = (
    *("kernel", "kernel-core", "kernel-PAE", "kernel-rt", "kernel-rt-core", "kernel-smp", "kernel-default"),
    *("linux-firmware", "systemd", "systemd-udev", "openssl-libs", "dbus", "dbus-broker", "dbus-daemon"),
    *("glibc", "gnutls", "zlib"),
)


def is_reboot_required(machine: Machine) -> Observation[bool]:
    """Return whether updates wait for a reboot."""
    unread: Optional[Unknown] = None
    for look in _list_signs(machine):
        if isinstance(look, Value) and look.value:
            return look
        unread = unread or (look if isinstance(look, Unknown) else None)
    return unread or _confirm_none(machine)


def _list_signs(machine: Machine) -> Iterator[Observation[bool]]:
    for path in MARKS:
        entry = machine.entry(path)
        yield entry.then(lambda _: True)
    yield _has_other_kernel(machine)
    installed = _find_late_package(machine)
    if installed is not None:
        yield installed


def _confirm_none(machine: Machine) -> Observation[bool]:
    """Return False if something on this system would have left a sign."""
    installed = _find_late_package(machine)
    if isinstance(installed, Value):
        return installed
    for path in HOOKS:
        if isinstance(machine.entry(path), Value):
            return Value(value=False, evidence=Evidence(MARKS[0]))
    hint = "install unattended-upgrades or update-notifier-common"
    return Unknown("unsupported", f"{MARKS[0]} does not exist, and no hook that writes it is installed", hint)


def _has_other_kernel(machine: Machine) -> Observation[bool]:
    """Return whether the next boot starts another kernel; absent if no kernel is installed, or several may be."""
    running = machine.line(OSRELEASE).then(RELEASE_NAME.formed)
    following = _boot_next.resolve_next_release(machine)
    unread = next((look for look in (running, following) if isinstance(look, Unknown)), None)
    if unread:
        return unread
    if not isinstance(running, Value) or not isinstance(following, Value) or following.others:
        return Absent(Evidence("/boot"))
    return Value(following.value != running.value, following.evidence._replace(inferred=True))


def _find_late_package(machine: Machine) -> Optional[Observation[bool]]:
    """Return whether a package that needs a reboot was installed after the boot; None without a database of RPM."""
    return machine.once(_compare_install_times)


def _compare_install_times(machine: Machine) -> Optional[Observation[bool]]:
    booted = machine.text(STAT).then(_parse_boot_time)
    for path in _rpm.FILES:
        data = machine.read(path, _rpm.MAX_DATABASE_BYTES)
        log = machine.read(f"{path}-wal", _rpm.MAX_DATABASE_BYTES)
        if isinstance(data, Absent):
            continue
        if isinstance(booted, Unknown) or isinstance(data, Unknown) or isinstance(log, Unknown):
            return next(look for look in (booted, data, log) if isinstance(look, Unknown))
        return _compare_with_boot(data, log, booted)
    return None


def _compare_with_boot(
    data: Observation[bytes], log: Observation[bytes], booted: Observation[int]
) -> Observation[bool]:
    """Return whether a package of the database was installed after the boot."""
    wal = log.value if isinstance(log, Value) else b""
    begun = booted.value if isinstance(booted, Value) else 0
    times = data.then(lambda content: _read_install_times(SqliteDatabase(content, wal)))
    return times.then(lambda known: max(known.values(), default=0) > begun)


def _read_install_times(database: SqliteDatabase) -> Dict[str, int]:
    """Return the times of installation of the packages that need a reboot, in seconds since 1970."""
    times: Dict[str, int] = {}
    for _, header, *_ in database.rows("Packages"):
        tags = _rpm.parse_rpm_header(header) if isinstance(header, bytes) else {}
        name = tags.get("name", "")
        if name in NEED_REBOOT:
            times[name] = max(times.get(name, 0), int(tags.get("installed", "0")))
    return times


def _parse_boot_time(text: str) -> int:
    """Parse the row `btime 1764327665` of /proc/stat. Raises ValueError."""
    for line in text.split("\n"):
        if line.startswith("btime "):
            return int(line[6:])
    raise ValueError("no row btime found")

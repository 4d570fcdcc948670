"""Services that set kernel parameters after sysctl.d was applied.

These are ufw, tuned, systemd-networkd, Docker and the host's own units. If a service certainly assigns a parameter, the
parameter has that value. If it only may, the parameter is unknown, and the file is named.
"""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _services_at_boot, _systemd_units
from nodespec.checks._read_log import read_with_log
from nodespec.checks._sysctl_names import SWAP_SEPARATORS
from nodespec.checks._sysctl_settings import ServiceSetting, normalize_key, parse_assignments
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Iterator, List, Optional, Tuple

    from nodespec.checks._systemd_syntax import UnitLine
    from nodespec.host.tree import Tree

UFW, UFW_DEFAULTS, UFW_RULES = "/etc/ufw/ufw.conf", "/etc/default/ufw", "/etc/ufw/sysctl.conf"
FORWARD = "net.ipv4.ip_forward"
# two names of the same parameter
FORWARDING = {FORWARD: "net.ipv4.conf.all.forwarding", "net.ipv4.conf.all.forwarding": FORWARD}
NETWORKS = "systemd/network"
WITH_GLOBAL_FORWARDING = 256  # the first systemd whose networkd.conf has IPv4Forwarding=
APPORT = ("kernel.core_pattern", "kernel.core_pipe_limit", "fs.suid_dumpable")
DOCKER = "/etc/docker/daemon.json"
LOCAL = ("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local")
COMMANDS = ("ExecStart", "ExecStartPre", "ExecStartPost")
MAX_LINE_CHARS = 4096
SOURCES = (
    *("/etc/ufw/*", UFW_DEFAULTS, "*/tuned/*", "*/systemd/network*", DOCKER, "/etc/default/apport", *LOCAL),
    *("/etc/local.d/*", "/etc/sysctl.conf"),
)


def apply_services(tree: Tree, key: str, before: Optional[Observation[str]]) -> Optional[Observation[str]]:
    """Return the value of a parameter after all services of a boot ran.

    `before` is the result of the files of sysctl.d.
    """
    value = before
    settings, doubts = tree.once(_read_service_settings)
    for setting in settings:
        if key in (setting.key, FORWARDING.get(setting.key)):
            value = _apply_setting(setting, key, value)
    for doubt in doubts:
        enabled = doubt.sticky and isinstance(value, Value) and value.value == "1"
        counts = not enabled and not isinstance(value, Unknown) and not (doubt.weak and value)
        if (not doubt.keys or key in doubt.keys) and counts:
            return doubt.unread
    return value


def list_service_settings(tree: Tree) -> Tuple[ServiceSetting, ...]:
    """Return the settings of all services, in their order."""
    return tree.once(_read_service_settings)[0]


def _apply_setting(setting: ServiceSetting, key: str, before: Optional[Observation[str]]) -> Optional[Observation[str]]:
    if setting.sticky and isinstance(before, Value) and before.value == "1":
        return before
    if setting.value is not None:
        from nodespec.checks import _sysctl_at_boot, _sysctl_values  # noqa: PLC0415

        held = before.value if isinstance(before, Value) else _sysctl_values.DEFAULTS.get(key) if not before else None
        written = _sysctl_values.simulate_write(key, setting.value, held)
        if setting.doubtful:
            return before if written.value in (None, held) else _defer(setting, key)
        return before if written.value is None else _sysctl_at_boot.observe_write(written, setting.at)
    return _defer(setting, key)


def _defer(setting: ServiceSetting, key: str) -> Unknown:
    return Unknown(DEFERRED, f"only a running machine can tell: {setting.at} may set {key}")


class Doubt(NamedTuple):
    """Configuration that could not be read. Without keys it may set any parameter."""

    unread: Unknown
    keys: Tuple[str, ...]
    sticky: bool  # the service only enables it: a value of 1 is kept
    weak: bool = False  # the service sets no parameter that a file of sysctl.d assigns, as far as is known


FORWARDS = (*FORWARDING, "net.ipv6.conf.all.forwarding")


def _read_service_settings(tree: Tree) -> Tuple[Tuple[ServiceSetting, ...], Tuple[Doubt, ...]]:
    system = _init_system.detect_init_system(tree)
    if not isinstance(system, Value):
        return (), ()
    readers: List[Tuple[Callable[[Tree], Iterator[ServiceSetting]], Tuple[str, ...]]] = [
        (_read_ufw, ()),
        (_read_networkd, FORWARDS),
        (_read_docker_daemon, FORWARDS),
        (_read_apport, APPORT),
        (_read_tuned, ()),
        *([(_search_service_units, ())] if system.value == "systemd" else []),
        (_search_scripts, ()),
        (_read_declared, ()),
    ]
    found: List[ServiceSetting] = []
    doubts: List[Doubt] = []
    for read, keys in readers:
        settings, unread = read_with_log(tree, read)
        found += settings
        if unread:
            doubts.append(Doubt(unread, keys, sticky=keys == FORWARDS, weak=read is _read_declared))
    return tuple(found), tuple(doubts)


def _read_declared(tree: Tree) -> Iterator[ServiceSetting]:
    from nodespec.checks import _sysctl_declared  # noqa: PLC0415

    yield from _sysctl_declared.read_declared_settings(tree, parse_sysctl_command)


def _starts_any(tree: Tree, *units: str) -> Optional[bool]:
    """Return whether a boot starts any of these services; None if not known."""
    seen = [_services_at_boot.is_started_at_boot(tree, unit) for unit in units]
    if any(isinstance(observation, Value) and observation.value for observation in seen):
        return True
    return None if any(isinstance(observation, Unknown) for observation in seen) else False


def _read_ufw(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of ufw, which runs `sysctl -p` on its own file if enabled."""
    started = _starts_any(tree, "ufw.service")
    if started is False or _systemd_units.read_variables(tree, UFW).get("ENABLED", "").lower() != "yes":
        return
    path = _systemd_units.read_variables(tree, UFW_DEFAULTS).get("IPT_SYSCTL", UFW_RULES)
    text = _systemd_units.read_optional_text(tree, path) if path.startswith("/") else None
    for setting in parse_assignments(text.value, path) if isinstance(text, Value) else ():
        yield setting if started else setting._replace(value=None)


def _read_networkd(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of systemd-networkd.

    It enables forwarding once an interface that requests it is up.
    """
    if _starts_any(tree, "systemd-networkd.service") is False:
        return
    networks = _systemd_units.merge_folders(tree, _systemd_units.list_search_folders(NETWORKS), ".network")
    drop_ins = _list_network_drop_ins(tree, networks.value) if isinstance(networks, Value) else ()
    for path in (*(networks.value if isinstance(networks, Value) else ()), *drop_ins):
        text = _systemd_units.read_optional_text(tree, path)
        for line, section, name, value in _systemd_units.parse_settings(text.value) if isinstance(text, Value) else ():
            if section == "Network":
                yield from _parse_network_setting(name, value.lower(), Evidence(path, line))
    yield from _read_networkd_conf(tree)


def _list_network_drop_ins(tree: Tree, networks: Tuple[str, ...]) -> Iterator[str]:
    for network in networks:
        name = network.rpartition("/")[2]
        more = _systemd_units.merge_folders(
            tree, (f"{folder}/{name}.d" for folder in _systemd_units.list_search_folders(NETWORKS))
        )
        yield from more.value if isinstance(more, Value) else ()


def _parse_network_setting(name: str, value: str, at: Evidence) -> Iterator[ServiceSetting]:
    on = value in ("yes", "true", "1", "on", "both", "y", "t")
    if name in ("IPForward", "IPMasquerade") and (on or value in ("ipv4", "ipv6")):
        if value != "ipv6":
            yield ServiceSetting(FORWARD, None, at, sticky=True)
        if value != "ipv4":
            yield ServiceSetting("net.ipv6.conf.all.forwarding", None, at, sticky=True)


def _read_networkd_conf(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield `IPv4Forwarding=` in networkd.conf, which applies to the whole host."""
    from nodespec.checks import _systemd_install  # noqa: PLC0415

    version = _systemd_install.detect_systemd_version(tree)
    if 0 < version < WITH_GLOBAL_FORWARDING:
        return
    main = next((f"{folder}/networkd.conf" for folder in _systemd_units.list_search_folders("systemd")
                 if isinstance(tree.entry(f"{folder}/networkd.conf"), Value)), "")  # fmt: skip
    more = _systemd_units.merge_folders(tree, _systemd_units.list_search_folders("systemd/networkd.conf.d"))
    keys = {"IPv4Forwarding": FORWARD, "IPv6Forwarding": "net.ipv6.conf.all.forwarding"}
    for path in (main, *(more.value if isinstance(more, Value) else ())):
        text = _systemd_units.read_optional_text(tree, path) if path else None
        for line, section, name, value in _systemd_units.parse_settings(text.value) if isinstance(text, Value) else ():
            if section == "Network" and name in keys and value:
                on = value.lower() in ("yes", "true", "1", "on", "y", "t")
                known = ("1" if on else "0") if version and _starts_any(tree, "systemd-networkd.service") else None
                yield ServiceSetting(keys[name], known, Evidence(path, line))


def _read_docker_daemon(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of Docker.

    It enables forwarding unless daemon.json has `"ip-forward": false`.
    """
    started = _starts_any(tree, "docker.service")
    text = _systemd_units.read_optional_text(tree, DOCKER) if started is not False else None
    if not isinstance(text, Value) or re.search(r'"ip-forward"\s*:\s*false', text.value):
        return
    at = Evidence(DOCKER if text.value else "/usr/bin/dockerd", inferred=True)
    yield ServiceSetting(FORWARD, "1" if started else None, at, sticky=True)


def _read_apport(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the setting of Ubuntu's apport, which receives core dumps."""
    path = "/etc/default/apport"
    if (
        _starts_any(tree, "apport.service") is not False
        and _systemd_units.read_variables(tree, path).get("enabled", "1") != "0"
    ):
        yield from (ServiceSetting(key, None, Evidence(path, inferred=True)) for key in APPORT)


def _read_tuned(tree: Tree) -> Iterator[ServiceSetting]:
    if _starts_any(tree, "tuned.service") is not False:
        from nodespec.checks import _tuned  # noqa: PLC0415

        yield from _tuned.read_tuned_settings(tree)


def _search_service_units(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of services that run sysctl or write below /proc/sys."""
    from nodespec.checks import _systemd_at_boot as _systemd_boot  # noqa: PLC0415

    boot, *others = _systemd_boot.build_transactions(tree)
    sure = boot.certain.intersection(*(other.certain for other in others))
    for name in sorted(boot.possible.union(*(other.possible for other in others))):
        if not name.endswith(".service") or name in KNOWN_SERVICES:
            continue
        for reading in boot.read_lines(boot.load(name)):
            if reading.section == "Service" and reading.name in COMMANDS:
                for setting in parse_sysctl_command(tree, reading.value[:MAX_LINE_CHARS], reading.at):
                    yield setting if name in sure else setting._replace(value=None)
                yield from _search_own_scripts(tree, reading)


def _search_own_scripts(tree: Tree, reading: UnitLine) -> Iterator[ServiceSetting]:
    """Yield what the scripts of a command may set, if they are the host's own."""
    from nodespec.checks import _boot_commands  # noqa: PLC0415

    command = _boot_commands.BootCommand(reading.value[:MAX_LINE_CHARS], reading.at)
    for line in _boot_commands.follow_scripts(tree, [command]):
        for setting in parse_sysctl_command(tree, line.text, line.at):
            yield setting._replace(doubtful=True)


KNOWN_SERVICES = ("systemd-sysctl.service", "ufw.service", "tuned.service", "docker.service")


def _search_scripts(tree: Tree) -> Iterator[ServiceSetting]:
    """Yield the settings of rc.local, and of local.d of OpenRC."""
    names = tree.names("/etc/local.d")
    more = (
        [f"/etc/local.d/{name}" for name in names.value if name.endswith(".start")] if isinstance(names, Value) else []
    )
    for path in (*LOCAL, *more):
        entry = tree.entry(path)
        if not (isinstance(entry, Value) and entry.value.kind == "file" and entry.value.mode & 0o111):
            continue
        text = _systemd_units.read_optional_text(tree, path)
        for number, line in _systemd_units.list_content_lines(text.value) if isinstance(text, Value) else ():
            yield from parse_sysctl_command(tree, line[:MAX_LINE_CHARS], Evidence(path, number))


def parse_sysctl_command(tree: Tree, command: str, at: Evidence) -> Iterator[ServiceSetting]:
    """Parse the settings of a command.

    Examples: `sysctl -w a.b=1`, `sysctl -p FILE`, `sysctl --system`, `echo 1 > /proc/sys/a/b`.
    """
    for match in re.finditer(r"(?<![\w-])sysctl\b([^;&|]*)", command):
        arguments = [word.strip("\"'") for word in match[1].split()]
        if any(re.fullmatch(r"-[a-oq-zA-Z]*[pf].*|--load.*|--system|-a", word) for word in arguments):
            yield from _read_loaded_files(tree, arguments)
        for word in arguments:
            name, equals, value = word.partition("=")
            if equals and not word.startswith("-") and re.fullmatch(r"[\w./-]+", name):
                sure = not re.search(r"[$`%]", value)
                yield ServiceSetting(normalize_key(name), value if sure else None, at._replace(inferred=True))
    for match in re.finditer(r"(?:echo\s+(?:-n\s+)?[\"']?([\w.-]+)[\"']?\s*>\s*|)/proc/sys/([\w./-]+)", command):
        yield ServiceSetting(match[2].translate(SWAP_SEPARATORS), match[1] or None, at._replace(inferred=True))


def _read_loaded_files(tree: Tree, arguments: List[str]) -> Iterator[ServiceSetting]:
    """Yield the assignments of the files of `sysctl -p`; default /etc/sysctl.conf."""
    files = [word.partition("=")[2] if word.startswith("--load=") else word for word in arguments]
    files = [word for word in files if word.startswith("/")] or ["/etc/sysctl.conf"]
    for path in files:
        text = _systemd_units.read_optional_text(tree, path)
        yield from parse_assignments(text.value, path) if isinstance(text, Value) else ()

"""Services that enable swap by themselves, and their configuration."""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _services_at_boot, _systemd_units
from nodespec.checks._read_log import read_with_log
from nodespec.checks._swap_area import AreaOrUnknown, DeclaredArea
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Evidence, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Tuple

    from nodespec.checks._boot_commands import BootCommand
    from nodespec.checks._systemd_graph import Transaction
    from nodespec.host.tree import Tree

SERVICES = {  # Default area of each service; its own configuration rarely has another name.
    "zramswap.service": "/dev/zram0",
    "zram-config.service": "/dev/zram0",
    "zramd.service": "/dev/zram0",
    "zram-init.service": "/dev/zram0",
    "zram-swap.service": "/dev/zram0",
    "systemd-swap.service": "/dev/zram0",
    "dphys-swapfile.service": "/var/swap",
}
DAEMONS = ("swapspace.service", "swapd.service")
DPHYS, AGENT, CLOUD, RPI = "/etc/dphys-swapfile", "/etc/waagent.conf", "/etc/cloud/cloud.cfg", "/etc/rpi/swap.conf"
RPI_GENERATOR = "rpi-swap-generator"
COMMANDS = ("ExecStart", "ExecStartPre", "ExecStartPost")
MAX_LINE_CHARS = 4096


def find_service_areas(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the areas of started services, and the services or unreadable files that may enable more."""
    found, unread = read_with_log(tree, _read_service_areas)
    yield from found
    yield from [unread] if unread else ()


def _read_service_areas(tree: Tree) -> Iterator[AreaOrUnknown]:
    for service, path in SERVICES.items():
        started = _services_at_boot.is_started_at_boot(tree, service)
        if isinstance(started, Unknown):
            yield started
        elif isinstance(started, Value) and started.value:
            yield from _read_service_area(tree, service, DeclaredArea(path, started.evidence, made=True))
    yield from _read_azure_agent(tree)
    yield from _read_cloud_init(tree)
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Value) and system.value == "systemd":
        yield from _read_rpi_swap(tree)
        yield from _search_units(tree)
        yield from _search_rc_local(tree)
        yield from _search_service_scripts(tree)
    yield from _search_boot_commands(tree)


def _read_service_area(tree: Tree, service: str, area: DeclaredArea) -> Iterator[AreaOrUnknown]:
    if service == "dphys-swapfile.service":
        variables = _systemd_units.read_variables(tree, DPHYS)
        if variables.get("CONF_SWAPSIZE", "").strip() != "0":
            yield area._replace(path=variables.get("CONF_SWAPFILE", area.path))
    else:
        yield area


def _read_azure_agent(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the area of Azure's agent: a file on the temporary disk.

    Its configuration has `ResourceDisk.EnableSwap=y`.
    """
    variables = _systemd_units.read_variables(tree, AGENT)
    if variables.get("ResourceDisk.EnableSwap", "n")[:1] not in ("y", "Y") or variables.get(
        "ResourceDisk.SwapSizeMB"
    ) in (
        None,
        "0",
    ):
        return
    for service in ("walinuxagent.service", "waagent.service"):
        started = _services_at_boot.is_started_at_boot(tree, service)
        if isinstance(started, Unknown) or (isinstance(started, Value) and started.value):
            yield Unknown(DEFERRED, f"only a running machine can tell: {AGENT} has ResourceDisk.EnableSwap=y")
            return


def _read_cloud_init(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the area of cloud-init: a file that it creates at the first boot.

    Its configuration has `swap:` with a size.
    """
    if isinstance(tree.entry("/etc/cloud/cloud-init.disabled"), Value):
        return
    more = _systemd_units.merge_folders(tree, (f"{CLOUD}.d",), ".cfg")
    for path in (CLOUD, *(more.value if isinstance(more, Value) else ())):
        text = _systemd_units.read_optional_text(tree, path)
        match = re.search(r"^swap:[ \t]*(\S.*)?$", text.value, re.MULTILINE) if isinstance(text, Value) else None
        if match and (match[1] or "").strip() not in ("null", "false", "{}", "~"):
            yield Unknown(DEFERRED, f"only a running machine can tell: {path} lets cloud-init create swap")


def _read_rpi_swap(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the areas of Raspberry Pi OS.

    Its generator creates zram and a file, unless `Mechanism=none` is set.
    """
    from nodespec.checks import _systemd_switches  # noqa: PLC0415

    if not _systemd_switches.has_generator(tree, RPI_GENERATOR):
        return
    mechanism = "auto"
    more = _systemd_units.merge_folders(tree, _systemd_units.list_search_folders("rpi/swap.conf.d"))
    base = next((path for path in (RPI, "/usr/lib/rpi/swap.conf") if isinstance(tree.entry(path), Value)), "")
    for path in (base, *(more.value if isinstance(more, Value) else ())):
        text = _systemd_units.read_optional_text(tree, path) if path else None
        for _, section, name, value in _systemd_units.parse_settings(text.value) if isinstance(text, Value) else ():
            if (section, name) == ("Main", "Mechanism"):
                mechanism = value or "auto"
    if mechanism != "none":
        at = Evidence("/usr/lib/systemd/system-generators/rpi-swap-generator", inferred=True)
        yield DeclaredArea("/var/swap" if mechanism == "swapfile" else "/dev/zram0", at, made=True)


def _search_units(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the areas of the host's own services that run swapon."""
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    boot, *others = _systemd_at_boot.build_transactions(tree)
    sure = boot.certain.intersection(*(other.certain for other in others))
    for name in sorted(boot.possible.union(*(other.possible for other in others))):
        commands = _list_start_commands(boot, name) if name.endswith(".service") else []
        made = any("mkswap" in command for command, _ in commands)
        for command, at in commands:
            if not re.search(r"\bswapon\b", command):
                continue
            path = re.search(SWAPON_PATH, command)
            if path and name in sure:
                yield DeclaredArea(path[1], at._replace(inferred=True), made=made)
            else:
                yield Unknown(DEFERRED, f"only a running machine can tell: {at} runs swapon")


SWAPON_PATH = r"\bswapon\b[^;&|]*?\s[\"']?(/[^\s\"';&|]+|(?:UUID|LABEL|PARTUUID)=[^\s\"';&|]+)"


def _list_start_commands(boot: Transaction, name: str) -> List[Tuple[str, Evidence]]:
    """Return the commands that a service runs to start."""
    readings = (
        line for line in boot.read_lines(boot.load(name)) if line.section == "Service" and line.name in COMMANDS
    )
    return [(reading.value[:MAX_LINE_CHARS], reading.at) for reading in readings]


def _search_boot_commands(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield what cron, network scripts, udev and cloud-init may switch on."""
    from nodespec.checks import _boot_commands  # noqa: PLC0415

    yield from _find_swapon(_boot_commands.list_boot_commands(tree))
    for service in DAEMONS:
        if _boot_commands.may_start(tree, service):
            yield Unknown(DEFERRED, f"only a running machine can tell: {service} creates swap on demand")


def _search_service_scripts(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield what the host's own scripts switch on that services run."""
    from nodespec.checks import _boot_commands, _systemd_at_boot  # noqa: PLC0415

    boot = _systemd_at_boot.build_transactions(tree)[0]
    commands = [
        _boot_commands.BootCommand(command, at)
        for name in sorted(boot.possible)
        if name.endswith(".service")
        for command, at in _list_start_commands(boot, name)
    ]
    yield from _find_swapon(_boot_commands.follow_scripts(tree, commands))


def _find_swapon(lines: Iterable[BootCommand]) -> Iterator[AreaOrUnknown]:
    for line in lines:
        if re.search(r"(?<![\w-])swapon\b", line.text):
            yield Unknown(DEFERRED, f"only a running machine can tell: {line.at} runs swapon")


def _search_rc_local(tree: Tree) -> Iterator[AreaOrUnknown]:
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    for path in _systemd_at_boot.RC_LOCAL:
        text = _systemd_units.read_optional_text(tree, path)
        entry = tree.entry(path)
        run = isinstance(entry, Value) and entry.value.mode & 0o111
        lines = _systemd_units.list_content_lines(text.value) if isinstance(text, Value) and run else ()
        if any(re.search(r"\bswapon\b", line[:MAX_LINE_CHARS]) for _, line in lines):
            yield Unknown(DEFERRED, f"only a running machine can tell: {path} runs swapon")

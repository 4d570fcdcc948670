"""Commands that programs run at boot besides the units of systemd: cron, network scripts, VPNs, cloud-init, udev.

Whether they run depends on interfaces, devices and the state of other programs, so none of them is certain.
"""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _services_at_boot, _systemd_units
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Iterator, List, Tuple

    from nodespec.host.tree import Tree

MAX_COMMANDS, MAX_SCRIPTS, MAX_LINE_CHARS = 5000, 64, 4096
CRON = ("cron.service", "crond.service", "cronie.service")
CRON_FOLDERS = ("/etc/cron.d", "/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs")
INTERFACES = "/etc/network/interfaces"
UDEV_FOLDERS = _systemd_units.list_search_folders("udev/rules.d")
CLOUD = "/etc/cloud/cloud.cfg"
WIREGUARD = "/etc/wireguard"
DISPATCHER_STATES = ("routable", "carrier", "configured", "degraded", "no-carrier", "off", "dormant")
# programs that run all executable files of a folder: their units, and the folders
HOOKS: Tuple[Tuple[Tuple[str, ...], Tuple[str, ...]], ...] = (
    (("networking.service", "ifupdown-pre.service"), ("/etc/network/if-pre-up.d", "/etc/network/if-up.d")),
    (
        ("NetworkManager.service",),
        tuple(f"{top}/NetworkManager/dispatcher.d{sub}" for top in ("/etc", "/usr/lib") for sub in ("", "/pre-up.d")),
    ),
    (
        ("networkd-dispatcher.service",),
        tuple(f"{top}/networkd-dispatcher/{state}.d" for top in ("/etc", "/usr/lib") for state in DISPATCHER_STATES),
    ),
)
OWN_SCRIPT = re.compile(r"(?:^|[\s\"'=@:+!-])(/(?:usr/local|opt|etc|root|srv|home|var|data)/[\w./-]+)")


class BootCommand(NamedTuple):
    """A line that a program may run at boot, and where it is."""

    text: str
    at: Evidence


def list_boot_commands(tree: Tree) -> Tuple[BootCommand, ...]:
    """Return the commands that a boot may run, with the lines of the host's own scripts that they name."""
    return tree.once(_list_boot_commands)


def _list_boot_commands(tree: Tree) -> Tuple[BootCommand, ...]:
    commands: List[BootCommand] = []
    for read in (_read_cron, _read_interfaces, _read_hooks, _read_wireguard, _read_cloud_init, _read_udev):
        commands += read(tree)
    return (*commands[:MAX_COMMANDS], *follow_scripts(tree, commands))


def follow_scripts(tree: Tree, commands: List[BootCommand]) -> Iterator[BootCommand]:
    """Yield the lines of the scripts that commands name, outside the folders of distributions."""
    paths = dict.fromkeys(path for command in commands for path in OWN_SCRIPT.findall(command.text))
    for path in list(paths)[:MAX_SCRIPTS]:
        text = _systemd_units.read_optional_text(tree, path) if _is_file(tree, path) else None
        if isinstance(text, Value) and text.value.startswith("#!"):
            yield from _list_lines(text.value, path)


def _is_file(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return isinstance(entry, Value) and entry.value.kind == "file"


def may_start(tree: Tree, *units: str) -> bool:
    """Return whether a boot starts one of these services, or may start it."""
    seen = [_services_at_boot.is_started_at_boot(tree, unit) for unit in units]
    return any(isinstance(one, Unknown) or (isinstance(one, Value) and one.value) for one in seen)


def list_files(tree: Tree, *folders: str, suffix: str = "") -> Iterator[str]:
    """Yield the files of folders."""
    for folder in folders:
        names = tree.names(folder)
        for name in names.value if isinstance(names, Value) else ():
            if name.endswith(suffix) and not name.startswith(".") and _is_file(tree, f"{folder}/{name}"):
                yield f"{folder}/{name}"


def read_lines(tree: Tree, path: str) -> Iterator[BootCommand]:
    """Yield the lines of a file that are not comments."""
    text = _systemd_units.read_optional_text(tree, path)
    yield from _list_lines(text.value, path) if isinstance(text, Value) else ()


def _list_lines(text: str, path: str) -> Iterator[BootCommand]:
    for number, line in _systemd_units.list_content_lines(text):
        yield BootCommand(line[:MAX_LINE_CHARS], Evidence(path, number))


def _read_cron(tree: Tree) -> Iterator[BootCommand]:
    """Yield the lines `@reboot root sysctl -w vm.swappiness=1`."""
    files = [path for path in ("/etc/crontab", *list_files(tree, *CRON_FOLDERS)) if _is_file(tree, path)]
    lines = [line for path in files for line in read_lines(tree, path) if line.text.startswith("@reboot")]
    system = _init_system.detect_init_system(tree)
    openrc = isinstance(system, Value) and system.value == "openrc"
    yield from lines if lines and (openrc or may_start(tree, *CRON)) else ()


def _read_interfaces(tree: Tree) -> Iterator[BootCommand]:
    """Yield the commands of ifupdown: `post-up sysctl -w net.ipv4.ip_forward=1`."""
    lines = [
        line
        for path in (INTERFACES, *list_files(tree, f"{INTERFACES}.d"))
        for line in read_lines(tree, path)
        if re.match(r"\s*(?:pre-up|up|post-up)\s", line.text)
    ]
    yield from lines if lines and may_start(tree, "networking.service", "networking") else ()


def _read_hooks(tree: Tree) -> Iterator[BootCommand]:
    for units, folders in HOOKS:
        files = [path for path in list_files(tree, *folders) if _is_executable(tree, path)]
        if files and may_start(tree, *units):
            for path in files:
                yield from read_lines(tree, path)


def _is_executable(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return isinstance(entry, Value) and bool(entry.value.mode & 0o111)


def _read_wireguard(tree: Tree) -> Iterator[BootCommand]:
    """Yield the commands of wg-quick: `PostUp = sysctl -w net.ipv4.ip_forward=1`."""
    for path in list_files(tree, WIREGUARD, suffix=".conf"):
        name = path.rpartition("/")[2].removesuffix(".conf")
        lines = [line for line in read_lines(tree, path) if re.match(r"(?i)\s*(?:pre|post)up\s*=", line.text)]
        yield from lines if lines and may_start(tree, f"wg-quick@{name}.service") else ()


def _read_cloud_init(tree: Tree) -> Iterator[BootCommand]:
    """Yield lines of bootcmd and runcmd, written as text or as a list of words."""
    if isinstance(tree.entry("/etc/cloud/cloud-init.disabled"), Value):
        return
    for path in (CLOUD, *list_files(tree, f"{CLOUD}.d", suffix=".cfg")):
        for line in read_lines(tree, path):
            yield line._replace(text=re.sub(r"[\[\],\"']", " ", line.text))


def _read_udev(tree: Tree) -> Iterator[BootCommand]:
    """Yield rules with a program: `RUN+="/sbin/sysctl -w vm.swappiness=1"`."""
    files = _systemd_units.merge_folders(tree, UDEV_FOLDERS, ".rules")
    for path in files.value if isinstance(files, Value) else ():
        yield from (line for line in read_lines(tree, path) if "RUN" in line.text or "SYSCTL{" in line.text)

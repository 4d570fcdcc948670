"""Modules that a boot may load late: by commands of services and scripts, by an initramfs, by known programs.

Whether they are loaded then depends on conditions, interfaces, and on when the initramfs was built.
"""

from __future__ import annotations

import re

from nodespec.checks import _boot_commands, _init_system, _kernel_names
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple

    from nodespec.host.tree import Tree

COMMANDS = ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition")
SCRIPTS = ("/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local", "/etc/init.d/after.local")
INITRAMFS_LISTS = ("/etc/initramfs-tools/modules", "/usr/share/initramfs-tools/modules")
INITRAMFS_SETTINGS = ("/etc/dracut.conf", "/etc/mkinitcpio.conf", "/etc/booster.yaml")
INITRAMFS_FOLDERS = ("/etc/dracut.conf.d", "/usr/lib/dracut/dracut.conf.d", "/etc/mkinitcpio.conf.d")
K3S = ("k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service", "k0scontroller.service")
FIREWALLS = (
    *("firewalld.service", "nftables.service", "iptables.service", "ip6tables.service", "netfilter-persistent.service"),
    *("ufw.service", "shorewall.service", "libvirtd.service", "virtnetworkd.service", "docker.service", *K3S),
)
PROGRAMS = {  # services that load a module themselves, or by their rules
    "br_netfilter": ("docker.service", *K3S),
    "nf_conntrack": FIREWALLS,
    "ip_vs": ("keepalived.service", "ipvsadm.service", *K3S),
}


def find_late_load(tree: Tree, name: str) -> Optional[Evidence]:
    """Return what may load a module after the files of modules-load.d were read."""
    named = tree.once(_list_late_modules)
    if name in named:
        return named[name]
    for unit in PROGRAMS.get(name, ()):
        if _boot_commands.may_start(tree, unit):
            return Evidence(unit, inferred=True)
    return None


def _list_late_modules(tree: Tree) -> Mapping[str, Evidence]:
    modules: Dict[str, Evidence] = {}
    for command in _iter_commands(tree):
        for name in parse_modprobe_command(command.text):
            modules.setdefault(name, command.at)
    for name, at in _read_initramfs(tree):
        modules.setdefault(_kernel_names.normalize_name(name), at)
    return modules


def parse_modprobe_command(command: str) -> Iterator[str]:
    """Yield the modules of `modprobe -a br_netfilter overlay`, `modprobe dummy numdummies=2`, `insmod /x/y.ko`."""
    for match in re.finditer(r"(?<![\w.-])modprobe[\"']?\s+([^;&|<>\n]*)", command):
        words = [word.strip("\"'") for word in match[1].split()]
        names = [word for word in words if not word.startswith("-") and re.fullmatch(r"[\w-]+", word)]
        if any(re.fullmatch(r"-[a-z]*r[a-z]*|--remove", word) for word in words):
            continue
        several = any(re.fullmatch(r"-[a-z]*a[a-z]*|--all", word) for word in words)
        yield from map(_kernel_names.normalize_name, names if several else names[:1])
    for match in re.finditer(r"(?<![\w.-])insmod\s+(\S+\.ko\S*)", command):
        yield _kernel_names.parse_module_name(match[1])


def _iter_commands(tree: Tree) -> Iterator[_boot_commands.BootCommand]:
    yield from _boot_commands.list_boot_commands(tree)
    system = _init_system.detect_init_system(tree)
    commands: List[_boot_commands.BootCommand] = []
    if isinstance(system, Value) and system.value == "systemd":
        commands += _list_unit_commands(tree)
    for path in (*SCRIPTS, *_boot_commands.list_files(tree, "/etc/local.d", suffix=".start")):
        commands += _boot_commands.read_lines(tree, path)
    yield from commands
    yield from _boot_commands.follow_scripts(tree, commands)


def _list_unit_commands(tree: Tree) -> Iterator[_boot_commands.BootCommand]:
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    boot = _systemd_at_boot.build_transactions(tree)[0]
    for name in sorted(boot.possible):
        for line in boot.read_lines(boot.load(name)) if name.endswith(".service") else ():
            if line.section == "Service" and line.name in COMMANDS:
                yield _boot_commands.BootCommand(line.value[: _boot_commands.MAX_LINE_CHARS], line.at)


def _read_initramfs(tree: Tree) -> Iterator[Tuple[str, Evidence]]:
    """Yield the modules that an initramfs loads, once it has been built from its configuration."""
    for path in INITRAMFS_LISTS:
        for line in _boot_commands.read_lines(tree, path):
            yield line.text.split()[0], line.at
    for path in (*INITRAMFS_SETTINGS, *_boot_commands.list_files(tree, *INITRAMFS_FOLDERS)):
        for line in _boot_commands.read_lines(tree, path):
            match = re.match(
                r"(?:force_drivers|MODULES|modules_force_load)\s*\+?[=:]\s*[\[(\"']*([^\])\"'#]*)", line.text
            )
            for name in re.findall(r"[\w-]+", match[1]) if match else ():
                yield name, line.at

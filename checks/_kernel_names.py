"""Names in texts of the kernel: releases, modules, parameters of the command line."""

from __future__ import annotations

import re

from nodespec.facts.versions import DEB, Key
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Mapping, Tuple, Union

# Every occurrence of these parameters counts: for the kernel, modprobe, systemd or programs of an initramfs. For all
# others the last occurrence counts.
REPEATED = frozenset(
    (
        *("console", "earlycon", "hugepagesz", "hugepages", "crashkernel", "memmap", "video", "pci", "acpi_osi", "efi"),
        *("cgroup_disable", "cgroup_enable", "cgroup_no_v1", "clearcpuid", "intel_iommu", "iommu", "thp_anon"),
        *("trace_event", "kprobe_event", "modprobe.blacklist", "modules_load", "ip", "ifname", "nameserver", "bond"),
        *("bridge", "team", "vlan", "systemd.mask", "systemd.wants", "systemd.setenv", "systemd.mount_extra"),
        *("systemd.swap_extra", "systemd.set_credential", "systemd.set_credential_binary"),
    )
)
REPEATED_GROUPS = ("rd.", "luks.", "ignition.", "coreos.")
KERNEL_FOLDERS = ("/boot", "/usr/lib/modules", "/lib/modules")


def rank_release(release: str) -> Key:
    """Return the sort key of a release: dpkg order, with pre-releases first."""
    name = re.sub("[^A-Za-z0-9.+~-]", ".", re.sub(r"-rc(?=\d)", "~rc", release))
    try:
        return (1, DEB.key(name))
    except ValueError:
        return (0, name)


def normalize_name(name: str) -> str:
    """Return a name as the kernel writes it: the file of nf_nat may be nf-nat.ko."""
    return name.replace("-", "_")


def parse_module_name(file: str) -> str:
    """Return the module name of a file such as kernel/net/bridge/br_netfilter.ko.xz."""
    return normalize_name(file.rpartition("/")[2].partition(".")[0])


def parse_cmdline(line: str) -> Iterator[Tuple[str, str]]:
    """Split words like the kernel: double quotes protect blanks, `-` equals `_`.

    `-` and `_` are equal in names only.
    """
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', line) if '"' in line else line.split():
        if word == "--":
            return
        key, _, value = word.replace('"', "").partition("=")
        yield normalize_name(key), value


def is_repeated_parameter(name: str) -> bool:
    """Return whether every occurrence of a parameter counts, not only the last."""
    return name in REPEATED or name.startswith(REPEATED_GROUPS)


def collect_values(line: str) -> Mapping[str, Union[str, FrozenSet[str]]]:
    """Return the value of each parameter: the last, or a set of values.

    It is a set if every occurrence counts and the values differ. `console=tty0 console=ttyS0 panic=1 panic=2` is
    {"console": {"tty0", "ttyS0"}, "panic": "2"}.
    """
    given: Dict[str, List[str]] = {}
    for name, value in parse_cmdline(line):
        given.setdefault(name, []).append(value)
    several = {
        name: frozenset(values) for name, values in given.items() if is_repeated_parameter(name) and len({*values}) > 1
    }
    return {**{name: values[-1] for name, values in given.items()}, **several}


def parse_denied_modules(line: str, at: Evidence) -> Mapping[str, Evidence]:
    """Return the modules of module_blacklist=; the last occurrence counts."""
    names = dict(parse_cmdline(line)).get("module_blacklist", "")
    return {name: at for name in names.split(",") if name}

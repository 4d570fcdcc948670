"""The running kernel: its release, build configuration, command line and taints.

At rest it is the kernel that the next boot starts, as the boot loader's configuration selects it. Supported are GRUB
with grubenv, systemd-boot with its entries and unified kernel images, EXTLINUX, zipl, GRUB 0.97 and the firmware of a
Raspberry Pi. If a configuration exists but does not lead to an installed kernel, all facts of this family are unknown;
`--kernel RELEASE` then selects the kernel. Without a configuration it is the kernel that the link /vmlinuz leads to, or
the highest release (inferred). If the tree has no kernel, all facts of this family are deferred.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_config, _kernel_names, _kernel_release, _kernel_version
from nodespec.facts.declaration import Rows, fact, table
from nodespec.facts.value_numbers import Option, Version
from nodespec.facts.value_types import ARCHITECTURE, RELEASE_NAME, Datum, OneOf, Repeated, SetOf, printable
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet

SIGNATURE, BANNER = "/proc/version_signature", "/proc/version"
CMDLINE, TAINTED, ARCH = "/proc/cmdline", "/proc/sys/kernel/tainted", "/proc/sys/kernel/arch"
SECURITY = "/sys/kernel/security"

# The names of the taint bits, in order: https://docs.kernel.org/admin-guide/tainted-kernels.html
TAINTS = (
    "proprietary_module",
    "forced_module",
    "cpu_out_of_spec",
    "forced_rmmod",
    "machine_check",
    "bad_page",
    "user",
    "die",
    "overridden_acpi_table",
    "warn",
    "crap",
    "firmware_workaround",
    "oot_module",
    "unsigned_module",
    "softlockup",
    "livepatch",
    "aux",
    "randstruct",
    "test",
    "fwctl",
)


@fact(
    RELEASE_NAME,
    sources=(_kernel_version.OSRELEASE, _kernel_version.UNAME),
    fix="boot the kernel whose release is {want}",
)
def release(machine: Machine) -> Observation[str]:
    """The release, as `uname -r` prints it: the name used in /boot and /lib/modules.

    A release is a name, not a version: Debian's 6.1.0-50-amd64 is Linux 6.1.176. For a range use `version`.
    """
    return _kernel_version.read_kernel_release(machine)


@release.at_rest(*_kernel_version.BOOT_FILES)
def _release_at_rest(tree: Tree) -> Observation[str]:
    return _kernel_version.read_kernel_release(tree)


@fact(
    RELEASE_NAME,
    sources=_kernel_version.BOOT_FILES,
    optional=True,
    same_at_rest=True,
    fix="make {want} the default of the boot loader: grub-set-default, grubby --set-default, bootctl set-default",
)
def next_(tree: Tree) -> Observation[str]:
    """The release of the kernel that the next boot starts.

    It follows from the boot loader's configuration. On a running machine it differs from `release` if a kernel was
    installed and the machine was not rebooted since. Without a configuration it is the kernel that /vmlinuz leads to,
    else the highest release (inferred). Unknown if a configuration is not understood, several loaders are configured,
    or the kernel of the default entry is not found. It is one of several releases if only the machine decides, for
    example by the model of a Raspberry Pi. Absent if no kernel is installed, as in a container or a guest whose kernel
    the host provides.
    """
    from nodespec.checks import _boot_next  # noqa: PLC0415

    return _boot_next.resolve_next_release(tree)


@fact(
    Version(RELEASE),
    sources=(SIGNATURE, BANNER, *_kernel_config.FILES, _kernel_version.OSRELEASE, _kernel_version.UNAME),
    fix="boot a kernel {want}",
)
def version(machine: Machine) -> Observation[str]:
    """The version of Linux that the kernel was built from, as x.y.z.

    Read from /proc/version_signature (Ubuntu), from /proc/version (Debian), or from the first line of the kernel's
    configuration. Otherwise it is taken from the release, which is correct unless the release only names an ABI. A
    distribution's 4.18 may have features of Linux 6.1: if a fact exists for the feature, require that fact.

    At rest it is read from the head of the kernel's file (Debian's on x86), or from the first line of its
    configuration. Further sources are the version of its package and the Makefile of its headers. Otherwise it is taken
    from the release.
    """
    return _kernel_release.choose_version(
        read(machine)
        for read in (
            _read_signature,
            _read_debian_version,
            _kernel_release.read_header_version,
            _kernel_release.infer_release_version,
        )
    )


version.at_rest(*_kernel_release.SOURCES)(_kernel_release.resolve_version_at_rest)


@fact(ARCHITECTURE, sources=(ARCH, _kernel_version.UNAME))
def arch(machine: Machine) -> Observation[str]:
    """The architecture that the kernel was built for, as `uname -m` prints it.

    Examples: x86_64, aarch64, ppc64le, s390x, riscv64. It is the kernel's own, also if a 32-bit personality makes uname
    print i686 (from Linux 6.2 on). At rest it is read from the head of the kernel's file, else from its configuration.
    """
    line = machine.line(ARCH)
    return line if isinstance(line, Value) else Value(machine.uname()[1], Evidence(_kernel_version.UNAME))


@arch.at_rest(*_kernel_version.BOOT_FILES, *_kernel_config.FILES)
def _arch_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _kernel_at_rest  # noqa: PLC0415

    return _kernel_at_rest.resolve_architecture(tree)


def _parse_parameter_key(name: str) -> str:
    if " " not in name:
        return _kernel_names.normalize_name(name)
    from nodespec.checks import _cmdline_pairs  # noqa: PLC0415 - few specs name pairs

    return _cmdline_pairs.parse_key(name)


@table(
    Repeated(),
    sources=(CMDLINE,),
    noun="parameter",
    key=_parse_parameter_key,
    closed=True,
    listed=lambda name: " " not in name,
    fix="add {key}={want} to the kernel's command line in the boot loader's configuration, and reboot",
    sensitive=True,
)
def cmdline(machine: Machine) -> Rows[Datum]:
    """Parameters on the kernel command line: the last value of each.

    The value of a bare word is empty.

    For console, hugepages, hugepagesz, crashkernel, cgroup_disable, modprobe.blacklist, rd.* and other parameters that
    may be repeated, every occurrence counts. If their values differ, the fact is the set of values, and an expectation
    holds if one value meets it. `console: ttyS0` passes on `console=tty0 console=ttyS0`, and so does `console: {all:
    [tty0, ttyS0]}`. `{not: ttyS0}` holds if no value is ttyS0.

    Such parameters are a sequence: a parameter can apply to another before it. A pair is a name too: `"hugepagesz=1G
    hugepages": 8` is the value of hugepages after hugepagesz=1G, up to the next hugepagesz. 1G equals 1024M.

    `-` and `_` are equal in names, as in the kernel. Parameters after `--` are for init and are left out. A parameter
    on the command line is not necessarily one that this kernel supports.

    At rest it is the command line that the boot loader's configuration gives the kernel. Before a configuration exists,
    it is inferred from its sources: /etc/kernel/cmdline, cmdline.txt of a Raspberry Pi's firmware, /etc/default/grub.
    """
    read = machine.line(CMDLINE).then(printable)
    if not isinstance(read, Value):
        return Rows.lacking(read)
    parameters = _kernel_names.collect_values(read.value)
    rows: Dict[str, Observation[Datum]] = {name: Value(value, read.evidence) for name, value in parameters.items()}
    return _kernel_version.make_parameter_rows(read.value, read.evidence, rows, Absent(read.evidence))


@cmdline.at_rest(*_kernel_version.CMDLINE_FILES)
def _cmdline_at_rest(tree: Tree) -> Rows[Datum]:
    from nodespec.checks import _kernel_at_rest  # noqa: PLC0415

    return _kernel_at_rest.list_parameters(tree)


@fact(SetOf(OneOf(*TAINTS)), sources=(TAINTED,), fix="remove the cause of the taint, and reboot")
def taints(machine: Machine) -> Observation[FrozenSet[str]]:
    """Taint flags: why kernel developers would reject this kernel's bug reports.

    A flag stays set from its first cause until reboot. oot_module and proprietary_module show foreign modules; die,
    warn, bad_page and machine_check show earlier faults.
    """
    return machine.line(TAINTED).then(_parse_taints)


@fact(
    OneOf("none", "integrity", "confidentiality"),
    sources=(f"{SECURITY}*",),
    optional=True,
    fix="boot with lockdown={want}",
)
def lockdown(machine: Machine) -> Observation[str]:
    """Lockdown mode: what even root cannot do to the running kernel.

    integrity: root cannot change it. confidentiality: root cannot read it either. Absent if the kernel was built
    without lockdown. Debian and other distributions enable integrity under Secure Boot.
    """
    mounted = machine.names(SECURITY)  # The folder is empty if securityfs is not mounted.
    if isinstance(mounted, Value) and not mounted.value:
        return Unknown(
            "hidden", f"securityfs is not mounted at {SECURITY}", f"mount -t securityfs securityfs {SECURITY}"
        )
    mode = machine.line(f"{SECURITY}/lockdown").then(_parse_selected_word)
    return mounted if isinstance(mounted, Unknown) and isinstance(mode, Absent) else mode


@lockdown.at_rest(*_kernel_version.CMDLINE_FILES, *_kernel_config.FILES)
def _lockdown_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _kernel_at_rest  # noqa: PLC0415

    return _kernel_at_rest.resolve_lockdown(tree)


def _validate_option_name(name: str) -> str:
    name = name.removeprefix("CONFIG_")
    if not re.fullmatch(r"\w{1,128}", name, re.ASCII):
        raise ValueError(
            f"`{name}` is not the name of a build option; expected letters, digits and _, with or without CONFIG_"
        )
    return name


@table(
    Option(),
    sources=(*_kernel_config.FILES, *_kernel_version.EVIDENCE_FILES),
    noun="option",
    key=_validate_option_name,
    closed=True,
    total=True,
    fix="boot a kernel that was built with CONFIG_{key}: {want}",
)
def config(machine: Machine) -> Rows[str]:
    """The options that the kernel was built with, by name with or without CONFIG_.

    `y` is built in, `m` is a module, `n` is "is not set". `undefined` means that the configuration does not mention the
    option: the kernel does not have it, or cannot offer it with the other options as set. `enabled` is y or m,
    `disabled` is n or undefined. Options are added, removed and renamed: if an option was renamed, list the other name
    under `aliases`.

    Read from the first readable file of these: /proc/config.gz, /boot/config-RELEASE, config or build/.config in the
    module tree, the headers and sources under /usr/src. No module is loaded to provide one. If no file can be read,
    some 160 options are inferred from what the running kernel shows: its module tree, /proc/filesystems, /proc/cgroups,
    /proc/sys, namespaces, /proc/kallsyms. This evidence suits `enabled` and `disabled` best.

    At rest the files are the same except /proc/config.gz. The last is the kernel's own file, which contains the
    configuration if CONFIG_IKCONFIG is set. Without any file, options are inferred from the lists of the module tree.
    """
    return _kernel_config.read_options(machine)


config.at_rest(*_kernel_version.BOOT_FILES, *_kernel_config.FILES)(_kernel_config.read_options_at_rest)


@fact(
    SetOf(OneOf(*_kernel_config.WORDS)),
    sources=(*_kernel_config.FILES, *(f"{tree}/*" for tree in _kernel_version.MODULE_TREES)),
    fix="install the package that has /boot/config-RELEASE, or boot a kernel that was built with IKCONFIG_PROC",
)
def config_sources(machine: Machine) -> Observation[FrozenSet[str]]:
    """The places where programs find the build configuration of this kernel.

    proc is /proc/config.gz, boot is /boot/config-RELEASE, modules is /usr/lib/modules/RELEASE/config, build is .config
    in the module tree's build/. headers and source are .config in /usr/src. ostree and kernel are config-RELEASE in
    /usr/lib/ostree-boot and /usr/lib/kernel. module is /proc/config.gz once `modprobe configs` ran. other is any other
    place that nodespec reads. Empty if no place has the configuration: then `config` is inferred, and kubeadm stops.

    At rest proc is inferred from IKCONFIG_PROC in the configuration.
    """
    return _kernel_config.list_config_places(machine)


config_sources.at_rest(*_kernel_version.BOOT_FILES, *_kernel_config.FILES)(_kernel_config.list_config_places)


def _read_signature(machine: Machine) -> Observation[str]:
    """Parse `Ubuntu 6.8.0-31.31-generic 6.8.1`: the upstream version is last."""
    return machine.line(SIGNATURE).then(lambda line: _kernel_release.parse_upstream_version(line.split()[-1]))


def _read_debian_version(machine: Machine) -> Observation[str]:
    """Parse Debian's version, 6.1.176, from the text of /proc/version.

    Example: `... (gcc-12 (Debian 12.2.0-14) ...) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-05-01)`.
    """
    return machine.line(BANNER).then(_kernel_release.parse_debian_version)


def _parse_taints(text: str) -> FrozenSet[str]:
    mask = int(text)
    if not 0 <= mask < 1 << 64:
        raise ValueError(f"`{text[:40]}` is not a taint mask")
    named = dict(enumerate(TAINTS))
    return frozenset(named.get(bit, f"bit {bit}") for bit in range(64) if mask >> bit & 1)


def _parse_selected_word(text: str) -> str:
    """Return the selected word of `none [integrity] confidentiality`."""
    match = re.search(r"\[(\w+)\]", text)
    if not match:
        raise ValueError("no selected mode found; expected `[MODE]`")
    return match[1]

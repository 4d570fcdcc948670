"""The kernel that runs: what it is called, how it was built, how it was started, what befell it."""

from __future__ import annotations

import re
from typing import FrozenSet, Iterator

from nodespec.checks import _configuration, _inference, _kernel
from nodespec.facts import Rows, fact, table
from nodespec.kinds import Choice, Option, SetOf, Text, Version
from nodespec.machine import Machine
from nodespec.observation import Absent, Evidence, Lacking, Observation, Unknown, Value
from nodespec.versions import RELEASE

SIGNATURE, BANNER = "/proc/version_signature", "/proc/version"
CMDLINE, TAINTED, ARCH = "/proc/cmdline", "/proc/sys/kernel/tainted", "/proc/sys/kernel/arch"
SECURITY = "/sys/kernel/security"

# bit by bit, by the kernel's names for them: https://docs.kernel.org/admin-guide/tainted-kernels.html
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


@fact(Text(), sources=(_kernel.OSRELEASE, _kernel.UNAME), fix="boot the kernel whose release is {want}")
def release(machine: Machine) -> Observation[str]:
    """The release, as `uname -r` prints it: the name of its files in /boot and /lib/modules.

    A name and no version: Debian's 6.1.0-50-amd64 is Linux 6.1.176. For a range see `version`.
    """
    return _kernel.release(machine)


@fact(
    Version(RELEASE),
    sources=(SIGNATURE, BANNER, *_configuration.FILES, _kernel.OSRELEASE, _kernel.UNAME),
    fix="boot a kernel {want}",
)
def version(machine: Machine) -> Observation[str]:
    """The version of Linux that it was made from, as x.y.z.

    Read from /proc/version_signature (Ubuntu), from /proc/version (Debian), from the first line of the kernel's
    configuration; else taken from the release, which is right where the release is not a mere name for an ABI.
    A distribution's 4.18 may have what came to Linux with 6.1: ask for the feature itself where there is a fact for it.
    """
    for look in (_signature, _packaged, _header):
        found = look(machine)
        if isinstance(found, Value):
            return found
    named = _kernel.release(machine).then(_upstream)
    return Value(named.value, named.evidence._replace(inferred=True)) if isinstance(named, Value) else named


@fact(Text(), sources=(ARCH, _kernel.UNAME))
def arch(machine: Machine) -> Observation[str]:
    """The machine that the kernel was built for, as `uname -m` prints it: x86_64, aarch64, ppc64le, s390x, riscv64.

    The kernel's own, also where a 32-bit personality makes uname say i686 (from Linux 6.2 on).
    """
    own = machine.line(ARCH)
    return own if isinstance(own, Value) else Value(machine.uname()[1], Evidence(_kernel.UNAME))


@table(
    Text(),
    sources=(CMDLINE,),
    noun="parameter",
    key=_kernel.named,
    closed=True,
    fix="add {key}={want} to the kernel's command line in the boot loader's configuration, and reboot",
    sensitive=True,
)
def cmdline(machine: Machine) -> Rows[str]:
    """The parameters that the boot loader gave: the last value of each, empty for a bare word.

    `-` and `_` are one in names, as to the kernel. What stands after `--` is for init, and is left out. That a
    parameter stands here does not say that this kernel knows it.
    """
    read = machine.line(CMDLINE)
    if not isinstance(read, Value):
        return Rows.lacking(read)
    return Rows.of({k: Value(v, read.evidence) for k, v in _parameters(read.value)}, Absent(read.evidence))


@fact(SetOf(Choice(*TAINTS)), sources=(TAINTED,), fix="remove what tainted it, and reboot: taints stay until then")
def taints(machine: Machine) -> Observation[FrozenSet[str]]:
    """Why the kernel's makers would not look at its reports: flags that stay set from the first cause to the reboot.

    oot_module and proprietary_module tell of foreign modules, die, warn, bad_page and machine_check of trouble had.
    """
    return machine.line(TAINTED).then(_taints)


@fact(
    Choice("none", "integrity", "confidentiality"),
    sources=(f"{SECURITY}*",),
    optional=True,
    fix="boot with lockdown={want}",
)
def lockdown(machine: Machine) -> Observation[str]:
    """How far even root is kept from changing (integrity) or reading (confidentiality) the running kernel.

    Absent where the kernel was built without it. Debian and others turn integrity on under Secure Boot.
    """
    mounted = machine.names(SECURITY)  # an empty folder is where nobody mounted securityfs
    if isinstance(mounted, Value) and not mounted.value:
        return Unknown(
            "hidden", f"no securityfs is mounted at {SECURITY}", f"mount -t securityfs securityfs {SECURITY}"
        )
    return machine.line(f"{SECURITY}/lockdown").then(_chosen)


def _option(name: str) -> str:
    name = name.removeprefix("CONFIG_")
    if not re.fullmatch(r"\w{1,128}", name, re.ASCII):
        raise ValueError(f"`{name}` is not the name of a build option: letters, digits and _, with or without CONFIG_")
    return name


@table(
    Option(),
    sources=(*_configuration.FILES, *_inference.SOURCES),
    noun="option",
    key=_option,
    closed=True,
    total=True,
    fix="boot a kernel that was built with CONFIG_{key}: {want}",
)
def config(machine: Machine) -> Rows[str]:
    """How the kernel was built: the options of its configuration, by name with or without CONFIG_.

    `y` is built in, `m` a module, `n` is "is not set", and `undefined` is what the configuration does not mention: the
    kernel does not know the option, or knows it and cannot offer it as the others are. `enabled` is y or m, `disabled`
    n or undefined. Names come and go: where an option was renamed, give the other name under `aliases`.

    Read from the first of these that can be read: /proc/config.gz, /boot/config-RELEASE, config or build/.config in the
    module tree, the headers and sources under /usr/src. Nothing is loaded to make one appear. Where none can be read,
    some 160 options are inferred from what the running kernel shows: its module tree, /proc/filesystems,
    /proc/cgroups, /proc/sys, namespaces, /proc/kallsyms; `enabled` and `disabled` are what such evidence decides best.
    """
    file = machine.once(_configuration.file)
    if isinstance(file, Value):
        return _configuration.rows(file.value, file.evidence)
    return Rows(lambda name: _inference.option(machine, name), lambda: _inference.options(machine), _unread(file))


def _unread(file: Lacking) -> Unknown:
    if isinstance(file, Unknown):
        return file
    look = "make /boot/config-RELEASE visible here, or boot a kernel that shows /proc/config.gz"
    return Unknown(
        "not found", "no configuration of the running kernel was found, and nothing else shows the option", look
    )


_UPSTREAM = re.compile(r"(\d{1,4}\.\d{1,5}(?:\.\d{1,5})?)(?:[-~](rc\d{1,3}))?")


def _upstream(text: str) -> str:
    """6.1.176 of 6.1.176-1, and 6.2-rc3 of 6.2~rc3-1."""
    match = _UPSTREAM.match(text)
    if not match:
        raise ValueError(f"`{text[:80]}` begins with no version")
    return "-".join(filter(None, match.groups()))


def _signature(machine: Machine) -> Observation[str]:
    """`Ubuntu 6.8.0-31.31-generic 6.8.1`: upstream's comes last."""
    return machine.line(SIGNATURE).then(lambda line: _upstream(line.split()[-1]))


def _packaged(machine: Machine) -> Observation[str]:
    """`... (gcc-12 (Debian 12.2.0-14) ...) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-05-01)`."""
    return machine.line(BANNER).then(_debian)


def _debian(banner: str) -> str:
    build = re.search(r"\bDebian (?:\d+:)?(\S+)", banner.rpartition("#")[2])
    if not build:
        raise ValueError("names no Debian package")
    return _upstream(build[1])


def _header(machine: Machine) -> Observation[str]:
    """From the configuration, if that is of this series at all."""
    release = _kernel.release(machine)
    series = release.value.split(".")[:2] if isinstance(release, Value) else []

    def agreed(data: bytes) -> str:
        found = _upstream(_configuration.headline(data))
        if found.split(".")[:2] != series:
            raise ValueError("is the configuration of another kernel")
        return found

    return machine.once(_configuration.file).then(agreed)


def _parameters(line: str) -> Iterator[tuple[str, str]]:
    """Words as the kernel parts them: blanks within double quotes do not count."""
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', line):
        if word == "--":
            return
        key, _, value = word.replace('"', "").partition("=")
        yield _kernel.named(key), value


def _taints(text: str) -> FrozenSet[str]:
    mask = int(text)
    if not 0 <= mask < 1 << 64:
        raise ValueError(f"`{text[:40]}` is no mask of taints")
    named = dict(enumerate(TAINTS))
    return frozenset(named.get(bit, f"bit {bit}") for bit in range(64) if mask >> bit & 1)


def _chosen(text: str) -> str:
    """`none [integrity] confidentiality`."""
    match = re.search(r"\[(\w+)\]", text)
    if not match:
        raise ValueError("marks no level")
    return match[1]

"""Security modules and policies of the kernel: LSMs, AppArmor, SELinux, fapolicyd, seccomp, Secure Boot, FIPS.

Policies are read and never tried. Whether AppArmor restricts user namespaces (Ubuntu) is shown by
`namespaces.unprivileged` and `sysctl.kernel.apparmor_restrict_unprivileged_userns`; the lockdown mode is
`kernel.lockdown`.
"""

from __future__ import annotations

import re

from nodespec.checks import _kernel_config, _kernel_version, _services_at_boot
from nodespec.facts.declaration import Row, Rows, fact, table
from nodespec.facts.value_types import IDENTIFIER, Flag, FreeText, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, FrozenSet

LSM_LIST = "/sys/kernel/security/lsm"
APPARMOR = "/sys/module/apparmor/parameters"
APPARMOR_MODES = ("enforce", "complain", "kill", "unconfined", "user")
PROFILES = "/sys/kernel/security/apparmor/profiles"
PROFILE_ROW = re.compile(r"(.{1,4000}) \(([a-z]{1,20})\)")
SELINUX_ENFORCE, SELINUX_CONFIG = "/sys/fs/selinux/enforce", "/etc/selinux/config"
FAPOLICYD, FAPOLICYD_CONFIG = "fapolicyd.service", "/etc/fapolicyd/fapolicyd.conf"
SECCOMP_ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"
FIRMWARE, IPL_SECURE = "/sys/firmware/efi", "/sys/firmware/ipl/secure"
SECURE_BOOT = f"{FIRMWARE}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
FIPS = "/proc/sys/crypto/fips_enabled"
AT_REST = (*_kernel_version.CMDLINE_FILES, *_kernel_version.BOOT_FILES, *_kernel_config.FILES)


@fact(SetOf(FreeText()), sources=(LSM_LIST,), fix="set lsm= on the kernel's command line, and reboot")
def lsms(machine: Machine) -> Observation[FrozenSet[str]]:
    """Security modules in force: capability, lockdown, yama, apparmor, selinux, bpf, landlock.

    The list of the kernel in securityfs. A module that is built and is not in the list does nothing.
    """
    return machine.line(LSM_LIST).then(_parse_lsms)


@fact(
    OneOf("disabled", *APPARMOR_MODES),
    sources=(f"{APPARMOR}/*", LSM_LIST),
    fix="set apparmor=1 security=apparmor (or apparmor=0) on the kernel's command line, and reboot; required: {want}",
)
def apparmor(machine: Machine) -> Observation[str]:
    """Mode of AppArmor: disabled, or `enforce`, `complain`, `kill`, `unconfined`.

    The mode of the module; a profile can have its own. Without root only whether it is enabled can be read. At rest it
    is the module that the kernel would select by its command line and its option LSM.
    """
    listed = machine.line(LSM_LIST).then(_parse_lsms)
    enabled = machine.line(f"{APPARMOR}/enabled")
    if isinstance(listed, Value) and "apparmor" not in listed.value:
        return Value("disabled", listed.evidence)
    if isinstance(enabled, Absent):
        return Value("disabled", enabled.evidence)
    if isinstance(enabled, Unknown) or enabled.value != "Y":
        return enabled.then(lambda _: "disabled")
    mode = machine.line(f"{APPARMOR}/mode")
    if isinstance(mode, Value):
        return mode
    return Value(APPARMOR_MODES[0], enabled.evidence._replace(inferred=True), APPARMOR_MODES[1:])


@apparmor.at_rest(*AT_REST)
def _apparmor_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _security_at_rest  # noqa: PLC0415

    return _security_at_rest.resolve_apparmor(tree)


@table(
    OneOf(*APPARMOR_MODES),
    sources=(PROFILES,),
    noun="profile",
    closed=True,
    fix="load or remove the profile {key} with apparmor_parser; required: {want}",
)
def apparmor_profiles(machine: Machine) -> Rows[Row]:
    """Loaded profiles of AppArmor with their modes, by name: cri-containerd.apparmor.d, runc, /usr/sbin/chronyd.

    Only root may read the list.
    """
    text = machine.text(PROFILES)
    rows = text.then(lambda lines: _parse_profiles(lines, Evidence(PROFILES)))
    if not isinstance(rows, Value):
        return Rows.lacking(rows)
    return Rows.of(rows.value, Absent(rows.evidence))


@fact(
    OneOf("enforcing", "permissive", "disabled"),
    sources=(SELINUX_ENFORCE, "/proc/*/attr/current"),
    fix="setenforce 1 or 0, and SELINUX={want} in /etc/selinux/config",
)
def selinux(machine: Machine) -> Observation[str]:
    """Mode of SELinux: enforcing, permissive or disabled.

    `disabled` if the kernel lacks it or has no policy loaded. At rest it is SELINUX= in /etc/selinux/config, unless the
    kernel's command line or its security modules decide otherwise.
    """
    enforce = machine.line(SELINUX_ENFORCE)
    if isinstance(enforce, Absent):
        return Value("disabled", enforce.evidence)
    if isinstance(enforce, Value):
        return enforce.then(lambda text: {"1": "enforcing", "0": "permissive"}[text])
    context = machine.line(f"{machine.process}/attr/current")  # `kernel` until a policy is loaded
    if isinstance(context, Value) and context.value.strip("\0") == "kernel":
        return Value("disabled", context.evidence._replace(inferred=True))
    return enforce


@selinux.at_rest(SELINUX_CONFIG, *AT_REST, fix="set SELINUX={want} in /etc/selinux/config")
def _selinux_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _security_at_rest  # noqa: PLC0415

    return _security_at_rest.resolve_selinux(tree)


@fact(
    IDENTIFIER,
    sources=(SELINUX_CONFIG,),
    optional=True,
    same_at_rest=True,
    fix="set SELINUXTYPE={word} in /etc/selinux/config, install its policy, and relabel the file systems",
)
def selinux_policy(tree: Tree) -> Observation[str]:
    """Name of the policy of SELinux: targeted, mls, default.

    SELINUXTYPE= in /etc/selinux/config, else `targeted`. Absent if that file does not exist.
    """
    return tree.text(SELINUX_CONFIG, 1 << 16).then(_parse_policy)


@fact(
    OneOf("enforcing", "permissive", "inactive"),
    sources=("/proc/*/comm", FAPOLICYD_CONFIG, *_services_at_boot.SOURCES),
    optional=True,
    fix="enable or disable fapolicyd with systemctl, or set `permissive` in its configuration; required: {want}",
)
def fapolicyd(machine: Machine) -> Observation[str]:
    """State of fapolicyd, which refuses to run programs that it does not know: enforcing, permissive, inactive.

    It stops a container runtime whose files are not trusted. `inactive` if its process does not run, or at rest if no
    boot starts it. Absent if it is not installed.
    """
    from nodespec.checks import _security_at_rest  # noqa: PLC0415

    return _security_at_rest.read_fapolicyd(machine, _security_at_rest.is_fapolicyd_running(machine))


@fapolicyd.at_rest(FAPOLICYD_CONFIG, *_services_at_boot.SOURCES)
def _fapolicyd_at_rest(tree: Tree) -> Observation[str]:
    from nodespec.checks import _security_at_rest  # noqa: PLC0415

    return _security_at_rest.read_fapolicyd(tree, _services_at_boot.is_started_at_boot(tree, FAPOLICYD))


@fact(SetOf(FreeText()), sources=(SECCOMP_ACTIONS,), fix="boot a kernel built with SECCOMP and SECCOMP_FILTER")
def seccomp_actions(machine: Machine) -> Observation[FrozenSet[str]]:
    """Actions that a seccomp filter can take: errno, user_notif, trace, log, kill_process, allow.

    The words of /proc/sys/kernel/seccomp/actions_avail. Empty if the kernel has no filters.
    """
    words = machine.line(SECCOMP_ACTIONS).then(lambda text: frozenset(text.split()))
    return Value(frozenset(), words.evidence) if isinstance(words, Absent) else words


@fact(
    Flag(),
    sources=(FIRMWARE, SECURE_BOOT, IPL_SECURE),
    fix="enable or disable Secure Boot in the firmware; required: {want}",
)
def secure_boot(machine: Machine) -> Observation[bool]:
    """Whether the firmware booted this machine with Secure Boot. Then the kernel refuses unsigned modules.

    The EFI variable SecureBoot, or /sys/firmware/ipl/secure of an IBM Z. False on a machine that was booted by BIOS.
    """
    efi = machine.entry(FIRMWARE)
    if isinstance(efi, Value):
        variable = machine.read(SECURE_BOOT, 64)
        if isinstance(variable, Absent):  # Firmware without Secure Boot has no such variable.
            return Value(value=False, evidence=variable.evidence)
        return variable.then(_parse_secure_boot)
    if isinstance(efi, Unknown):
        return efi
    secure = machine.line(IPL_SECURE)
    if isinstance(secure, Absent):
        return Value(value=False, evidence=efi.evidence)
    return secure.then(_parse_bit)


@fact(Flag(), sources=(FIPS,), fix="fips-mode-setup --enable (or --disable), and reboot; required: {want}")
def fips(machine: Machine) -> Observation[bool]:
    """Whether the kernel is in FIPS mode, by /proc/sys/crypto/fips_enabled.

    False if the kernel has no such mode. At rest it is the parameter fips= of the command line.
    """
    enabled = machine.line(FIPS)
    return Value(value=False, evidence=enabled.evidence) if isinstance(enabled, Absent) else enabled.then(_parse_bit)


@fips.at_rest(*AT_REST)
def _fips_at_rest(tree: Tree) -> Observation[bool]:
    from nodespec.checks import _security_at_rest  # noqa: PLC0415

    return _security_at_rest.resolve_fips(tree)


def _parse_lsms(text: str) -> FrozenSet[str]:
    """Parse `lockdown,capability,yama,apparmor`. Raises ValueError."""
    names = frozenset(text.split(","))
    if not re.fullmatch(r"[a-z0-9_]+(,[a-z0-9_]+)*", text):
        raise ValueError(f"`{text[:80]}` is not a list of security modules")
    return names


def _parse_profiles(text: str, at: Evidence) -> Dict[str, Observation[Row]]:
    """Parse lines such as `docker-default (enforce)`. Raises ValueError."""
    rows: Dict[str, Observation[Row]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        match = PROFILE_ROW.fullmatch(line)
        if match:
            rows[match[1]] = Value(match[2], at._replace(line=number))
        elif line:
            raise ValueError(f"line {number} is not a profile with its mode")
    return rows


def _parse_policy(text: str) -> str:
    values = [line.partition("=")[2].strip() for line in text.split("\n") if line.startswith("SELINUXTYPE=")]
    return values[0] if values else "targeted"


def _parse_secure_boot(data: bytes) -> bool:
    """Parse an EFI variable: four bytes of attributes, then one byte. Raises ValueError."""
    if len(data) != 5 or data[4] > 1:  # noqa: PLR2004 - see above
        raise ValueError("is not a variable of one byte that is 0 or 1")
    return bool(data[4])


def _parse_bit(text: str) -> bool:
    return {"0": False, "1": True}[text]

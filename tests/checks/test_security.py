"""Security modules, policies, Secure Boot and FIPS."""

from __future__ import annotations

import time
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _security_at_rest, security
from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
PROC: Files = {"/proc/self/stat": "", "/proc/1/comm": "systemd\n", "/proc/uptime": "", "/proc/self/attr/current": "x"}
SYS: Files = {"/sys/kernel/x": "", "/sys/devices/x": ""}
DEBIAN = "landlock,lockdown,yama,loadpin,safesetid,integrity,apparmor,selinux,smack,tomoyo,bpf"
REDHAT = "lockdown,yama,integrity,selinux,bpf,landlock"
BUILT = "CONFIG_SECURITY_SELINUX=y\nCONFIG_SECURITY_APPARMOR=y\n# CONFIG_SECURITY_SMACK is not set\n"


def look(host: DirectoryTree, *place: str) -> Observation[Datum]:
    found = resolve_place(("security", *place))
    seen = Live(host, time.monotonic() + 60).observe(found)
    if not isinstance(seen, Unknown):
        sources = (*found.fact.sources, *found.fact.resting_sources)
        for source in seen.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in sources), source
    return seen


def value(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else type(seen).__name__.lower()


def live(make_tree: MakeTree, files: Files) -> Machine:
    return Machine(make_tree({**PROC, **SYS, **files}))


def rest(make_tree: MakeTree, cmdline: str, lsm: str, files: Files = {}) -> DirectoryTree:  # noqa: B006 - never changed
    option = f'CONFIG_LSM="{lsm}"\n' if lsm else ""
    kernel = {
        "/boot/vmlinuz-6.1.0-1-amd64": "",
        "/usr/lib/modules/6.1.0-1-amd64/modules.dep": "",
        "/boot/config-6.1.0-1-amd64": f"{BUILT}{option}",
        "/etc/kernel/cmdline": cmdline,
    }
    return DirectoryTree(make_tree({**kernel, **files}))


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({}, "disabled"),
        ({f"{security.APPARMOR}/enabled": "N\n"}, "disabled"),
        ({f"{security.APPARMOR}/enabled": "Y\n", f"{security.APPARMOR}/mode": "complain\n"}, "complain"),
        (
            {
                security.LSM_LIST: "capability,selinux",
                f"{security.APPARMOR}/enabled": "Y\n",
                f"{security.APPARMOR}/mode": "enforce\n",
            },
            "disabled",
        ),
    ],
)
def test_mode_of_apparmor(make_tree: MakeTree, files: Files, mode: str) -> None:
    assert value(look(live(make_tree, files), "apparmor")) == mode


def test_apparmor_whose_mode_cannot_be_read_is_enabled(make_tree: MakeTree) -> None:
    seen = look(live(make_tree, {f"{security.APPARMOR}/enabled": "Y\n"}), "apparmor")
    assert isinstance(seen, Value)
    assert "disabled" not in {seen.value, *seen.others}
    assert len(seen.others) == 4


def test_profiles_of_apparmor(make_tree: MakeTree) -> None:
    text = "runc (unconfined)\n/usr/sbin/chronyd (enforce)\na b (c) (complain)\n"
    machine = live(make_tree, {security.PROFILES: text, f"{security.LSM_LIST}": "apparmor"})
    assert value(look(machine, "apparmor_profiles", "runc")) == "unconfined"
    assert value(look(machine, "apparmor_profiles", "/usr/sbin/chronyd")) == "enforce"
    assert value(look(machine, "apparmor_profiles", "a b (c)")) == "complain"
    assert value(look(machine, "apparmor_profiles", "nosuch")) == "absent"


@pytest.mark.parametrize(
    ("files", "mode"),
    [
        ({"/sys/fs/x": ""}, "disabled"),
        ({security.SELINUX_ENFORCE: "1"}, "enforcing"),
        ({security.SELINUX_ENFORCE: "0"}, "permissive"),
        ({security.SELINUX_ENFORCE: "2"}, "unknown"),
        ({"/sys/fs/selinux": None, "/proc/1/attr/current": "kernel\0"}, "disabled"),
        ({"/sys/fs/selinux": None, "/proc/1/attr/current": "system_u:system_r:container_t:s0:c1,c2\0"}, "unknown"),
    ],
)
def test_mode_of_selinux(make_tree: MakeTree, files: Files, mode: str) -> None:
    assert value(look(live(make_tree, files), "selinux")) == mode


@pytest.mark.parametrize(
    ("config", "cmdline", "lsm", "mode"),
    [
        ("SELINUX=enforcing\n", "quiet", REDHAT, "enforcing"),
        ("# SELINUX=disabled\nSELINUX=Permissive\nSELINUX=enforcing\n", "quiet", REDHAT, "permissive"),
        ("SELINUX=disabled\n", "", REDHAT, "disabled"),
        ("SELINUX=enforcing\n", "selinux=0", REDHAT, "disabled"),
        ("SELINUX=enforcing\n", "enforcing=0", REDHAT, "permissive"),
        ("SELINUX=permissive\n", "enforcing=1", REDHAT, "enforcing"),
        ("SELINUX=enforcing\n", "quiet", DEBIAN, "disabled"),
        ("SELINUX=enforcing\n", "security=selinux", DEBIAN, "enforcing"),
        ("SELINUX=enforcing\n", "lsm=yama,selinux", DEBIAN, "enforcing"),
        ("SELINUX=enforcing\n", "apparmor=0", DEBIAN, "enforcing"),
        ("SELINUX=enforcing\n", "quiet", "", "unknown"),
        ("SELINUX=enforced\n", "quiet", REDHAT, "enforcing"),
        ("SELINUX=yes\n", "quiet", REDHAT, "unknown"),
        ("", "quiet", REDHAT, "unknown"),
    ],
)
def test_selinux_at_rest(make_tree: MakeTree, config: str, cmdline: str, lsm: str, mode: str) -> None:
    tree = rest(make_tree, cmdline, lsm, {security.SELINUX_CONFIG: config})
    assert value(look(tree, "selinux")) == (mode if config != "SELINUX=enforced\n" else "unknown")


def test_without_its_configuration_selinux_is_disabled(make_tree: MakeTree) -> None:
    assert value(look(rest(make_tree, "security=selinux", REDHAT), "selinux")) == "disabled"


@pytest.mark.parametrize(
    ("cmdline", "lsm", "mode"),
    [
        ("quiet", DEBIAN, "enforce"),
        ("quiet", REDHAT, "disabled"),
        ("apparmor=0", DEBIAN, "disabled"),
        ("apparmor=1 security=apparmor", REDHAT, "enforce"),
        ("lsm=yama", DEBIAN, "disabled"),
    ],
)
def test_apparmor_at_rest(make_tree: MakeTree, cmdline: str, lsm: str, mode: str) -> None:
    assert value(look(rest(make_tree, cmdline, lsm), "apparmor")) == mode


@pytest.mark.parametrize(("cmdline", "enabled"), [("fips=1", True), ("fips=0", False), ("quiet", False)])
def test_fips_at_rest(make_tree: MakeTree, cmdline: str, enabled: bool) -> None:  # noqa: FBT001
    assert value(look(rest(make_tree, cmdline, DEBIAN), "fips")) is enabled


@pytest.mark.parametrize(("text", "enabled"), [("1\n", True), ("0\n", False), ("2\n", "unknown"), (None, False)])
def test_fips_of_a_running_kernel(make_tree: MakeTree, text: Union[str, None], enabled: object) -> None:
    files: Files = {"/proc/sys/crypto/x": ""} if text is None else {security.FIPS: text}
    assert value(look(live(make_tree, files), "fips")) == enabled


@pytest.mark.parametrize(
    ("files", "enabled"),
    [
        ({}, False),
        ({security.SECURE_BOOT: b"\6\0\0\0\1"}, True),
        ({security.SECURE_BOOT: b"\6\0\0\0\0"}, False),
        ({security.SECURE_BOOT: b"\6\0\0\0\2"}, "unknown"),
        ({security.SECURE_BOOT: b"\6\0\0\0"}, "unknown"),
        ({security.SECURE_BOOT: b""}, "unknown"),
        ({f"{security.FIRMWARE}/efivars/Boot0000-x": b"x"}, False),
        ({security.IPL_SECURE: "1\n"}, True),
        ({security.IPL_SECURE: "0\n"}, False),
    ],
)
def test_secure_boot(make_tree: MakeTree, files: Files, enabled: object) -> None:
    assert value(look(live(make_tree, files), "secure_boot")) == enabled


def test_seccomp_actions(make_tree: MakeTree) -> None:
    machine = live(make_tree, {security.SECCOMP_ACTIONS: "kill_process errno allow\n"})
    assert value(look(machine, "seccomp_actions")) == frozenset({"kill_process", "errno", "allow"})


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, "absent"),
        ({security.FAPOLICYD_CONFIG: "permissive = 0\n"}, "inactive"),
        ({security.FAPOLICYD_CONFIG: "permissive = 0\n", "/proc/7/comm": "fapolicyd\n"}, "enforcing"),
        ({security.FAPOLICYD_CONFIG: "permissive = 1\n", "/proc/7/comm": "fapolicyd\n"}, "permissive"),
    ],
)
def test_fapolicyd(make_tree: MakeTree, files: Files, state: str) -> None:
    assert value(look(live(make_tree, files), "fapolicyd")) == state


def test_a_list_of_modules_is_a_set(make_tree: MakeTree) -> None:
    machine = live(make_tree, {security.LSM_LIST: "lockdown,capability,yama\n"})
    assert value(look(machine, "lsms")) == frozenset({"lockdown", "capability", "yama"})
    assert value(look(live(make_tree, {security.LSM_LIST: ""}), "lsms")) == "unknown"


@given(st.text(max_size=80))
def test_parsers_raise_nothing_else(text: str) -> None:
    for parse in (security._parse_lsms, _security_at_rest._parse_mode, security._parse_policy):  # noqa: SLF001
        with suppress(ValueError):
            assert parse(text)
    with suppress(ValueError):
        security._parse_profiles(text, Evidence("/x"))  # noqa: SLF001

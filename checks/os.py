"""The operating system: its identity, its init system, and what it runs inside.

The identity is read from os-release(5): `/etc/os-release`, or `/usr/lib/os-release` if that does not exist. Older files
(`/etc/redhat-release`, `/etc/lsb-release`) are not read.
"""

from __future__ import annotations

import re

from nodespec.checks import _init_system, _os_release
from nodespec.facts.declaration import fact
from nodespec.facts.value_numbers import Version
from nodespec.facts.value_types import IDENTIFIER, FreeText, OneOf, SetOf
from nodespec.facts.versions import RELEASE
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import FrozenSet, Optional

HYPERVISOR_SOURCES = (
    *("/proc/cpuinfo", "/sys/devices/system/clocksource/clocksource0/available_clocksource", "/sys/class/dmi/id*"),
    *("/proc/device-tree*", "/sys/hypervisor/type", "/proc/xen/capabilities", "/proc/sysinfo"),
)


@fact(IDENTIFIER, sources=_os_release.FILES, same_at_rest=True)
def id_(tree: Tree) -> Observation[str]:
    """The distribution in one lower-case word: debian, ubuntu, rhel, fedora.

    ID in os-release; `linux` if that field is not set, as its specification requires.
    """
    return _read_id(tree)


@fact(FreeText(), sources=_os_release.FILES, same_at_rest=True)
def name(tree: Tree) -> Observation[str]:
    """The distribution's name without its version, for people: Debian GNU/Linux.

    NAME in os-release, else `Linux`.
    """
    return _os_release.read_field_or_default(tree, "NAME", "Linux")


@fact(FreeText(), sources=_os_release.FILES, same_at_rest=True)
def pretty_name(tree: Tree) -> Observation[str]:
    """The distribution's name with its version, for people.

    PRETTY_NAME in os-release, else `Linux`.
    """
    return _os_release.read_field_or_default(tree, "PRETTY_NAME", "Linux")


@fact(Version(RELEASE), sources=_os_release.FILES, optional=True, same_at_rest=True)
def version(tree: Tree) -> Observation[str]:
    """The distribution's version in numbers: 12, 24.04, 9.4. VERSION_ID in os-release.

    A rolling distribution (Arch, Debian testing and unstable) has none. Not every distribution shows point releases: on
    Debian both 12.1 and 12.11 are 12.
    """
    return _os_release.read_field(tree, "VERSION_ID")


@fact(FreeText(), sources=_os_release.FILES, optional=True, same_at_rest=True)
def codename(tree: Tree) -> Observation[str]:
    """Code name of the release: bookworm, noble.

    VERSION_CODENAME in os-release. If that field does not exist, it is the text in parentheses or after a comma in
    VERSION (inferred), as older releases have it: 7 (Core).
    """
    fields = tree.once(_os_release.read_os_release)
    if not isinstance(fields, Value) or "VERSION_CODENAME" in fields.value:
        return _os_release.read_field(tree, "VERSION_CODENAME")
    version_text = _os_release.read_field(tree, "VERSION")
    if not isinstance(version_text, Value):
        return version_text
    match = re.search(r"\(([^()\d]+)\)|,([^\d,]+)$", version_text.value)
    if not match:
        return Absent(fields.evidence)
    return Value((match[1] or match[2]).strip(), version_text.evidence._replace(inferred=True))


@fact(IDENTIFIER, sources=_os_release.FILES, optional=True, same_at_rest=True)
def variant(tree: Tree) -> Observation[str]:
    """The edition of the distribution in one word: server, coreos, workstation.

    VARIANT_ID in os-release.
    """
    return _os_release.read_field(tree, "VARIANT_ID")


@fact(FreeText(), sources=_os_release.FILES, optional=True, same_at_rest=True)
def build(tree: Tree) -> Observation[str]:
    """The image that the system was built from. BUILD_ID in os-release.

    On Arch it is `rolling`.
    """
    return _os_release.read_field(tree, "BUILD_ID")


@fact(SetOf(IDENTIFIER), sources=_os_release.FILES, same_at_rest=True)
def families(tree: Tree) -> Observation[FrozenSet[str]]:
    """The distribution and those that it derives from: ID and ID_LIKE in os-release.

    `families: [debian]` matches Debian, Ubuntu and most derivatives. The list is what the distribution itself declares:
    Amazon Linux 2023 lists fedora, but not rhel.
    """
    identity, like = _read_id(tree), _os_release.read_field(tree, "ID_LIKE")
    if isinstance(identity, Value) and isinstance(like, Value):
        return like.then(lambda names: frozenset((identity.value, *names.split())))
    return like if isinstance(like, Unknown) else identity.then(lambda word: frozenset((word,)))


@fact(FreeText(), sources=("/run/systemd/system", "/run/openrc/softlevel", "/proc/1/comm", *_init_system.SOURCES))
def init(machine: Machine) -> Observation[str]:
    """The init system: systemd, openrc, sysvinit, runit, s6, dinit, busybox, upstart.

    systemd and OpenRC are identified by their files under /run, the others by the name of process 1. Any other name is
    given unchanged, as in most containers: bash, tini. At rest it is identified by the program at /sbin/init: by the
    target of its links, its content, and /etc/inittab. Talos has its own, `machined`.
    """
    for mark, system in (("/run/systemd/system", "systemd"), ("/run/openrc/softlevel", "openrc")):
        if isinstance(machine.entry(mark), Value):
            return Value(system, Evidence(mark))
    comm = machine.line("/proc/1/comm")
    if isinstance(comm, Value) and comm.value == "init":
        program = _init_system.detect_init_system(machine)
        missing = Unknown("not found", f"process 1 is named init, and {_init_system.INIT} was not found")
        return missing if isinstance(program, Absent) else program
    return comm.then(lambda program: _init_system.PROGRAMS.get(program, program))


@init.at_rest(*_init_system.SOURCES)
def _init_at_rest(tree: Tree) -> Observation[str]:
    return _init_system.detect_init_system(tree)


@fact(
    OneOf("set", "empty", "uninitialized"),
    sources=("/etc/machine-id",),
    optional=True,
    same_at_rest=True,
    fix="on a node: systemd-machine-id-setup; in an image that will be cloned: truncate -s 0 /etc/machine-id",
)
def machine_id(tree: Tree) -> Observation[str]:
    """Whether /etc/machine-id is `set`, `empty` or holds the word `uninitialized`.

    An image that will be cloned must not have one: all its nodes would be the same to the DHCP server and to the
    cluster. systemd fills an empty file at boot. `uninitialized` makes that boot a first boot. The ID itself is never
    shown.
    """
    return tree.line("/etc/machine-id").then(_parse_machine_id)


@fact(
    FreeText(),
    sources=(
        "/proc/*/ns/*",
        "/proc/*/environ",
        "/proc/1/root",
        "/run/secrets/kubernetes.io",
        "/run/host/container-manager",
        "/run/systemd/container",
        "/run/.containerenv",
        "/.dockerenv",
    ),
    optional=True,
)
def container(machine: Machine) -> Observation[str]:
    """The container engine: docker, podman, lxc, systemd-nspawn, kubernetes.

    `other` if it is unnamed. The kernel numbers the initial namespaces itself. A process in the initial mount namespace
    is not in a container. Neither is a process in the initial PID namespace with the mounts or the root directory of
    process 1. Marks in the image do not change that: many images contain `/.dockerenv`. In all other cases the marks of
    engines decide; the result is inferred unless the process has its own PID namespace. Without a mark it is `other`.
    """
    from nodespec.checks import _container  # noqa: PLC0415

    outside, path = _container.find_host_proof(machine), f"{machine.process}/ns/pid"
    if outside:
        return Absent(Evidence(outside))
    space = machine.link(path)
    if isinstance(space, Unknown):  # Then it is also unknown whether the marks are those of this container.
        return space
    inside = isinstance(space, Value) and space.value != _container.INITIAL_NAMESPACES["pid"]
    mounts = machine.link(f"{machine.process}/ns/mnt")
    if isinstance(mounts, Unknown) and not inside:
        return mounts
    unseen: Optional[Unknown] = None
    for mark in _container.list_engine_marks(machine, inside=inside):
        if isinstance(mark, Unknown):
            unseen = unseen or mark
        # The value "oci" is generic; it names no engine.
        elif isinstance(mark, Value) and mark.value not in ("", "oci"):
            return Value(mark.value, mark.evidence._replace(inferred=not inside))
    if unseen:
        return unseen
    return Value("other", Evidence(path, inferred=True)) if inside else Absent(Evidence(path))


@fact(
    FreeText(),
    sources=HYPERVISOR_SOURCES,
    optional=True,
)
def virtualization(machine: Machine) -> Observation[str]:
    """The hypervisor: kvm, qemu (emulation), vmware, xen, hyperv, virtualbox, ...

    `other` if it is unnamed. On x86 the processor flag `hypervisor` in /proc/cpuinfo shows whether a hypervisor exists.
    Its kind is inferred from the clock source, the DMI tables or the device tree. The fact names the hypervisor, not
    the cloud provider: EC2 Nitro and Google are kvm. Xen's domain 0 counts as bare metal.
    """
    from nodespec.checks import _hypervisor  # noqa: PLC0415

    return _hypervisor.detect_hypervisor(machine)


def _read_id(tree: Tree) -> Observation[str]:
    return _os_release.read_field_or_default(tree, "ID", "linux")


def _parse_machine_id(text: str) -> str:
    if text in ("", "uninitialized"):
        return text or "empty"
    if re.fullmatch("[0-9a-fA-F]{32}", text) and set(text) != {"0"}:
        return "set"
    # The message must not show the ID.
    raise ValueError("it must be empty, `uninitialized` or 32 hexadecimal digits")

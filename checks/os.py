"""The operating system: what it calls itself, what its first process is, and what it runs inside.

What it calls itself stands in os-release(5): `/etc/os-release`, or `/usr/lib/os-release` where that does not exist.
Older files (`/etc/redhat-release`, `/etc/lsb-release`) are not read.
"""

from __future__ import annotations

import re
from typing import FrozenSet, Iterator, Mapping, NamedTuple, Tuple, Union

from nodespec.checks import _units
from nodespec.facts import fact
from nodespec.kinds import Choice, SetOf, Text, Version
from nodespec.machine import Machine
from nodespec.observation import Absent, Evidence, Observation, Unknown, Value, first
from nodespec.tree import CHUNK, Tree
from nodespec.versions import RELEASE

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


@fact(Text(), sources=OS_RELEASE, same_at_rest=True)
def id_(tree: Tree) -> Observation[str]:
    """The distribution in one lower-case word, as it names itself: debian, ubuntu, rhel, fedora.

    ID in os-release; `linux` where that file does not say, as its specification has it.
    """
    return _id(tree)


@fact(Text(), sources=OS_RELEASE, same_at_rest=True)
def name(tree: Tree) -> Observation[str]:
    """The distribution's name without its version, for people: Debian GNU/Linux. NAME in os-release, else `Linux`."""
    return _given(tree, "NAME", "Linux")


@fact(Text(), sources=OS_RELEASE, same_at_rest=True)
def pretty_name(tree: Tree) -> Observation[str]:
    """The distribution's name with its version, for people. PRETTY_NAME in os-release, else `Linux`."""
    return _given(tree, "PRETTY_NAME", "Linux")


@fact(Version(RELEASE), sources=OS_RELEASE, optional=True, same_at_rest=True)
def version(tree: Tree) -> Observation[str]:
    """The distribution's version, in numbers: 12, 24.04, 9.4. VERSION_ID in os-release.

    A rolling distribution (Arch, Debian testing and unstable) has none. Point releases do not show everywhere: Debian
    says 12 for 12.1 and 12.11 alike.
    """
    return _field(tree, "VERSION_ID")


@fact(Text(), sources=OS_RELEASE, optional=True, same_at_rest=True)
def codename(tree: Tree) -> Observation[str]:
    """The name of the release: bookworm, noble.

    VERSION_CODENAME in os-release; where that field does not stand at all, what VERSION has in brackets or after a
    comma (inferred), as was the custom before: 7 (Core).
    """
    fields = tree.once(_fields)
    if not isinstance(fields, Value) or "VERSION_CODENAME" in fields.value:
        return _field(tree, "VERSION_CODENAME")
    whole = _field(tree, "VERSION")
    if not isinstance(whole, Value):
        return whole
    found = re.search(r"\(([^()\d]+)\)|,([^\d,]+)$", whole.value)
    if not found:
        return Absent(fields.evidence)
    return Value((found[1] or found[2]).strip(), whole.evidence._replace(inferred=True))


@fact(Text(), sources=OS_RELEASE, optional=True, same_at_rest=True)
def variant(tree: Tree) -> Observation[str]:
    """The edition of the distribution in one word: server, coreos, workstation. VARIANT_ID in os-release."""
    return _field(tree, "VARIANT_ID")


@fact(Text(), sources=OS_RELEASE, optional=True, same_at_rest=True)
def build(tree: Tree) -> Observation[str]:
    """Which image the system was made from; `rolling` on Arch. BUILD_ID in os-release."""
    return _field(tree, "BUILD_ID")


@fact(SetOf(Text()), sources=OS_RELEASE, same_at_rest=True)
def families(tree: Tree) -> Observation[FrozenSet[str]]:
    """The distribution and those that it takes after: ID and ID_LIKE in os-release.

    `families: [debian]` is Debian, Ubuntu and most that descend from them. Whom a system takes after is its own word:
    Amazon Linux 2023 names fedora, and not rhel.
    """
    own, like = _id(tree), _field(tree, "ID_LIKE")
    if isinstance(own, Value) and isinstance(like, Value):
        return like.then(lambda names: frozenset((own.value, *names.split())))
    return like if isinstance(like, Unknown) else own.then(lambda word: frozenset((word,)))


@fact(Text(), sources=("/run/systemd/system", "/run/openrc/softlevel", "/proc/1/comm", "/sbin/init"))
def init(machine: Machine) -> Observation[str]:
    """What started the system and runs its services: systemd, openrc, sysvinit, runit, s6, dinit, busybox.

    systemd and OpenRC by what they keep under /run, the others by the name of process 1; that name as it is where it is
    none of these, as in most containers: bash, tini. At rest by the program that stands as /sbin/init.
    """
    for mark, system in (("/run/systemd/system", "systemd"), ("/run/openrc/softlevel", "openrc")):
        if isinstance(machine.entry(mark), Value):
            return Value(system, Evidence(mark))
    comm = machine.line("/proc/1/comm")
    if isinstance(comm, Absent):
        return Unknown("hidden", "process 1 cannot be seen here", "run as root, or without hidepid")
    if isinstance(comm, Value) and comm.value == "init":
        return _init(machine)
    return comm.then(lambda program: {"s6-svscan": "s6", "openrc-init": "openrc"}.get(program, program))


@init.at_rest(*_units.SOURCES)
def _init_at_rest(tree: Tree) -> Observation[str]:
    return _units.init(tree)


@fact(
    Choice("set", "empty", "uninitialized"),
    sources=("/etc/machine-id",),
    optional=True,
    same_at_rest=True,
    fix="on a node: systemd-machine-id-setup; in an image that will be cloned: truncate -s 0 /etc/machine-id",
)
def machine_id(tree: Tree) -> Observation[str]:
    """Whether /etc/machine-id holds an identity (`set`), nothing (`empty`) or the word `uninitialized`.

    An image to be cloned must not hold one: its nodes would be one to the DHCP server and to the cluster. systemd fills
    an empty one at boot, and `uninitialized` makes that a first boot. The identity itself is never shown.
    """
    return tree.line("/etc/machine-id").then(_identity)


@fact(
    Text(),
    sources=(
        "/proc/*/ns/*",
        "/proc/*/environ",
        "/run/secrets/kubernetes.io",
        "/run/host/container-manager",
        "/run/systemd/container",
        "/run/.containerenv",
        "/.dockerenv",
    ),
    optional=True,
)
def container(machine: Machine) -> Observation[str]:
    """The kind of container that this runs in: docker, podman, lxc, systemd-nspawn, kubernetes; `other` if unnamed.

    The kernel numbers its first namespaces itself: who is in the first mount namespace, or in the first PID namespace
    with process 1's mounts, is in no container, whatever an image left behind (`/.dockerenv` stands in many). Otherwise
    the marks that engines leave, inferred unless it has a PID namespace of its own; one without a mark is `other`.
    """
    outside, path = _outside(machine), f"{machine.process}/ns/pid"
    if outside:
        return Absent(Evidence(outside))
    space = machine.link(path)
    inside = isinstance(space, Value) and space.value != FIRST["pid"]
    for kind, source in _marks(machine):
        if kind not in ("", "oci"):  # the OCI's own word for itself, which says nothing
            return Value(kind, Evidence(source, inferred=not inside))
    if inside:
        return Value("other", Evidence(path, inferred=True))
    return space if isinstance(space, Unknown) else Absent(Evidence(path))


CPUS, CLOCKS = "/proc/cpuinfo", "/sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI, DEVICES = "/sys/class/dmi/id", "/proc/device-tree"


@fact(
    Text(),
    sources=(CPUS, CLOCKS, f"{DMI}*", f"{DEVICES}*", "/sys/hypervisor/type", "/proc/xen/capabilities", "/proc/sysinfo"),
    optional=True,
)
def virtualization(machine: Machine) -> Observation[str]:
    """The hypervisor below: kvm, qemu (emulation), vmware, xen, hyperv, virtualbox, ...; `other` if unnamed.

    On x86 the processor says whether there is any (flag `hypervisor` in /proc/cpuinfo). Which one is inferred from the
    clock that it offers, its DMI tables or its device tree. What counts is the hypervisor and not who rents it out:
    EC2's Nitro and Google's are kvm. Xen's own domain 0 counts as bare.
    """
    cpus = machine.text(CPUS)
    if not isinstance(cpus, Value):
        return cpus
    flags = re.search(r"^flags[ \t]*:.*$", cpus.value, re.MULTILINE)  # x86 alone calls them so
    line = cpus.value.count("\n", 0, flags.start()) + 1 if flags else 0
    if flags and "hypervisor" not in flags[0].split():
        return Absent(Evidence(CPUS, line))
    for path, signs in SIGNS.items():
        said = machine.text(path, CHUNK)
        kind = next((signs[word] for word in signs if isinstance(said, Value) and word in said.value), None)
        if kind:
            others = ("kvm",) if kind == "qemu" else ()  # which shows the same tables where the processor helps it
            return Value(kind, Evidence(path, inferred=True), others)
        if kind == BARE:
            return Absent(Evidence(path))
    return Value("other", Evidence(CPUS, line, inferred=True)) if flags else _bare(machine)


class Assignment(NamedTuple):
    """One line of os-release: its number, and the value as it is written, quotes and all."""

    line: int
    written: str


def _id(tree: Tree) -> Observation[str]:
    return _given(tree, "ID", "linux")


def _given(tree: Tree, field: str, default: str) -> Observation[str]:
    """A field, or what it means not to have it in a file that is there."""
    said, fields = _field(tree, field), tree.once(_fields)
    if isinstance(said, Absent) and isinstance(fields, Value):
        return Value(default, fields.evidence._replace(inferred=True))
    return said


def _field(tree: Tree, field: str) -> Observation[str]:
    """A field; one that is empty is absent."""
    fields = tree.once(_fields)
    if not isinstance(fields, Value):
        return fields
    line, written = fields.value.get(field, Assignment(0, ""))
    said = Value(written, fields.evidence._replace(line=line)).then(_word)
    return Absent(fields.evidence) if isinstance(said, Value) and not said.value else said


def _fields(tree: Tree) -> Observation[Mapping[str, Assignment]]:
    """What os-release assigns. The second file counts only where the first does not exist."""
    own = tree.text(OS_RELEASE[0], CHUNK)
    return (first((own, tree.text(OS_RELEASE[1], CHUNK))) if isinstance(own, Absent) else own).then(_assignments)


def _assignments(text: str) -> Mapping[str, Assignment]:
    """The assignments by name; of two, the later, as in a shell."""
    lines = ((number, re.match(r"\s*([A-Za-z_]\w*)=(.*)", row)) for number, row in enumerate(text.split("\n"), 1))
    return {found[1]: Assignment(number, found[2]) for number, found in lines if found}


_PIECE = re.compile(r'"(?P<double>(?:[^"\\]|\\.)*)"|\'(?P<single>[^\']*)\'|\\(?P<escaped>.)|(?P<plain>[^\s"\'\\]+)')


def _word(written: str) -> str:
    """A value as the shell reads it, without expansions: one word, blanks in it folded."""
    word, at = "", 0
    while at < len(written) and not written[at].isspace():
        piece = _PIECE.match(written, at)
        if not piece:
            raise ValueError("a quote is opened and not closed")
        double = re.sub(r'\\(["$`\\])', r"\1", piece["double"] or "")
        word += double or piece["single"] or piece["escaped"] or piece["plain"] or ""
        at = piece.end()
    return " ".join(word.split())


def _init(machine: Machine) -> Observation[str]:
    """Several programs call themselves init: which one, the link at its place says, or it is the first of them."""
    target = machine.link("/sbin/init")
    program = target.value.rpartition("/")[2] if isinstance(target, Value) else "sysvinit"
    return Value(program, Evidence("/sbin/init", inferred=True))


def _identity(text: str) -> str:
    if text in ("", "uninitialized"):
        return text or "empty"
    if re.fullmatch("[0-9a-fA-F]{32}", text) and set(text) != {"0"}:
        return "set"
    raise ValueError("neither empty, nor `uninitialized`, nor 32 hexadecimal digits")  # nor shown


FIRST = {"mnt": "mnt:[4026531832]", "pid": "pid:[4026531836]"}  # as the kernel numbers them; mnt since 6.18


def _outside(machine: Machine) -> str:
    """The link that shows that this is no container; empty where none does."""
    mounts, process = f"{machine.process}/ns/mnt", f"{machine.process}/ns/pid"
    own, space = machine.link(mounts), machine.link(process)
    if isinstance(own, Value) and own.value == FIRST["mnt"]:
        return mounts
    if not isinstance(own, Value) or not isinstance(space, Value) or space.value != FIRST["pid"]:
        return ""
    other = machine.link("/proc/1/ns/mnt")
    return process if isinstance(other, Value) and other.value == own.value else ""


def _marks(machine: Machine) -> Iterator[Tuple[str, str]]:
    """What engines leave in their containers, and where it stands; the most telling first."""
    environments = [(path, _environment(machine, path)) for path in ("/proc/1/environ", f"{machine.process}/environ")]
    if isinstance(machine.entry("/run/secrets/kubernetes.io"), Value):
        yield "kubernetes", "/run/secrets/kubernetes.io"
    for path, environment in environments:
        if "KUBERNETES_SERVICE_HOST" in environment:
            yield "kubernetes", path
    for path in ("/run/host/container-manager", "/run/systemd/container"):
        said = machine.line(path)
        yield said.value if isinstance(said, Value) else "", path
    for path, environment in environments:
        yield environment.get("container", ""), path
    for path, engine in (("/run/.containerenv", "podman"), ("/.dockerenv", "docker")):
        yield engine if isinstance(machine.entry(path), Value) else "", path


def _environment(machine: Machine, path: str) -> Mapping[str, str]:
    said = machine.text(path)
    pairs = (row.partition("=") for row in said.value.split("\0")) if isinstance(said, Value) else ()
    return {variable: value for variable, _, value in pairs}


BARE = ""
_DMI_WORDS = {
    "KVM": "kvm",
    "OpenStack": "kvm",
    "KubeVirt": "kvm",
    "Amazon EC2": "kvm",
    "Google Compute Engine": "kvm",
    "QEMU": "qemu",
    "VMware": "vmware",
    "innotek GmbH": "virtualbox",
    "VirtualBox": "virtualbox",
    "Xen": "xen",
    "Bochs": "bochs",
    "Parallels": "parallels",
    "BHYVE": "bhyve",
    "Hyper-V": "hyperv",
    "Apple Virtualization": "apple",
}
# by path, the surest first: what stands there, and the hypervisor that it means
SIGNS: Mapping[str, Mapping[str, str]] = {
    "/proc/xen/capabilities": {"control_d": BARE},
    "/sys/hypervisor/type": {"xen": "xen"},
    CLOCKS: {"kvm-clock": "kvm", "hyperv": "hyperv"},
    f"{DEVICES}/hypervisor/compatible": {"linux,kvm": "kvm", "xen": "xen", "vmware": "vmware"},
    "/proc/sysinfo": {"Control Program: z/VM": "zvm", "Control Program: KVM": "kvm"},
    f"{DMI}/product_name": {".metal": BARE, **_DMI_WORDS},  # EC2's bare machines name the same vendor
    **{f"{DMI}/{file}": _DMI_WORDS for file in ("sys_vendor", "board_vendor", "bios_vendor", "product_version")},
    f"{DEVICES}/compatible": {"linux,dummy-virt": "qemu", "qemu,pseries": "qemu"},
}


def _bare(machine: Machine) -> Union[Absent, Unknown]:
    """No hypervisor, where something that would name it could be read."""
    for path in (DMI, DEVICES, "/proc/sysinfo"):
        if isinstance(machine.entry(path), Value):
            return Absent(Evidence(path))
    return Unknown("hidden", "neither DMI tables nor a device tree can be seen here", "look from outside")

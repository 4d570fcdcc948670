"""Namespaces: their kinds, and whether unprivileged users may create them.

The limit per user and kind is a sysctl (user.max_net_namespaces and similar): use the fact `sysctl`.
"""

from __future__ import annotations

from nodespec.checks import _kernel_config, _kernel_version
from nodespec.facts.declaration import fact
from nodespec.facts.value_types import OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value

if TYPE_CHECKING:
    from typing import FrozenSet, Iterator, Tuple

KINDS = frozenset({"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"})
NAMESPACE_LINKS = "/proc/*/ns"
OPTIONS = {**{kind: f"{kind.upper()}_NS" for kind in KINDS - {"cgroup", "mnt"}}, "cgroup": "CGROUPS"}

LIMIT = "/proc/sys/user/max_user_namespaces"
DEBIAN = "/proc/sys/kernel/unprivileged_userns_clone"
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
SHARED = "run nodespec in the host's user namespace"


@fact(
    SetOf(OneOf(*sorted(KINDS))),
    sources=(NAMESPACE_LINKS,),
    fix="boot a kernel that has them: built with NET_NS, USER_NS and so on; cgroup came with Linux 4.6, time with 5.6",
)
def kinds(machine: Machine) -> Observation[FrozenSet[str]]:
    """Kinds of namespace that the kernel has.

    Every process is in one namespace of each kind, so the kernel lacks every kind that /proc/self/ns does not list.
    Whether new namespaces may be created is shown by `unprivileged` and the limits under sysctl. At rest the kinds
    follow from how the kernel was built.
    """
    return machine.names(f"{machine.process}/ns").then(_parse_kinds)


@kinds.at_rest(*_kernel_version.BOOT_FILES, *_kernel_config.FILES)
def _kinds_at_rest(tree: Tree) -> Observation[FrozenSet[str]]:
    from nodespec.checks import _kernel_config  # noqa: PLC0415

    rows = _kernel_config.read_options_at_rest(tree)
    kinds_found, at = {"mnt"}, Evidence("")
    for kind, option in OPTIONS.items():
        row = rows.observe(option)
        if not isinstance(row, Value):
            return row
        at = row.evidence._replace(line=0, inferred=True)
        kinds_found |= {kind} if row.value == "y" else set()
    return Value(frozenset(kinds_found), at)


@fact(
    OneOf("allowed", "restricted", "denied"),
    sources=(NAMESPACE_LINKS, LIMIT, DEBIAN, APPARMOR),
    fix="set what decided (user.max_user_namespaces to some thousands, kernel.unprivileged_userns_clone to 1),"
    " or for a program that AppArmor restricts, load a profile with the rule `userns,`",
)
def unprivileged(machine: Machine) -> Observation[str]:
    """What unprivileged users may do with user namespaces.

    Rootless containers need user namespaces. denied: the kernel has no user namespaces, or user.max_user_namespaces is
    0, or kernel.unprivileged_userns_clone is 0 (Debian and derivatives). restricted:
    kernel.apparmor_restrict_unprivileged_userns is on (Ubuntu); any user may create one, but only programs with a
    matching profile have capabilities inside. allowed: neither applies. The evidence is the file that decided.

    The policy is read and not tried. A restriction of single processes, such as a seccomp filter, a chroot or SELinux,
    may still deny what is allowed here.
    """
    built = machine.names(f"{machine.process}/ns").then(_parse_kinds)
    if not isinstance(built, Value):
        return built
    if "user" not in built.value:
        return Value("denied", built.evidence)
    answers = [answer for answer in _read_policy(machine) if not isinstance(answer, Absent)]
    return min(answers, key=_rank_answer, default=Value("allowed", built.evidence))


def _rank_answer(answer: Observation[str]) -> int:
    """Return the order of precedence: unknown comes before all states except denied."""
    return {"denied": 0, "restricted": 2, "allowed": 3}[answer.value] if isinstance(answer, Value) else 1


def _read_policy(machine: Machine) -> Iterator[Observation[str]]:
    """Yield what each setting decides by itself. A kernel has some of them, or none."""
    yield machine.elsewhere("user") or machine.line(LIMIT).then(lambda text: "allowed" if int(text) > 0 else "denied")
    yield machine.line(DEBIAN).then(lambda text: "allowed" if int(text) else "denied")
    yield machine.line(APPARMOR).then(lambda text: "restricted" if int(text) else "allowed")


def _parse_kinds(names: Tuple[str, ...]) -> FrozenSet[str]:
    if "mnt" not in names:  # No kernel can be built without mount namespaces.
        raise ValueError("no mount namespace found")
    return KINDS.intersection(names)

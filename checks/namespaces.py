"""Namespaces: which kinds the kernel has, and whether users without privilege may make new ones.

How many of a kind each user may have is a sysctl (user.max_net_namespaces and its like) and stands under `sysctl`.
"""

from __future__ import annotations

from typing import FrozenSet, Iterator, Tuple

from nodespec.checks import _kernel_config as _configuration
from nodespec.checks import _kernel_version as _kernel
from nodespec.facts.declaration import fact
from nodespec.facts.value_types import Choice, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.model.observation import Absent, Evidence, Observation, Value

KINDS = frozenset({"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"})
OWN = "/proc/*/ns"
OPTIONS = {**{kind: f"{kind.upper()}_NS" for kind in KINDS - {"cgroup", "mnt"}}, "cgroup": "CGROUPS"}

LIMIT = "/proc/sys/user/max_user_namespaces"
DEBIAN = "/proc/sys/kernel/unprivileged_userns_clone"
APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
SHARED = "run nodespec in the host's user namespace"


@fact(
    SetOf(Choice(*sorted(KINDS))),
    sources=(OWN,),
    fix="boot a kernel that has them: built with NET_NS, USER_NS and so on; cgroup came with Linux 4.6, time with 5.6",
)
def kinds(machine: Machine) -> Observation[FrozenSet[str]]:
    """Kinds of namespace that the kernel has.

    Every process is in one of each kind, so what is missing among the entries of /proc/self/ns the kernel has not.
    Whether new ones may be made is another question: see `unprivileged`, and the limits under sysctl. At rest it
    follows from how the kernel was built.
    """
    return machine.names(f"{machine.process}/ns").then(_kinds)


@kinds.at_rest(*_kernel.BOOT, *_configuration.FILES)
def _kinds_at_rest(tree: Tree) -> Observation[FrozenSet[str]]:
    from nodespec.checks import kernel  # noqa: PLC0415 - not for a machine that runs

    config = kernel.config.resting
    rows = config(tree) if config else None
    found, at = {"mnt"}, Evidence("")
    for kind, option in OPTIONS.items():
        row = rows.look(option) if rows else Absent(at)
        if not isinstance(row, Value):
            return row
        at = row.evidence._replace(line=0, inferred=True)
        found |= {kind} if row.value == "y" else set()
    return Value(frozenset(found), at)


@fact(
    Choice("allowed", "restricted", "denied"),
    sources=(OWN, LIMIT, DEBIAN, APPARMOR),
    fix="set what decided (user.max_user_namespaces to some thousands, kernel.unprivileged_userns_clone to 1),"
    " or for a program that AppArmor restricts, load a profile with the rule `userns,`",
)
def unprivileged(machine: Machine) -> Observation[str]:
    """What the policy in force lets users without privilege do with user namespaces, which rootless containers need.

    denied where the kernel has none, or where user.max_user_namespaces is 0, or kernel.unprivileged_userns_clone (on
    Debian and what is made from it). restricted where kernel.apparmor_restrict_unprivileged_userns (Ubuntu) is on:
    anybody may make one, but only programs whose profile says so can do anything inside. Else allowed.
    The evidence is the file that decided.

    The policy is read and not tried: what binds single processes, such as a seccomp filter, a chroot or SELinux, may
    still forbid what is allowed here.
    """
    built = machine.names(f"{machine.process}/ns").then(_kinds)
    if not isinstance(built, Value):
        return built
    if "user" not in built.value:
        return Value("denied", built.evidence)
    answers = [answer for answer in _policy(machine) if not isinstance(answer, Absent)]
    return min(answers, key=_precedence, default=Value("allowed", built.evidence))


def _precedence(answer: Observation[str]) -> int:
    """What cannot be seen may still deny, so it comes before all but a denial."""
    return {"denied": 0, "restricted": 2, "allowed": 3}[answer.value] if isinstance(answer, Value) else 1


def _policy(machine: Machine) -> Iterator[Observation[str]]:
    """What each of the settings says by itself. A kernel has some of them, or none."""
    yield machine.elsewhere("user") or machine.line(LIMIT).then(lambda text: "allowed" if int(text) > 0 else "denied")
    yield machine.line(DEBIAN).then(lambda text: "allowed" if int(text) else "denied")
    yield machine.line(APPARMOR).then(lambda text: "restricted" if int(text) else "allowed")


def _kinds(names: Tuple[str, ...]) -> FrozenSet[str]:
    if "mnt" not in names:  # which no kernel can be built without
        raise ValueError("no namespaces in it")
    return KINDS.intersection(names)

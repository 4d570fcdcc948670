"""The kernel that the next boot starts, and the command line that it is given.

A boot loader's configuration decides. Where one is there, and does not lead to a kernel that is there too, nothing is
known of the next boot: which kernel it is may only be guessed where no loader is configured at all. Then it is the one
that /vmlinuz leads to, a link that Debian keeps to the newest, else the highest release (inferred). Nothing of the
kernel that runs is looked at, so that this means the same live.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Tuple

from nodespec.checks import _boot_kernels
from nodespec.checks._boot_kernels import Held, identified
from nodespec.checks._boot_offers import (
    FIRMWARES,
    LEGACY,
    NAMED,
    SYSLINUX,
    ZIPL,
    Menu,
    Offer,
    grub_configs,
    has_entries,
    is_there,
    located,
)
from nodespec.checks._kernel import order
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

LINKS = ("/vmlinuz", "/boot/vmlinuz")
OTHERS = (*SYSLINUX, *ZIPL, *LEGACY, *FIRMWARES, *NAMED)
NONE = Unknown(DEFERRED, "no kernel is installed in this tree")
LOOK = "say which kernel is meant: --kernel RELEASE"


class Kernel(NamedTuple):
    """A kernel that is started, and the entries of loaders that start it: with one of their command lines."""

    release: str
    held: Held
    offers: Tuple[Offer, ...] = ()


class Resolved(NamedTuple):
    """The configuration of a loader, with the kernels that it starts: one of them."""

    menu: Menu
    kernels: Tuple[Kernel, ...]


def chosen(tree: Tree) -> Observation[Kernel]:
    """The kernel that the next boot starts, or that was asked for. Absent: there is none."""
    found = tree.once(_candidates)
    if not isinstance(found, Value) or len(found.value) == 1:
        return found.then(lambda kernels: kernels[0])
    return _several(found.value)


def release(tree: Tree) -> Observation[str]:
    """The release alone, which may be one of several."""
    found = tree.once(_candidates)
    if not isinstance(found, Value):
        return found
    releases = tuple(kernel.release for kernel in found.value)
    return Value(releases[0], found.evidence, releases[1:])


def at_rest(tree: Tree) -> Observation[Kernel]:
    """The same as `chosen`, of a tree that does not run: without a kernel nothing can be told of it."""
    found = chosen(tree)
    return NONE if isinstance(found, Absent) else found


def offered(tree: Tree) -> Observation[Tuple[Offer, ...]]:
    """The entries that start the kernel of the next boot, whichever it is. Absent: no loader is configured."""
    found = tree.once(_candidates)
    if not isinstance(found, Value):
        return NONE if isinstance(found, Absent) else found
    offers = tuple(offer for kernel in found.value for offer in kernel.offers)
    if tree.kernel and not offers:
        configured = tree.once(_configured)
        if isinstance(configured, Unknown):
            return configured
        if isinstance(configured, Value):
            return Unknown("not found", f"no entry of the boot loader starts the kernel {tree.kernel}")
    return Value(offers, found.evidence) if offers else Absent(found.evidence)


def _several(kernels: Tuple[Kernel, ...]) -> Unknown:
    names = ", ".join(kernel.release for kernel in kernels)
    return Unknown("hidden", f"one of several kernels is started, which only the machine decides: {names}", LOOK)


def _candidates(tree: Tree) -> Observation[Tuple[Kernel, ...]]:
    """The kernels one of which is started."""
    held = _boot_kernels.held(tree)
    if tree.kernel:
        return _asked(tree, held)
    configured = tree.once(_configured)
    if isinstance(configured, Value):
        return configured.then(lambda resolved: resolved.kernels)
    if isinstance(configured, Unknown):
        return configured
    if not isinstance(held, Value):
        return held
    found, at = _likely(tree, held.value)
    return Value((Kernel(found, held.value[found]),), at)


def _asked(tree: Tree, held: Observation[Mapping[str, Held]]) -> Observation[Tuple[Kernel, ...]]:
    """The kernel that `--kernel` names, with the first entry that starts it."""
    configured = tree.once(_configured)
    kernels = _offers_of(tree, configured.value.menu) if isinstance(configured, Value) else {}
    if isinstance(configured, Value):
        kernels.update((kernel.release, kernel) for kernel in configured.value.kernels)
    if tree.kernel in kernels:
        kernel = kernels[tree.kernel]
        return Value((kernel,), Evidence(kernel.held.path))
    if isinstance(held, Value) and tree.kernel in held.value:
        return Value((Kernel(tree.kernel, held.value[tree.kernel]),), Evidence(held.value[tree.kernel].path))
    if not isinstance(held, Value) and not kernels:
        return Absent(held.evidence, held.say) if isinstance(held, Absent) else held
    return _lacking(tree.kernel, [*kernels, *(held.value if isinstance(held, Value) else ())])


def _offers_of(tree: Tree, menu: Menu) -> Dict[str, Kernel]:
    """What a loader offers, by release: the first entry of each."""
    found: Dict[str, Kernel] = {}
    for offer in menu.offers:
        kernel = _kernel(tree, offer)
        if isinstance(kernel, Value):
            found.setdefault(kernel.value.release, kernel.value)
    return found


def _lacking(release: str, others: List[str]) -> Unknown:
    names = ", ".join(sorted(set(others), key=order, reverse=True))
    return Unknown("not found", f"no kernel {release} is installed in this tree, which has {names}")


def _likely(tree: Tree, held: Mapping[str, Held]) -> Tuple[str, Evidence]:
    """Without a loader's configuration: the only one, the one that /vmlinuz leads to, the highest."""
    images = [release for release, kernel in held.items() if kernel.image] or list(held)
    for path in LINKS if len(images) > 1 else ():
        release = identified(tree, path) if isinstance(tree.link(path), Value) else None
        if isinstance(release, Value) and release.value in held:
            return release.value, Evidence(path)
    highest = max(images, key=order) if len(images) > 1 else images[0]
    sure = len(images) == 1 and held[highest].image
    return highest, Evidence(held[highest].path, inferred=not sure)


def _configured(tree: Tree) -> Observation[Resolved]:
    """What the loaders that are configured agree on. Absent: there is none."""
    found = [_resolved(tree, menu) for menu in _menus(tree)]
    if not found:
        return Absent(Evidence("/boot"))
    first = found[0]
    if len(found) == 1 or all(_agree(first, other) for other in found[1:]):
        return first
    return _undecided(found)


def _menus(tree: Tree) -> List[Observation[Menu]]:
    """The configurations that are there. Entries of /boot/loader that GRUB takes are not systemd-boot's too."""
    configs, others = grub_configs(tree), [path for path in OTHERS if is_there(tree, path)]
    entries = has_entries(tree)
    found: List[Observation[Menu]] = []
    if configs:
        from nodespec.checks import _boot_grub  # noqa: PLC0415 - where it is installed

        found += _boot_grub.menus(tree, configs)
    if others:
        from nodespec.checks import _boot_others  # noqa: PLC0415 - likewise

        found += _boot_others.menus(tree, others)
    if entries:
        from nodespec.checks import _boot_entries  # noqa: PLC0415 - likewise

        found += [] if configs else _boot_entries.hidden(tree)
        taken = any(not isinstance(menu, Value) or menu.value.entries for menu in found)
        own = _boot_entries.menu(tree)
        if not isinstance(own, Absent) and (_boot_entries.configured(tree) or not taken):
            found.append(own)
    return found


def _resolved(tree: Tree, menu: Observation[Menu]) -> Observation[Resolved]:
    """The kernels of what a loader starts; of a fallback where the default's is not there."""
    if not isinstance(menu, Value):
        return menu
    problem = None
    for offers in (menu.value.started, *menu.value.fallbacks):
        kernels = [_kernel(tree, offer) for offer in offers]
        unknown = next((kernel for kernel in kernels if not isinstance(kernel, Value)), None)
        if not unknown:
            found = _merged(kernel.value for kernel in kernels if isinstance(kernel, Value))
            inferred = not menu.value.sure or any(
                isinstance(kernel, Value) and kernel.evidence.inferred for kernel in kernels
            )
            at = found[0].offers[0].at._replace(inferred=inferred)
            return Value(Resolved(menu.value, found), at)
        problem = problem or unknown
    return problem if isinstance(problem, Unknown) else Unknown("not found", f"{menu.value.at}: nothing is started")


def _kernel(tree: Tree, offer: Offer) -> Observation[Kernel]:
    path = located(tree, offer)
    if not isinstance(path, Value):
        return path
    release = Value(offer.release, path.evidence) if offer.release else identified(tree, path.value)
    if isinstance(release, Unknown):
        return release._replace(say=f"{offer.at}: {release.say}", look=release.look or LOOK)
    return release.then(lambda name: Kernel(name, Held(path.value, image=True), (offer,)))


def _merged(kernels: Iterator[Kernel]) -> Tuple[Kernel, ...]:
    """One row a release, with the entries of all."""
    found: Dict[str, Kernel] = {}
    for kernel in kernels:
        known = found.get(kernel.release)
        found[kernel.release] = known._replace(offers=known.offers + kernel.offers) if known else kernel
    return tuple(found.values())


def _agree(one: Observation[Resolved], other: Observation[Resolved]) -> bool:
    if not isinstance(one, Value) or not isinstance(other, Value):
        return False
    return _facts(one.value.kernels) == _facts(other.value.kernels)


def _facts(kernels: Tuple[Kernel, ...]) -> List[Tuple[str, Tuple[str, ...]]]:
    return [(kernel.release, tuple(line for offer in kernel.offers for line in offer.lines)) for kernel in kernels]


def _undecided(found: List[Observation[Resolved]]) -> Unknown:
    """Several configurations of which it is not told which is read, or which are not all understood."""
    names = [f"{look.value.menu.loader} ({look.value.menu.at})" for look in found if isinstance(look, Value)]
    unread = [look.say for look in found if isinstance(look, Unknown)]
    if not names and len(unread) == 1:
        return Unknown("unsupported", unread[0], LOOK)
    say = f"which of several boot loaders is started is not known: {'; '.join((*names, *unread))}"
    return Unknown("hidden", say, f"remove what is left of the other, or {LOOK}")

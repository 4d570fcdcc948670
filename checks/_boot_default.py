"""The default entry of the configured boot loaders: one kernel, or alternatives.

It is unknown if the default of a loader does not lead to an installed kernel, or if several loaders start different
kernels.
"""

from __future__ import annotations

from nodespec.checks._boot_kernels import BootKernel, InstalledKernel, identify_kernel
from nodespec.checks._boot_offers import (
    FIRMWARES,
    KERNEL_HINT,
    LEGACY,
    SYSLINUX,
    UNREAD_CONFIGS,
    ZIPL,
    LoaderMenu,
    Offer,
    find_grub_configs,
    has_boot_entries,
    locate_kernel,
    may_exist,
)
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Tuple

    from nodespec.host.tree import Tree

OTHER_CONFIGS = (*SYSLINUX, *ZIPL, *LEGACY, *FIRMWARES, *UNREAD_CONFIGS)


class ResolvedMenu(NamedTuple):
    """The configuration of a loader, with its alternative kernels."""

    menu: LoaderMenu
    kernels: Tuple[BootKernel, ...]


def resolve_default_menu(tree: Tree) -> Observation[ResolvedMenu]:
    """Return the configuration that all configured loaders agree on; absent if none."""
    menus = [_resolve_menu(tree, menu) for menu in _read_menus(tree)]
    if not menus:
        return Absent(Evidence("/boot"))
    first = menus[0]
    if len(menus) == 1 or all(_have_equal_kernels(first, other) for other in menus[1:]):
        return first
    return _explain_undecided(menus)


def list_offered_kernels(tree: Tree, menu: LoaderMenu) -> Dict[str, BootKernel]:
    """Return what a loader offers: the first entry of each release."""
    kernels: Dict[str, BootKernel] = {}
    for offer in menu.offers:
        kernel = _identify_offer(tree, offer)
        if isinstance(kernel, Value):
            kernels.setdefault(kernel.value.release, kernel.value)
    return kernels


def _read_menus(tree: Tree) -> List[Observation[LoaderMenu]]:
    """Return the configurations that exist.

    Entries of /boot/loader that GRUB reads do not also count for systemd-boot.
    """
    configs, others = find_grub_configs(tree), [path for path in OTHER_CONFIGS if may_exist(tree, path)]
    entries = has_boot_entries(tree)
    menus: List[Observation[LoaderMenu]] = []
    if configs:
        from nodespec.checks import _boot_grub  # noqa: PLC0415

        menus += _boot_grub.read_grub_menus(tree, configs)
    if others:
        from nodespec.checks import _boot_others  # noqa: PLC0415

        menus += _boot_others.read_other_menus(tree, others)
    if entries:
        from nodespec.checks import _boot_systemd_boot  # noqa: PLC0415

        menus += [] if configs else _boot_systemd_boot.detect_hidden_grub(tree)
        taken = any(not isinstance(menu, Value) or menu.value.entries for menu in menus)
        systemd_boot = _boot_systemd_boot.read_systemd_boot_menu(tree)
        if not isinstance(systemd_boot, Absent) and (_boot_systemd_boot.find_setup_mark(tree) or not taken):
            menus.append(systemd_boot)
    return menus


def _resolve_menu(tree: Tree, menu: Observation[LoaderMenu]) -> Observation[ResolvedMenu]:
    """Return the kernels that a loader starts, or those of a fallback.

    A fallback counts if the kernel of the default is not found.
    """
    if not isinstance(menu, Value):
        return menu
    problem = None
    for offers in (menu.value.started, *menu.value.fallbacks):
        kernels = [_identify_offer(tree, offer) for offer in offers]
        unknown = next((kernel for kernel in kernels if not isinstance(kernel, Value)), None)
        if not unknown:
            merged = _merge_kernels(kernel.value for kernel in kernels if isinstance(kernel, Value))
            inferred = not menu.value.sure or any(
                isinstance(kernel, Value) and kernel.evidence.inferred for kernel in kernels
            )
            at = merged[0].offers[0].at._replace(inferred=inferred)
            return Value(ResolvedMenu(menu.value, merged), at)
        problem = problem or unknown
    return problem if isinstance(problem, Unknown) else Unknown("not found", f"{menu.value.at}: no default entry found")


def _identify_offer(tree: Tree, offer: Offer) -> Observation[BootKernel]:
    path = locate_kernel(tree, offer)
    if not isinstance(path, Value):
        return path
    release = Value(offer.release, path.evidence) if offer.release else identify_kernel(tree, path.value)
    if isinstance(release, Unknown):
        return release._replace(say=f"{offer.at}: {release.say}", look=release.look or KERNEL_HINT)
    return release.then(lambda name: BootKernel(name, InstalledKernel(path.value, image=True), (offer,)))


def _merge_kernels(kernels: Iterator[BootKernel]) -> Tuple[BootKernel, ...]:
    """Merge kernels of the same release, with the entries of all."""
    merged: Dict[str, BootKernel] = {}
    for kernel in kernels:
        known = merged.get(kernel.release)
        merged[kernel.release] = known._replace(offers=known.offers + kernel.offers) if known else kernel
    return tuple(merged.values())


def _have_equal_kernels(first: Observation[ResolvedMenu], second: Observation[ResolvedMenu]) -> bool:
    if not isinstance(first, Value) or not isinstance(second, Value):
        return False
    return _list_cmdlines(first.value.kernels) == _list_cmdlines(second.value.kernels)


def _list_cmdlines(kernels: Tuple[BootKernel, ...]) -> List[Tuple[str, Tuple[str, ...]]]:
    return [(kernel.release, tuple(line for offer in kernel.offers for line in offer.lines)) for kernel in kernels]


def _explain_undecided(menus: List[Observation[ResolvedMenu]]) -> Unknown:
    """Return why the loader is unknown: several are configured, or one is unreadable."""
    names = [f"{menu.value.menu.loader} ({menu.value.menu.at})" for menu in menus if isinstance(menu, Value)]
    unread = [menu.say for menu in menus if isinstance(menu, Unknown)]
    if not names and len(unread) == 1:
        return Unknown("unsupported", unread[0], KERNEL_HINT)
    message = f"several boot loaders are configured, and the one in use is not known: {'; '.join((*names, *unread))}"
    return Unknown("hidden", message, f"remove the files of the unused boot loader, or {KERNEL_HINT}")

"""The kernel that the next boot starts, and its command line.

The configuration of the boot loader decides. If a configuration exists but does not lead to an installed kernel, the
kernel of the next boot is unknown. Only if no loader is configured is the kernel inferred: it is the target of
/vmlinuz, a link that Debian keeps on the newest kernel, else the highest release. The running kernel does not count, so
the result is the same on a live host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Mapping, Tuple

from nodespec.checks._kernel_version import rank_release
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from nodespec.checks._boot_kernels import InstalledKernel
    from nodespec.checks._boot_offers import Offer

PLACES = ("/boot", "/usr/lib/modules", "/lib/modules")
LINKS = ("/vmlinuz", "/boot/vmlinuz")
NO_KERNEL = Unknown(DEFERRED, "no kernel is installed in this tree")
KERNEL_HINT = "say which kernel is meant: --kernel RELEASE"


class BootKernel(NamedTuple):
    """A kernel, and the loader entries that start it with one of their command lines."""

    release: str
    held: InstalledKernel
    offers: Tuple[Offer, ...] = ()


def resolve_next_kernel(tree: Tree) -> Observation[BootKernel]:
    """Return the kernel of the next boot, or of `--kernel`; absent if there is none."""
    found = tree.once(_find_candidates)
    if not isinstance(found, Value) or len(found.value) == 1:
        return found.then(lambda kernels: kernels[0])
    return _explain_several_kernels(found.value)


def resolve_next_release(tree: Tree) -> Observation[str]:
    """Return only the release, which may be one of several."""
    found = tree.once(_find_candidates)
    if not isinstance(found, Value):
        return found
    releases = tuple(kernel.release for kernel in found.value)
    return Value(releases[0], found.evidence, releases[1:])


def resolve_kernel_at_rest(tree: Tree) -> Observation[BootKernel]:
    """Return the same as `chosen` for a tree that does not run.

    Without a kernel the result is unknown.
    """
    found = resolve_next_kernel(tree)
    return NO_KERNEL if isinstance(found, Absent) else found


def find_next_offers(tree: Tree) -> Observation[Tuple[Offer, ...]]:
    """Return the entries of the next boot's kernel; absent if no loader is set up."""
    found = tree.once(_find_candidates)
    if not isinstance(found, Value):
        return NO_KERNEL if isinstance(found, Absent) else found
    offers = tuple(offer for kernel in found.value for offer in kernel.offers)
    if tree.kernel and not offers:
        from nodespec.checks import _boot_default  # noqa: PLC0415

        configured = tree.once(_boot_default.resolve_default_menu)
        if isinstance(configured, Unknown):
            return configured
        if isinstance(configured, Value):
            return Unknown("not found", f"no entry of the boot loader starts the kernel {tree.kernel}")
    return Value(offers, found.evidence) if offers else Absent(found.evidence)


def _explain_several_kernels(kernels: Tuple[BootKernel, ...]) -> Unknown:
    names = ", ".join(kernel.release for kernel in kernels)
    return Unknown("hidden", f"one of several kernels is started, which only the machine decides: {names}", KERNEL_HINT)


def _find_candidates(tree: Tree) -> Observation[Tuple[BootKernel, ...]]:
    """Return the kernel of the next boot, or the alternatives."""
    if _is_bare(tree):
        return Absent(Evidence(":".join(PLACES)), "no kernel is installed here")
    from nodespec.checks import _boot_default, _boot_kernels  # noqa: PLC0415

    held = _boot_kernels.list_installed_kernels(tree)
    if tree.kernel:
        return _find_selected_kernel(tree, held)
    configured = tree.once(_boot_default.resolve_default_menu)
    if isinstance(configured, Value):
        return configured.then(lambda resolved: resolved.kernels)
    if isinstance(configured, Unknown):
        return configured
    if not isinstance(held, Value):
        return held
    found, at = _infer_kernel(tree, held.value)
    return Value((BootKernel(found, held.value[found]),), at)


def _is_bare(tree: Tree) -> bool:
    """Return whether the tree has neither kernels nor loaders.

    This is normal for a container, or for a guest whose kernel the host provides.
    """
    names = [tree.names(place) for place in (*PLACES, "/efi", "/nix")]
    return all(isinstance(found, Absent) or (isinstance(found, Value) and not found.value) for found in names)


def _find_selected_kernel(
    tree: Tree, held: Observation[Mapping[str, InstalledKernel]]
) -> Observation[Tuple[BootKernel, ...]]:
    """Return the kernel of `--kernel`, with the first entry that starts it."""
    from nodespec.checks import _boot_default  # noqa: PLC0415

    configured = tree.once(_boot_default.resolve_default_menu)
    kernels = _boot_default.list_offered_kernels(tree, configured.value.menu) if isinstance(configured, Value) else {}
    if isinstance(configured, Value):
        kernels.update((kernel.release, kernel) for kernel in configured.value.kernels)
    if tree.kernel in kernels:
        kernel = kernels[tree.kernel]
        return Value((kernel,), Evidence(kernel.held.path))
    if isinstance(held, Value) and tree.kernel in held.value:
        return Value((BootKernel(tree.kernel, held.value[tree.kernel]),), Evidence(held.value[tree.kernel].path))
    if not isinstance(held, Value) and not kernels:
        return Absent(held.evidence, held.say) if isinstance(held, Absent) else held
    return _explain_missing_kernel(tree.kernel, [*kernels, *(held.value if isinstance(held, Value) else ())])


def _explain_missing_kernel(release: str, others: List[str]) -> Unknown:
    names = ", ".join(sorted(set(others), key=rank_release, reverse=True))
    return Unknown("not found", f"no kernel {release} is installed in this tree, which has {names}")


def _infer_kernel(tree: Tree, held: Mapping[str, InstalledKernel]) -> Tuple[str, Evidence]:
    """Infer the kernel if no loader is configured.

    It is the only one, the target of /vmlinuz, or the highest release.
    """
    images = [release for release, kernel in held.items() if kernel.image] or list(held)
    from nodespec.checks._boot_kernels import identify_kernel  # noqa: PLC0415

    for path in LINKS if len(images) > 1 else ():
        release = identify_kernel(tree, path) if isinstance(tree.link(path), Value) else None
        if isinstance(release, Value) and release.value in held:
            return release.value, Evidence(path)
    highest = max(images, key=rank_release) if len(images) > 1 else images[0]
    sure = len(images) == 1 and held[highest].image
    return highest, Evidence(held[highest].path, inferred=not sure)

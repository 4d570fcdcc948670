"""The kernel that the next boot starts, and its command line.

The configuration of the boot loader decides. If a configuration exists but does not lead to an installed kernel, the
kernel of the next boot is unknown. Only if no loader is configured is the kernel inferred: it is the target of
/vmlinuz, a link that Debian keeps on the newest kernel, else the highest release. The running kernel does not count, so
the result is the same on a live host.
"""

from __future__ import annotations

from nodespec.checks._kernel_names import KERNEL_FOLDERS
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Tuple

    from nodespec.checks._boot_kernels import BootKernel
    from nodespec.checks._boot_offers import Offer

NO_KERNEL = Unknown(DEFERRED, "no kernel found in this tree")


def resolve_next_kernel(tree: Tree) -> Observation[BootKernel]:
    """Return the kernel of the next boot, or of `--kernel`; absent if there is none."""
    candidates = tree.once(_find_candidates)
    if not isinstance(candidates, Value) or len(candidates.value) == 1:
        return candidates.then(lambda kernels: kernels[0])
    return _explain_several_kernels(candidates.value)


def resolve_next_release(tree: Tree) -> Observation[str]:
    """Return only the release, which may be one of several."""
    candidates = tree.once(_find_candidates)
    if not isinstance(candidates, Value):
        return candidates
    releases = tuple(kernel.release for kernel in candidates.value)
    return Value(releases[0], candidates.evidence, releases[1:])


def resolve_kernel_at_rest(tree: Tree) -> Observation[BootKernel]:
    """Return the same as `chosen` for a tree that does not run.

    Without a kernel the result is unknown.
    """
    kernel = resolve_next_kernel(tree)
    return NO_KERNEL if isinstance(kernel, Absent) else kernel


def find_next_offers(tree: Tree) -> Observation[Tuple[Offer, ...]]:
    """Return the entries of the next boot's kernel; absent if no loader is set up."""
    candidates = tree.once(_find_candidates)
    if not isinstance(candidates, Value):
        return NO_KERNEL if isinstance(candidates, Absent) else candidates
    offers = tuple(offer for kernel in candidates.value for offer in kernel.offers)
    if tree.kernel and not offers:
        from nodespec.checks import _boot_default  # noqa: PLC0415

        configured = tree.once(_boot_default.resolve_default_menu)
        if isinstance(configured, Unknown):
            return configured
        if isinstance(configured, Value):
            return Unknown("not found", f"no boot loader entry starts the kernel {tree.kernel}")
    return Value(offers, candidates.evidence) if offers else Absent(candidates.evidence)


def _explain_several_kernels(kernels: Tuple[BootKernel, ...]) -> Unknown:
    from nodespec.checks._boot_offers import KERNEL_HINT  # noqa: PLC0415

    names = ", ".join(kernel.release for kernel in kernels)
    return Unknown(
        "hidden",
        f"the boot loader starts one of several kernels, and only the machine decides which: {names}",
        KERNEL_HINT,
    )


def _find_candidates(tree: Tree) -> Observation[Tuple[BootKernel, ...]]:
    """Return the kernel of the next boot, or the alternatives."""
    if _is_bare(tree):
        return Absent(Evidence(":".join(KERNEL_FOLDERS)), "no kernel found in this tree")
    from nodespec.checks._boot_candidates import find_candidates  # noqa: PLC0415

    return find_candidates(tree)


def _is_bare(tree: Tree) -> bool:
    """Return whether the tree has neither kernels nor loaders.

    This is normal for a container, or for a guest whose kernel the host provides.
    """
    names = [tree.names(place) for place in (*KERNEL_FOLDERS, "/efi", "/nix")]
    return all(isinstance(listing, Absent) or (isinstance(listing, Value) and not listing.value) for listing in names)

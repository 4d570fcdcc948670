"""The kernels that the next boot may start, of a tree that has kernels or boot loaders."""

from __future__ import annotations

from nodespec.checks import _boot_default
from nodespec.checks._boot_kernels import BootKernel, InstalledKernel, identify_kernel, list_installed_kernels
from nodespec.checks._kernel_names import rank_release
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import List, Mapping, Tuple

    from nodespec.host.tree import Tree

LINKS = ("/vmlinuz", "/boot/vmlinuz")


def find_candidates(tree: Tree) -> Observation[Tuple[BootKernel, ...]]:
    """Return the kernel of the next boot, or the alternatives."""
    held = list_installed_kernels(tree)
    if tree.kernel:
        return _find_selected_kernel(tree, held)
    configured = tree.once(_boot_default.resolve_default_menu)
    if isinstance(configured, Value):
        return configured.then(lambda resolved: resolved.kernels)
    if isinstance(configured, Unknown):
        return configured
    if not isinstance(held, Value):
        return held
    release, at = _infer_kernel(tree, held.value)
    return Value((BootKernel(release, held.value[release]),), at)


def _find_selected_kernel(
    tree: Tree, held: Observation[Mapping[str, InstalledKernel]]
) -> Observation[Tuple[BootKernel, ...]]:
    """Return the kernel of `--kernel`, with the first entry that starts it."""
    configured = tree.once(_boot_default.resolve_default_menu)
    kernels = _boot_default.list_offered_kernels(tree, configured.value.menu) if isinstance(configured, Value) else {}
    if isinstance(configured, Value):
        kernels.update((kernel.release, kernel) for kernel in configured.value.kernels)
    if tree.kernel in kernels:
        kernel = kernels[tree.kernel]
        return Value((kernel,), Evidence(kernel.installed.path))
    if isinstance(held, Value) and tree.kernel in held.value:
        return Value((BootKernel(tree.kernel, held.value[tree.kernel]),), Evidence(held.value[tree.kernel].path))
    if not isinstance(held, Value) and not kernels:
        return Absent(held.evidence, held.say) if isinstance(held, Absent) else held
    return _explain_missing_kernel(tree.kernel, [*kernels, *(held.value if isinstance(held, Value) else ())])


def _explain_missing_kernel(release: str, others: List[str]) -> Unknown:
    names = ", ".join(sorted(set(others), key=rank_release, reverse=True))
    return Unknown("not found", f"kernel {release} not found in this tree; installed: {names}")


def _infer_kernel(tree: Tree, held: Mapping[str, InstalledKernel]) -> Tuple[str, Evidence]:
    """Infer the kernel if no loader is configured.

    It is the only one, the target of /vmlinuz, or the highest release.
    """
    images = [release for release, kernel in held.items() if kernel.image] or list(held)
    for path in LINKS if len(images) > 1 else ():
        release = identify_kernel(tree, path) if isinstance(tree.link(path), Value) else None
        if isinstance(release, Value) and release.value in held:
            return release.value, Evidence(path)
    highest = max(images, key=rank_release) if len(images) > 1 else images[0]
    sure = len(images) == 1 and held[highest].image
    return highest, Evidence(held[highest].path, inferred=not sure)

"""The kernels that a tree holds, the one that the next boot starts, and the command line that it is given.

A boot loader's configuration decides where it says so; else /vmlinuz, a link that Debian keeps to the newest; else the
highest release is taken (inferred). Nothing of the kernel that runs is looked at, so that this means the same live.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Dict, Iterator, Mapping, Optional, Tuple

from nodespec.checks import _kernel
from nodespec.checks._kernel import PARTITIONS
from nodespec.named import NamedTuple
from nodespec.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.tree import Tree

if TYPE_CHECKING:
    from nodespec.checks._grub import Offer

TREES = ("/usr/lib/modules", "/lib/modules")  # one and the same on most hosts
LINKS = ("/vmlinuz", "/boot/vmlinuz")
IMAGES = ("vmlinuz", "vmlinux", "Image")
LISTS = ("modules.builtin", "modules.dep", "modules.order")
UNIFIED = tuple(f"{partition}/EFI/Linux" for partition in PARTITIONS)
PLACES = ("/boot", *TREES)
MOST = 256  # kernels
NONE = Unknown(DEFERRED, "no kernel is installed in this tree")


class Held(NamedTuple):
    """A kernel of the tree: its file, or only the folder of its modules."""

    path: str
    image: bool


class Kernel(NamedTuple):
    """The kernel that is started, and what the loader offers of it."""

    release: str
    held: Held
    offer: Optional[Offer]


def chosen(tree: Tree) -> Observation[Kernel]:
    """The kernel that the next boot starts, or that was asked for. Absent: there is none."""
    return tree.once(_chosen)


def release(tree: Tree) -> Observation[str]:
    """The release alone: where one kernel is held, no loader is asked which."""
    held = tree.once(_held)
    if isinstance(held, Value) and len(held.value) == 1 and not tree.kernel:
        return Value(*_likely(tree, held.value))
    return chosen(tree).then(lambda kernel: kernel.release)


def at_rest(tree: Tree) -> Observation[Kernel]:
    """The same, of a tree that does not run: without a kernel nothing can be told of it."""
    found = chosen(tree)
    return NONE if isinstance(found, Absent) else found


def _chosen(tree: Tree) -> Observation[Kernel]:
    held = tree.once(_held)
    if not isinstance(held, Value):
        return held
    from nodespec.checks import _loaders  # noqa: PLC0415 - what reads their configurations, where they start a kernel

    found = _loaders.menu(tree)
    if isinstance(found, Unknown):
        return found
    menu = found.value if isinstance(found, Value) else _loaders.Menu((), None)
    by_release: Dict[str, Offer] = {}
    for offer in menu.offers:
        by_release.setdefault(_release(tree, offer, held.value), offer)
    if tree.kernel and tree.kernel not in held.value:
        return _lacking(tree.kernel, held.value)
    if tree.kernel:
        release, at = tree.kernel, Evidence(held.value[tree.kernel].path)
    elif menu.started and _release(tree, menu.started, held.value):
        release, at = _release(tree, menu.started, held.value), menu.started.at
        by_release[release] = menu.started
    else:
        release, at = _likely(tree, held.value)
    return Value(Kernel(release, held.value[release], by_release.get(release)), at)


def _likely(tree: Tree, held: Mapping[str, Held]) -> Tuple[str, Evidence]:
    """Without a loader's word: the only one, the one that /vmlinuz leads to, the highest."""
    images = [release for release, one in held.items() if one.image] or list(held)
    for path in LINKS if len(images) > 1 else ():
        link = tree.link(path)
        release = _named(link.value, held) if isinstance(link, Value) else ""
        if release:
            return release, Evidence(path)
    highest = max(images, key=_kernel.order) if len(images) > 1 else images[0]
    sure = len(images) == 1 and held[highest].image
    return highest, Evidence(held[highest].path, inferred=not sure)


def _lacking(release: str, held: Mapping[str, Held]) -> Unknown:
    names = ", ".join(sorted(held, key=_kernel.order, reverse=True))
    return Unknown("not found", f"no kernel {release} is installed in this tree, which has {names}")


def _held(tree: Tree) -> Observation[Mapping[str, Held]]:
    """Every kernel by its release. Absent: there is none."""
    found: Dict[str, Held] = {}
    unreleased: Dict[str, str] = {}  # such as Alpine's vmlinuz-lts
    boot = tree.names("/boot")
    if isinstance(boot, Unknown):
        return boot
    for name in boot.value if isinstance(boot, Value) else ():
        image = re.fullmatch(_IMAGE, name)
        if image and image[1][0].isdigit():
            found.setdefault(image[1], Held(f"/boot/{name}", image=True))
        elif image or name in IMAGES:
            unreleased[image[1] if image else ""] = f"/boot/{name}"
    for release, path in _below_machine_id(tree):
        found.setdefault(release, Held(path, image=True))
    trees = {release: (path, beside) for release, path, beside in _in_modules(tree)}
    for release, (path, beside) in trees.items():
        ends = (end for end in unreleased if release.endswith(f"-{end}") or (not end and len(trees) == 1))
        own = beside or next((unreleased[end] for end in ends), "")
        if release not in found or not found[release].image:
            found[release] = Held(own or path, image=bool(own))
    if not found:
        return _nothing(tree)
    return Value(dict(list(found.items())[:MOST]), Evidence(":".join(PLACES)))


_IMAGE = r"(?:vmlinu[xz]|Image|kernel)-(?!0-rescue)([\w.+~-]{1,120}?(?<!\.old)(?<!\.bak)(?<!\.hmac)(?<!\.sig))"


def _below_machine_id(tree: Tree) -> Iterator[Tuple[str, str]]:
    """As kernel-install lays them for loaders that read no other file system: MACHINE-ID/RELEASE/linux."""
    for partition in PARTITIONS:
        names = tree.names(partition)
        for name in names.value if isinstance(names, Value) else ():
            releases = tree.names(f"{partition}/{name}") if re.fullmatch("[0-9a-f]{32}", name) else None
            for release in releases.value[:MOST] if isinstance(releases, Value) else ():
                path = f"{partition}/{name}/{release}/linux"
                if isinstance(tree.entry(path), Value):
                    yield release, path


def _in_modules(tree: Tree) -> Iterator[Tuple[str, str, str]]:
    """Releases that modules are installed for, with their folder, and their kernel where it lies beside these."""
    for folder in TREES:
        names = tree.names(folder)
        for release in names.value[:MOST] if isinstance(names, Value) else ():
            path = f"{folder}/{release}"
            files = tree.names(path)
            here = files.value if isinstance(files, Value) else ()
            image = next((f"{path}/{name}" for name in IMAGES if name in here), "")
            if image or any(name in here for name in LISTS):
                yield release, path, image


def _nothing(tree: Tree) -> Observation[Mapping[str, Held]]:
    for folder in UNIFIED:
        names = tree.names(folder)
        for name in names.value if isinstance(names, Value) else ():
            if name.lower().endswith(".efi"):
                return Unknown("unsupported", f"{folder}/{name}: a unified kernel image cannot be read yet")
    return Absent(Evidence(":".join(PLACES)), "no kernel is installed here")


def _release(tree: Tree, offer: Offer, held: Mapping[str, Held]) -> str:
    """Which of the kernels of a tree is offered; empty where that cannot be told."""
    if offer.version in held:
        return offer.version
    path = re.sub(r"^\([^)]*\)", "", offer.kernel)
    for place in (path, f"/boot{path}"):
        link = tree.link(place) if path.startswith("/") and ".." not in path else Absent(Evidence(place))
        if isinstance(link, Value) and _named(link.value, held):
            return _named(link.value, held)
    return _named(path, held)


def _named(path: str, held: Mapping[str, Held]) -> str:
    """The release that a path names: /boot/vmlinuz-RELEASE, /MACHINE-ID/RELEASE/linux; or whose file it is."""
    *_, folder, name = ["", "", *path.split("/")]
    image = re.fullmatch(_IMAGE, name)
    names = (image[1] if image else "", folder)
    own = (release for release, one in held.items() if one.image and one.path.rpartition("/")[2] == name)
    return next((one for one in names if one in held), next(own, "") if name not in IMAGES else "")

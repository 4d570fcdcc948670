"""The kernels of a tree, and the release of a kernel's file.

The release is part of the file's name, of the name of its folder, or of the head of the file (x86). Otherwise the
module tree shows it: by `pkgbase` of Arch Linux, or by a release that ends like the file's name.
"""

from __future__ import annotations

import re

from nodespec.checks._boot_offers import ESPS, follow_links
from nodespec.checks._kernel_names import KERNEL_FOLDERS, rank_release
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple

    from nodespec.checks._boot_offers import Offer
    from nodespec.host.tree import Tree

MODULE_TREES = ("/usr/lib/modules", "/lib/modules")  # the same folder on most hosts
IMAGES = ("vmlinuz", "vmlinux", "Image", "bzImage", "image")  # `image` is the name on s390x
MODULE_LISTS = ("modules.builtin", "modules.dep", "modules.order", "pkgbase")
MAX_KERNELS = 256
MAX_COMPARED_BYTES = 64 << 20  # the limit for files that are compared
# The names of the kernels of Raspberry Pi models, and the endings of their releases.
FLAVORS = {
    "kernel8.img": (r"-v8\+?", r"-rpi-v8", r"-raspi"),
    "kernel_2712.img": (r"-2712", r"-v8-16k\+?"),
    "kernel7l.img": (r"-v7l\+?",),
    "kernel7.img": (r"-v7\+?",),
    "kernel.img": (r"-v6\+?", r"(?<!-v8)(?<!-v7)(?<!-v7l)\+"),
}

FIRMWARE = "/boot/firmware"  # of a Raspberry Pi

RELEASED_IMAGES = ("vmlinuz", "vmlinux", "Image", "image", "kernel")  # before `-RELEASE`
UNRELEASED_IMAGES = ("vmlinuz", "vmlinux", "Image", "bzImage")  # alone, or before `-FLAVOR`
COPIES = (".old", ".bak", ".hmac", ".sig", ".img")  # endings of copies and signatures
MAX_RELEASE_CHARS = 120
NIX_HASH_CHARS = 32
_NIX = r"[0-9a-z]{32}-(?:kernel-|initrd-)?linux-(?:[a-z]+-)*(\d[\w.+~-]{0,80}?)(?:-(?:bz)?[Ii]mage)?(?:\.efi)?"


class InstalledKernel(NamedTuple):
    """A kernel of the tree: its file, or only the folder of its modules."""

    path: str
    image: bool


class BootKernel(NamedTuple):
    """A kernel, and the loader entries that start it with one of their command lines."""

    release: str
    installed: InstalledKernel
    offers: Tuple[Offer, ...] = ()


def list_installed_kernels(tree: Tree) -> Observation[Mapping[str, InstalledKernel]]:
    """Return every kernel by release; absent if the tree has none."""
    return tree.once(_list_installed_kernels)


def _list_installed_kernels(tree: Tree) -> Observation[Mapping[str, InstalledKernel]]:
    kernels: Dict[str, InstalledKernel] = {}
    boot, firmware = tree.names("/boot"), tree.names(FIRMWARE)
    if isinstance(boot, Unknown):
        return boot
    files = [f"/boot/{name}" for name in (boot.value if isinstance(boot, Value) else ())]
    unreleased = [path for path in files if _is_unreleased(path[6:])]
    unreleased += [f"{FIRMWARE}/{name}" for name in FLAVORS if isinstance(firmware, Value) and name in firmware.value]
    for path in files:
        release = _parse_image_name(path)
        if release:
            kernels.setdefault(release, InstalledKernel(path, image=True))
    for release, path in _list_copied_kernels(tree):
        kernels.setdefault(release, InstalledKernel(path, image=True))
    for release, (path, beside) in tree.once(list_module_trees).items():
        if release not in kernels:
            kernels[release] = InstalledKernel(beside or path, image=bool(beside))
    return _add_unreleased(tree, kernels, unreleased)


def _add_unreleased(
    tree: Tree, kernels: Dict[str, InstalledKernel], files: List[str]
) -> Observation[Mapping[str, InstalledKernel]]:
    """Add the files whose name has no release, such as Alpine's vmlinuz-lts."""
    unknown = None
    for path in files[:MAX_KERNELS]:
        release = identify_kernel(tree, path)
        if not isinstance(release, Value):
            unknown = unknown or release
        elif release.value not in kernels or not kernels[release.value].image:
            kernels[release.value] = InstalledKernel(path, image=True)
    unknown = unknown or _find_unread_tree(tree)
    if not kernels and unknown:
        return unknown
    if not kernels:
        return Absent(Evidence(":".join(KERNEL_FOLDERS)), "no kernel found in this tree")
    return Value(dict(list(kernels.items())[:MAX_KERNELS]), Evidence(":".join(KERNEL_FOLDERS)))


def _find_unread_tree(tree: Tree) -> Optional[Unknown]:
    """Return why the folders of kernels may contain more than was found."""
    for folder in KERNEL_FOLDERS:
        names = tree.names(folder)
        if isinstance(names, Unknown):
            return names
        for name in names.value[:MAX_KERNELS] if isinstance(names, Value) and folder in MODULE_TREES else ():
            files = tree.names(f"{folder}/{name}")
            if isinstance(files, Unknown):
                return files
    return None


def list_module_trees(tree: Tree) -> Mapping[str, Tuple[str, str]]:
    """Return the releases that have modules: their folder, and any kernel in it."""
    trees: Dict[str, Tuple[str, str]] = {}
    for folder in MODULE_TREES:
        names = tree.names(folder)
        for release in names.value[:MAX_KERNELS] if isinstance(names, Value) else ():
            path = f"{folder}/{release}"
            files = tree.names(path)
            names_in_folder = files.value if isinstance(files, Value) else ()
            image = next((f"{path}/{name}" for name in IMAGES if name in names_in_folder), "")
            if image or any(name in names_in_folder for name in MODULE_LISTS):
                trees[release] = (path, image)
    return trees


def _list_copied_kernels(tree: Tree) -> Iterator[Tuple[str, str]]:
    """Yield the kernels that kernel-install copies to a boot partition.

    Their path is MACHINE-ID/RELEASE/linux, for loaders that read no other file system.
    """
    for partition in ESPS:
        names = tree.names(partition)
        for name in names.value if isinstance(names, Value) else ():
            releases = tree.names(f"{partition}/{name}") if re.fullmatch("[0-9a-f]{32}", name) else None
            for release in releases.value[:MAX_KERNELS] if isinstance(releases, Value) else ():
                path = f"{partition}/{name}/{release}/linux"
                if isinstance(tree.entry(path), Value):
                    yield release, path


def identify_kernel(tree: Tree, path: str) -> Observation[str]:
    """Return the release of a kernel by its file."""
    real = follow_links(tree, path)
    release = (
        _parse_image_name(real) or _parse_image_name(path) or _parse_image_folder(real) or _parse_image_folder(path)
    )
    if release:
        return Value(release, Evidence(path))
    from nodespec.checks import _kernel_image  # noqa: PLC0415

    banner = _kernel_image.read_banner(tree, path).then(lambda text: text.split()[0])
    if isinstance(banner, Value):
        return banner
    likely = [*_find_releases_by_modules(tree, real), *_find_releases_by_content(tree, real)] or _find_only_release(
        tree, real
    )
    if len(set(likely)) == 1:
        return Value(likely[0], Evidence(path, inferred=True))
    which = f"; it may be {', '.join(sorted(set(likely), key=rank_release)[:MAX_NAMED_RELEASES])}" if likely else ""
    return Unknown("not found", f"release of the kernel {path} not found{which}")


MAX_NAMED_RELEASES = 8


def _parse_image_name(path: str) -> str:
    """Parse a name: /boot/vmlinuz-RELEASE, /nix/store/HASH-linux-RELEASE-bzImage.efi."""
    name = path.rpartition("/")[2]
    image, _, release = name.partition("-")
    if image in RELEASED_IMAGES and _is_release(release):
        return release
    nix = re.fullmatch(_NIX, name) if name[NIX_HASH_CHARS:].startswith("-") else None
    return nix[1] if nix else ""


def _is_release(text: str) -> bool:
    """Return whether the end of a file's name is a release, and that of no copy: 6.1.0-50-amd64."""
    is_copy = text.endswith(COPIES) or text.startswith("0-rescue")
    return not is_copy and len(text) <= MAX_RELEASE_CHARS and re.fullmatch(r"\d+\.\d[\w.+~-]*", text) is not None


def _is_unreleased(name: str) -> bool:
    """Return whether a name is that of a kernel without its release: vmlinuz, vmlinuz-lts, kernel8.img."""
    image, dash, flavor = name.partition("-")
    if image not in UNRELEASED_IMAGES or not dash:
        return name in UNRELEASED_IMAGES or name in FLAVORS
    return flavor[:1].isalpha() and re.fullmatch(r"[A-Za-z][\w.+~-]{0,80}", flavor) is not None


def _parse_image_folder(path: str) -> str:
    """Parse a folder: MACHINE-ID/RELEASE/linux, HASH-linux-RELEASE/bzImage.

    modules/RELEASE/vmlinuz is a third form.
    """
    *_, folder, name = ["", "", *path.split("/")]
    nix = re.fullmatch(_NIX, folder)
    if nix and name in IMAGES:
        return nix[1]
    release = re.match(r"\d+\.\d+[\w.+~-]*", folder)
    return folder if release and release[0] == folder and (name in IMAGES or name.startswith("linux")) else ""


def _find_releases_by_modules(tree: Tree, path: str) -> List[str]:
    """Return releases whose module tree names the file.

    The file is named by `pkgbase`, or by the ending of the release.
    """
    name, trees = path.rpartition("/")[2], tree.once(list_module_trees)
    base = name.partition("-")[2]
    for _release, (folder, _) in trees.items() if base else ():
        pkgbase = tree.line(f"{folder}/pkgbase")
        if isinstance(pkgbase, Value) and pkgbase.value == base:
            return [other for other in trees if _read_pkgbase(tree, trees[other][0]) == base]
    flavors = FLAVORS.get(name)
    if flavors:
        pattern = f"(?:{'|'.join(flavors)})$"
        releases = sorted((release for release in trees if re.search(pattern, release)), key=rank_release)
        return releases[-1:]  # Installing a kernel replaces the file, so the newest release counts.
    return [release for release in trees if base and release.endswith(f"-{base}")]


def _read_pkgbase(tree: Tree, folder: str) -> str:
    line = tree.line(f"{folder}/pkgbase")
    return line.value if isinstance(line, Value) else ""


def _find_releases_by_content(tree: Tree, path: str) -> List[str]:
    """Return releases of kernels with the same content."""
    entry = tree.entry(path)
    if not isinstance(entry, Value) or not entry.value.size:
        return []
    boot = tree.names("/boot")
    files = [f"/boot/{name}" for name in (boot.value if isinstance(boot, Value) else ())]
    files += [image for _, image in tree.once(list_module_trees).values() if image]
    alike = [file for file in files if file != path and (_parse_image_name(file) or _parse_image_folder(file))]
    return [release for file in alike if (release := _compare_content(tree, path, file, entry.value.size))]


def _compare_content(tree: Tree, path: str, other: str, size: int) -> str:
    entry = tree.entry(other)
    if not isinstance(entry, Value) or entry.value.size != size:
        return ""
    texts = tree.read(path, MAX_COMPARED_BYTES), tree.read(other, MAX_COMPARED_BYTES)
    equal = isinstance(texts[0], Value) and isinstance(texts[1], Value) and texts[0].value == texts[1].value
    return (_parse_image_name(other) or _parse_image_folder(other)) if equal else ""


def _find_only_release(tree: Tree, path: str) -> List[str]:
    """Return the only release with modules, for a file named `vmlinuz`."""
    name, trees = path.rpartition("/")[2], list(tree.once(list_module_trees))
    return trees if name.partition("-")[0] in IMAGES and "-" not in name else []

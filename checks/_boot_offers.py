"""Entries of boot loaders: the records and file names that their readers share."""

from __future__ import annotations

import re

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Tuple

    from nodespec.host.tree import Tree

MAX_CONFIG_BYTES = 1 << 20  # of a configuration file
MAX_FILES = 256  # of a folder of entries
ESPS = ("/efi", "/boot/efi", "/boot")  # mount points of an EFI system partition
PLACES = ("/boot", "", "/boot/efi", "/efi")  # possible mount points of a loader's partition
MAX_LINKS = 8

GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
SYSLINUX = (
    *("/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/boot/syslinux/syslinux.cfg", "/boot/syslinux.cfg"),
    *(
        "/boot/syslinux/extlinux.conf",
        "/extlinux/extlinux.conf",
        "/syslinux.cfg",
        "/boot/efi/EFI/syslinux/syslinux.cfg",
    ),
    *("/boot/EFI/syslinux/syslinux.cfg", "/efi/EFI/syslinux/syslinux.cfg", "/boot/efi/EFI/BOOT/syslinux.cfg"),
)
ZIPL = ("/etc/zipl.conf",)
LEGACY = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
FIRMWARES = ("/boot/firmware/config.txt", "/boot/config.txt")  # of a Raspberry Pi
# Configurations that are detected but not read.
UNREAD_CONFIGS = (
    *("/boot/boot.scr", "/boot/firmware/boot.scr", "/boot/uEnv.txt", "/boot/uboot.env", "/boot/armbianEnv.txt"),
    *("/etc/lilo.conf", "/etc/elilo.conf", "/boot/efi/EFI/debian/elilo.conf", "/etc/yaboot.conf", "/etc/silo.conf"),
    *("/boot/limine.conf", "/boot/limine/limine.conf", "/boot/limine.cfg", "/boot/efi/limine.conf"),
    *("/efi/limine.conf", "/boot/EFI/limine/limine.conf", "/boot/EFI/BOOT/limine.conf"),
    *("/boot/refind_linux.conf", "/boot/efi/EFI/refind/refind.conf", "/efi/EFI/refind/refind.conf"),
    *("/boot/EFI/refind/refind.conf", "/etc/kboot.conf"),
)
KERNEL_HINT = "select the kernel with --kernel RELEASE"


class Offer(NamedTuple):
    """A kernel that a loader starts.

    `path` is written as in the loader's configuration and is relative to one of `places`. If there are several `lines`,
    one of them is the command line. `whole`: the loader adds nothing to it.
    """

    at: Evidence
    path: str
    lines: Tuple[str, ...] = ("",)
    whole: bool = True
    release: str = ""  # set if the loader's configuration or the image names it
    name: str = ""
    places: Tuple[str, ...] = PLACES


class LoaderMenu(NamedTuple):
    """A loader's configuration: what it starts by default, and what else it offers.

    One of `started` is started. `offers` is filled if a kernel was requested. `entries`: the loader reads the entries
    of /boot/loader. `sure`: the loader is known to be set up; otherwise only files that it would read exist.
    """

    loader: str
    at: Evidence
    started: Tuple[Offer, ...]
    offers: Tuple[Offer, ...] = ()
    fallbacks: Tuple[Tuple[Offer, ...], ...] = ()
    entries: bool = False
    sure: bool = True


def may_exist(tree: Tree, path: str) -> bool:
    """Return whether a path exists, or may exist."""
    return not isinstance(tree.entry(path), Absent)


def list_boot_partitions(tree: Tree) -> Tuple[str, ...]:
    """Return the mount points of an EFI system partition or its extension.

    A path that is a link is left out, because it leads to one of the others.
    """
    return tuple(path for path in ESPS if not isinstance(tree.link(path), Value))


def find_grub_configs(tree: Tree) -> Tuple[str, ...]:
    """Return each grub.cfg of /boot and of the EFI system partition."""
    vendors = [(f"{esp}/EFI", tree.names(f"{esp}/EFI")) for esp in list_boot_partitions(tree)]
    more = [f"{efi}/{name}/grub.cfg" for efi, names in vendors if isinstance(names, Value) for name in names.value]
    return tuple(path for path in (*GRUB, *more) if may_exist(tree, path))


def has_boot_entries(tree: Tree) -> bool:
    """Return whether the tree has anything that systemd-boot reads."""
    places = ("loader/entries", "loader/loader.conf", "EFI/Linux", "EFI/systemd")
    return any(may_exist(tree, f"{partition}/{place}") for partition in list_boot_partitions(tree) for place in places)


def is_file(tree: Tree, path: str) -> bool:
    """Return whether a path is a regular file."""
    entry = tree.entry(path)
    return isinstance(entry, Value) and entry.value.kind == "file"


def locate_kernel(tree: Tree, offer: Offer) -> Observation[str]:
    """Return the path of an offered kernel in the tree.

    A loader's path starts at its own partition, and may start with a subvolume: /@/boot/vmlinuz is /boot/vmlinuz.
    """
    names = [name for name in re.sub(r"^\([^)]*\)", "", offer.path).split("/") if name not in ("", ".")]
    if ".." in names or not names or "\0" in offer.path:
        return Unknown("malformed", f"{offer.at}: `{offer.path[:200]}` is not the path of a kernel")
    for start in range(min(len(names), MAX_LINKS)):
        for place in offer.places:
            path = "/".join((place, *names[start:]))
            if is_file(tree, path):
                return Value(path, Evidence(path))
    entry = f"the default entry `{offer.name[:200]}`" if offer.name else "the default entry"
    message = f"{offer.at}: kernel {offer.path[:200]} of {entry} not found"
    return Unknown("not found", message, "install the kernel again, or make another entry the default")


def follow_links(tree: Tree, path: str) -> str:
    """Return the target of a path whose last component is a link."""
    for _ in range(MAX_LINKS):
        link = tree.link(path)
        if not isinstance(link, Value):
            return path
        path = link.value if link.value.startswith("/") else f"{path.rpartition('/')[0]}/{link.value}"
    return path

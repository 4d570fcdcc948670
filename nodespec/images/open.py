"""Open an offline image: a directory, a tar, a container image, or the live root.

The tree is what the next boot would find. Nothing in it is run, and nothing is unpacked to a disk.
"""

from __future__ import annotations

import os
import stat

from nodespec.errors import UsageError
from nodespec.formats.byte_source import ByteSource, File, Pipe
from nodespec.formats.decompress import open_decompressed
from nodespec.formats.tar import is_archive
from nodespec.host.at_rest import AtRestTree
from nodespec.host.tree import Tree
from nodespec.images import oci
from nodespec.images.archive import ArchiveTree
from nodespec.model.observation import DEFAULT_LIMITS, Limits, Unknown, Value

ROOT_DIRECTORIES = ("/etc", "/usr", "/bin", "/lib")  # Every root file system has at least one of them.


def open_image(path: str, platform: str = "", limits: Limits = DEFAULT_LIMITS) -> Tree:
    """Open an image and return its tree; `-` is standard input.

    An archive is read once from start to end, which takes as long as unpacking it. Raises `UsageError` if the path is
    not an image, or cannot be read to its end.
    """
    try:
        tree = _open_tree(path, platform, limits)
    except OSError as error:
        raise UsageError(f"--image {path}: {error.strerror or error}") from None
    if not any(_is_folder(tree, folder) for folder in ROOT_DIRECTORIES):
        names = tree.names("/")
        if isinstance(names, Unknown):
            raise UsageError(f"--image {path}: {names.say}")
        held = ", ".join(names.value[:5]) if isinstance(names, Value) else ""
        raise UsageError(
            f"--image {path}: not a root file system: /etc and /usr not found; it contains {held or 'nothing'}"
        )
    return tree


def _is_folder(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return isinstance(entry, Value) and entry.value.kind == "directory"


def _open_tree(path: str, platform: str, limits: Limits) -> Tree:
    if path != "-" and os.path.isdir(path):
        return _open_directory(path, platform, limits)
    source = open_decompressed(_open_source(path))
    if not is_archive(source):
        raise UsageError(
            f"--image {path}: not a directory, tar or container image; for a disk image, run "
            "virt-tar-out -a DISK / - | nodespec check SPEC --image -"
        )
    archive = ArchiveTree(path, [source], layered=False, limits=limits)
    if not oci.is_store(archive):
        return _open_plain(archive, platform)
    if not source.again:
        raise UsageError(f"--image {path}: a container image must be a file, not a pipe; save it and give its path")
    layers = oci.open_layers(archive, platform, limits)
    del archive  # Free its kept content before the tree of the layers keeps its own.
    return ArchiveTree(path, layers, layered=True, limits=limits)


def _open_directory(path: str, platform: str, limits: Limits) -> Tree:
    tree = AtRestTree(path)
    if tree.root != "/" and oci.is_store(tree):
        return ArchiveTree(path, oci.open_layers(tree, platform, limits), layered=True, limits=limits)
    return _open_plain(tree, platform)


def _open_plain(tree: Tree, platform: str) -> Tree:
    if platform:
        raise UsageError(f"--platform {platform}: {tree.root} is not a container image, so it has no platforms")
    return tree


def _open_source(path: str) -> ByteSource:
    """Open a file, which can be read at any offset, or a pipe, which is read once."""
    handle = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return File(handle)
    source = Pipe(handle)
    if os.isatty(handle):
        raise UsageError(f"--image {path}: standard input is a terminal; pipe a tar archive into it")
    return source

"""systemd-boot: entries of /boot/loader, unified kernel images, and the default.

loader.conf and the loader itself are on the EFI system partition. Entries and images are there too, or on the partition
mounted on /boot. https://uapi-group.org/specifications/specs/boot_loader_specification/
"""

from __future__ import annotations

from nodespec.checks._boot_offers import (
    ESPS,
    KERNEL_HINT,
    MAX_CONFIG_BYTES,
    MAX_FILES,
    LoaderMenu,
    Offer,
    list_boot_partitions,
    may_exist,
)
from nodespec.formats import boot_entry
from nodespec.formats.boot_entry import BootEntry, Sections
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple, TypeAlias, Union

    from nodespec.formats.pe import Section
    from nodespec.host.tree import Tree

LOADERS = tuple(f"{partition}/loader" for partition in ESPS)
UNIFIED = tuple(f"{partition}/EFI/Linux" for partition in ESPS)
VARIABLES = "/sys/firmware/efi/efivars"
GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
ONE_SHOT, DEFAULT_ENTRY, LAST_BOOTED = "LoaderEntryOneShot", "LoaderEntryDefault", "LoaderEntryLastBooted"
MAX_HEAD_BYTES = 1 << 16  # bytes that contain the section table
MAX_SECTION_BYTES = 1 << 16  # bytes of a section with text
MAX_IMAGE_BYTES = 256 << 20  # bytes of an image
ENVIRONMENTS = ("/boot/grub/grubenv", "/boot/grub2/grubenv")
EntryOffer: TypeAlias = "Tuple[BootEntry, Offer]"


def list_loader_folders(tree: Tree) -> Tuple[str, ...]:
    """Return the folders that may have entries."""
    return tuple(f"{partition}/loader" for partition in list_boot_partitions(tree))


def list_entry_files(tree: Tree, loader: str) -> Tuple[str, ...]:
    """Return the entry files of a partition."""
    names = tree.names(f"{loader}/entries")
    files = names.value if isinstance(names, Value) else ()
    return tuple(f"{loader}/entries/{name}" for name in files if name.lower().endswith(".conf"))[:MAX_FILES]


def find_setup_mark(tree: Tree) -> str:
    """Return the path that shows that systemd-boot is set up.

    It is the configuration, or the loader itself on the EFI system partition.
    """
    for esp in list_boot_partitions(tree):
        for path in (f"{esp}/loader/loader.conf", f"{esp}/EFI/systemd"):
            if may_exist(tree, path):
                return path
    return ""


def detect_hidden_grub(tree: Tree) -> Iterator[Observation[LoaderMenu]]:
    """Yield an unknown for a grub.cfg that may be on an unmounted partition.

    RHEL 8 has its grub.cfg on the EFI system partition only, and a link to its grubenv in /boot.
    """
    if find_setup_mark(tree) or not any(list_entry_files(tree, loader) for loader in list_loader_folders(tree)):
        return
    for path in ENVIRONMENTS:
        if not isinstance(tree.entry(path, follow=False), Absent):
            message = f"GRUB has {path}, but its grub.cfg was not found in this tree"
            yield Unknown("hidden", message, f"mount the EFI system partition, or {KERNEL_HINT}")


def read_systemd_boot_menu(tree: Tree) -> Observation[LoaderMenu]:
    """Return what systemd-boot starts; absent without any entry or image."""
    pairs: List[EntryOffer] = []
    for partition in list_boot_partitions(tree):
        for more in (_read_entry_files(tree, partition), _read_unified_images(tree, partition)):
            if isinstance(more, Unknown):
                return more
            pairs += more
    conf = tree.once(_read_loader_conf)
    if not isinstance(conf, Value) or (not pairs and not conf.value):
        return conf if isinstance(conf, Unknown) else Absent(Evidence(":".join((*LOADERS, *UNIFIED))))
    offers = {id(entry): offer for entry, offer in pairs}
    ordered = boot_entry.sort_entries(entry for entry, _ in pairs)
    started = _select_default_entry(tree, ordered, conf.value)
    if isinstance(started, Unknown):
        return started
    for other in boot_entry.list_tied_entries(started, ordered):
        if _make_offer_key(offers[id(other)]) != _make_offer_key(offers[id(started)]):
            message = (
                f"systemd-boot: two entries `{started.id}` are equal, and the directory order decides which one starts"
            )
            return Unknown("hidden", message, KERNEL_HINT)
    at = Evidence(find_setup_mark(tree) or offers[id(started)].at.source)
    every = tuple(offers[id(entry)] for entry in ordered)
    return Value(LoaderMenu("systemd-boot", at, (offers[id(started)],), every, sure=bool(find_setup_mark(tree))), at)


def _make_offer_key(offer: Offer) -> Tuple[object, ...]:
    """Return what an entry starts, for comparison."""
    return offer.path, offer.places, offer.lines


def _read_loader_conf(tree: Tree) -> Observation[str]:
    """Return loader.conf of the EFI system partition; empty if it does not exist."""
    confs: List[Tuple[str, str]] = []
    for loader in list_loader_folders(tree):
        text = tree.text(f"{loader}/loader.conf", MAX_CONFIG_BYTES)
        if isinstance(text, Unknown):
            return text
        if isinstance(text, Value):
            confs.append((loader, text.value))
    texts = [text for loader, text in confs if _is_esp(tree, loader.rpartition("/")[0])] or [text for _, text in confs]
    if len({boot_entry.parse_default(text) for text in texts}) > 1:
        paths = " and ".join(f"{loader}/loader.conf" for loader, _ in confs)
        return Unknown("hidden", f"systemd-boot: which of {paths} is in use is not known", KERNEL_HINT)
    return Value(texts[0] if texts else "", Evidence(LOADERS[0]))


def _is_esp(tree: Tree, partition: str) -> bool:
    return any(isinstance(tree.entry(f"{partition}/EFI/{name}"), Value) for name in ("systemd", "BOOT"))


def _read_entry_files(tree: Tree, partition: str) -> Union[List[EntryOffer], Unknown]:
    pairs: List[EntryOffer] = []
    for path in list_entry_files(tree, f"{partition}/loader"):
        text = tree.text(path, MAX_CONFIG_BYTES)
        if isinstance(text, Unknown):
            return text
        name = path.rpartition("/")[2]
        entry = boot_entry.parse(name, text.value) if isinstance(text, Value) else BootEntry(name)
        if entry.field and not name.startswith("auto-"):
            pairs.append((entry, _make_entry_offer(entry, Evidence(path, entry.line), partition)))
    return pairs


def _make_entry_offer(entry: BootEntry, at: Evidence, partition: str) -> Offer:
    line = " ".join(" ".join(entry.options).split())
    return Offer(at, entry.kernel.replace("\\", "/"), (line,), name=entry.title or entry.id, places=(partition,))


def _read_unified_images(tree: Tree, partition: str) -> Union[List[EntryOffer], Unknown]:
    folder = f"{partition}/EFI/Linux"
    names = tree.names(folder)
    if isinstance(names, Unknown):
        return names
    pairs: List[EntryOffer] = []
    for name in names.value[:MAX_FILES] if isinstance(names, Value) else ():
        if name.lower().endswith(".efi") and not name.startswith((".", "auto-")):
            image = read_image_sections(tree, f"{folder}/{name}")
            if not isinstance(image, Value):
                return image if isinstance(image, Unknown) else Unknown("not found", f"{folder}/{name} not found")
            entry = boot_entry.parse_unified_image(name, image.value)
            if not entry.title:
                continue  # systemd-boot neither shows nor starts an entry without a name.
            pairs.append((entry, _make_image_offer(tree, entry, image, partition)))
    return pairs


def _make_image_offer(tree: Tree, entry: BootEntry, image: Value[Sections], partition: str) -> Offer:
    path = image.evidence.source
    addons = (f"{path}.extra.d", f"{partition}/loader/addons")
    names = [tree.names(folder) for folder in addons]
    is_whole = not any(
        isinstance(listing, Value) and any(".addon.efi" in name for name in listing.value) for listing in names
    )
    line = " ".join(" ".join(entry.options).split())
    is_whole = is_whole and image.value.options is not None
    return Offer(image.evidence, path, (line,), is_whole, image.value.release, entry.title or entry.id, ("",))


def read_image_sections(tree: Tree, path: str) -> Observation[Sections]:
    """Return the text sections of a unified kernel image."""
    from nodespec.formats import pe  # noqa: PLC0415

    table = tree.head(path, MAX_HEAD_BYTES).then(pe.parse_sections)
    if not isinstance(table, Value):
        return table
    rows = {}
    for section in table.value:
        if section.name == ".profile" and ".profile" in rows:
            break  # Only the first profile counts.
        rows[section.name] = section
    texts = {}
    for name in (".osrel", ".cmdline", ".uname"):
        text = _read_section(tree, path, rows[name], MAX_SECTION_BYTES) if name in rows else Value(b"", Evidence(path))
        if not isinstance(text, Value):
            return text
        texts[name] = text.value.decode("utf-8", "backslashreplace").strip("\0 \n\t")
    options = texts[".cmdline"] if ".cmdline" in rows else None
    release = texts[".uname"] or (_read_image_release(tree, path, rows[".linux"]) if ".linux" in rows else "")
    return Value(Sections(release, options, boot_entry.parse_os_release(texts[".osrel"])), Evidence(path))


def _read_section(tree: Tree, path: str, section: Section, limit: int) -> Observation[bytes]:
    """Return the bytes of a section.

    The bytes before it are read as well, because trees are read from the start of a file.
    """
    end = section.offset + min(section.size, limit)
    if end > MAX_IMAGE_BYTES:
        return Unknown(
            "unsupported",
            f"{path}: section {section.name} begins after {MAX_IMAGE_BYTES} bytes, which is not supported",
        )
    return tree.head(path, end).then(lambda data: data[section.offset : end])


def _read_image_release(tree: Tree, path: str, section: Section) -> str:
    """Return the release at the head of the kernel in the image."""
    from nodespec.checks import _kernel_image  # noqa: PLC0415

    head = _read_section(tree, path, section, _kernel_image.MAX_HEAD_BYTES).then(_kernel_image.parse_head_release)
    return head.value if isinstance(head, Value) else ""


def _select_default_entry(tree: Tree, entries: List[BootEntry], conf: str) -> Union[BootEntry, Unknown]:
    """Return the default entry."""
    for name in (ONE_SHOT, DEFAULT_ENTRY):
        wanted = _read_efi_variable(tree, name)
        for entry in entries if wanted else ():
            if entry.id.lower() == wanted.lower():
                return entry
    pattern = boot_entry.parse_default(conf)
    if pattern.lower() == "@saved":
        pattern = _read_efi_variable(tree, LAST_BOOTED)
        if not pattern:
            return Unknown(
                "hidden", "systemd-boot: only an EFI variable has the entry of `default @saved`", KERNEL_HINT
            )
    for entry in entries if pattern else ():
        if boot_entry.matches_entry(pattern, entry):
            return entry
    if pattern.lower().startswith("auto-"):
        return Unknown(
            "unsupported", f"systemd-boot: the default entry `{pattern}` starts another operating system", KERNEL_HINT
        )
    if not entries:
        return Unknown("not found", "systemd-boot: no boot entry found", "run bootctl list")
    return entries[0]


def _read_efi_variable(tree: Tree, name: str) -> str:
    """Return an EFI variable of systemd-boot; empty at rest, where none can be read."""
    data: Optional[Observation[bytes]] = (
        tree.head(f"{VARIABLES}/{name}-{GUID}", MAX_SECTION_BYTES) if tree.running else None
    )
    if not isinstance(data, Value):
        return ""
    return data.value[4:].decode("utf-16-le", "replace").strip("\0")

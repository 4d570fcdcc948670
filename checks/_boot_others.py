"""Other boot loaders: EXTLINUX, U-Boot, zipl, GRUB 0.97, Raspberry Pi firmware.

Loaders whose configuration is not read are named in the result.
"""

from __future__ import annotations

from os.path import normpath

from nodespec.checks import _boot_systemd_boot
from nodespec.checks._boot_kernels import FLAVORS
from nodespec.checks._boot_offers import (
    KERNEL_HINT,
    LEGACY,
    MAX_CONFIG_BYTES,
    SYSLINUX,
    UNREAD_CONFIGS,
    ZIPL,
    LoaderMenu,
    Offer,
    is_file,
)
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

    from nodespec.formats.grub_legacy import LegacyEntry
    from nodespec.formats.syslinux import Label, SyslinuxConfig
    from nodespec.host.tree import Tree

SAVED_DEFAULT = "/boot/grub/default"


def read_other_menus(tree: Tree, paths: Sequence[str]) -> Iterator[Observation[LoaderMenu]]:
    """Yield the menu of each of these configurations."""
    for path in paths:
        if path in SYSLINUX:
            yield _read_syslinux(tree, path)
        elif path in ZIPL:
            yield _read_zipl(tree, path)
        elif path in LEGACY:
            yield _read_grub_legacy(tree, path)
        elif path in UNREAD_CONFIGS:
            yield Unknown("unsupported", f"{path}: this boot loader configuration is not supported", KERNEL_HINT)
        elif _is_pi_firmware(tree, path.rpartition("/")[0]):
            yield _read_pi_firmware(tree, path.rpartition("/")[0])


def _read_syslinux(tree: Tree, path: str) -> Observation[LoaderMenu]:
    text = tree.text(path, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats.syslinux import SyslinuxConfig  # noqa: PLC0415

    folder = path.rpartition("/")[0]
    try:
        config = SyslinuxConfig(path, text.value, lambda name: _read_included(tree, folder, name))
    except ValueError as error:
        return Unknown("unsupported", f"SYSLINUX: {error}", KERNEL_HINT)
    places = (folder, "/boot", "")
    labels = [_find_label(config, name) for name in config.started()]
    if any(label is None for label in labels) or len(set(labels)) > 1:
        which = " or ".join(f"`{name}`" for name in config.started())
        return Unknown("unsupported", f"{path}: the kernel of the default {which} cannot be determined", KERNEL_HINT)
    started = labels[0]
    if not started or started.other or not started.kernel:
        what = started.other if started else ""
        return Unknown("unsupported", f"{path}: the default label starts `{what}`, not a Linux kernel", KERNEL_HINT)
    offers = tuple(
        _make_syslinux_offer(config, label, places) for label in config.labels if label.kernel and not label.other
    )
    return Value(
        LoaderMenu("SYSLINUX", Evidence(path), (_make_syslinux_offer(config, started, places),), offers), Evidence(path)
    )


def _find_label(config: SyslinuxConfig, name: str) -> Optional[Label]:
    """Return the entry with a label; the first if no label is given."""
    if not name:
        return config.labels[0] if config.labels else None
    return next((label for label in config.labels if label.name == name), None)


def _make_syslinux_offer(config: SyslinuxConfig, label: Label, places: Tuple[str, ...]) -> Offer:
    line = " ".join(config.options(label).split())
    at = Evidence(label.file, label.line)
    relative = label.kernel.startswith(("./", "../"))
    path = normpath(f"{places[0]}/{label.kernel}") if relative else label.kernel  # `../vmlinuz` of /boot/syslinux
    return Offer(at, path, (line,), not label.more, name=label.name, places=places)


def _read_included(tree: Tree, folder: str, name: str) -> Optional[str]:
    for place in (folder, "/boot", ""):
        text = tree.text(f"{place}/{name.lstrip('/')}", MAX_CONFIG_BYTES) if ".." not in name else None
        if isinstance(text, Unknown):
            raise ValueError(text.say)
        if isinstance(text, Value):
            return text.value
    return None


def _read_zipl(tree: Tree, path: str) -> Observation[LoaderMenu]:
    text = tree.text(path, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats.grub_legacy import parse_zipl  # noqa: PLC0415

    config = parse_zipl(text.value)
    offers = [_make_legacy_offer(entry, path) for entry in config.entries]
    if config.automatic:
        entries = _boot_systemd_boot.read_systemd_boot_menu(tree)
        if not isinstance(entries, Value):
            return entries if isinstance(entries, Unknown) else _explain_no_default(path)
        offers += [offer for offer in entries.value.offers if "rescue" not in offer.at.source]
    named = [offer for offer in offers if config.default in (offer.name, _get_offer_id(offer))]
    started = named if config.default else offers
    if len(started) != 1:
        return _explain_no_default(path)
    menu = LoaderMenu("zipl", Evidence(path), (started[0],), tuple(offers), entries=config.automatic)
    return Value(menu, Evidence(path))


def _get_offer_id(offer: Offer) -> str:
    return offer.at.source.rpartition("/")[2].removesuffix(".conf")


def _explain_no_default(path: str) -> Unknown:
    return Unknown("unsupported", f"{path}: the default kernel cannot be determined", KERNEL_HINT)


def _make_legacy_offer(entry: LegacyEntry, path: str) -> Offer:
    return Offer(Evidence(path, entry.line), entry.kernel, (" ".join(entry.options.split()),), name=entry.name)


def _read_grub_legacy(tree: Tree, path: str) -> Observation[LoaderMenu]:
    text = tree.text(path, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats.grub_legacy import parse_menu  # noqa: PLC0415

    menu = parse_menu(text.value)
    default = menu.default
    if default == "saved":
        saved = tree.line(SAVED_DEFAULT)
        default = saved.value.split("\n")[0].strip() if isinstance(saved, Value) else ""
    position = int(default) if default.isascii() and default.isdigit() and len(default) < len("1000") else -1
    if not 0 <= position < len(menu.entries) or menu.other:
        return _explain_no_default(path)
    started = menu.entries[position]
    if started.other or not started.kernel:
        message = f"{path}:{started.line}: the default entry `{started.name}` does not start a Linux kernel"
        return Unknown("unsupported", message, KERNEL_HINT)
    offers = tuple(_make_legacy_offer(entry, path) for entry in menu.entries if entry.kernel and not entry.other)
    return Value(LoaderMenu("GRUB 0.97", Evidence(path), (_make_legacy_offer(started, path),), offers), Evidence(path))


def _is_pi_firmware(tree: Tree, folder: str) -> bool:
    """Return whether a Raspberry Pi boots from there.

    config.txt alone proves nothing, because other programs may use the same name.
    """
    marks = ("cmdline.txt", "bootcode.bin", "start4.elf", "start.elf", *FLAVORS)
    return any(is_file(tree, f"{folder}/{name}") for name in marks)


def _read_pi_firmware(tree: Tree, folder: str) -> Observation[LoaderMenu]:
    path = f"{folder}/config.txt"
    text = tree.text(path, MAX_CONFIG_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats.pi_config import parse  # noqa: PLC0415

    try:
        settings = parse(text.value, lambda name: _read_included(tree, folder, name))
    except ValueError as error:
        return Unknown("unsupported", f"{path}: {error}", KERNEL_HINT)
    lines: List[str] = []
    prefixes = settings.get("os_prefix", ("",))
    for name in (f"{prefix}{name or 'cmdline.txt'}" for prefix in prefixes for name in settings.get("cmdline", ("",))):
        line = tree.text(f"{folder}/{name}", MAX_CONFIG_BYTES)
        if isinstance(line, Unknown):
            return line
        lines.append(" ".join(line.value.split("\n")[0].split()) if isinstance(line, Value) else "")
    kernels = [prefix + name for prefix in prefixes for name in _list_pi_kernels(tree, folder, settings)]
    at = Evidence(f"{folder}/{settings.get('cmdline', ('',))[-1] or 'cmdline.txt'}" if any(lines) else path)
    started = tuple(
        Offer(at, f"/{kernel}", tuple(dict.fromkeys(lines)), whole=False, places=(folder,)) for kernel in kernels
    )
    if not started:
        return Unknown(
            "not found", f"{path}: no kernel image found that the firmware of a Raspberry Pi starts", KERNEL_HINT
        )
    return Value(LoaderMenu("the firmware of a Raspberry Pi", at, started, started), at)


def _list_pi_kernels(tree: Tree, folder: str, settings: Mapping[str, Tuple[str, ...]]) -> Tuple[str, ...]:
    """Return the kernels that may be started.

    config.txt names them; otherwise they are the defaults of the models.
    """
    present = [name for name in FLAVORS if is_file(tree, f"{folder}/{name}")]
    wide = [name for name in present if name in ("kernel8.img", "kernel_2712.img")]
    asked = settings.get("arm_64bit")  # If arm_64bit is not set, the model decides.
    defaults = wide or present if asked == ("1",) else [name for name in present if asked != ("0",) or name not in wide]
    return tuple(
        dict.fromkeys(name for image in settings.get("kernel", ("",)) for name in ((image,) if image else defaults))
    )

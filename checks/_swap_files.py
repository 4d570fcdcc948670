"""Swap areas that the next boot enables: /etc/fstab, units, generators, services."""

from __future__ import annotations

from nodespec.checks import _init_system, _services_at_boot, _swap_fstab
from nodespec.checks._swap_area import AreaOrUnknown, DeclaredArea
from nodespec.facts.declaration import Row, Rows
from nodespec.facts.value_types import MORE
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Tuple, Union

    from nodespec.checks._systemd_graph import Transaction
    from nodespec.checks._systemd_load import Unit
    from nodespec.host.tree import Tree

FSTAB = _swap_fstab.FSTAB
UNREAD = ("no permission", "malformed", "failed", "timed out")  # reasons of a file that exists


class Swap(NamedTuple):
    """The areas that a boot enables, their source, and why there may be more."""

    areas: Tuple[DeclaredArea, ...]
    at: Evidence
    more: Tuple[Unknown, ...]


def resolve_swap(tree: Tree) -> Observation[Swap]:
    """Return the swap of the next boot."""
    return tree.once(_resolve_swap)


def resolve_total(tree: Tree) -> Observation[int]:
    """Return the bytes of all areas together; a lower bound if a size is not known."""
    swap = resolve_swap(tree)
    if not isinstance(swap, Value):
        return swap
    areas, at, more = swap.value
    sizes = [area.size(tree) for area in areas]
    known = sum(size.value for size in sizes if isinstance(size, Value))
    unread = next((size for size in sizes if isinstance(size, Unknown) and size.reason != DEFERRED), None)
    if unread or (more and not areas):
        return unread or more[0]
    others = () if len(areas) and all(isinstance(size, Value) for size in sizes) and not more else (MORE,)
    return Value(max(known, 1) if others and areas else known, at._replace(inferred=True), others if areas else ())


def read_rows(tree: Tree) -> Rows[Row]:
    """Return the areas by path."""
    swap = resolve_swap(tree)
    if not isinstance(swap, Value):
        return Rows.lacking(swap)
    rows: Dict[str, Observation[Row]] = {
        area.path: Value({"type": Value(area.type, area.at), "size": area.size(tree)}, area.at)
        for area in swap.value.areas
    }
    return Rows.of(rows, swap.value.more[0] if swap.value.more else Absent(Evidence(FSTAB)))


def _resolve_swap(tree: Tree) -> Observation[Swap]:
    """Return the swap by init system.

    With systemd the areas are enabled by their units. Other init systems use /etc/fstab only.
    """
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Absent):
        return _services_at_boot.explain_no_init("enable swap")
    if isinstance(system, Unknown):
        return system
    built = _find_missing_support(tree)
    if isinstance(built, Evidence):
        return Value(Swap((), built, ()), built)
    areas: Dict[str, DeclaredArea] = {}
    more: List[Unknown] = []
    for declared in _read_systemd_areas(tree) if system.value == "systemd" else _read_fstab_areas(tree, system.value):
        if isinstance(declared, Unknown):
            more.append(declared)
        elif built:
            more.append(built)
        elif declared.is_missing(tree):
            more.append(Unknown(DEFERRED, f"{declared.at} enables {declared.path}, which does not exist yet"))
        else:
            areas.setdefault(declared.path, declared)
    at = next((area.at for area in areas.values()), Evidence(FSTAB))
    return Value(Swap(tuple(areas.values()), at, tuple(more)), at)


def _find_missing_support(tree: Tree) -> Union[Evidence, Unknown, None]:
    """Return the evidence that the kernel of the next boot has no swap support.

    Every distribution builds it in, so a kernel without a configuration file has it. Unknown if a file exists and
    cannot be read.
    """
    from nodespec.checks import _kernel_config, _kernel_version  # noqa: PLC0415

    option = _kernel_config.read_options_at_rest(tree).observe("SWAP")
    if isinstance(option, Value) and option.value in ("n", "undefined") and not option.others:
        return None if option.evidence.inferred else option.evidence
    known = isinstance(_kernel_version.read_kernel_release(tree), Value)
    return option if known and isinstance(option, Unknown) and option.reason in UNREAD else None


def _read_fstab_areas(tree: Tree, system: str) -> Iterator[AreaOrUnknown]:
    """Yield the entries that `swapon --all` uses, if a service runs it."""
    entries = _swap_fstab.read_fstab(tree)
    areas = [] if isinstance(entries, Unknown) else [entry for entry in entries if entry.kind == "swap"]
    if isinstance(entries, Unknown):
        yield entries
    reads = _services_at_boot.is_applied_at_boot(tree, "swap")
    if isinstance(reads, Unknown):
        if areas or system != "sysvinit":
            yield reads
        return
    if isinstance(reads, Value) and reads.value:
        yield from (DeclaredArea(_format_area_path(entry), entry.at) for entry in areas if not entry.has("noauto"))
    if system == "openrc":
        from nodespec.checks import _swap_services  # noqa: PLC0415

        yield from _swap_services.find_service_areas(tree)


def _format_area_path(entry: _swap_fstab.FstabEntry) -> str:
    """Return the area as /etc/fstab names it, without quotes."""
    tag, equals, value = entry.what.partition("=")
    if equals and tag in _swap_fstab.TAGS:
        return f"{tag}={value.strip(QUOTES)}"
    return entry.what if entry.what.startswith("/") else f"/{entry.what}"  # The name of its unit has this form too.


QUOTES = "\"'"
WITH_EXTRA_SWAP = 254  # the first systemd that reads systemd.swap_extra=


def _read_systemd_areas(tree: Tree) -> Iterator[AreaOrUnknown]:
    from nodespec.checks import _boot_cmdline, _swap_services, _systemd_at_boot  # noqa: PLC0415

    switches = ("fstab", "systemd.swap*", "systemd.gpt_auto", "systemd.zram", "systemd.mask")
    unknown = _boot_cmdline.find_open_parameter(tree, *switches)
    if unknown:
        yield unknown
    yield from _read_extra_areas(tree)
    for names in dict.fromkeys(_list_swap_units(_systemd_at_boot.build_transactions(tree))):
        yield from _read_unit_area(tree, names)
    for units in _systemd_at_boot.load_unit_files(tree):
        yield from [units.unread] if units.unread else ()
    yield from _detect_gpt_swap(tree)
    yield from _swap_services.find_service_areas(tree)


def _read_extra_areas(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the areas of `systemd.swap_extra=/dev/sda2:pri=1` on the command line, since systemd 254."""
    from nodespec.checks import _systemd_install, _systemd_switches  # noqa: PLC0415

    version = _systemd_install.detect_systemd_version(tree)
    if 0 < version < WITH_EXTRA_SWAP or _systemd_switches.is_switched_off(tree, "systemd.swap"):
        return
    for key, value, at in _systemd_switches.read_boot_parameters(tree):
        path = value.partition(":")[0]
        if key == "systemd.swap_extra" and path:
            known = DeclaredArea(path, at._replace(inferred=True))
            yield known if version else Unknown(DEFERRED, f"only a running machine can tell: {at} may enable {path}")


def _list_swap_units(boots: Tuple[Transaction, ...]) -> Iterator[str]:
    """Yield the names of all swap units."""
    for boot in boots:
        yield from (name for name in boot.units.ids if name.endswith(".swap"))


def _read_unit_area(tree: Tree, name: str) -> Iterator[AreaOrUnknown]:
    """Yield the area of a unit that a boot starts."""
    from nodespec.checks import _systemd_at_boot  # noqa: PLC0415

    started = _systemd_at_boot.is_unit_started(tree, name)
    if isinstance(started, Unknown):
        yield started
    elif isinstance(started, Value) and started.value:
        boot = _systemd_at_boot.build_transactions(tree)[0]
        unit = boot.load(name)
        if not boot.lacks(unit):
            yield _make_unit_area(tree, boot, unit)


def _make_unit_area(tree: Tree, boot: Transaction, unit: Unit) -> DeclaredArea:
    entries = _swap_fstab.read_fstab(tree)
    for entry in () if isinstance(entries, Unknown) else entries:
        if unit.path.startswith("generator/") and _swap_fstab.make_unit_name(entry.path, "swap") == unit.name:
            return DeclaredArea(_format_area_path(entry), entry.at)
    what = [reading for reading in boot.read_lines(unit) if (reading.section, reading.name) == ("Swap", "What")]
    if what:
        at = what[-1].at if what[-1].at.source.startswith("/") else boot.pulled.get(unit.name, what[-1].at)
        return DeclaredArea(what[-1].value.replace("%%", "%"), at)
    return DeclaredArea(f"/{unit.name[: -len('.swap')].replace('-', '/')}", Evidence(unit.path))


GPT_GENERATOR = "systemd-gpt-auto-generator"


def _detect_gpt_swap(tree: Tree) -> Iterator[AreaOrUnknown]:
    """Yield the partitions that systemd-gpt-auto-generator finds by type.

    It does nothing if /etc/fstab has a swap entry.
    """
    from nodespec.checks import _systemd_switches  # noqa: PLC0415

    entries = _swap_fstab.read_fstab(tree)
    if isinstance(entries, Unknown):
        yield entries
    if isinstance(entries, Unknown) or any(entry.kind == "swap" for entry in entries):
        return
    off = (_systemd_switches.is_switched_off(tree, key) for key in ("systemd.gpt_auto", "systemd.swap"))
    if not _systemd_switches.has_generator(tree, GPT_GENERATOR) or any(off):
        return
    reads = _services_at_boot.is_applied_at_boot(tree, "swap")
    if isinstance(reads, Value) and reads.value:
        message = f"only a running machine can tell: {GPT_GENERATOR} enables swap partitions of the root disk"
        yield Unknown(DEFERRED, message)

"""Further settings of containerd, from its configuration files and its built-in defaults.

Places and defaults are those of `containerd config default` of 1.7, 2.0, 2.1, 2.3 and 2.4.
"""

from __future__ import annotations

from nodespec.checks import _runtime_catalog
from nodespec.checks._runtime_catalog import CONTAINERD
from nodespec.checks._runtime_config import READERS, locate_default, read_unit_command
from nodespec.checks._runtime_containerd import RELEASES, find_rules, get_setting
from nodespec.checks._runtime_containerd_files import (
    CRI_ID,
    CRI_IMAGES,
    CRI_RUNTIME,
    CRI_URI,
    DUMP_HINT,
    MergedFiles,
    ReleaseRules,
    UnreadError,
    load_config_files,
)
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence, Tuple, Union

    from nodespec.checks._runtime_containerd_files import Table
    from nodespec.facts.value_types import Datum
    from nodespec.host.tree import Tree


class Setting(NamedTuple):
    """Where files of version 1 and 2, and of version 3 and later, have a setting, and its default."""

    old: Tuple[str, ...]
    plugin: str
    new: Tuple[str, ...]
    default: Optional[Datum]


SETTINGS = {
    "default_handler": Setting(
        ("containerd", "default_runtime_name"), CRI_RUNTIME, ("containerd", "default_runtime_name"), "runc"
    ),
    "sandbox_image": Setting(("sandbox_image",), CRI_IMAGES, ("pinned_images", "sandbox"), None),
    "registry_config_path": Setting(("registry", "config_path"), CRI_IMAGES, ("registry", "config_path"), ""),
    "cdi": Setting(("enable_cdi",), CRI_RUNTIME, ("enable_cdi",), None),
    "cni_conf_dir": Setting(("cni", "conf_dir"), CRI_RUNTIME, ("cni", "conf_dir"), "/etc/cni/net.d"),
    "cni_bin_dirs": Setting(("cni", "bin_dir"), CRI_RUNTIME, ("cni", "bin_dirs"), frozenset({"/opt/cni/bin"})),
}
ROOT = "/var/lib/containerd"
CERTIFICATES = "/etc/containerd/certs.d:/etc/docker/certs.d"


def read_setting(tree: Tree, name: str, column: str, version: Callable[[], Observation[str]]) -> Observation[Datum]:
    """Return a setting of containerd; for another runtime unknown, or absent if it has no images."""
    if name != "containerd":
        if name not in _runtime_catalog.CONFIGURED:
            return _runtime_catalog.report_no_images(name)
        return _read_other(tree, name, column, version)
    command = read_unit_command(tree, "containerd.service", "containerd")
    if isinstance(command, Unknown):
        return command
    root = command.option("--root", "-root") if column == "root" else ""
    if root:
        return Value(root, command.at)
    given = command.option("--config", "-c", "-config", "--c")
    return resolve_setting(tree, given or CONTAINERD, version(), column, given=bool(given))


def _read_other(tree: Tree, name: str, column: str, version: Callable[[], Observation[str]]) -> Observation[Datum]:
    """Return a setting of CRI-O or Docker; unknown if it is a default, or is not read."""
    settings = READERS[name].read(tree, version())
    if not isinstance(settings, Value):
        return settings
    setting = settings.value.get(column)
    if setting is not None:
        return setting
    message = f"{settings.evidence} does not set the {column} of {name}, or it is not read"
    return Unknown("unsupported" if tree.running else DEFERRED, message)


def resolve_setting(
    tree: Tree, path: str, version: Observation[str], column: str, *, given: bool = False
) -> Observation[Datum]:
    """Return a setting of a file and its imports, as that version of containerd reads them."""
    rules = find_rules(version.value) if isinstance(version, Value) else None
    if isinstance(version, Value) and not rules:
        return Unknown("unsupported", f"how containerd {version.value} reads {path} is not known", DUMP_HINT)
    readings = [_read_by_rules(tree, path, one, column, given=given) for one in _list_rules(rules)]
    if all(_strip_evidence(one) == _strip_evidence(readings[0]) for one in readings):
        return readings[0]
    message = f"the version of containerd is not known, and releases read {path} differently"
    return Unknown("unsupported" if tree.running else DEFERRED, message, DUMP_HINT)


def _list_rules(rules: Optional[ReleaseRules]) -> Sequence[ReleaseRules]:
    return (rules,) if rules else tuple(one for *_, one in RELEASES)


def _strip_evidence(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else (type(seen), seen.say)


def _read_by_rules(tree: Tree, path: str, rules: ReleaseRules, column: str, *, given: bool) -> Observation[Datum]:
    try:
        loaded = load_config_files(tree, path, rules, given=given)
        at = locate_default(tree, "containerd", Evidence(path))
        if column == "root":
            return loaded.root or Value(ROOT, at)
        if column == "cdi" and (rules.always_cdi or rules.name.startswith(("1.3", "1.6"))):
            return Value(rules.always_cdi, at)  # The setting is new in 1.7, and gone in 2.4.
        found = _find_setting(loaded, rules, column)
    except UnreadError as error:
        return error.why
    return found if found is not None else _get_default(loaded, rules, column, at, running=tree.running)


def _get_default(
    loaded: MergedFiles, rules: ReleaseRules, column: str, at: Evidence, *, running: bool
) -> Observation[Datum]:
    """Return the default of a release."""
    default = SETTINGS[column].default
    if column == "cdi":
        default = rules.migrates != "never"
    elif column == "registry_config_path" and rules.certificates and not _has_mirrors(loaded):
        default = CERTIFICATES
    if default is None:
        message = f"{at} does not set it, and the default of containerd {rules.name} is not known"
        return Unknown("unsupported" if running else DEFERRED, message, DUMP_HINT if running else "")
    return Absent(at, f"{column} is not set") if default == "" else Value(default, at)


def _has_mirrors(loaded: MergedFiles) -> bool:
    images = loaded.plugins.get(CRI_IMAGES, {})
    registry = images.get("registry") if isinstance(images, dict) else None
    return isinstance(registry, dict) and bool(registry.get("mirrors"))


def _find_setting(loaded: MergedFiles, rules: ReleaseRules, column: str) -> Optional[Observation[Datum]]:
    """Return what the files set; None if they do not."""
    place = SETTINGS[column]
    if rules.migrates == "never":
        plugin, keys = loaded.plugins.get(CRI_ID if loaded.version < 2 else CRI_URI, {}), place.old  # noqa: PLR2004 - the version of the file
    else:
        plugin, keys = loaded.plugins.get(place.plugin, {}), place.new
    held: Union[Table, Value[object], None] = plugin
    for key in keys:
        held = get_setting(held, key) if isinstance(held, dict) else None
    if held is None and keys[-1] == "bin_dirs" and not rules.always_cdi:  # The older name of one directory.
        held = get_setting(plugin, "cni")
        held = get_setting(held, "bin_dir") if isinstance(held, dict) else None
    if not isinstance(held, Value) or held.value in ("", []):
        return None
    return _check_type(held, column)


def _check_type(held: Value[object], column: str) -> Observation[Datum]:
    """Return a setting of the right type; a directory may be a list of one."""
    value = held.value
    if column == "cdi":
        return Value(value, held.evidence) if isinstance(value, bool) else _refuse(held, "true or false")
    if column == "cni_bin_dirs":
        paths = value if isinstance(value, list) else [value]
        texts = [path for path in paths if isinstance(path, str)]
        return Value(frozenset(texts), held.evidence) if len(texts) == len(paths) else _refuse(held, "a list of paths")
    return Value(value, held.evidence) if isinstance(value, str) else _refuse(held, "a text")


def _refuse(held: Value[object], what: str) -> Unknown:
    return Unknown("malformed", f"containerd does not start: {held.evidence}: expected {what}", "correct the value")

"""Settings of containerd: cgroup driver, snapshotter, whether the CRI is enabled."""

from __future__ import annotations

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
    refuse_config,
)
from nodespec.facts.versions import RELEASE
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Optional, Tuple, Union

    from nodespec.checks._runtime_containerd_files import Table
    from nodespec.host.tree import Tree

SYSTEMD_CGROUP = "SystemdCgroup"
RUNC_TYPES = ("", "io.containerd.runc.v1", "io.containerd.runc.v2")


class ContainerdSettings(NamedTuple):
    """Settings of a configuration; the evidence of a default has no source."""

    cgroup_driver: Observation[str]
    snapshotter: Observation[str]
    disabled: Observation[bool]  # whether the CRI plugin is disabled


# First and last release. The limits within 1.6 and 1.7 are those of the sources that were compared.
RELEASES = (
    ("1.3.0-alpha", "1.6.28", ReleaseRules("1.3 to 1.6.28", 2, "never", relative="root", newer="read")),
    ("1.6.29", "1.6.29", ReleaseRules("1.6.29", 2, "never", relative="unknown", newer="read")),
    ("1.6.30", "1.6.31", ReleaseRules("1.6.30 and 1.6.31", 2, "never", newer="read")),
    ("1.6.32", "1.6.32", ReleaseRules("1.6.32", 2, "never", newer="unknown")),
    ("1.6.33", "1.6", ReleaseRules("1.6.33 and later", 2, "never")),
    ("1.7.0-alpha", "1.7.15", ReleaseRules("1.7 to 1.7.15", 2, "never", relative="root", newer="read")),
    ("1.7.16", "1.7.17", ReleaseRules("1.7.16 and 1.7.17", 2, "never", relative="unknown", newer="unknown")),
    ("1.7.18", "1.7", ReleaseRules("1.7.18 and later", 2, "never")),
    ("2.0.0-alpha", "2.0", ReleaseRules("2.0", 3, "merged", mixes=False)),
    ("2.1.0-alpha", "2.1", ReleaseRules("2.1", 3, "merged")),
    ("2.2.0-alpha", "2.2", ReleaseRules("2.2", 3, "merged", certificates=True)),
    ("2.3.0-alpha", "2.3", ReleaseRules("2.3", 4, "each", certificates=True)),
    ("2.4.0-alpha", "2", ReleaseRules("2.4 and later", 4, "each", certificates=True, always_cdi=True)),
)


def find_rules(version: str) -> Optional[ReleaseRules]:
    """Return the rules of a release such as `1.6.20~ds1`; None if they are not known."""
    position = (RELEASE.key(version), 0)
    for low, high, rules in RELEASES:
        if RELEASE.span(low)[0] <= position < RELEASE.span(high)[1]:
            return rules
    return None


def resolve_settings(
    tree: Tree, path: str, version: Observation[str], *, given: bool = False
) -> Observation[ContainerdSettings]:
    """Return the settings of a file and its imports.

    `given`: the path is an option, and the file must exist.
    """
    if isinstance(version, Value):
        rules = find_rules(version.value)
        if not rules:
            return Unknown("unsupported", f"how containerd {version.value} reads {path} is not known", DUMP_HINT)
        return _read_by_rules(tree, path, rules, given=given)
    readings = [(rules, _read_by_rules(tree, path, rules, given=given)) for *_, rules in RELEASES]
    first = readings[0][1]
    if all(_are_equal_settings(first, other) for _, other in readings):
        return first
    return Unknown(
        "unsupported", f"the version of containerd is not known, and releases read {path} differently", DUMP_HINT
    )


def _are_equal_settings(first: Observation[ContainerdSettings], second: Observation[ContainerdSettings]) -> bool:
    if not isinstance(first, Value) or not isinstance(second, Value):
        return first == second
    return [_strip_evidence(seen) for seen in first.value] == [_strip_evidence(seen) for seen in second.value]


def _strip_evidence(seen: Observation[object]) -> object:
    return seen.value if isinstance(seen, Value) else seen


def _read_by_rules(tree: Tree, path: str, rules: ReleaseRules, *, given: bool) -> Observation[ContainerdSettings]:
    try:
        loaded = load_config_files(tree, path, rules, given=given)
        return Value(_decide_settings(loaded, path, rules), Evidence(path))
    except UnreadError as error:
        return error.why


def _decide_settings(loaded: MergedFiles, path: str, rules: ReleaseRules) -> ContainerdSettings:
    at = Evidence(path if loaded.read else "", inferred=True)
    if rules.migrates == "never":
        plugin = loaded.plugins.get(CRI_ID if loaded.version < 2 else CRI_URI, {})  # noqa: PLR2004 - the version of the file
        containerd = _get_table(plugin, "containerd")
        images = containerd
    else:
        containerd = _get_table(loaded.plugins.get(CRI_RUNTIME, {}), "containerd")
        images = _get_table(loaded.plugins, CRI_IMAGES)
    return ContainerdSettings(
        _decide_cgroup_driver(containerd, at, rules),
        _decide_snapshotter(images, at),
        _decide_disabled(loaded, at, rules),
    )


def _get_table(table: Union[Table, Value[object]], key: str) -> Table:
    """Return the table of a key; empty if there is none."""
    setting = get_setting(table, key)
    if isinstance(setting, Value):
        raise refuse_config(str(setting.evidence), f"`{key}` has another type")
    return setting or {}


def get_setting(table: Union[Table, Value[object]], key: str) -> Union[Table, Value[object], None]:
    """Return the setting of a key; only some releases accept another spelling."""
    if not isinstance(table, dict):
        return None
    other = next((name for name in table if name != key and name.casefold() == key), "")
    if other:
        raise UnreadError(
            Unknown("unsupported", f"whether containerd reads `{other}` as `{key}` is not known", DUMP_HINT)
        )
    return table.get(key)


def _get_text(table: Table, key: str, default: str) -> Value[str]:
    setting = get_setting(table, key)
    if setting is None:
        return Value(default, Evidence(""))
    if isinstance(setting, dict) or not isinstance(setting.value, str):
        raise refuse_config(str(setting.evidence) if isinstance(setting, Value) else key, f"`{key}` has another type")
    return Value(setting.value, setting.evidence)


def _decide_cgroup_driver(containerd: Table, at: Evidence, rules: ReleaseRules) -> Observation[str]:
    """Return the cgroup driver of the default runtime."""
    name = _get_text(containerd, "default_runtime_name", "runc")
    runtime, held = _get_table(containerd, "default_runtime"), _get_table(containerd, "runtimes")
    if rules.migrates != "never" or not _get_text(runtime, "runtime_type", "").value:
        replaced = rules.migrates == "never" and "runtimes" in containerd
        if name.value not in held and (replaced or name.value != "runc"):
            message = f"the default runtime `{name.value}` is not configured"
            return Unknown("malformed", message, f"add it to the runtimes in {at.source}")
        runtime = _get_table(held, name.value) if name.value in held else {}
    kind = _get_text(runtime, "runtime_type", "")
    if kind.value not in RUNC_TYPES:
        return Unknown(
            "unsupported",
            f"{kind.evidence}: the cgroup driver of the runtime type {kind.value} is not known",
            DUMP_HINT,
        )
    setting = _find_systemd_cgroup(_get_table(runtime, "options"), rules, defaults=name.value == "runc")
    if not setting:
        return Value("cgroupfs", at)
    if not isinstance(setting.value, bool):
        return Unknown("malformed", f"{setting.evidence}: SystemdCgroup must be true or false", "correct the value")
    return Value("systemd" if setting.value else "cgroupfs", setting.evidence)


def _find_systemd_cgroup(options: Table, rules: ReleaseRules, *, defaults: bool) -> Optional[Value[object]]:
    """Return SystemdCgroup, with the spellings that containerd accepts.

    1.x tries four names in order. 2.x ignores case and uses the last. `defaults`: the options are those of runc, to
    which containerd 2.x adds `SystemdCgroup = false`.
    """
    spelled = [name for name in options if name.casefold() == SYSTEMD_CGROUP.casefold()]
    if rules.migrates == "never":
        tried = (SYSTEMD_CGROUP, "systemdcgroup", "SYSTEMDCGROUP", "systemdCgroup")
        name = next((name for name in tried if name in spelled), "")
    else:
        name = max([*spelled, *((SYSTEMD_CGROUP,) if defaults else ())], default="")
    setting = options.get(name)
    return Value(setting, Evidence(name)) if isinstance(setting, dict) else setting


def _decide_snapshotter(images: Table, at: Evidence) -> Observation[str]:
    setting = _get_text(images, "snapshotter", "overlayfs")
    if not setting.value:
        return Unknown(
            "unsupported", f"{setting.evidence}: the meaning of an empty snapshotter is not known", DUMP_HINT
        )
    return setting if setting.evidence.source else Value(setting.value, at)


def _decide_disabled(loaded: MergedFiles, at: Evidence, rules: ReleaseRules) -> Observation[bool]:
    """Return whether the CRI is disabled: the plugin itself, or in 2.x a dependency."""
    if rules.migrates == "never":
        names: Tuple[str, ...] = (CRI_ID if loaded.version < 2 else CRI_URI,)  # noqa: PLR2004 - the version of the file
    else:
        names = (CRI_URI, CRI_RUNTIME, CRI_IMAGES)
    evidence = next((where for name, where in loaded.disabled if name in names), None)
    return Value(value=True, evidence=evidence) if evidence else Value(value=False, evidence=at)

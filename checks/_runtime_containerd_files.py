"""Configuration files of containerd, merged by the rules of each release.

Releases differ in what an import replaces, which file versions they accept, and how they migrate older files
(cmd/containerd/server/config/config.go, plugins/cri/*/plugin.go):

- 1.x: the last `version` counts for all files; an import replaces whole plugins.
- 2.0 to 2.2: imports are merged key by key. Files without a version or of version 1 lose their CRI plugin. The merged
  configuration is migrated if it has version 2.
- 2.3 and later: each file is migrated, then merged.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from os.path import dirname, join, normpath

from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.observation import Absent, Evidence, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple, TypeAlias, Union

    from nodespec.formats import toml
    from nodespec.host.tree import Tree

    Table: TypeAlias = "Dict[str, Union[Table, Value[object]]]"

MAX_BYTES, MAX_FILES = 1 << 18, 64  # of one file, and number of imported files
CRI_URI, CRI_ID = "io.containerd.grpc.v1.cri", "cri"
CRI_RUNTIME, CRI_IMAGES = "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
IMAGE_KEYS = ("snapshotter", "disable_snapshot_annotations", "discard_unpacked_layers")
DUMP_HINT = "run `containerd config dump` with the installed containerd"
URI_PARTS = 4  # of `io.containerd.grpc.v1.cri`, whose ID is the last part


class ReleaseRules(NamedTuple):
    """Rules of releases for their files; `migrates` is `never`, `merged` or `each`."""

    name: str
    newest: int  # newest version of a file
    migrates: str
    relative: str = "file"  # base of a relative pattern: the importing `file`, `root`, or `unknown`
    newer: str = "refused"  # handling of a newer file: `refused`, `read`, or `unknown`
    certificates: bool = False  # whether `config_path` of the registry has a default
    always_cdi: bool = False  # whether CDI cannot be disabled
    mixes: bool = True  # whether a file may set the plugins of version 2 and of version 3


class UnreadError(Exception):
    """Reason why the content of the files cannot be determined."""

    def __init__(self, why: Unknown) -> None:
        super().__init__(why.say)
        self.why = why


class MergedFiles:
    """The files merged so far."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.plugins: Table = {}
        self.disabled: List[Tuple[str, Evidence]] = []
        self.required: List[Tuple[str, Evidence]] = []
        self.read = False
        self.root: Optional[Value[str]] = None


def load_config_files(tree: Tree, path: str, rules: ReleaseRules, *, given: bool) -> MergedFiles:
    """Read a file and its imports, and merge them; UnreadError if containerd would refuse them."""
    loaded = MergedFiles(1 if rules.migrates == "never" else rules.newest)
    pending, done = [path], cast("List[str]", [])
    while pending:
        path = pending.pop(0)
        if path in done:
            continue
        if len(done) == MAX_FILES:
            raise UnreadError(
                Unknown("unsupported", f"{path}: containerd has more than {MAX_FILES} configuration files")
            )
        file = _read_tables(tree, path, given=given or bool(done))
        done.append(path)
        if file is None:
            return loaded
        _add_config_file(loaded, file, path, rules)
        pending += _list_imports(tree, path, file, rules)
    _validate_files(loaded, done[0], rules)
    return loaded


def _read_tables(tree: Tree, path: str, *, given: bool) -> Optional[toml.Table]:
    """Return the tables of a file; None if an optional file does not exist."""
    text = tree.text(path, MAX_BYTES)
    if isinstance(text, Absent):
        if given:
            raise UnreadError(Unknown("malformed", f"containerd does not start: {path} not found", f"create {path}"))
        return None
    from nodespec.formats.toml import parse  # noqa: PLC0415

    tables = text.then(parse)
    if isinstance(tables, Value):
        return tables.value
    raise UnreadError(cast("Unknown", tables))


def refuse_config(path: str, what: str) -> UnreadError:
    """Return the error for content with which containerd does not start."""
    return UnreadError(Unknown("malformed", f"containerd does not start: {path}: {what}", f"correct {path}"))


def _get_typed_value(file: toml.Table, key: str, kind: type, path: str) -> Optional[Value[object]]:
    """Return the value of a key, if it has the required type."""
    setting = file.get(key)
    if setting is None:
        return None
    value = None if isinstance(setting, dict) else setting.value
    if isinstance(setting, dict) or not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise refuse_config(path, f"`{key}` has another type")
    return Value(value, Evidence(path, setting.line))


def _get_text_list(file: toml.Table, key: str, path: str) -> List[Tuple[str, Evidence]]:
    setting = _get_typed_value(file, key, list, path)
    texts = cast("List[object]", setting.value) if setting else []
    if not all(isinstance(text, str) for text in texts):
        raise refuse_config(path, f"`{key}` has another type")
    return [(cast("str", text), setting.evidence) for text in texts] if setting else []


def _add_config_file(loaded: MergedFiles, file: toml.Table, path: str, rules: ReleaseRules) -> None:
    """Merge a file into the files read before it."""
    loaded.read = True
    root = _get_typed_value(file, "root", str, path)
    if root and root.value:
        loaded.root = Value(str(root.value), root.evidence)
    setting = _get_typed_value(file, "version", int, path)
    version = cast("int", setting.value) if setting else 0
    tables = file.get("plugins", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise refuse_config(path, "`plugins` has another type")
    plugins = _locate_settings(tables, path)
    disabled, required = (_get_text_list(file, key, path) for key in ("disabled_plugins", "required_plugins"))
    if version < 0 or (version > rules.newest and rules.migrates != "never"):
        raise refuse_config(path, f"version {version} is not supported by this containerd")
    if rules.migrates != "never" and version <= 1:
        plugins = {_expand_plugin_id(name): table for name, table in plugins.items()}
        disabled, required = ([(_expand_plugin_id(name), at) for name, at in names] for names in (disabled, required))
        version = loaded.version if rules.migrates == "merged" else 2
    if rules.migrates == "each":
        if version < rules.newest:
            _migrate_plugins(plugins, path, rules)
        version = rules.newest
    if rules.migrates == "never":
        loaded.plugins.update(plugins)
    else:
        _merge_tables(loaded.plugins, plugins)
    loaded.version = version or loaded.version
    loaded.disabled += disabled
    loaded.required += required


def _locate_settings(table: toml.Table, path: str) -> Table:
    """Return the tables with the file of each setting.

    Tables within an array stay unchanged.
    """
    return {
        key: _locate_settings(value, path)
        if isinstance(value, dict)
        else Value(value.value, Evidence(path, value.line))
        for key, value in table.items()
    }


def _merge_tables(into: Table, table: Mapping[str, Union[Table, Value[object]]]) -> None:
    for key, value in table.items():
        held = into.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            _merge_tables(held, value)
        else:
            into[key] = value


def _expand_plugin_id(name: str) -> str:
    """Return the full name of a plugin that a file of version 1 names by its ID.

    Only that of the CRI is needed.
    """
    return name if "." in name else CRI_URI if name == CRI_ID else f"short.{name}"


def _list_imports(tree: Tree, path: str, file: toml.Table, rules: ReleaseRules) -> Iterator[str]:
    """Yield the files that a file imports, by path or pattern."""
    for text, at in _get_text_list(file, "imports", path):
        rooted = "*" in text and rules.relative == "root"
        pattern = normpath(join("/" if rooted else dirname(path), text)) if text else dirname(path)
        if "*" not in pattern:
            yield pattern
            continue
        folder, _, last = pattern.rpartition("/")
        if any(sign in pattern for sign in "[\\?") or "*" in folder:
            raise UnreadError(Unknown("unsupported", f"{at}: the pattern `{text[:80]}` is not supported", DUMP_HINT))
        names = tree.names(folder or "/")
        if isinstance(names, Unknown):
            raise UnreadError(names)
        paths = (
            [f"{folder}/{name}" for name in names.value if fnmatchcase(name, last)] if isinstance(names, Value) else []
        )
        if not text.startswith("/") and rules.relative == "unknown":
            message = f"{at}: the base directory of the pattern `{text[:80]}` in containerd {rules.name} is not known"
            raise UnreadError(Unknown("unsupported", message, "write the absolute path"))
        yield from paths


def _validate_files(loaded: MergedFiles, path: str, rules: ReleaseRules) -> None:
    """Raise an error for content with which containerd refuses to start."""
    if rules.migrates != "never":
        for name, at in (*loaded.disabled, *loaded.required):
            if "." not in name:
                raise refuse_config(str(at), f"`{name}` must be the full name of a plugin")
        if rules.migrates == "merged" and loaded.version < rules.newest:
            _migrate_plugins(loaded.plugins, path, rules)
        return
    if loaded.version > rules.newest and rules.newer == "refused":
        raise refuse_config(path, f"version {loaded.version} is not supported by this containerd")
    if loaded.version > rules.newest and rules.newer == "unknown":
        message = f"{path}: whether containerd {rules.name} accepts version {loaded.version} of the file is not known"
        raise UnreadError(Unknown("unsupported", message, "write a file of version 2"))
    names = [*loaded.disabled, *loaded.required, *((name, Evidence(path)) for name in loaded.plugins)]
    for name, at in names if loaded.version > 1 else ():
        if name.count(".") < URI_PARTS - 1:
            raise refuse_config(str(at), f"`{name}` must be the full name of a plugin")


def _migrate_plugins(plugins: Table, path: str, rules: ReleaseRules) -> None:
    """Move settings of the CRI plugin of version 2 to the two of version 3.

    A setting that exists already is kept.
    """
    old = plugins.pop(CRI_URI, None)
    if not isinstance(old, dict):
        return
    if not rules.mixes and (CRI_RUNTIME in plugins or CRI_IMAGES in plugins):
        raise UnreadError(
            Unknown(
                "unsupported",
                f"{path}: releases of containerd 2.0 differ in how they read {CRI_URI} beside {CRI_RUNTIME}",
                DUMP_HINT,
            )
        )
    runtime, images = (plugins.setdefault(name, {}) for name in (CRI_RUNTIME, CRI_IMAGES))
    if isinstance(runtime, dict) and isinstance(images, dict):
        from nodespec.checks._runtime_containerd_migration import migrate_services  # noqa: PLC0415 - for files of version 2

        migrate_services(old, runtime, images)
    held = old.get("containerd")
    if not isinstance(held, dict) or not isinstance(runtime, dict) or not isinstance(images, dict):
        return
    moved = runtime.setdefault("containerd", {})
    for key, value in held.items():
        if key not in IMAGE_KEYS and isinstance(moved, dict):
            moved.setdefault(key, value)
    if "runtimes" in held:  # Without runtimes, this part of containerd's migration returns early.
        images.update({key: held[key] for key in IMAGE_KEYS if key in held})

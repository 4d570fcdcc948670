"""The kubelet's configuration: its file, drop-ins, flags and defaults merged as the kubelet does.

The file of `--config` comes first, then the *.conf files of `--config-dir` by name as JSON merge patches (RFC 7386),
then flags. A map that a flag sets replaces the map of the files, except feature gates, which are merged.
"""

from __future__ import annotations

import re
from os.path import dirname, join, normpath

from nodespec.checks import _kubelet_command
from nodespec.checks._kubelet_fields import (
    EVICTION_DEFAULTS,
    FLAG_DEFAULTS,
    NULLABLE,
    ConfigField,
    format_duration,
    load_fields,
    parse_duration,
    split_key,
)
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple, TypeAlias, Union

    from nodespec.checks._kubelet_command import KubeletCommand
    from nodespec.formats.data_tree import DataNode
    from nodespec.host.tree import Tree

    Setting: TypeAlias = "Tuple[DataNode, str]"  # A node, and the file that contains it.
    Document: TypeAlias = "Dict[str, Union[Document, Setting]]"

MAX_BYTES, MAX_FILES, MAX_FOLDERS = 1 << 18, 64, 16  # of one file; files and directories of --config-dir
API = ("kubelet.config.k8s.io/v1beta1", "KubeletConfiguration")
TRUE, FALSE = (
    ("1", "t", "T", "true", "TRUE", "True"),
    ("0", "f", "F", "false", "FALSE", "False"),
)  # of strconv.ParseBool
ZEROS = {"text": ("",), "path": ("",), "integer": ("0",), "duration": ("0", "0s", "0m", "0h", "0m0s", "0h0m0s")}
INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
FRACTION = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)


class UnreadConfigError(Exception):
    """The reason why the configuration cannot be determined."""

    def __init__(self, why: Union[Absent, Unknown]) -> None:
        super().__init__(why.say)
        self.why = why


def read_field(tree: Tree, key: str, version: Callable[[], Observation[str]]) -> Observation[str]:
    """Return a field, or the entry of a map, as text.

    `key` is a path such as `authentication.anonymous.enabled`. A default is inferred, and may depend on the version.
    """
    command = _kubelet_command.read_command(tree)
    if not isinstance(command, Value):
        return command
    split = split_key(key)
    if not split:
        return Absent(command.evidence, "the kubelet has no such field")
    name, entry = split
    field = load_fields()[name]
    given = _read_flag(command.value, field, entry)
    if given and not _is_merged(given, name):
        return given
    document = tree.once(_load_document)
    if not isinstance(document, dict):
        return document
    setting = _find_setting(document, name, entry)
    if setting is not None:
        return setting
    return _read_default(tree, command.value, name, entry, version)


def _is_merged(given: Observation[str], name: str) -> bool:
    """Return whether files count beside a flag: for other feature gates, and for `--seccomp-default=false`."""
    if name == "featureGates":
        return isinstance(given, Absent)
    return name == "seccompDefault" and isinstance(given, Value) and given.value == "false"


def list_keys(tree: Tree) -> Tuple[str, ...]:
    """Return all fields, and the entries of maps that are set."""
    command, document = _kubelet_command.read_command(tree), tree.once(_load_document)
    keys = [name for name, field in load_fields().items() if field.kind != "map"]
    for name, field in load_fields().items():
        if field.kind != "map":
            continue
        entries: Dict[str, None] = {}
        held = document.get(name) if isinstance(document, dict) else None
        if isinstance(held, dict):
            entries.update(dict.fromkeys(held))
        if isinstance(command, Value):
            entries.update(dict.fromkeys(_read_flag_map(command.value, field) or ()))
        keys += [f"{name}.{entry}" for entry in entries or (EVICTION_DEFAULTS if name == "evictionHard" else ())]
    return tuple(sorted(keys))


def _read_flag(command: KubeletCommand, field: ConfigField, entry: str) -> Optional[Observation[str]]:
    """Return what the flag of a field sets; None if it is not given."""
    values = [value for flag, value in command.flags if flag == field.flag and flag]
    if not values:
        return None
    if field.kind == "map":
        entries = _read_flag_map(command, field) or {}
        return Value(entries[entry], command.at) if entry in entries else Absent(command.at, f"--{field.flag} lacks it")
    if field.kind in ("list", "taints"):
        return Value(",".join(value for value in values if value), command.at)
    return Value(values[-1], command.at).then(lambda text: _format_scalar(text, field.kind))


def _read_flag_map(command: KubeletCommand, field: ConfigField) -> Optional[Mapping[str, str]]:
    """Return the entries of a flag such as `a=1,b=2`, or `a<1` for eviction thresholds; None if it is not given."""
    values = [value for flag, value in command.flags if flag == field.flag and flag]
    if not values:
        return None
    sign = "<" if field.flag in ("eviction-hard", "eviction-soft") else "="
    pairs = (pair.partition(sign) for value in values for pair in value.split(",") if pair)
    return {name.strip(): text.strip() for name, _, text in pairs}


def _load_document(tree: Tree) -> Union[Document, Absent, Unknown]:
    """Return the merged files; why they cannot be read."""
    command = _kubelet_command.read_command(tree)
    if not isinstance(command, Value):
        return command
    document: Document = {}
    try:
        path = command.value.get("config")
        if path:
            _merge_document(document, _read_document(tree, path), join(dirname(path), ""))
        for path in _list_drop_ins(tree, command.value.get("config-dir")):
            _merge_document(document, _read_document(tree, path), "")
    except UnreadConfigError as error:
        return error.why
    return document


def _list_drop_ins(tree: Tree, folder: str) -> Iterator[str]:
    """Yield the *.conf files of a directory and its subdirectories, in the order of their paths."""
    pending: List[str] = [folder] if folder else []
    files = folders = 0
    while pending:
        path = pending.pop(0)
        entry = tree.entry(path, follow=path == folder)
        if not isinstance(entry, Value):
            say = f"{path} not found, and the kubelet does not start without it"
            raise UnreadConfigError(
                entry if isinstance(entry, Unknown) else Unknown("not found", say, f"create {path}")
            )
        if entry.value.kind == "directory":
            names = tree.names(path)
            if not isinstance(names, Value):
                raise UnreadConfigError(names)
            pending = [*(f"{path}/{name}" for name in names.value), *pending]
            folders += 1
        elif path.endswith(".conf"):
            files += 1
            yield path
        if files > MAX_FILES or folders > MAX_FOLDERS or len(pending) > MAX_FILES * MAX_FOLDERS:
            raise UnreadConfigError(Unknown("unsupported", f"{folder} has too many files"))


def _read_document(tree: Tree, path: str) -> Tuple[DataNode, str]:
    """Return the content of a file of the kubelet."""
    from nodespec.formats.data_tree import UnsupportedSyntaxError  # noqa: PLC0415
    from nodespec.formats.yaml import parse  # noqa: PLC0415

    text = tree.text(path, MAX_BYTES)
    if isinstance(text, Absent):
        raise UnreadConfigError(
            text._replace(say=f"{path} not found; `kubeadm join` writes /var/lib/kubelet/config.yaml")
        )
    if isinstance(text, Unknown):
        raise UnreadConfigError(text)
    try:
        node = parse(text.value)
    except UnsupportedSyntaxError as error:
        raise UnreadConfigError(
            Unknown("unsupported", f"{path}: {error}", "write plain YAML without anchors")
        ) from None
    except ValueError as error:
        raise UnreadConfigError(Unknown("malformed", f"{path}: {error}", "correct the file")) from None
    values = node.value if isinstance(node.value, dict) else {}
    kind = tuple(values[name].value if name in values else "" for name in ("apiVersion", "kind"))
    if kind != API:
        message = f"{path}: expected apiVersion {API[0]} and kind {API[1]}"
        raise UnreadConfigError(Unknown("malformed", message, "correct the file"))
    return node, path


def _merge_document(document: Document, file: Tuple[DataNode, str], base: str) -> None:
    """Merge a file into the files before it; null removes a value. `base` is the directory of relative paths."""
    node, path = file
    assert isinstance(node.value, dict)  # noqa: S101 - the file has a kind
    for name, value in node.value.items():
        _merge_node(document, name, value, path)
    for name in (name for name, field in load_fields().items() if field.kind == "path" and base):
        *above, last = name.split(".")
        table = document
        for part in above:
            below = table.get(part)
            table = below if isinstance(below, dict) else {}
        held = table.get(last)
        if isinstance(held, tuple) and isinstance(held[0].value, str) and held[0].value and held[0].value[0] != "/":
            table[last] = (held[0]._replace(value=normpath(join(base, held[0].value))), held[1])


def _merge_node(document: Document, name: str, node: DataNode, path: str) -> None:
    if node.value == "null":
        document.pop(name, None)
    elif isinstance(node.value, dict):
        held = document.get(name)
        table = held if isinstance(held, dict) else {}
        document[name] = table
        for key, value in node.value.items():
            _merge_node(table, key, value, path)
    else:
        document[name] = (node, path)


def _find_setting(document: Document, name: str, entry: str) -> Optional[Observation[str]]:
    """Return what the files set; None if they set nothing, or zero where zero stands for the default."""
    held: Union[Document, Setting, None] = document
    for part in (*name.split("."), *([entry] if entry else ())):
        held = held.get(part) if isinstance(held, dict) else None
    if held is None:
        return None
    field = load_fields()[name]
    if isinstance(held, dict):
        return Unknown("malformed", f"{name} is a mapping; expected {field.kind}", "correct the file")
    node, path = held
    at = Evidence(path, node.line)
    if (
        name not in NULLABLE
        and not entry
        and node.value in ZEROS.get(field.kind, ())
        and field.default not in ("0", "0s")
    ):
        return None
    if node.problem:
        return Unknown("unsupported", f"{at}: {node.problem}")
    if isinstance(node.value, str) and field.kind not in ("list", "taints"):
        kind = "text" if field.kind == "map" else field.kind
        others = node.others if kind in ("text", "path") else ()
        return Value(node.value, at, others).then(lambda text: _format_scalar(text, kind))
    return Value(node, at).then(lambda node: _format_list(node, field.kind))


def _format_list(node: DataNode, kind: str) -> str:
    """Return a list joined by commas; a taint is `KEY=VALUE:EFFECT`."""
    if not isinstance(node.value, list) or kind not in ("list", "taints"):
        raise ValueError(f"expected {kind}")
    words = []
    for item in node.value:
        if isinstance(item.value, dict) and kind == "taints":
            part = {name: child.value for name, child in item.value.items() if isinstance(child.value, str)}
            words.append(f"{part['key']}={part.get('value', '')}:{part['effect']}")
        elif isinstance(item.value, str):
            words.append(item.value)
        else:
            raise ValueError(f"expected {kind}")
    return ",".join(words)


def _format_scalar(text: str, kind: str) -> str:
    """Return a value in its one spelling; ValueError if it is not of the type."""
    if kind == "boolean":
        if text not in TRUE and text not in FALSE:
            raise ValueError(f"`{text[:40]}` is not true or false")
        return "true" if text in TRUE else "false"
    if kind in ("integer", "fraction") and not (INTEGER if kind == "integer" else FRACTION).fullmatch(text):
        raise ValueError(f"`{text[:40]}` is not a number")
    if kind == "duration":
        return format_duration(parse_duration(text))
    return str(int(text)) if kind == "integer" else text


def _read_default(
    tree: Tree, command: KubeletCommand, name: str, entry: str, version: Callable[[], Observation[str]]
) -> Observation[str]:
    """Return the kubelet's own default, which is inferred; absent if the field has none."""
    field, config = load_fields()[name], command.get("config")
    at = Evidence(config, inferred=True) if config else command.at._replace(inferred=True)
    if entry:
        document = tree.once(_load_document)
        unset = name == "evictionHard" and isinstance(document, dict) and name not in document
        default = EVICTION_DEFAULTS.get(entry, "") if unset else ""
    else:
        default = field.default
        if not config and name in FLAG_DEFAULTS:
            default = FLAG_DEFAULTS[name]
        elif field.since:
            return _select_default(tree, field, name, at, version())
    if default == "?":
        return _report_selected(tree, name, at)
    return Value(default, at) if default else Absent(at, f"{name} is not set")


def _select_default(
    tree: Tree, field: ConfigField, name: str, at: Evidence, version: Observation[str]
) -> Observation[str]:
    """Return the default of the installed release, or the defaults of both if the version is not known."""
    match = re.match(r"1\.(\d{1,3})\.", version.value) if isinstance(version, Value) else None
    values = [field.default, field.before]
    if match:
        values.pop(1 if int(match[1]) >= field.since else 0)
    if "?" in values:
        return _report_selected(tree, name, at)
    return Value(values[0], at, tuple(values[1:]))


def _report_selected(tree: Tree, name: str, at: Evidence) -> Unknown:
    message = f"{at} does not set {name}, and the kubelet selects a value when it starts"
    return Unknown("not found", message, f"set {name}") if tree.running else Unknown(DEFERRED, message)

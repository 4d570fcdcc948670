"""Convert a SysSpec of the Kubernetes node e2e suite by its documented meaning.

The validators of the suite deviate from it: they do not anchor version patterns, miss options with numeric names, and
ignore optional cgroup options and unknown keys. The conversion does not copy these deviations. A part for which
nodespec has no fact becomes a note; an unknown key is a spec error.
"""

from __future__ import annotations

import re

from nodespec.errors import DocumentError, FilePosition
from nodespec.judge.text_match import compile_pattern
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.document import (
    Map,
    Node,
    Seq,
    Word,
    make_mapping,
    make_sequence,
    make_word,
    require_known_keys,
    require_list,
    require_text,
)

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Mapping, Sequence, Tuple, TypeAlias

KERNEL_KEYS = {  # key: (level, expectation, cgroup version)
    "required": ("require", "enabled", ""),
    "requiredCgroupsV1": ("require", "enabled", "1"),
    "requiredCgroupsV2": ("require", "enabled", "2"),
    "optional": ("recommend", "enabled", ""),
    "optionalCgroupsV1": ("recommend", "enabled", "1"),
    "optionalCgroupsV2": ("recommend", "enabled", "2"),
    "forbidden": ("require", "disabled", ""),
}
CGROUP_KEYS = {
    "cgroups": ("require", "1"),
    "cgroupsOptional": ("recommend", "1"),
    "cgroupsV2": ("require", "2"),
    "cgroupsV2Optional": ("recommend", "2"),
}
DOCKER_KEYS = ("version", "graphDriver", "runtimeSpec")
SYSSPEC_KEYS = ("os", "kernelSpec", *CGROUP_KEYS, *DOCKER_KEYS, "packageSpecs", "packageSpecOverrides")
CGROUP_VERSIONS = {"1": ["1", "hybrid"], "2": ["2"]}  # cgroup version -> values of the fact cgroups.version
VALIDATORS_URL = "https://github.com/kubernetes/system-validators"

Tree: TypeAlias = "Dict[str, object]"  # mappings, lists and texts, converted later to nodes


def is_sysspec(body: Map) -> bool:
    """Return whether a document is a SysSpec."""
    return "nodespec" not in body and any(key in body for key in SYSSPEC_KEYS)


def convert_sysspec(body: Map) -> Tuple[Map, Tuple[str, ...]]:
    """Return the nodespec document, and notes on parts that cannot be converted."""
    require_known_keys(body, SYSSPEC_KEYS)
    if "os" in body and body["os"] != "Linux":
        raise DocumentError(body["os"], f"`os: {body['os']}` is not supported; nodespec checks only Linux")
    document: Tree = {"nodespec": "1", "title": "converted from a SysSpec"}
    rules: Dict[str, Tree] = {}
    for level, when, facts in (*_convert_kernel(body), *_convert_controllers(body)):
        _merge_facts(_get_level(document, rules, when, level), facts)
    if any(name.startswith("cgroup-") for name in rules):  # otherwise a host without control groups would pass
        present: Tree = {
            "is": "present",
            "why": "the requirements of cgroup v1 and v2 apply only if one of them is present",
            "see": VALIDATORS_URL,
        }
        _merge_facts(_get_level(document, rules, ALWAYS, "require"), {"cgroups": {"version": present}})
    packages, notes = _convert_packages(body)
    for distros, included, rows in packages:
        _merge_facts(
            _get_level(document, rules, _make_distro_condition(distros, included=included), "require"),
            {"packages": rows},
        )
    if rules:
        document["rules"] = [{"name": name, **rule} for name, rule in rules.items()]
    docker = [
        f"{body[key].at}: `{key}`: Docker is no longer validated as a runtime" for key in DOCKER_KEYS if key in body
    ]
    position = body.at
    return _make_map(document, position), (*docker, *notes)


Condition: TypeAlias = "Tuple[str, Tree]"  # the name of the rule and its `when`; both empty without a condition


def _get_level(made: Tree, rules: Dict[str, Tree], when: Condition, level: str) -> Tree:
    name, condition = when
    home = rules.setdefault(name, {"when": condition}) if name else made
    place = home.setdefault(level, {})
    assert isinstance(place, dict)  # noqa: S101 - made here
    return place


def _merge_facts(into: Tree, more: Mapping[str, object], name: object = "") -> None:
    """Merge facts. Raises `DocumentError` for different expectations of one name.

    `name` is the last key with a position.
    """
    for key, value in more.items():
        name = key if isinstance(key, Word) else name
        inner = into.setdefault(key, value)
        if inner is not value and isinstance(inner, dict) and isinstance(value, dict):
            _merge_facts(inner, value, name)
        elif inner != value and key in ("is", "aliases"):
            raise DocumentError(name, f"`{name}` has two different expectations")


ALWAYS: Condition = ("", {})


def _make_cgroup_condition(version: str) -> Condition:
    return (f"cgroup-v{version}", {"cgroups": {"version": CGROUP_VERSIONS[version]}}) if version else ALWAYS


def _convert_kernel(body: Map) -> Iterator[Tuple[str, Condition, Tree]]:
    kernel = body.get("kernelSpec")
    if kernel is None:
        return
    if not isinstance(kernel, Map):
        raise DocumentError(kernel, "`kernelSpec` must be a mapping")
    require_known_keys(kernel, ("versions", "versionsNote", *KERNEL_KEYS))
    if kernel.get("versions"):
        patterns = [_convert_pattern(pattern) for pattern in require_list(kernel["versions"])]
        why = (
            require_text(kernel["versionsNote"], "versionsNote")
            if "versionsNote" in kernel
            else "these versions were validated"
        )
        matched = {"matches": "|".join(f"(?:{pattern})" for pattern in patterns), "why": why, "see": VALIDATORS_URL}
        yield "recommend", ALWAYS, {"kernel": {"release": matched}}
    for key, (level, expected, version) in KERNEL_KEYS.items():
        for entry in _iter_entries(kernel, key, ("name", "aliases", "description")):
            option: Tree = {
                "is": expected,
                "why": _read_description(entry, "the Kubernetes node e2e suite requires it"),
                "see": VALIDATORS_URL,
            }
            if "aliases" in entry:
                option["aliases"] = require_list(entry["aliases"])
            yield level, _make_cgroup_condition(version), {"kernel": {"config": {_read_name(entry): option}}}


def _convert_pattern(node: Node) -> str:
    """Return a regular expression without `^`, because nodespec matches in full."""
    pattern = require_text(node, "versions")
    try:
        compile_pattern(pattern)
    except re.error as error:
        raise DocumentError(node, f"`{pattern}` is not a valid regular expression: {error}") from None
    return pattern.removeprefix("^")


def _convert_controllers(body: Map) -> Iterator[Tuple[str, Condition, Tree]]:
    for key, (level, version) in CGROUP_KEYS.items():
        if body.get(key):
            expectation: Tree = {
                "all": require_list(body[key]),
                "why": "the kubelet uses them to account and limit resources",
                "see": VALIDATORS_URL,
            }
            yield level, _make_cgroup_condition(version), {"cgroups": {"controllers": expectation}}


# packages

Rows: TypeAlias = "Tuple[FrozenSet[str], bool, Tree]"  # distributions; true if the rows apply to them, else to others


def _convert_packages(body: Map) -> Tuple[List[Rows], List[str]]:
    notes: List[str] = []
    overrides = list(_iter_entries(body, "packageSpecOverrides", ("osDistro", "subtractions", "additions")))
    without: Dict[str, FrozenSet[str]] = {}
    for entry in overrides:
        distro = require_text(entry.get("osDistro", entry), "osDistro")
        for package in _iter_entries(entry, "subtractions", ("name", "versionRange", "description")):
            without[_read_name(package)] = without.get(_read_name(package), frozenset()) | {distro}
    rows = [
        (without.get(_read_name(entry), frozenset()), False, row)
        for entry in _iter_entries(body, "packageSpecs", ("name", "versionRange", "description"))
        for row in _convert_package(entry, notes)
    ]
    for entry in overrides:
        for package in _iter_entries(entry, "additions", ("name", "versionRange", "description")):
            rows += [(frozenset((str(entry["osDistro"]),)), True, row) for row in _convert_package(package, notes)]
    return rows, notes


def _convert_package(entry: Map, notes: List[str]) -> Iterator[Tree]:
    name = _read_name(entry)
    if "${" in name:
        notes.append(f"{entry.at}: package `{name}`: a name that depends on the running kernel")
        return
    words = {"why": _read_description(entry, "the Kubernetes node e2e suite requires it"), "see": VALIDATORS_URL}
    if entry.get("versionRange", "") == "":
        yield {name: {"is": "present", **words}}
        return
    yield {name: {"version": {"is": _convert_range(entry["versionRange"]), **words}}}


def _convert_range(node: Node) -> Word:
    """Convert a range of github.com/blang/semver to a range of nodespec.

    `==1.2.x` becomes `=1.2`, and `!1.2` becomes `!=1.2`.
    """
    version_range = require_text(node, "versionRange")
    version_range = re.sub(r"\.[xX*]\b|\.\*", "", version_range).replace("==", "=")
    return make_word(re.sub(r"!(?!=)", "!=", version_range), node.at)


def _make_distro_condition(distros: FrozenSet[str], *, included: bool) -> Condition:
    if not distros:
        return ALWAYS
    names = sorted(distros)
    only: Tree = {"os": {"id": names}}
    label = re.sub("[^a-z0-9-]", "-", "-".join(names).lower())
    return (f"packages-on-{label}", only) if included else (f"packages-but-on-{label}", {"not": only})


# entries


def _iter_entries(body: Map, key: str, keys: Sequence[str]) -> Iterator[Map]:
    node = body.get(key)
    if node is None or (isinstance(node, Word) and node.null):
        return
    for entry in node if isinstance(node, Seq) else [node]:
        if not isinstance(entry, Map):
            raise DocumentError(entry, f"`{key}` must be a list of mappings")
        require_known_keys(entry, tuple(keys))
        yield entry


def _read_name(entry: Map) -> Word:
    if "name" not in entry:
        raise DocumentError(entry, "`name` is required")
    return make_word(require_text(entry["name"], "name"), entry["name"].at)


def _read_description(entry: Map, default: str) -> str:
    description = entry.get("description")
    return (
        require_text(description, "description") if isinstance(description, Word) and description.strip() else default
    )


def _make_map(tree: object, position: FilePosition) -> Map:
    node = _make_node(tree, position)
    assert isinstance(node, Map)  # noqa: S101 - made here
    return node


def _make_node(tree: object, position: FilePosition) -> Node:
    """Convert a tree to nodes.

    Nodes keep their position. Other parts get the position of the first positioned key in their mapping, else `at`.
    """
    if isinstance(tree, (Word, Seq, Map)):
        return tree
    if isinstance(tree, dict):
        first = next((key.at for key in tree if isinstance(key, Word)), position)
        return make_mapping(
            first,
            ((_make_key(key, first), _make_node(value, getattr(key, "at", first))) for key, value in tree.items()),
        )
    if isinstance(tree, list):
        return make_sequence(position, [_make_node(child, position) for child in tree])
    return make_word(str(tree), position)


def _make_key(key: object, position: FilePosition) -> Word:
    return key if isinstance(key, Word) else make_word(str(key), position)

"""Enabled units, as `systemctl is-enabled --root` reports, and first-boot presets."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from os.path import basename, join, normpath

from nodespec.checks import _os_release, _systemd_units
from nodespec.checks._systemd_files import CONFIG, SEARCH_PATH, Fragment, Link, Units
from nodespec.checks._systemd_names import get_instance, get_template, is_unit_name, set_instance
from nodespec.checks._systemd_syntax import UnitLine, parse_unit_file, split_list
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, List, Mapping, Set, Tuple

    from nodespec.host.tree import Tree

# Builds of systemd by distribution: first-boot-full-preset exists since version 252 and is off by default.
FULL_PRESETS = {"fedora": 37, "azurelinux": 3}
ENABLE_ONLY = {  # up to these versions
    **dict.fromkeys(("debian", "ubuntu", "raspbian"), 99),
    **dict.fromkeys(("rhel", "centos", "rocky", "almalinux", "ol"), 9),
    **dict.fromkeys(("sles", "opensuse-leap"), 15),
    "amzn": 2,
}
FIRST_WITH_OPTION = 252
LIBRARIES = (
    "/usr/lib/systemd",
    "/usr/lib64/systemd",
    "/lib/systemd",
    "/usr/lib/x86_64-linux-gnu/systemd",
    "/usr/lib/aarch64-linux-gnu/systemd",
)


class Install(NamedTuple):
    """The section [Install] of a unit."""

    name: str
    path: str
    aliases: Tuple[str, ...]
    links: Tuple[Tuple[str, str], ...]  # a unit, and `.wants`, `.requires` or `.upholds`
    also: Tuple[str, ...]
    default_instance: str


LINK_SUFFIXES = {"WantedBy": ".wants", "RequiredBy": ".requires", "UpheldBy": ".upholds"}


def read_install(units: Units, name: str) -> Install:
    """Return [Install] of a unit, from its file and its drop-ins.

    The drop-ins are those of its own name and of its template.
    """
    path = units.resolve_path(name) or units.resolve_path(get_template(name))
    texts = [path, *_list_unit_drop_ins(units, name)]
    aliases: List[str] = []
    links: List[Tuple[str, str]] = []
    also: List[str] = []
    instance = ""
    for reading in _read_install_lines(units, texts):
        values = [expand_specifiers(word, name) for word in split_list(reading.value)]
        if reading.name in LINK_SUFFIXES:
            suffix = LINK_SUFFIXES[reading.name]
            links = [*links, *((value, suffix) for value in values)] if values else [x for x in links if x[1] != suffix]
        elif reading.name == "Alias":
            aliases = [*aliases, *values] if values else []
        elif reading.name == "Also":
            also = [*also, *values]
        elif reading.name == "DefaultInstance":
            instance = expand_specifiers(reading.value, name)
    return Install(name, path, tuple(aliases), tuple(links), tuple(also), instance)


def expand_specifiers(word: str, name: str) -> str:
    """Expand the specifiers in a name of [Install]."""
    prefix = name.rpartition(".")[0]
    known = {"i": get_instance(name), "n": name, "N": prefix, "p": prefix.partition("@")[0], "%": "%"}
    return re.sub("%(.)", lambda match: known.get(match[1], match[0]), word)


def _read_install_lines(units: Units, paths: List[str]) -> Iterator[UnitLine]:
    for path in paths:
        text = units.text(path)
        if isinstance(text, Unknown):
            units.unread = units.unread or text
        try:
            for reading in parse_unit_file(text.value, path) if isinstance(text, Value) else ():
                if reading.section == "Install":
                    yield reading
        except ValueError:
            units.malformed = True


def _list_unit_drop_ins(units: Units, name: str) -> List[str]:
    drop_ins: Dict[str, str] = {}
    for unit in (name, get_template(name)):
        for folder in SEARCH_PATH if unit else ():
            for file in units.names(f"{folder}/{unit}.d") if f"{unit}.d" in units.names(folder) else ():
                if file.endswith(".conf"):
                    drop_ins.setdefault(file, f"{folder}/{unit}.d/{file}")
    return [path for _, path in sorted(drop_ins.items())]


def is_unit_enabled(units: Units, name: str) -> Observation[bool]:
    """Return whether links of /etc enable a unit; absent if it does not exist."""
    broken = units.find_broken_link(name)
    if broken:
        return Unknown(
            "unsupported", f"{broken} is a broken link; systemd and systemctl read different files for {name}"
        )
    fragment = units.find_fragment(name)
    if fragment.state == "missing":
        return units.unread or Absent(Evidence(":".join(_systemd_units.UNITS)), f"unit {name} not found")
    if fragment.state == "masked":
        return Value(value=False, evidence=units.evidence(fragment.path))
    file_name = _resolve_own_name(name, fragment)
    install = read_install(units, file_name)
    instance = set_instance(file_name, install.default_instance) if install.default_instance else ""
    for path in _find_enabling_links(units, file_name, {file_name, instance}, install.aliases):
        return Value(value=True, evidence=units.evidence(path))
    return units.unread or Value(value=False, evidence=units.evidence(fragment.path))


def _resolve_own_name(name: str, fragment: Fragment) -> str:
    """Return the name of the unit that a name is an alias of."""
    file_name = basename(fragment.path)
    return set_instance(file_name, get_instance(name)) if get_instance(name) else file_name


def _find_enabling_links(units: Units, own: str, names: Set[str], aliases: Tuple[str, ...]) -> Iterator[str]:
    """Yield the links of /etc that enable a unit.

    They are in directories of other units, or are an alias that [Install] declares.
    """
    for folder in units.names(CONFIG):
        if folder.endswith((".wants", ".requires", ".upholds")):
            for name in units.names(f"{CONFIG}/{folder}"):
                path = f"{CONFIG}/{folder}/{name}"
                if name in names and units.link(path) and not units.is_mask(path):
                    yield path
    for name in units.names(CONFIG):
        if name in aliases and basename(units.link(f"{CONFIG}/{name}")) == own:
            yield f"{CONFIG}/{name}"


def detect_preset_modes(tree: Tree) -> Tuple[bool, ...]:
    """Return how a first boot applies presets: only enable (False), or fully (True).

    Both are returned if systemd's build options decide.
    """
    name, version = (_os_release.read_field(tree, key) for key in ("ID", "VERSION_ID"))
    distribution = name.value if isinstance(name, Value) else ""
    release = int(match[0]) if isinstance(version, Value) and (match := re.match(r"\d{1,9}", version.value)) else 0
    if distribution in FULL_PRESETS:
        return (release >= FULL_PRESETS[distribution],)
    if release <= ENABLE_ONLY.get(distribution, -1) or 0 < detect_systemd_version(tree) < FIRST_WITH_OPTION:
        return (False,)
    return (False, True)


def detect_systemd_version(tree: Tree) -> int:
    """Return systemd's major version by its library; 0 if that is not found.

    Example: `libsystemd-shared-252.so`.
    """
    for folder in LIBRARIES:
        names = tree.names(folder)
        for name in names.value if isinstance(names, Value) else ():
            match = re.match(r"libsystemd-(?:shared|core)-(\d{3})\b", name)
            if match:
                return int(match[1])
    return 0


class PresetRule(NamedTuple):
    """A line of a preset file."""

    enable: bool
    pattern: str
    instances: Tuple[str, ...]
    at: Evidence


def read_preset_rules(tree: Tree) -> Observation[Tuple[PresetRule, ...]]:
    """Return the rules of all preset files; the first that matches a unit counts."""
    files = _systemd_units.merge_folders(tree, _systemd_units.PRESETS, ".preset")
    if not isinstance(files, Value):
        return files
    rules: List[PresetRule] = []
    for path in files.value:
        text = _systemd_units.read_optional_text(tree, path)
        if not isinstance(text, Value):
            return text
        for number, line in _systemd_units.list_content_lines(text.value):
            verb, pattern, *instances = (*line.split(), "", "")
            if verb in ("enable", "disable") and pattern:
                rules.append(
                    PresetRule(verb == "enable", pattern, tuple(filter(None, instances)), Evidence(path, number))
                )
    return Value(tuple(rules), files.evidence)


def list_possible_rules(tree: Tree) -> Tuple[Tuple[PresetRule, ...], ...]:
    """Return the rules of all preset files; if one cannot be read, both extremes: to enable all units, and none."""
    rules = read_preset_rules(tree)
    return (rules.value,) if isinstance(rules, Value) else ((), (PresetRule(False, "*", (), Evidence("")),))  # noqa: FBT003


def find_preset(rules: Tuple[PresetRule, ...], name: str) -> Tuple[bool, Tuple[str, ...], Evidence]:
    """Return whether presets enable a unit, and the instances of a template.

    Without a matching rule a unit is enabled.
    """
    for rule in rules:
        if rule.instances and rule.enable and "@." in name and fnmatchcase(name, rule.pattern):
            return True, tuple(set_instance(name, instance) for instance in rule.instances), rule.at
        if fnmatchcase(name, rule.pattern):
            return rule.enable, (), rule.at
    return True, (), Evidence(":".join(_systemd_units.PRESETS))


def apply_presets(
    rules: Tuple[PresetRule, ...], units: Units, *, full: bool
) -> Tuple[Mapping[str, object], FrozenSet[str]]:
    """Return the links that a first boot adds below /etc, and those it removes."""
    enabled: Dict[str, Evidence] = {}
    disabled: Set[str] = set()
    for name in units.ids:
        path = units.resolve_path(name)
        if not path or basename(path) != name or units.is_mask(path) or not path.startswith("/"):
            continue
        enable, instances, at = find_preset(rules, name)
        if enable:
            enabled.update(dict.fromkeys(instances or (name,), at._replace(inferred=True)))
        else:
            disabled.add(name)
    removed = frozenset(_find_removed_links(units, disabled)) if full else frozenset()
    return _enable_units(units, enabled, removed), removed


def _enable_units(units: Units, enabled: Dict[str, Evidence], removed: FrozenSet[str]) -> Mapping[str, object]:
    """Return the links that enabling units creates, with the units of Also=."""
    links: Dict[str, object] = {}
    done: Set[str] = set()
    names = list(enabled.items())
    while names:
        name, at = names.pop(0)
        if name in done or units.find_fragment(name).state != "loaded":
            continue
        done.add(name)
        install = read_install(units, name)
        names += [(other_unit, at) for other_unit in install.also if is_unit_name(other_unit)]
        for alias in install.aliases:
            path = f"{CONFIG}/{alias}"
            if is_unit_name(alias) and (alias not in units.names(CONFIG) or path in removed) and path not in links:
                links[path] = Link(install.path, at)
        instance = set_instance(name, install.default_instance) if install.default_instance else name
        for other, suffix in install.links:
            if is_unit_name(other) and not ("@." in instance and "@" not in other):
                links[f"{CONFIG}/{other}{suffix}/{instance}"] = Link(install.path, at)
    return links


def _find_removed_links(units: Units, names: Set[str]) -> Iterator[str]:
    """Yield the links of /etc that lead to units, or have the same name."""
    for name in units.names(CONFIG):
        path = f"{CONFIG}/{name}"
        if name.endswith((".wants", ".requires", ".upholds")):
            for link in units.names(path):
                if _leads_to_unit(units, f"{path}/{link}", names):
                    yield f"{path}/{link}"
        elif is_unit_name(name) and _leads_to_unit(units, path, names):
            yield path


def _leads_to_unit(units: Units, path: str, names: Set[str]) -> bool:
    """Return whether a link leads to one of these units or has its name.

    The name of an instance counts too.
    """
    target = units.link(path)
    if not target or normpath(join(path, "..", target)) == "/dev/null":
        return False
    link_name, target_name = basename(path), basename(target)
    return bool({link_name, target_name, get_template(link_name), basename(units.resolve_path(target_name))} & names)

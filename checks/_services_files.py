"""Services by their files: load state, masks, drop-ins, order, limits."""

from __future__ import annotations

import re
from collections import deque

from nodespec.checks import _init_system, _openrc, _services_at_boot, _systemd_at_boot, _systemd_units
from nodespec.checks._services_limit import LIMITLESS
from nodespec.checks._systemd_files import LIVE_SEARCH_PATH, Fragment, Units
from nodespec.checks._systemd_install import detect_systemd_version
from nodespec.checks._systemd_load import load_unit
from nodespec.checks._systemd_order import build_wait_graph
from nodespec.facts.declaration import Columns, Row, Rows
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Callable, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple, TypeVar, Union

    T = TypeVar("T")

    from nodespec.checks._systemd_graph import Transaction
    from nodespec.checks._systemd_syntax import UnitLine
    from nodespec.facts.value_types import Datum
    from nodespec.host.tree import Tree

KUBELET = "kubelet.service"
TYPES_WITH_PROCESSES = ("service", "socket", "mount", "swap")
LIMITED_SECTIONS = ("Service", "Socket", "Mount", "Swap", "Slice", "Scope")
# DefaultLimitNOFILE= since systemd 240; before it is the limit of the kernel.
FIRST_WITH_HIGH_LIMIT, HIGH_LIMITS, KERNEL_LIMITS = 240, (1024, 512 << 10), (1024, 4096)
MANAGER_FILES = ("/etc/systemd/system.conf", "/usr/local/lib/systemd/system.conf", "/usr/lib/systemd/system.conf")
RUNNING_ONLY = Unknown(DEFERRED, "only a running machine can tell")
PERCENT = Unknown(DEFERRED, "TasksMax= is a part of the threads that the running kernel allows")
BAD_STATES = {"bad": "bad-setting"}


class UnitFiles:
    """One unit in the unit files of a tree, with what its columns need."""

    def __init__(self, tree: Tree, units: Units, name: str) -> None:
        self.tree, self.units, self.name = tree, units, name
        self.fragment: Fragment = units.find_fragment(name)
        self.names = units.list_unit_names(name, self.fragment)
        self.at = units.evidence(self.fragment.path) if self.fragment.path else Evidence(_systemd_units.UNIT_PATH)
        self._lines: Optional[List[UnitLine]] = None

    def observe(self, compute: Callable[[], Observation[T]]) -> Observation[T]:
        """Return what files of this unit decide; unknown if one of them, or a directory of units, is unreadable.

        An unreadable file of another unit does not count.
        """
        before = self.units.forget_unread()
        seen = compute()
        unread = self.units.forget_unread()
        self.units.unread = before or unread
        return self.units.unlisted or unread or seen

    @property
    def lines(self) -> List[UnitLine]:
        """The lines of the file and the drop-ins of the unit; none of a masked unit."""
        if self._lines is None:
            loaded = self.fragment.state == "loaded"
            self._lines = (self.units.read_lines(self.fragment, self.names) if loaded else None) or []
        return self._lines

    def judge_load(self) -> Observation[str]:
        """Return the load state: loaded, masked or bad-setting."""
        return self.observe(self._judge_load)

    def _judge_load(self) -> Observation[str]:
        state = load_unit(self.units, self.name).state
        return Value(BAD_STATES.get(state, state), self.at)

    def is_masked(self) -> Observation[bool]:
        """Return whether the unit is masked."""
        return self.observe(lambda: Value(self.fragment.state == "masked", self.at))

    def list_drop_ins(self) -> Observation[FrozenSet[str]]:
        """Return the paths of the drop-ins in force."""
        return self.observe(self._list_drop_ins)

    def _list_drop_ins(self) -> Observation[FrozenSet[str]]:
        paths = self.units.list_folder_files(self.names, ".d")
        return Value(frozenset(path for path in paths if path.endswith(".conf")), self.at)

    def read_setting(self, name: str, parse: Callable[[str], T]) -> Optional[Tuple[T, Evidence]]:
        """Return the last valid value of a setting of limits with its evidence, or None for the default."""
        found: Optional[Tuple[T, Evidence]] = None
        for line in self.lines:
            if line.section in LIMITED_SECTIONS and line.name == name:
                try:
                    found = (parse(line.value), line.at) if line.value else None
                except ValueError:
                    continue  # systemd ignores the line.
        return found


def read_services(tree: Tree) -> Rows[Row]:
    """Return the services of a tree at rest."""
    return make_rows(tree, load_units(tree), make_columns)


def make_rows(
    tree: Tree,
    units: Optional[Units],
    make: Callable[[Tree, str, Optional[UnitFiles]], Columns],
) -> Rows[Row]:
    """Return the table of services; `make` returns the columns of one.

    `units` is None if systemd is not the init system.
    """
    system = _init_system.detect_init_system(tree)
    if isinstance(system, Absent):
        return Rows.lacking(Unknown("not found", f"no init system: {_init_system.INIT} not found"))
    if isinstance(system, Unknown):
        return Rows.lacking(system)
    if system.value not in ("systemd", "openrc"):
        return Rows.lacking(Unknown("unsupported", f"reading the services of {system.value} is not supported"))

    def find_systemd_unit(name: str) -> Optional[Observation[Row]]:
        assert units is not None  # noqa: S101 - systemd is the init system
        files = UnitFiles(tree, units, name)
        if files.fragment.state == "missing":
            return units.unlisted or Absent(Evidence(_systemd_units.UNIT_PATH), _hint_missing(units, name))
        return Value(make(tree, name, files), files.at)

    def find_openrc_service(name: str) -> Optional[Observation[Row]]:
        script = _openrc.find_script(tree, name.rpartition(".")[0])
        return Value(make(tree, name, None), script.evidence) if isinstance(script, Value) else script

    find = find_systemd_unit if system.value == "systemd" else find_openrc_service
    names = (lambda: units.ids) if units else tuple
    return Rows(find, dict, Absent(Evidence(_systemd_units.UNIT_PATH)), names)


def _hint_missing(units: Units, name: str) -> str:
    from nodespec.facts.declaration import suggest_similar_name  # noqa: PLC0415

    return suggest_similar_name(name, units.ids) or f"unit {name} not found"


def load_units(tree: Tree) -> Optional[Units]:
    """Return the unit files that the next boot has; None if systemd is not the init system."""
    system = _init_system.detect_init_system(tree)
    if not (isinstance(system, Value) and system.value == "systemd"):
        return None
    return _systemd_at_boot.load_unit_files(tree)[0]


def load_live_units(tree: Tree) -> Optional[Units]:
    """Return the unit files of a running systemd, with those below /run."""
    return tree.once(_load_live_units)


def _load_live_units(tree: Tree) -> Optional[Units]:
    system = _init_system.detect_init_system(tree)
    is_systemd = isinstance(system, Value) and system.value == "systemd"
    return Units(tree, {}, search_path=LIVE_SEARCH_PATH) if is_systemd else None


def make_columns(tree: Tree, name: str, files: Optional[UnitFiles]) -> Columns:
    """Return the columns of a service at rest."""
    if files is None:
        return make_openrc_columns(tree, name)
    return Columns(
        **make_file_columns(tree, name, files),
        **dict.fromkeys(("active", "state", "substate", "failed"), lambda: RUNNING_ONLY),
        nofile=lambda: read_nofile(files)[1],
        nofile_soft=lambda: read_nofile(files)[0],
        tasks=lambda: read_tasks(files),
    )


def make_file_columns(tree: Tree, name: str, files: UnitFiles) -> Mapping[str, Callable[[], Observation[Datum]]]:
    """Return the columns that files decide, in both contexts."""
    return {
        "load": files.judge_load,
        "masked": files.is_masked,
        "enabled": lambda: _services_at_boot.is_enabled(tree, name),
        "starts_at_boot": lambda: _services_at_boot.is_started_at_boot(tree, name),
        "drop_ins": files.list_drop_ins,
        "kubelet_order": lambda: find_kubelet_order(tree, name),
    }


def make_openrc_columns(tree: Tree, name: str, state: Callable[[], Observation[str]] = lambda: RUNNING_ONLY) -> Columns:
    """Return the columns of a service of OpenRC."""
    service = name.rpartition(".")[0]
    script = _openrc.find_script(tree, service)
    at = script.evidence if isinstance(script, Value) else Evidence(_openrc.RUNLEVELS)
    unknown = Unknown("unsupported", "reading the limits and the order of services of OpenRC is not supported")
    return Columns(
        load=lambda: Value("loaded", at),
        masked=lambda: Value(value=False, evidence=at),
        enabled=lambda: _openrc.is_service_enabled(tree, service),
        starts_at_boot=lambda: _openrc.is_service_started(tree, service),
        active=lambda: state().then(lambda word: word == "active"),
        state=state,
        substate=lambda: Absent(at, "OpenRC has no substates"),
        failed=lambda: state().then(lambda word: word == "failed"),
        drop_ins=lambda: Absent(at, "OpenRC has no drop-ins"),
        **dict.fromkeys(("kubelet_order", "nofile", "nofile_soft", "tasks"), lambda: unknown),
    )


def find_kubelet_order(tree: Tree, name: str) -> Observation[str]:
    """Return whether a boot starts a unit before or after the kubelet; absent without a kubelet.service."""
    transactions = _systemd_at_boot.build_transactions(tree)
    return _combine_equal([_find_order(transaction, name) for transaction in transactions])


def _combine_equal(observations: Sequence[Observation[str]]) -> Observation[str]:
    """Return what is observed if it is the same in all variants, else why it is unknown."""
    first = observations[0]
    unread = next((observation for observation in observations if isinstance(observation, Unknown)), None)
    same = all(
        type(other) is type(first) and getattr(other, "value", None) == getattr(first, "value", None)
        for other in observations
    )
    if unread or same:
        return unread or first
    return Unknown("unsupported", "the order depends on presets, which a first boot applies")


def _find_order(transaction: Transaction, name: str) -> Observation[str]:
    unit, kubelet = transaction.load(name), transaction.load(KUBELET)
    if transaction.units.unread:
        return transaction.units.unread
    if kubelet.state != "loaded":
        return Absent(Evidence(_systemd_units.UNIT_PATH), f"{KUBELET} is not loaded")
    at = transaction.units.evidence(unit.path or kubelet.path)
    graph = build_wait_graph({*transaction.possible, unit.name, kubelet.name}, transaction.load)
    if unit.name != kubelet.name and _waits_for(graph, kubelet.name, unit.name):
        return Value("before", at)
    after = unit.name != kubelet.name and _waits_for(graph, unit.name, kubelet.name)
    return Value("after" if after else "none", at)


def _waits_for(graph: Mapping[str, Set[str]], name: str, other: str) -> bool:
    """Return whether a unit waits for another, directly or through units between them."""
    seen, queue = {name}, deque([name])
    while queue:
        for earlier in graph.get(queue.popleft(), ()):
            if earlier == other:
                return True
            if earlier not in seen:
                seen.add(earlier)
                queue.append(earlier)
    return False


def read_nofile(files: UnitFiles) -> Tuple[Observation[int], Observation[int]]:
    """Return the soft and the hard limit of open files by the unit and system.conf."""
    limits = files.observe(lambda: _read_nofile(files))
    return limits.then(lambda pair: pair[0]), limits.then(lambda pair: pair[1])


def _explain_no_processes(files: UnitFiles) -> Optional[Absent]:
    """Return why a unit has no limits: it is masked, or of a type that starts no process itself."""
    kind = files.name.rpartition(".")[2]
    if kind not in TYPES_WITH_PROCESSES:
        return Absent(files.at, f"a {kind} has no processes")
    return None if files.fragment.state == "loaded" else Absent(files.at, f"{files.name} is {files.fragment.state}")


def _read_nofile(files: UnitFiles) -> Observation[Tuple[int, int]]:
    absent = _explain_no_processes(files)
    if absent:
        return absent
    found = files.read_setting("LimitNOFILE", parse_resource_limit)
    setting = found or read_manager_setting(files.tree, "DefaultLimitNOFILE", parse_resource_limit)
    if isinstance(setting, Unknown):
        return setting
    return Value(*setting) if setting else _make_default_nofile(files.tree)


def _make_default_nofile(tree: Tree) -> Observation[Tuple[int, int]]:
    version = detect_systemd_version(tree)
    if not version:
        return Unknown("unsupported", "the default of LimitNOFILE= depends on the version of systemd, not found")
    limits = HIGH_LIMITS if version >= FIRST_WITH_HIGH_LIMIT else KERNEL_LIMITS
    return Value(limits, Evidence(MANAGER_FILES[0], inferred=True))


def read_tasks(files: UnitFiles) -> Observation[int]:
    """Return the greatest number of threads by the unit and system.conf."""
    return files.observe(lambda: _read_tasks(files))


def _read_tasks(files: UnitFiles) -> Observation[int]:
    absent = _explain_no_processes(files)
    if absent:
        return absent
    found = files.read_setting("TasksMax", parse_tasks_max)
    setting = found or read_manager_setting(files.tree, "DefaultTasksMax", parse_tasks_max)
    if isinstance(setting, Unknown):
        return setting
    return Value(*setting) if setting and setting[0] else PERCENT


def read_manager_setting(tree: Tree, name: str, parse: Callable[[str], T]) -> Union[Tuple[T, Evidence], Unknown, None]:
    """Return a setting of system.conf and its drop-ins with its evidence, None, or why it is unknown."""
    folders = _systemd_units.list_search_folders("systemd/system.conf.d")
    merged = _systemd_units.merge_folders(tree, folders)
    if isinstance(merged, Unknown):
        return merged
    drop_ins = merged.value if isinstance(merged, Value) else ()
    main = next((path for path in MANAGER_FILES if not isinstance(tree.entry(path), Absent)), "")
    found: Optional[Tuple[T, Evidence]] = None
    for path in (*((main,) if main else ()), *drop_ins):
        text = _systemd_units.read_optional_text(tree, path)
        if isinstance(text, Unknown):
            return text
        content = text.value if isinstance(text, Value) else ""
        for number, section, key, value in _systemd_units.parse_settings(content):
            if (section, key) == ("Manager", name):
                try:
                    found = (parse(value), Evidence(path, number)) if value else None
                except ValueError:
                    continue
    return found


def parse_resource_limit(text: str) -> Tuple[int, int]:
    """Parse `1024:524288`, `65536` or `infinity` to the soft and the hard limit. Raises ValueError."""
    soft, colon, hard = (part.strip() for part in text.partition(":"))
    limits = _parse_limit(soft), _parse_limit(hard if colon else soft)
    if limits[0] > limits[1]:
        raise ValueError(f"`{text}`: the soft limit is above the hard limit")
    return limits


def _parse_limit(text: str) -> int:
    if text == "infinity":
        return LIMITLESS
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError(f"`{text}` is not a limit")
    return int(text)


def parse_tasks_max(text: str) -> int:
    """Parse `4915`, `infinity` or `15%`; a part of the whole is 0. Raises ValueError."""
    if re.fullmatch(r"\d{1,3}(\.\d{1,2})?(%|‰|‱)", text, re.ASCII):
        return 0
    value = _parse_limit(text)
    if not value:
        raise ValueError("TasksMax= must not be 0")
    return value

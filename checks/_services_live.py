"""Services of a running machine: their state, and the limits of their processes."""

from __future__ import annotations

import re

from nodespec.checks import _services_files, _systemd_units
from nodespec.checks._services_files import UnitFiles
from nodespec.checks._services_limit import LIMITLESS
from nodespec.checks._systemd_names import get_template
from nodespec.facts.declaration import Columns, Row, Rows
from nodespec.host import systemd_manager
from nodespec.host.machine import Machine
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Tuple, Union

BOOTED = "/run/systemd/system"  # sd_booted(3)
OPENRC = "/run/openrc"
OPENRC_STATES = {
    "started": "active",
    "starting": "activating",
    "stopping": "deactivating",
    "failed": "failed",
    "inactive": "inactive",
}
PROPERTIES = ("LoadState", "ActiveState", "SubState")
RUNS = ("active", "reloading", "activating", "deactivating")  # states of a service with an invocation ID
CGROUP, HYBRID_PROCESSES, HYBRID_PIDS = "/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/pids"
MAX_PROCESSES = 64  # processes of a service whose limits are compared
OPEN_FILES = re.compile(r"Max open files +(\d{1,20}|unlimited) +(\d{1,20}|unlimited) ", re.ASCII)


def read_services(machine: Machine) -> Rows[Row]:
    """Return the services of a running machine."""
    units = _services_files.load_live_units(machine)

    def make(_: object, name: str, files: Optional[UnitFiles]) -> Columns:
        if files is None:
            service = name.rpartition(".")[0]
            return _services_files.make_openrc_columns(machine, name, lambda: _read_openrc_state(machine, service))
        return _make_columns(machine, name, files)

    return _services_files.make_rows(machine, units, make)


def _make_columns(machine: Machine, name: str, files: UnitFiles) -> Columns:
    service = LiveService(machine, files)
    return Columns(
        **_services_files.make_file_columns(machine, name, files),
        active=lambda: service.state.then(lambda word: word in ("active", "reloading")),
        state=lambda: service.state,
        substate=lambda: service.read_property("SubState"),
        failed=lambda: service.state.then(lambda word: word == "failed"),
        nofile=lambda: service.read_nofile()[1],
        nofile_soft=lambda: service.read_nofile()[0],
        tasks=service.read_tasks,
    )


class LiveService:
    """One unit of a running systemd; what it answers is memoized."""

    def __init__(self, machine: Machine, files: UnitFiles) -> None:
        self.machine, self.files = machine, files
        self.name = files.names[-1] if files.fragment.path.endswith(f"/{files.names[-1]}") else files.name
        self._answers: Optional[Observation[Mapping[str, Union[str, int]]]] = None

    def ask(self) -> Observation[Mapping[str, Union[str, int]]]:
        """Return the properties of the unit from the running systemd."""
        if self._answers is None:
            if not isinstance(self.machine.entry(BOOTED), Value):
                self._answers = Unknown("unsupported", f"systemd does not run: {BOOTED} not found")
            else:
                of_kind = ("MainPID",) if self.name.endswith(".service") else ()
                self._answers = systemd_manager.fetch_unit(self.machine, self.name, PROPERTIES, of_kind)
        return self._answers

    def read_property(self, name: str) -> Observation[str]:
        """Return a property as text."""
        return self.ask().then(lambda answers: str(answers[name]))

    @property
    def state(self) -> Observation[str]:
        """The state in systemd's words; if it does not answer, by the link of the invocation ID."""
        state = self.read_property("ActiveState")
        if isinstance(state, Value) or not self.name.endswith(".service"):
            return state
        if not isinstance(self.machine.entry(BOOTED), Value):
            return state
        link = self.machine.link(f"{systemd_manager.INVOCATIONS}{self.name}")
        if isinstance(link, Value):
            return Value(RUNS[0], link.evidence._replace(inferred=True), RUNS[1:])
        folder = self.machine.names(systemd_manager.INVOCATIONS.rpartition("/")[0])
        if isinstance(link, Absent) and isinstance(folder, Value):
            return Value("inactive", link.evidence._replace(inferred=True), ("failed",))
        return state

    def read_nofile(self) -> Tuple[Observation[int], Observation[int]]:
        """Return the soft and the hard limit of open files of the processes, else those by files."""
        processes = self._list_processes()
        if isinstance(processes, Unknown):
            return processes, processes
        if not processes:
            return _services_files.read_nofile(self.files)
        found: Dict[Tuple[int, int], Evidence] = {}
        for process in processes[:MAX_PROCESSES]:
            limits = self.machine.text(f"/proc/{process}/limits").then(_parse_open_files)
            if isinstance(limits, Unknown):
                return limits, limits
            if isinstance(limits, Value):
                found.setdefault(limits.value, limits.evidence)
        if len(found) > 1:
            return self._read_main_limits()
        if not found:  # All processes ended meanwhile.
            return _services_files.read_nofile(self.files)
        (((soft, hard), at),) = found.items()
        return Value(soft, at), Value(hard, at)

    def _read_main_limits(self) -> Tuple[Observation[int], Observation[int]]:
        """Return the limits of the main process, for a service whose processes have different ones."""
        main = self.ask().then(lambda answers: int(answers["MainPID"]))
        if not isinstance(main, Value):
            missing = Unknown("not found", f"the main process of {self.name} is not known")
            unknown = main if isinstance(main, Unknown) else missing
            return unknown, unknown
        limits = self.machine.text(f"/proc/{main.value}/limits").then(_parse_open_files)
        return limits.then(lambda pair: pair[0]), limits.then(lambda pair: pair[1])

    def read_tasks(self) -> Observation[int]:
        """Return the least limit of threads of the control groups of the unit, else the limit by files."""
        processes = self._list_processes()
        if isinstance(processes, Unknown):
            return processes
        if not processes:
            by_files = _services_files.read_tasks(self.files)
            percent = Unknown(
                "unsupported", f"TasksMax= of {self.name} is a part of the threads of this machine", START
            )
            return percent if by_files == _services_files.PERCENT else by_files
        root = HYBRID_PIDS if isinstance(self.machine.entry(HYBRID_PIDS), Value) else CGROUP
        least: Value[int] = Value(LIMITLESS, Evidence(f"{root}{self.control_group}", inferred=True))
        path = self.control_group
        while path:
            limit = self.machine.line(f"{root}{path}/pids.max").then(_parse_pids_max)
            if isinstance(limit, Unknown):
                return limit
            if isinstance(limit, Value) and limit.value < least.value:
                least = limit
            path = path.rpartition("/")[0]
        return least

    @property
    def control_group(self) -> str:
        """The path of the control group of the unit below the root of the hierarchy."""
        return f"{get_slice_path(self._find_slice())}/{self.name}"

    def _find_slice(self) -> str:
        """Return the slice of the unit: `Slice=`, or the default of its kind."""
        values = [line.value for line in self.files.lines if line.name == "Slice" and line.value.endswith(".slice")]
        if values:
            return values[-1]
        template = get_template(self.name)
        prefix = template.partition("@")[0]
        return f"system-{_systemd_units.escape_path(prefix)}.slice" if template else "system.slice"

    def _list_processes(self) -> Union[List[str], Unknown]:
        """Return the processes in the control group of the unit; none if it does not run."""
        root = HYBRID_PROCESSES if isinstance(self.machine.entry(HYBRID_PROCESSES), Value) else CGROUP
        listed = self.machine.text(f"{root}{self.control_group}/cgroup.procs").then(str.split)
        if isinstance(listed, Unknown):
            return listed
        if isinstance(listed, Value) and listed.value:
            return listed.value
        main = self.ask().then(lambda answers: int(answers.get("MainPID", 0)))
        if isinstance(main, Value):
            return [str(main.value)] if main.value else []
        state = self.state
        maybe = not isinstance(state, Value) or state.value in RUNS
        return (main if isinstance(main, Unknown) else Unknown("not found", f"{self.name} not found")) if maybe else []


START = "start the service"


def get_slice_path(name: str) -> str:
    """Return the path of a slice: `/a.slice/a-b.slice` for `a-b.slice`, empty for `-.slice`."""
    stem, path = name.removesuffix(".slice"), ""
    parts = stem.split("-") if stem != "-" else []
    for number in range(len(parts)):
        path += f"/{'-'.join(parts[: number + 1])}.slice"
    return path


def _parse_open_files(text: str) -> Tuple[int, int]:
    """Parse the row `Max open files  1024  524288  files` of /proc/PID/limits. Raises ValueError."""
    match = OPEN_FILES.search(text)
    if not match:
        raise ValueError("no row `Max open files` found")
    soft, hard = (LIMITLESS if word == "unlimited" else int(word) for word in match.groups())
    return soft, hard


def _parse_pids_max(text: str) -> int:
    """Parse pids.max: a number or `max`. Raises ValueError."""
    return LIMITLESS if text == "max" else int(text)


def _read_openrc_state(machine: Machine, service: str) -> Observation[str]:
    """Return the state of a service of OpenRC by the directory below /run/openrc that has a link of its name."""
    if not isinstance(machine.entry(OPENRC), Value):
        return Unknown("unsupported", f"OpenRC does not run: {OPENRC} not found")
    for state in _list_openrc_states(machine, service):
        return state
    return Value("inactive", Evidence(OPENRC, inferred=True))


def _list_openrc_states(machine: Machine, service: str) -> Iterator[Observation[str]]:
    for folder, word in OPENRC_STATES.items():
        entry = machine.entry(f"{OPENRC}/{folder}/{service}", follow=False)
        if isinstance(entry, Unknown):
            yield entry
        if isinstance(entry, Value):
            yield Value(word, entry.evidence)

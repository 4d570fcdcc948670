"""Settings of container runtimes: files, and options in the units that start them."""

from __future__ import annotations

from nodespec.checks._runtime_catalog import CONTAINERD, CRIO, DOCKER, RUNTIMES
from nodespec.host import cri
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Mapping, Tuple, TypeAlias, Union

    from nodespec.checks._runtime_containerd import ContainerdSettings as Containerd
    from nodespec.checks._systemd_command import CommandLine
    from nodespec.formats.toml import Table

MAX_BYTES, MAX_FILES = 1 << 18, 64

Settings: TypeAlias = "Dict[str, Observation[str]]"  # by column of `runtime`
SettingsReader: TypeAlias = "Callable[[Tree, Observation[str]], Observation[Settings]]"


def read_containerd(tree: Tree, version: Observation[str]) -> Observation[Settings]:
    """Return the cgroup driver and the snapshotter of the CRI plugin.

    The files are read by the rules of that version of containerd.
    """
    settings = read_containerd_settings(tree, version)
    if not isinstance(settings, Value):
        return settings
    return Value(
        {"cgroup_driver": settings.value.cgroup_driver, "snapshotter": settings.value.snapshotter}, settings.evidence
    )


def read_containerd_settings(tree: Tree, version: Observation[str]) -> Observation[Containerd]:
    """Return all settings of containerd.

    The file is the default one, or an option of its unit.
    """
    from nodespec.checks._runtime_containerd import resolve_settings  # noqa: PLC0415

    command = read_unit_command(tree, "containerd.service", "containerd")
    if isinstance(command, Unknown):
        return command
    given = command.option("--config", "-c", "-config", "--c")
    return resolve_settings(tree, given or CONTAINERD, version, given=bool(given))


def read_unit_command(tree: Tree, unit: str, program: str) -> Union[CommandLine, Unknown]:
    """Return the command line of a unit; without a unit the program alone."""
    from nodespec.checks._systemd_command import CommandLine, read_service_command  # noqa: PLC0415

    command = read_service_command(tree, unit, program)
    if isinstance(command, Absent):
        return CommandLine((program,), command.evidence)
    return command.value if isinstance(command, Value) else command


def read_crio(tree: Tree, version: Observation[str]) -> Observation[Settings]:  # noqa: ARG001 - the same for all versions
    """Read CRI-O's main file, then drop-ins by name, then options of the unit."""
    words = read_unit_command(tree, "crio.service", "crio")
    if isinstance(words, Unknown):
        return words
    main, folder = words.option("--config", "-c") or CRIO, words.option("--config-dir", "-d") or f"{CRIO}.d"
    names = tree.names(folder)
    if isinstance(names, Unknown):
        return names
    drop_ins = names.value[:MAX_FILES] if isinstance(names, Value) else ()
    settings: Settings = {}
    for path in (main, *(f"{folder}/{name}" for name in drop_ins)):
        file = _read_toml(tree, path)
        if isinstance(file, Unknown):
            return file
        if isinstance(file, Value):
            settings.update(_parse_crio_settings(file.value, path))
    for column, names_of in (("cgroup_driver", ("--cgroup-manager",)), ("snapshotter", ("--storage-driver", "-s"))):
        option = words.option(*names_of)
        if option:
            settings[column] = Value(option, words.at)
    return Value(settings, Evidence(main))


def _parse_crio_settings(file: Table, path: str) -> Settings:
    """Return the settings of one file of CRI-O."""
    settings: Settings = {}
    places: Tuple[Tuple[str, Tuple[str, ...]], ...] = (
        ("cgroup_driver", ("crio", "runtime", "cgroup_manager")),
        ("snapshotter", ("crio", "storage_driver")),
        ("default_handler", ("crio", "runtime", "default_runtime")),
        ("sandbox_image", ("crio", "image", "pause_image")),
        ("cni_conf_dir", ("crio", "network", "network_dir")),
        ("root", ("crio", "root")),
    )
    for column, keys in places:
        setting: object = file
        for key in keys:
            setting = setting.get(key) if isinstance(setting, dict) else None
        if isinstance(setting, tuple) and isinstance(setting[0], str) and setting[0]:
            settings[column] = Value(setting[0], Evidence(path, setting[1]))
    return settings


def _read_toml(tree: Tree, path: str) -> Observation[Table]:
    text = tree.text(path, MAX_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats.toml import parse  # noqa: PLC0415

    return text.then(parse)


def read_docker(tree: Tree, version: Observation[str]) -> Observation[Settings]:  # noqa: ARG001 - the same for all versions
    """Read daemon.json and the options of the unit.

    The cgroup driver is one of the options for running containers (`exec-opts`).
    """
    words = read_unit_command(tree, "docker.service", "dockerd")
    if isinstance(words, Unknown):
        return words
    path = words.option("--config-file") or DOCKER
    text = tree.text(path, MAX_BYTES)
    settings = (
        Value({}, text.evidence) if isinstance(text, Absent) else text.then(lambda text: _parse_daemon_json(text, path))
    )
    return _add_docker_options(settings.value, path, words) if isinstance(settings, Value) else settings


def _add_docker_options(settings: Settings, path: str, words: CommandLine) -> Observation[Settings]:
    """Return the settings of a file and of options; dockerd refuses a setting in both."""
    options = {
        "cgroup_driver": _parse_exec_options(words.options("--exec-opt")),
        "snapshotter": words.option("--storage-driver", "-s") or "",
    }
    for column, value in options.items():
        if value and column in settings:
            message = f"dockerd does not start: {path} and {words.at} both set its {column.replace('_', ' ')}"
            return Unknown("malformed", message, "remove one of them")
        if value:
            settings[column] = Value(value, words.at)
    return Value(settings, Evidence(path))


def _parse_daemon_json(text: str, path: str) -> Settings:
    document = cri.parse_json(text)
    options, driver = cri.get_nested(document, "exec-opts"), cri.get_nested(document, "storage-driver")
    settings: Settings = {"snapshotter": Value(driver, Evidence(path))} if isinstance(driver, str) and driver else {}
    native = _parse_exec_options([str(option) for option in options] if isinstance(options, list) else [])
    return {**settings, "cgroup_driver": Value(native, Evidence(path))} if native else settings


def _parse_exec_options(options: List[str]) -> str:
    """Return the cgroup driver of options; the first counts.

    Example: `native.cgroupdriver=systemd`.
    """
    for option in options:
        name, _, value = option.partition("=")
        if name.strip().casefold() == "native.cgroupdriver":
            return value.strip()
    return ""


class RuntimeReader(NamedTuple):
    """How to read the configuration of a runtime, and the defaults of the runtime."""

    read: SettingsReader
    defaults: Mapping[str, str]


READERS = {
    "containerd": RuntimeReader(read_containerd, {}),
    "crio": RuntimeReader(read_crio, {"cgroup_driver": "systemd"}),
    "docker": RuntimeReader(read_docker, {}),
}


def read_setting(tree: Tree, name: str, column: str, version: Observation[str]) -> Observation[str]:
    """Return a setting of its configuration, else its default (inferred)."""
    settings = READERS[name].read(tree, version)
    if not isinstance(settings, Value):
        return settings
    setting = settings.value.get(column)
    default = READERS[name].defaults.get(column)
    # An evidence without a source is containerd's own default.
    if isinstance(setting, Value) and not setting.evidence.source:
        default = setting.value
    elif setting is not None:
        return setting
    if default:
        return Value(default, locate_default(tree, name, settings.evidence))
    message = f"{settings.evidence} does not set it, and {name} selects a value when it starts"
    return Unknown("not found", message, f"start {name}") if tree.running else Unknown(DEFERRED, message)


def locate_default(tree: Tree, name: str, file: Evidence) -> Evidence:
    """Return the evidence of a default.

    It is the file that lacks the setting, or the program if no file exists.
    """
    program = tree.program(RUNTIMES[name].program)
    if isinstance(program, Value) and isinstance(tree.entry(file.source), Absent):
        file = program.evidence
    return file._replace(inferred=True)

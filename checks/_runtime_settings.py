"""Settings of a container runtime: from its configuration, else its defaults."""

from __future__ import annotations

from nodespec.checks._runtime_catalog import RUNTIMES
from nodespec.checks._runtime_config import READERS
from nodespec.host.tree import Tree
from nodespec.model.observation import DEFERRED, Absent, Evidence, Observation, Unknown, Value


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

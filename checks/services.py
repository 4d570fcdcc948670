"""Services and other units by name: whether they are installed, start at boot, and run; their limits.

A name without a type is a service: `containerd` is `containerd.service`. Timers, sockets, targets, mounts and paths
have their type in the name: `apt-daily.timer`. A name of another unit (an alias) is that unit.

Files decide what a boot does. A running systemd is asked over D-Bus only for the state of units, by calls that load no
unit and start nothing. With OpenRC a service is the script of that name. A unit that does not exist is absent, which
is not the same as inactive or disabled: to allow both, write `any: [absent, ...]`.
"""

from __future__ import annotations

from nodespec.checks import _openrc, _services_at_boot
from nodespec.checks._services_limit import Limit
from nodespec.checks._systemd_names import TYPES, is_template, is_unit_name
from nodespec.facts.declaration import Row, Rows, table
from nodespec.facts.value_types import Flag, FreeText, OneOf, SetOf
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree

STATES = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing")
UNSUPPORTED_TYPES = ("device", "scope", "slice")
LIVE_SOURCES = (
    *("/run/systemd/*", "/run/dbus/system_bus_socket*", "/run/openrc*", "/proc/*/limits", "/sys/fs/cgroup*"),
    *("/etc/systemd/system.conf*", "/usr/lib/systemd/system.conf*"),
)


def _normalize_unit_name(text: str) -> str:
    """Return the name of a unit with its type; `containerd` is `containerd.service`."""
    suffix = text.rpartition(".")[2]
    if suffix in UNSUPPORTED_TYPES:
        raise ValueError(
            f"`{text}`: units of the type {suffix} have no file; expected a {', '.join(TYPES[:7])} or path"
        )
    name = text if suffix in TYPES else f"{text}.service"
    if not is_unit_name(name):
        raise ValueError(f"`{text}` is not the name of a unit, such as containerd or apt-daily.timer")
    if is_template(name):
        raise ValueError(f"`{text}` is a template; name an instance, such as {name.replace('@.', '@NAME.')}")
    return name


@table(
    {
        "load": OneOf("loaded", "masked", "bad-setting"),
        "masked": Flag(),
        "enabled": Flag(),
        "starts_at_boot": Flag(),
        "active": Flag(),
        "state": OneOf(*STATES),
        "substate": FreeText(),
        "failed": Flag(),
        "drop_ins": SetOf(FreeText()),
        "kubelet_order": OneOf("before", "after", "none"),
        "nofile": Limit(),
        "nofile_soft": Limit(),
        "tasks": Limit(),
    },
    sources=(*_services_at_boot.SOURCES, *_openrc.SOURCES, *LIVE_SOURCES),
    noun="service",
    key=_normalize_unit_name,
    fix="install the package that has {key}",
    fixes={
        "masked": "mask or unmask {key} with systemctl; required: {want}",
        "enabled": "enable or disable {key} with systemctl; required: {want}",
        "starts_at_boot": "enable, disable or mask {key} with systemctl; required: {want}",
        "active": "start or stop {key} with systemctl; required: {want}",
        "state": "see `systemctl status {key}`; required: {want}",
        "failed": "read `journalctl -b -u {key}`, correct the cause, and run `systemctl restart {key}`",
        "nofile": "set LimitNOFILE={want} with `systemctl edit {key}`, and restart it",
        "nofile_soft": "set LimitNOFILE with `systemctl edit {key}` to a soft limit of {want}, and restart it",
        "tasks": "set TasksMax={want} with `systemctl edit {key}`, and restart it",
        "kubelet_order": "set Before=kubelet.service or After=kubelet.service with `systemctl edit {key}`: {want}",
        **dict.fromkeys(("load", "substate"), "see `systemctl status {key}`; required: {want}"),
        "drop_ins": "list the files with `systemctl cat {key}`",
    },
)
def services(machine: Machine) -> Rows[Row]:
    """Units of systemd and services of OpenRC, by name.

    `load` is `loaded`, `masked`, or `bad-setting` if systemd refuses the unit. `masked` also applies to a mask below
    /run, which the next boot removes. `enabled` is what `systemctl is-enabled` prints. `starts_at_boot` follows from
    the graph of all units of a boot, and is true for a static unit that another one pulls in. Both are read from files,
    so that they are the same at rest.

    `state` is the state in systemd's own words, `substate` the one of its type (running, exited, waiting, dead).
    `active` is true for `active` and `reloading`, `failed` for `failed`. If D-Bus does not answer, a service that has
    an invocation ID below /run/systemd/units is one of the states in which it may run.

    `drop_ins` are the paths of the files that change the unit. `kubelet_order` is the order of start relative to
    kubelet.service, also through other units of a boot.

    `nofile` and `nofile_soft` are the hard and soft limit of open files, `tasks` the greatest number of threads in the
    control group. For a running service they are those of its processes and its control groups; else they follow from
    LimitNOFILE= and TasksMax= of the unit, its drop-ins and system.conf. `infinity` is greater than every number. A
    TasksMax= in percent is a number only on a running machine.
    """
    from nodespec.checks import _services_live  # noqa: PLC0415

    return _services_live.read_services(machine)


@services.at_rest(*_services_at_boot.SOURCES, *_openrc.SOURCES, *LIVE_SOURCES)
def _services_at_rest(tree: Tree) -> Rows[Row]:
    from nodespec.checks import _services_files  # noqa: PLC0415

    return _services_files.read_services(tree)

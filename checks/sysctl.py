"""Kernel parameters in force, as sysctl(8) and files under /proc/sys show them."""

from __future__ import annotations

import re

from nodespec.checks import _kernel_config, _kernel_version, _services_at_boot
from nodespec.checks._sysctl_names import (
    EXPLANATIONS,
    MAX_ROWS,
    ROOT,
    SWAP_SEPARATORS,
    is_stable,
    make_name,
    make_path,
    parse_key,
    refuse_secret,
)
from nodespec.facts.declaration import Rows, table
from nodespec.facts.value_numbers import UntypedValue
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Tuple, Union

AT_REST = (
    *("*/sysctl.d*", "/etc/sysctl.conf", "*/modules-load.d*", "*/modprobe.d/*"),
    *_kernel_version.CMDLINE_FILES,
    *_kernel_config.FILES,
    *_services_at_boot.SOURCES,
    *("/etc/*", "*/tuned/*", "*/systemd/*", "/usr/bin/dockerd"),
)
MAX_COMPARED_NAMES = 2_000  # names that a misspelled name is compared with
MIN_SIMILARITY = 0.8  # the similarity of a typing error


@table(
    UntypedValue(),
    sources=(f"{ROOT}*", "/proc/*/ns/*"),
    noun="kernel parameter",
    key=parse_key,
    globs=True,
    fix="sysctl -w {key}={word}, and `{key} = {want}` in a file of /etc/sysctl.d for the next boot",
)
def sysctl(machine: Machine) -> Rows[str]:
    """Kernel parameters by name, with blanks in values folded: `4096 87380 6291456`.

    In a range the value is a number. Names are those of sysctl(8). Many parameters belong to a module or a build
    option, and are absent without it; the report then names what would add them. Parameters of namespaces (net, ipc,
    uts, user, pid) show the namespace of the reader. With `--root` they are hidden, unless nodespec runs in the same
    namespace. Secrets (stable_secret, tcp_fastopen_key) are never read. `facts --all` lists parameters that every user
    may read and that do not change by themselves. A rule with `every: sysctl` and `names: net.ipv4.conf.*.rp_filter`
    applies to all names that match; `*` is a part between two dots.

    At rest it is what the next boot sets: the last file of sysctl.d that assigns the parameter, else the kernel's
    default if all kernels have the same. With systemd, /etc/sysctl.conf counts only if a link in /etc/sysctl.d leads to
    it. Settings of services that a boot starts count after these: ufw, tuned, systemd-networkd, Docker, and units that
    run sysctl. A parameter of a module that nothing loads is absent, because no file can set it then. An assignment on
    the kernel's command line (`sysctl.vm.swappiness=10`, `panic=10`) counts if no file assigns the parameter. The value
    is the one that the kernel would store: `010` is 8 and `1 # on` is 1. The kernel refuses a value such as `60;` and
    keeps the previous one.
    """
    root = machine.names(ROOT)
    if isinstance(root, Absent):
        root = Unknown("not found", f"{ROOT} not found", "boot a kernel that was built with CONFIG_PROC_SYSCTL")
    if isinstance(root, Unknown):
        return Rows.lacking(root)
    return Rows(
        lambda key: _observe_parameter(machine, key),
        lambda: _list_parameters(machine),
        Absent(Evidence(ROOT)),
        matching=lambda glob: _match_names(machine, glob),
    )


@sysctl.at_rest(*AT_REST, fix="put `{key} = {want}` into a file of /etc/sysctl.d")
def _parameters_at_rest(tree: Tree) -> Rows[str]:
    from nodespec.checks import _sysctl_at_rest  # noqa: PLC0415

    return _sysctl_at_rest.read_rows(tree)


def _match_names(machine: Machine, glob: str) -> Union[Tuple[str, ...], Unknown]:
    from nodespec.checks import _sysctl_globs  # noqa: PLC0415

    return _explain_closed(machine, glob) or _sysctl_globs.match_names(machine, glob)


def _observe_parameter(machine: Machine, key: str) -> Observation[str]:
    closed = _explain_closed(machine, key)
    if closed:
        return closed
    path = make_path(key)
    value = machine.text(path).then(lambda text: " ".join(text.split()))
    if isinstance(value, Value):
        return value
    entry = machine.entry(path)
    if isinstance(entry, Value) and entry.value.kind == "directory":
        return Absent(Evidence(path), "a group of parameters; name one parameter")
    if isinstance(entry, Value) and not entry.value.mode & 0o444:
        return Unknown("unsupported", f"{path} is write-only")
    return value if isinstance(value, Unknown) else Absent(value.evidence, _explain_missing_parameter(machine, key))


NAMESPACES = {
    "net": r"net\..*",
    "ipc": r"kernel\.(auto_msgmni|msg(max|mn[bi]|_next_id)|sem(_next_id)?|shm\w+)|fs\.mqueue\..*",
    "uts": r"kernel\.(host|domain)name",
    "user": r"user\..*",
    "pid": r"kernel\.(pid_max|ns_last_pid)|vm\.memfd_noexec",
}


def _explain_closed(machine: Machine, key: str) -> Optional[Unknown]:
    """Return why a parameter is never read."""
    secret = refuse_secret(key)
    if secret:
        return secret
    if key.startswith("fs.binfmt_misc."):
        return Unknown("refused", "reading /proc/sys/fs/binfmt_misc may mount it")
    if machine.root == "/":  # The reader's own namespaces are those that are asked for.
        return None
    for space, keys in NAMESPACES.items():
        if re.fullmatch(keys, key):
            return machine.elsewhere(space)
    return None


def _explain_missing_parameter(machine: Machine, key: str) -> str:
    """Return what would add a missing parameter, else the nearest name."""
    for beginning, has in EXPLANATIONS.items():
        if key.startswith(beginning) and not _has_prefix(machine, beginning):
            return has
    return _find_nearest(machine, key)


def _has_prefix(machine: Machine, beginning: str) -> bool:
    """Return whether any parameter has a name with this prefix."""
    folder, _, start = make_path(beginning).rpartition("/")
    names = machine.names(folder)
    return isinstance(names, Value) and any(name.startswith(start) for name in names.value)


def _find_nearest(machine: Machine, key: str) -> str:
    """Return the name that may have been meant, where the path to it breaks off."""
    from difflib import get_close_matches  # noqa: PLC0415

    path = ROOT
    for part in key.translate(SWAP_SEPARATORS).split("/"):
        names = machine.names(path)
        candidates = names.value[:MAX_COMPARED_NAMES] if isinstance(names, Value) else ()
        if part not in candidates:
            close = get_close_matches(part, candidates, 1, MIN_SIMILARITY)
            return (
                f"there is {make_name(f'{path}/{close[0]}')}" if close else f"{path} has no parameter of a similar name"
            )
        path += f"/{part}"
    return f"{path} cannot be opened"


def _list_parameters(machine: Machine) -> Mapping[str, Observation[str]]:
    """Return the stable parameters that every user may read.

    A parameter that others may not read may be a secret.
    """
    rows: Dict[str, Observation[str]] = {}
    folders: List[str] = [ROOT]
    while folders and len(rows) < MAX_ROWS:
        path = folders.pop()
        names = machine.names(path)
        for name in names.value if isinstance(names, Value) else ():
            _add_parameter(machine, f"{path}/{name}", rows, folders)
    return rows


def _add_parameter(machine: Machine, path: str, rows: Dict[str, Observation[str]], folders: List[str]) -> None:
    entry, name = machine.entry(path, follow=False), make_name(path)
    if not isinstance(entry, Value) or name == "fs.binfmt_misc":
        return
    if entry.value.kind == "directory":
        folders.append(path)
    elif entry.value.kind == "file" and entry.value.mode & 0o004 and is_stable(name):
        rows[name] = _observe_parameter(machine, name)

"""Files of the boot gate: a bundle, the systemd unit that runs it, and the drop-in of the guarded unit.

The gate is ordered before the guarded unit, which requires it: if the gate fails, that unit does not start. It checks
once for each boot, because the guarded unit can crash and restart while pods run on the node. Only `gate install`
writes files, all or none, and `gate remove` removes them.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from nodespec import __version__
from nodespec.errors import UsageError, print_error
from nodespec.light_typing import TYPE_CHECKING
from nodespec.preflight.tree_writer import TreeWriter

if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Tuple, TypeAlias

BUNDLE_PATH = "etc/nodespec/preflight"
GATE_UNIT = "nodespec-gate.service"
UNIT_DIR = "etc/systemd/system"
DROP_IN_NAME = "50-nodespec-gate.conf"
MADE_BY = "# Made by nodespec"  # every file that may be replaced or removed contains it
EXECUTABLE_MODE, PLAIN_MODE = 0o755, 0o644
EXTRA_SECONDS = 120  # seconds that the unit may take in addition to --wait

UNIT_TEMPLATE = f"""\
{MADE_BY} {{version}} (gate install); `python3 -I /{BUNDLE_PATH} gate remove` removes it.
[Unit]
Description=Check whether this machine conforms to its specs (before {{unit}})
Before={{unit}}
After=containerd.service crio.service docker.service cri-docker.service
RefuseManualStop=yes

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=python3 -I -S /{BUNDLE_PATH} gate run --unit {{unit}} --wait {{wait}}{{strict}}
TimeoutStartSec={{patience}}
SyslogIdentifier=nodespec-gate
StateDirectory=nodespec
StateDirectoryMode=0750
UMask=0077
# Options that change the view of mounts, network or /proc are not set, because nodespec observes these.
NoNewPrivileges=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
DROP_IN_TEMPLATE = f"""\
{MADE_BY} {{version}} (gate install); `python3 -I /{BUNDLE_PATH} gate remove` removes it.
[Unit]
Requires={GATE_UNIT}
After={GATE_UNIT}
"""

ModeFile: TypeAlias = "Tuple[str, int]"  # a text and its mode


def add_install_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the installation."""
    from nodespec import parsers  # noqa: PLC0415 - argparse, which the boot itself does not need

    command.add_argument(
        "--unit", default="kubelet.service", metavar="UNIT", help="the unit to guard (default: kubelet.service)"
    )
    command.add_argument(
        "--wait",
        type=parsers.parse_seconds,
        default=60.0,
        metavar="S",
        help="retry for up to S seconds until the host conforms (default: 60)",
    )
    command.add_argument("--strict", action="store_true", help="enforce recommendations like requirements")
    command.add_argument("--print", action="store_true", help="print the units and write nothing")
    add_root_option(command)


def add_root_option(command: argparse.ArgumentParser) -> None:
    """Add the option of the directory."""
    command.add_argument(
        "--into", default="/", metavar="DIR", help="the root directory of an image to change instead of this machine"
    )


def install_gate(bundle: str, args: argparse.Namespace) -> int:
    """Write the files of the gate, all or none, and print their paths."""
    files = _make_files(bundle, normalize_unit(args.unit), args)
    if args.print:
        for path, (text, _) in list(files.items())[1:]:
            print(f"# /{path}\n{text}")  # noqa: T201 - the requested output
        return 0
    _write_files(args.into, files)
    for path in files:
        print(f"wrote {os.path.join(args.into, path)}")  # noqa: T201
    _reload_systemd(args.into)
    print(f"{normalize_unit(args.unit)} starts only if {GATE_UNIT} succeeds; gate remove undoes this")  # noqa: T201
    return 0


def remove_gate(args: argparse.Namespace) -> int:
    """Remove the files of `install_gate`: first the drop-in of the guarded unit."""
    tree = open_tree(args.into)
    try:
        paths = list_installed(tree)
        if not paths:
            raise UsageError(f"--into {args.into}: no gate found")
        for path in paths:
            tree.unlink(path)
            print(f"removed {os.path.join(args.into, path)}")  # noqa: T201
            if os.path.dirname(path) != UNIT_DIR:
                with suppress(OSError):  # other files are there
                    tree.remove_folder(os.path.dirname(path))
    except OSError as error:
        raise UsageError(f"{_locate_error(args.into, error)}: {error.strerror or error}") from None
    finally:
        tree.close()
    _reload_systemd(args.into)
    return 0


def open_tree(root: str) -> TreeWriter:
    """Open the root directory to install into. Raises `UsageError` if it cannot be opened."""
    try:
        return TreeWriter(root)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--into {root}: directory not found") from None
    except OSError as error:
        raise UsageError(f"--into {root}: {error.strerror}") from None


def _locate_error(root: str, error: OSError) -> str:
    """Return the place of an error, as the user knows it."""
    return os.path.join(root, error.filename) if isinstance(error.filename, str) else root


def normalize_unit(unit: str) -> str:
    """Return the name of a unit with its type; `UsageError` for any other text."""
    name = unit if "." in unit else f"{unit}.service"
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.(service|target|socket)", name) or name == GATE_UNIT:
        raise UsageError(f"--unit {unit}: expected a service, target or socket, such as kubelet.service")
    return name


def _make_files(bundle: str, unit: str, args: argparse.Namespace) -> Dict[str, ModeFile]:
    """Return text and mode by path below the root, in the order of writing.

    The drop-in of the guarded unit is written last.
    """
    fields = {
        "version": __version__,
        "unit": unit,
        "wait": f"{args.wait:g}",
        "strict": " --strict" if args.strict else "",
        "patience": f"{args.wait + EXTRA_SECONDS:g}",
    }
    return {
        BUNDLE_PATH: (bundle, EXECUTABLE_MODE),
        f"{UNIT_DIR}/{GATE_UNIT}": (UNIT_TEMPLATE.format(**fields), PLAIN_MODE),
        f"{UNIT_DIR}/{unit}.d/{DROP_IN_NAME}": (DROP_IN_TEMPLATE.format(**fields), PLAIN_MODE),
    }


def list_installed(tree: TreeWriter) -> List[str]:
    """Return the paths of the gate's files that exist and were written by nodespec."""
    return [path for path in _iter_installed(tree) if _is_ours(tree, path)]


def _iter_installed(tree: TreeWriter) -> Iterator[str]:
    yield from (f"{UNIT_DIR}/{name}/{DROP_IN_NAME}" for name in tree.names(UNIT_DIR) if name.endswith(".d"))
    yield from (f"{UNIT_DIR}/{GATE_UNIT}", BUNDLE_PATH)


def _is_ours(tree: TreeWriter, path: str) -> bool:
    """Return whether a regular file at the path was written by nodespec."""
    return MADE_BY.encode() in (tree.read(path) or b"")[:4096]


# writing


def _write_files(root: str, files: Dict[str, ModeFile]) -> None:
    """Write all files, or leave everything as it was."""
    tree = open_tree(root)
    undo: List[Tuple[str, str, bytes]] = []  # how, path, content
    try:
        for path, (text, mode) in files.items():
            for folder in tree.make_folders(path):
                undo.append(("rmdir", folder, b""))  # noqa: PERF401 - includes those created before an error
            undo.append(_plan_undo(tree, path))
            tree.write(path, text.encode(), mode)
    except OSError as error:
        _undo_writes(tree, undo)
        raise UsageError(f"{_locate_error(root, error)}: {error.strerror or error}; nothing is installed") from None
    except BaseException:
        _undo_writes(tree, undo)
        raise
    finally:
        tree.close()


def _plan_undo(tree: TreeWriter, path: str) -> Tuple[str, str, bytes]:
    """Return the action, path and content that restore the current state of a file."""
    if tree.status(path) is None:
        return "unlink", path, b""
    content = tree.read(path)
    if content is None or not _is_ours(tree, path):
        full_path = os.path.join(tree.root, path)
        raise UsageError(f"{full_path}: the file exists, and nodespec did not write it; nothing is installed")
    return "replace", path, content


def _undo_writes(tree: TreeWriter, undo: List[Tuple[str, str, bytes]]) -> None:
    for how, path, content in reversed(undo):
        try:
            if how == "replace":
                tree.write(path, content)
            elif how == "rmdir":
                tree.remove_folder(path)
            elif tree.status(path) is not None:
                tree.unlink(path)
        except OSError as error:
            print_error(f"nodespec: {os.path.join(tree.root, path)}: {error.strerror or error}; not restored")


def _reload_systemd(root: str) -> None:
    """Reload systemd if the root directory is that of this machine."""
    if root != "/" or not os.path.isdir("/run/systemd/system"):
        return
    import subprocess  # noqa: PLC0415

    try:
        subprocess.run(["/bin/systemctl", "daemon-reload"], check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"systemd was not reloaded: {error}; run `systemctl daemon-reload`") from None

"""Files of the boot gate: a bundle, the systemd unit that runs it, and the drop-in of the guarded unit.

The gate is ordered before the guarded unit, which requires it: if the gate fails, that unit does not start. It checks
once for each boot, because the guarded unit can crash and restart while pods run on the node. Only `gate install`
writes files, all or none, and `gate remove` removes them.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Dict, Iterator, List, Tuple

from nodespec import __version__, options
from nodespec.errors import UsageError, print_error
from nodespec.preflight.tree_writer import TreeWriter

if TYPE_CHECKING:
    import argparse
    from typing import TypeAlias

BUNDLE = "etc/nodespec/preflight"
GATE = "nodespec-gate.service"
FOLDER = "etc/systemd/system"
TIE = "50-nodespec-gate.conf"
MARK = "# Made by nodespec"  # every file that may be replaced or removed contains it
EXECUTABLE, PLAIN = 0o755, 0o644
SLACK = 120  # seconds that the unit has beside those of --wait

UNIT = f"""\
{MARK} {{version}} (gate install); `python3 -I /{BUNDLE} gate remove` takes it away.
[Unit]
Description=Is this machine fit to be a node? (before {{unit}})
Before={{unit}}
After=containerd.service crio.service docker.service cri-docker.service
RefuseManualStop=yes

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=python3 -I -S /{BUNDLE} gate run --unit {{unit}} --wait {{wait}}{{strict}}
TimeoutStartSec={{patience}}
SyslogIdentifier=nodespec-gate
StateDirectory=nodespec
StateDirectoryMode=0750
UMask=0077
# what would change the mounts, the network or /proc that are to be seen is left as it is
NoNewPrivileges=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
"""
TIED = f"""\
{MARK} {{version}} (gate install); `python3 -I /{BUNDLE} gate remove` takes it away.
[Unit]
Requires={GATE}
After={GATE}
"""

File: TypeAlias = "Tuple[str, int]"  # a text and its mode


def asked(command: argparse.ArgumentParser) -> None:
    """The options of installing."""
    command.add_argument(
        "--unit", default="kubelet.service", metavar="UNIT", help="the unit to guard (default: kubelet.service)"
    )
    command.add_argument(
        "--wait",
        type=options.parse_seconds,
        default=60.0,
        metavar="S",
        help="retry for up to S seconds until the host conforms (default: 60)",
    )
    command.add_argument("--strict", action="store_true", help="enforce recommendations like requirements")
    command.add_argument("--print", action="store_true", help="print the units and write nothing")
    placed(command)


def placed(command: argparse.ArgumentParser) -> None:
    """The option of where."""
    command.add_argument(
        "--into", default="/", metavar="DIR", help="the root directory of an image to change instead of this machine"
    )


def install(bundle: str, args: argparse.Namespace) -> int:
    """Write the files of the gate, all or none, and say so."""
    files = _files(bundle, _named(args.unit), args)
    if args.print:
        for path, (text, _) in list(files.items())[1:]:
            print(f"# /{path}\n{text}")  # noqa: T201 - this is what was asked for
        return 0
    _written(args.into, files)
    for path in files:
        print(f"wrote {os.path.join(args.into, path)}")  # noqa: T201
    _reload(args.into)
    print(f"{_named(args.unit)} starts only where {GATE} passes; gate remove undoes this")  # noqa: T201
    return 0


def remove(args: argparse.Namespace) -> int:
    """Remove the files of `install`: first the drop-in of the guarded unit."""
    tree = _tree(args.into)
    try:
        found = [path for path in _installed(tree) if _ours(tree, path)]
        if not found:
            raise UsageError(f"no gate is installed in {args.into}")
        for path in found:
            tree.unlink(path)
            print(f"removed {os.path.join(args.into, path)}")  # noqa: T201
            if os.path.dirname(path) != FOLDER:
                with suppress(OSError):  # other files are there
                    tree.remove_folder(os.path.dirname(path))
    except OSError as error:
        raise UsageError(f"{_shown(args.into, error)}: {error.strerror or error}") from None
    finally:
        tree.close()
    _reload(args.into)
    return 0


def _tree(root: str) -> TreeWriter:
    try:
        return TreeWriter(root)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"--into {root}: directory not found") from None
    except OSError as error:
        raise UsageError(f"--into {root}: {error.strerror}") from None


def _shown(root: str, error: OSError) -> str:
    """The place of an error, as the user knows it."""
    return os.path.join(root, error.filename) if isinstance(error.filename, str) else root


def _named(unit: str) -> str:
    name = unit if "." in unit else f"{unit}.service"
    if not re.fullmatch(r"[A-Za-z0-9:_.@-]+\.(service|target|socket)", name) or name == GATE:
        raise UsageError(f"--unit {unit}: expected a service, target or socket, such as kubelet.service")
    return name


def _files(bundle: str, unit: str, args: argparse.Namespace) -> Dict[str, File]:
    """By their paths below the root, in the order of writing: what ties the unit comes last."""
    said = {
        "version": __version__,
        "unit": unit,
        "wait": f"{args.wait:g}",
        "strict": " --strict" if args.strict else "",
        "patience": f"{args.wait + SLACK:g}",
    }
    return {
        BUNDLE: (bundle, EXECUTABLE),
        f"{FOLDER}/{GATE}": (UNIT.format(**said), PLAIN),
        f"{FOLDER}/{unit}.d/{TIE}": (TIED.format(**said), PLAIN),
    }


def _installed(tree: TreeWriter) -> Iterator[str]:
    yield from (f"{FOLDER}/{name}/{TIE}" for name in tree.names(FOLDER) if name.endswith(".d"))
    yield from (f"{FOLDER}/{GATE}", BUNDLE)


def _ours(tree: TreeWriter, path: str) -> bool:
    """Whether a file is there that we wrote; a link is not ours, whatever it leads to."""
    return MARK.encode() in (tree.read(path) or b"")[:4096]


# writing


def _written(root: str, files: Dict[str, File]) -> None:
    """Write all files, or leave everything as it was."""
    tree = _tree(root)
    undo: List[Tuple[str, str, bytes]] = []  # how, path, content
    try:
        for path, (text, mode) in files.items():
            for folder in tree.make_folders(path):
                undo.append(("rmdir", folder, b""))  # noqa: PERF401 - those that were made before an error too
            undo.append(_before(tree, path))
            tree.write(path, text.encode(), mode)
    except OSError as error:
        _undone(tree, undo)
        raise UsageError(f"{_shown(root, error)}: {error.strerror or error}: nothing is installed") from None
    except BaseException:
        _undone(tree, undo)
        raise
    finally:
        tree.close()


def _before(tree: TreeWriter, path: str) -> Tuple[str, str, bytes]:
    """How the file comes to be again what it is now."""
    if tree.status(path) is None:
        return "unlink", path, b""
    content = tree.read(path)
    if content is None or not _ours(tree, path):
        whole = os.path.join(tree.root, path)
        raise UsageError(f"{whole} is there already, and nodespec did not make it: nothing is installed")
    return "replace", path, content


def _undone(tree: TreeWriter, undo: List[Tuple[str, str, bytes]]) -> None:
    for how, path, content in reversed(undo):
        try:
            if how == "replace":
                tree.write(path, content)
            elif how == "rmdir":
                tree.remove_folder(path)
            elif tree.status(path) is not None:
                tree.unlink(path)
        except OSError as error:
            print_error(f"nodespec: {os.path.join(tree.root, path)}: {error.strerror or error}: left as it is")


def _reload(root: str) -> None:
    """Tell systemd, where this is the machine that runs it."""
    if root != "/" or not os.path.isdir("/run/systemd/system"):
        return
    import subprocess  # noqa: PLC0415

    try:
        subprocess.run(["/bin/systemctl", "daemon-reload"], check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"systemd was not told: {error}: run `systemctl daemon-reload`") from None

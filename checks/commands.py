"""Installed programs, by name.

The search path is fixed, the usual one of root: /usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin and /bin.
The PATH of the user who runs nodespec does not show what the node's services will find, and is not used.
"""

from __future__ import annotations

from functools import partial

from nodespec.checks import _program_places
from nodespec.facts.declaration import Row, Rows, table
from nodespec.facts.value_types import FreeText
from nodespec.host.tree import NO_PROGRAMS, PROGRAMS, Tree, has_programs
from nodespec.model.observation import Absent, Evidence


def _validate_program_name(text: str) -> str:
    """Validate the name of a program, which must not be a path."""
    if not text or "/" in text or "\0" in text or text in (".", ".."):
        raise ValueError(f"`{text}` is not the name of a program; use a name without slashes, or `files` for a path")
    return text


@table(
    FreeText(),
    sources=(*(f"{folder}/*" for folder in PROGRAMS), ":".join(PROGRAMS), *_program_places.SOURCES),
    noun="program",
    key=_validate_program_name,
    fix="install the package that contains {key}",
    same_at_rest=True,
)
def commands(tree: Tree) -> Rows[Row]:
    """Path of a program: the first executable file of that name on the search path.

    A file counts if any user may execute it. The path is the one on the search path, also if it is a link, as with
    alternatives. Shell built-ins and programs in /opt, /snap or a home directory are not found, with these exceptions:
    kubelet, kubeadm, crictl, runc and crun are also searched in the directories of Flatcar, k3s, RKE2, k0s and
    MicroK8s. The kubelet is also found by its unit.
    """
    otherwise = Absent(Evidence(":".join(PROGRAMS)))
    if not tree.once(has_programs):
        return Rows.lacking(NO_PROGRAMS)
    return Rows(partial(_program_places.find_program, tree), dict, otherwise)

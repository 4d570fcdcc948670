"""Programs that are installed, by the name they are called by.

Looked for on a fixed search path, the usual one of root: /usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin
and /bin. The PATH of whoever runs nodespec says nothing of what the node's services will find, and is not asked.
"""

from __future__ import annotations

from functools import partial

from nodespec.checks import _program_places
from nodespec.facts.declaration import Row, Rows, table
from nodespec.facts.value_types import Text
from nodespec.host.tree import NO_PROGRAMS, PROGRAMS, Tree, has_programs
from nodespec.model.observation import Absent, Evidence


def _name(text: str) -> str:
    """The name of a program, as it is called: no path."""
    if not text or "/" in text or "\0" in text or text in (".", ".."):
        raise ValueError(f"`{text}` cannot be the name of a program: it is called by name, a path stands under files")
    return text


@table(
    Text(),
    sources=(*(f"{folder}/*" for folder in PROGRAMS), ":".join(PROGRAMS), *_program_places.SOURCES),
    noun="program",
    key=_name,
    fix="install the package that holds {key}",
    same_at_rest=True,
)
def commands(tree: Tree) -> Rows[Row]:
    """Where a program stands: the first on the search path that is a file which somebody may execute.

    The path is the one on the search path, also where a link stands there, as with alternatives. Built-in words of a
    shell and programs in /opt, /snap or a home are not found, but for kubelet, kubeadm, crictl, runc and crun:
    these are also looked for where Flatcar, k3s, RKE2, k0s and MicroK8s have them, and the kubelet where its unit is.
    """
    rest = Absent(Evidence(":".join(PROGRAMS)))
    if not tree.once(has_programs):
        return Rows.lacking(NO_PROGRAMS)
    return Rows(partial(_program_places.find_program, tree), dict, rest)

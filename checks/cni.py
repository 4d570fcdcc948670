"""CNI, the network of pods: configuration files in the order of the runtime, and installed plugins.

The directories are the defaults of containerd and CRI-O. Nothing is run, so that `CNI_COMMAND=VERSION` is not used.
"""

from __future__ import annotations

from nodespec.facts.declaration import Columns, Row, Rows, fact, table
from nodespec.facts.value_numbers import Version, Whole
from nodespec.facts.value_types import Flag, FreeText, SetOf
from nodespec.facts.versions import RELEASE
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Value

if TYPE_CHECKING:
    from typing import Dict

CONFIGURATIONS = "/etc/cni/net.d"
BINARIES = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
SOURCES = ("/etc/cni/net.d*", "/opt/cni/bin*", "/usr/lib/cni*", "/usr/libexec/cni*")
PACKAGES = ("/var/lib/dpkg/*", "*/rpmdb.sqlite", "*/apk/db/installed")


def _validate_name(text: str) -> str:
    if not text or "/" in text or "\0" in text:
        raise ValueError(f"`{text}` is not the name of a file")
    return text


@fact(
    Whole(), sources=SOURCES, same_at_rest=True, fix="remove the configurations that no plugin owns; required: {want}"
)
def count(tree: Tree) -> Observation[int]:
    """The number of network configurations: files of /etc/cni/net.d that end in .conf, .conflist or .json.

    0 if the directory does not exist. A runtime uses the first in the order of their names.
    """
    from nodespec.checks._cni_files import list_configurations  # noqa: PLC0415 - both facts share it

    return tree.once(list_configurations).then(len)


@table(
    {
        "order": Whole(),
        "used": Flag(),
        "valid": Flag(),
        "name": FreeText(),
        "version": Version(RELEASE),
        "plugins": SetOf(FreeText()),
        "missing": SetOf(FreeText()),
    },
    sources=SOURCES,
    noun="network configuration",
    key=_validate_name,
    closed=True,
    same_at_rest=True,
    fixes={"valid": "correct /etc/cni/net.d/{key}, or remove it"},
)
def configurations(tree: Tree) -> Rows[Row]:
    """Network configurations by the name of their file in /etc/cni/net.d.

    `order` counts from 1 in the order of the names, and the runtime uses the first: `used`. The others remain without
    an effect, until the first is removed. `valid` is false if the runtime would refuse the file: it is not JSON, or a
    plugin has no type. `name` is that of the network, `version` its cniVersion, `plugins` the types of its plugins, and
    `missing` those without a program in /opt/cni/bin, /usr/lib/cni or /usr/libexec/cni.
    """
    from nodespec.checks import _cni_files  # noqa: PLC0415 - few specs name it

    names = tree.once(_cni_files.list_configurations)
    if not isinstance(names, Value):
        return Rows.lacking(names)
    rows: Dict[str, Observation[Row]] = {
        name: _make_row(tree, name, order) for order, name in enumerate(names.value, 1)
    }
    return Rows.of(rows, Absent(names.evidence))


def _make_row(tree: Tree, name: str, order: int) -> Observation[Row]:
    from nodespec.checks import _cni_files  # noqa: PLC0415 - likewise

    at = Evidence(f"{CONFIGURATIONS}/{name}")

    def read(field: str) -> Observation[object]:
        return tree.once(_cni_files.read_configurations)[name].then(lambda found: getattr(found, field))

    def optional(field: str) -> Observation[str]:
        found = read(field)
        if isinstance(found, Value):
            return Value(str(found.value), at) if found.value else Absent(at, f"no {field}")
        return found

    return Value(
        Columns(
            order=lambda: Value(order, Evidence(CONFIGURATIONS)),
            used=lambda: Value(order == 1, Evidence(CONFIGURATIONS)),
            valid=lambda: read("valid").then(bool),
            name=lambda: optional("name"),
            version=lambda: optional("version"),
            plugins=lambda: read("plugins").then(_as_set),
            missing=lambda: _cni_files.find_missing(tree, read("plugins").then(_as_set)),
        ),
        at,
    )


def _as_set(value: object) -> frozenset[str]:
    return value if isinstance(value, frozenset) else frozenset()


@table(
    {"path": FreeText(), "executable": Flag(), "version": Version(RELEASE)},
    sources=(*SOURCES, *PACKAGES),
    noun="CNI plugin",
    key=_validate_name,
    closed=True,
    same_at_rest=True,
    fix="install the CNI plugin {key} in /opt/cni/bin",
    fixes={"executable": "chmod 0755 /opt/cni/bin/{key}"},
)
def plugins(tree: Tree) -> Rows[Row]:
    """CNI plugins by name: programs in /opt/cni/bin, else /usr/lib/cni or /usr/libexec/cni.

    `executable` is whether any user may run it. `version` is the release in the Go build information of the program;
    for a program without it, as those of distributions are, it is that of the package that owns the directory.
    """
    from nodespec.checks import _cni_files  # noqa: PLC0415 - few specs name it

    found, unread = tree.once(_cni_files.list_plugins)
    rows: Dict[str, Observation[Row]] = {
        name: Value(_cni_files.make_plugin_row(tree, path), Evidence(path)) for name, path in found.items()
    }
    return Rows.of(rows, unread or Absent(Evidence(", ".join(BINARIES))))

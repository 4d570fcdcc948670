"""/etc/fstab as systemd-fstab-generator reads it, and the units that it generates.

https://www.freedesktop.org/software/systemd/man/latest/systemd-fstab-generator.html
"""

from __future__ import annotations

import re
from os.path import normpath

from nodespec.checks import _systemd_switches, _systemd_units
from nodespec.checks._systemd_files import NORMAL, Link
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Unknown, Value
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Tuple, Union

    from nodespec.host.tree import Tree

FSTAB = "/etc/fstab"
GENERATOR = "systemd-fstab-generator"
TAGS = ("UUID", "LABEL", "PARTUUID", "PARTLABEL")
NETWORKED = (
    *("afs", "ceph", "cifs", "smb3", "smbfs", "sshfs", "ncpfs", "ncp", "nfs", "nfs4", "gfs", "gfs2"),
    *("glusterfs", "pvfs2", "ocfs2", "lustre", "davfs"),
)
MAX_FIELDS = 4  # fields that are read of a line


class FstabEntry(NamedTuple):
    """A line of /etc/fstab with escapes resolved: `UUID=x none swap sw,nofail`."""

    what: str
    where: str
    kind: str
    options: str
    at: Evidence

    def has(self, *names: str) -> str:
        """Return the last of these options that is set; empty if none is.

        An option may have a value.
        """
        last = ""
        for option in split_options(self.options):
            last = next((name for name in names if option == name or option.startswith(f"{name}=")), last)
        return last

    def values(self, name: str) -> List[str]:
        """Return the values of an option that may be repeated."""
        pairs = (option.partition("=") for option in split_options(self.options))
        return [value for key, _, value in pairs if key == name and value]

    @property
    def automatic(self) -> bool:
        """Whether it is used at boot: the last of `auto` and `noauto` counts."""
        return self.has("noauto", "auto") != "noauto"

    @property
    def path(self) -> str:
        """Path of the device: /dev/disk/by-uuid/X for UUID=X, with quotes removed."""
        tag, equals, value = self.what.partition("=")
        if not equals or tag not in TAGS:
            return self.what
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        return f"/dev/disk/by-{tag.lower()}/{encode_tag(value)}"


def read_fstab(tree: Tree) -> Union[Tuple[FstabEntry, ...], Unknown]:
    """Return the lines of /etc/fstab; none if the file does not exist."""
    text = tree.text(FSTAB, _systemd_units.MAX_TEXT_BYTES)
    if isinstance(text, Unknown):
        return text
    return tuple(parse_fstab(text.value)) if isinstance(text, Value) else ()


def parse_fstab(text: str) -> Iterator[FstabEntry]:
    """Parse lines as getmntent(3) of glibc does; missing fields are empty."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t")
        if not stripped or stripped[0] == "#":
            continue
        fields = [unescape_field(field) for field in re.split("[ \t]+", stripped)[:MAX_FIELDS]]
        what, where, kind, options = (*fields, "", "", "", "")[:MAX_FIELDS]
        yield FstabEntry(what, where, kind, options, Evidence(FSTAB, number))


def unescape_field(field: str) -> str:
    r"""Decode `a\040b` to `a b`.

    The escapes are a blank, a tab, a newline and a backslash.
    """
    return re.sub(r"\\(040|011|012|134|\\)", lambda match: ESCAPES[match[1]], field)


ESCAPES = {"040": " ", "011": "\t", "012": "\n", "134": "\\", "\\": "\\"}


def split_options(options: str) -> Iterator[str]:
    r"""Split options at commas; `\,` does not separate."""
    return (match[0] for match in re.finditer(r"(?:[^,\\]|\\.?)+", options, re.DOTALL))


def encode_tag(value: str) -> str:
    r"""Encode a label as in the name of an udev link: a blank is `\x20`."""
    return "".join(c if re.match(r"[A-Za-z0-9#+\-.:=@_]", c) or not c.isascii() else f"\\x{ord(c):02x}" for c in value)


def make_unit_name(path: str, kind: str) -> str:
    """Return the unit name of a path, as `systemd-escape --path` prints it.

    It is empty if the path is not normalized.
    """
    return f"{_systemd_units.escape_path(path)}.{kind}" if path and ".." not in path.split("/") else ""


def generate_fstab_units(tree: Tree) -> Iterator[Tuple[str, object]]:
    """Yield the units and links that the generator writes.

    They are named `generator/X.swap` and `generator/swap.target.wants/X.swap`.
    """
    entries = read_fstab(tree)
    if isinstance(entries, Unknown) or _systemd_switches.is_switched_off(tree, "fstab"):
        return
    if not _systemd_switches.runs_generator(tree, GENERATOR):
        return
    made: Dict[str, FstabEntry] = {}
    no_swap = _systemd_switches.is_switched_off(tree, "systemd.swap")
    for entry in entries:
        kind = "swap" if entry.kind == "swap" else "mount"
        name = make_unit_name(entry.path if kind == "swap" else get_mount_point(entry), kind)
        if (
            name
            and name not in made
            and not (kind == "swap" and no_swap)
            and len(name) <= _systemd_units.MAX_NAME_CHARS
        ):
            made[name] = entry
            yield from _generate_unit(name, entry)


def get_mount_point(entry: FstabEntry) -> str:
    """Return the mount point of an entry; empty if the generator skips it.

    It skips entries without a path, and paths that systemd mounts itself.
    """
    # POSIX has a meaning for two slashes at the start, so that normpath keeps them.
    where = "/" + normpath(f"/{entry.where}").lstrip("/") if "/" in entry.where else ""
    return "" if where in API_MOUNTS or entry.kind == "autofs" else where


API_MOUNTS = ("/proc", "/sys", "/dev", "/run")


def _generate_unit(name: str, entry: FstabEntry) -> Iterator[Tuple[str, object]]:
    """Yield the unit of an entry, and the link that starts it."""
    yield f"{NORMAL}/{name}", _format_unit(entry)
    if _is_refused_entry(entry):
        return
    if entry.kind == "swap":
        yield from [_make_link("swap.target", name, entry)] if entry.automatic else []
        return
    network = entry.has("_netdev") or entry.kind in NETWORKED or entry.kind.startswith("fuse.sshfs")
    target = "remote-fs.target" if network else "local-fs.target"
    if name == "-.mount":  # the root is always mounted
        entry = entry._replace(options="")
    wanted = [(unit, "wants") for unit in entry.values("x-systemd.wanted-by")]
    wanted += [(unit, "requires") for unit in entry.values("x-systemd.required-by")]
    if entry.has("x-systemd.automount", "comment=systemd.automount"):
        name = name.replace(".mount", ".automount")
        yield f"{NORMAL}/{name}", f"[Automount]\nWhere={entry.where}\n"
        yield _make_link(target, name, entry)
    elif wanted:
        for unit, suffix in wanted:
            yield f"{NORMAL}/{unit}.{suffix}/{name}", Link(f"../{name}", entry.at)
    elif entry.automatic:
        yield _make_link(target, name, entry)


def _is_refused_entry(entry: FstabEntry) -> bool:
    """Return whether the generator writes the unit but stops before its link.

    It stops at an error, so nothing starts the unit.
    """
    device = entry.path.startswith(("/dev/", "/sys/"))
    made = bool(entry.has("x-systemd.makefs"))
    unmakeable = made and (not device or (entry.kind in ("", "auto")))
    return unmakeable or (device and entry.kind != "swap" and ".." in entry.path.split("/"))


def _make_link(target: str, name: str, entry: FstabEntry) -> Tuple[str, object]:
    suffix = "wants" if entry.has("nofail", "fail") == "nofail" else "requires"
    return f"{NORMAL}/{target}.{suffix}/{name}", Link(f"../{name}", entry.at)


def _format_unit(entry: FstabEntry) -> str:
    """Return the text of the unit, as far as it affects dependencies."""
    required = " ".join(entry.values("x-systemd.requires"))
    section = "Swap" if entry.kind == "swap" else "Mount"
    where = "" if entry.kind == "swap" else f"Where={entry.where}\n"
    what = entry.path.replace("%", "%%").replace("\n", "")
    return f"[Unit]\nRequires={required}\n[{section}]\nWhat={what}\n{where}"

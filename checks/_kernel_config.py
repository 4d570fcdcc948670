"""The file that says how the kernel was built: where it is found, and what its lines say."""

from __future__ import annotations

import re
from functools import partial
from typing import Dict, FrozenSet, Iterator, Mapping, Optional

from nodespec.checks import _kernel_version as _kernel
from nodespec.facts.declaration import Rows
from nodespec.host.tree import LIMIT, Tree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value, first

# The first that can be read counts: the kernel's own word, then what its package installed, then what it was built
# from. `{}` is the release; a file whose name has none must name the kernel in its header.
PATHS = (
    "/proc/config.gz",
    "/boot/config-{}",
    "/lib/modules/{}/config",
    "/usr/lib/modules/{}/config",
    "/usr/lib/ostree-boot/config-{}",
    "/usr/lib/kernel/config-{}",
    "/lib/kernel/config-{}",
    "/lib/modules/{}/build/.config",
    "/usr/lib/modules/{}/build/.config",
    "/usr/src/linux-headers-{}/.config",
    "/usr/src/linux-rt-headers-{}/.config",
    "/usr/src/linux-{}/.config",
    "/usr/src/linux-rt-{}/.config",
    "/usr/src/linux/.config",
)
RESTING = PATHS[1:]
# What programs call the places; `other` are those that few of them read.
PLACES = {
    "/proc/config.gz": "proc",
    "/boot/config-{}": "boot",
    "/usr/lib/modules/{}/config": "modules",
    "/usr/lib/ostree-boot/config-{}": "ostree",
    "/usr/lib/kernel/config-{}": "kernel",
    "/lib/modules/{}/build/.config": "build",
    "/usr/src/linux-headers-{}/.config": "headers",
    "/usr/src/linux-{}/.config": "source",
    "/usr/src/linux/.config": "source",
}
FILES = tuple(path.format("*") for path in PATHS)
WORDS = (*dict.fromkeys(PLACES.values()), "module", "other")


def file(machine: Tree) -> Observation[bytes]:
    """The configuration, from the first file that has one, after a line break."""
    return first(_files(machine))


def _files(machine: Tree) -> Iterator[Observation[bytes]]:
    release = _kernel.release(machine)
    named = release.value if isinstance(release, Value) else ""
    for path in PATHS if machine.running else RESTING:
        read = machine.read(path.format(named)).then(_unpacked)
        own = "{}" in path or path.startswith("/proc/")
        yield read if own else read.then(partial(_of, named))
    if not machine.running:
        yield from _within(machine)


def places(machine: Tree) -> Observation[FrozenSet[str]]:
    """The places that have a configuration of this kernel; `module` is one that `modprobe configs` brings."""
    release = _kernel.release(machine)
    if not isinstance(release, Value):
        return release
    found: Dict[str, str] = {}
    unread = None
    for path in PATHS if machine.running else RESTING:
        file = machine.entry(path.format(release.value))
        unread = unread or (file if isinstance(file, Unknown) else None)
        if isinstance(file, Value) and file.value.kind == "file" and file.value.size >= (path not in PSEUDO):
            found.setdefault(PLACES.get(path, "other"), path.format(release.value))
    listed = _kernel.installed(machine)
    if isinstance(listed, Value) and "configs" in listed.value:
        found["module"] = listed.evidence.source
    kept = None if machine.running else _kept(machine)
    if isinstance(kept, Value):
        found["proc"] = kept.evidence.source
    unread = unread or (kept if isinstance(kept, Unknown) else None)
    if not found and unread:
        return unread
    return Value(frozenset(found), Evidence(", ".join(dict.fromkeys(found.values())) or PATHS[machine.running < 1]))


def _kept(tree: Tree) -> Observation[str]:
    """Whether the kernel will show its configuration as /proc/config.gz: what was built so does."""
    data, shown = tree.once(file), option(tree, "IKCONFIG_PROC")
    if not isinstance(data, Value):
        return data
    return data.then(lambda _: "proc") if isinstance(shown, Value) and shown.value == "y" else Absent(data.evidence)


PSEUDO = PATHS[:1]  # /proc shows no sizes of some files


def _within(tree: Tree) -> Iterator[Observation[bytes]]:
    """What CONFIG_IKCONFIG left in the kernel's own file, or in the module `configs`: a last resort, at rest."""
    from nodespec.checks import _boot_next as _boot  # noqa: PLC0415
    from nodespec.checks import _kernel_image as _image  # noqa: PLC0415

    kernel, builtin, listed = _boot.chosen(tree), _kernel.builtin(tree), _kernel.installed(tree)
    if isinstance(listed, Value) and "configs" in listed.value:
        path = _kernel.module_file(tree, listed.evidence._replace(line=listed.value["configs"]))
        yield _image.configuration(tree, path).then(_unpacked)
    may_be = isinstance(builtin, Absent) or (isinstance(builtin, Value) and "configs" in builtin.value)
    if isinstance(kernel, Value) and kernel.value.held.image and may_be:
        yield _image.configuration(tree, kernel.value.held.path).then(_unpacked)


def _unpacked(data: bytes) -> bytes:
    if data[:2] == b"\x1f\x8b":
        data = _gunzipped(data)
    if b"\nCONFIG_" not in b"\n" + data:
        raise ValueError("is no kernel configuration")
    if not data.endswith(b"\n"):  # as it ends on a full disk: what it lacks would be `undefined`
        raise ValueError("does not end with a newline; the file may be truncated")
    return b"\n" + data + b"\n"


def _gunzipped(data: bytes) -> bytes:
    import zlib  # noqa: PLC0415

    unpacking = zlib.decompressobj(31)
    try:
        unpacked = unpacking.decompress(data, LIMIT)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof:
        raise ValueError("ends too early, or is too long")
    return unpacked


def _of(release: str, data: bytes) -> bytes:
    """The configuration, if its header names this kernel."""
    if not re.match(re.escape(headline(data)) + r"(?![\w.])", release):
        raise ValueError("is the configuration of another kernel")
    return data


def signature(data: bytes) -> str:
    """`CONFIG_VERSION_SIGNATURE="Ubuntu 5.15.0-25.25-generic 5.15.30"`: upstream's version comes last."""
    match = re.search(rb'^CONFIG_VERSION_SIGNATURE="[^"\n]* (\d[^"\s]*)"', data, re.MULTILINE)
    if not match:
        raise ValueError("has no version signature")
    return match[1].decode("utf-8", "backslashreplace")


def headline(data: bytes) -> str:
    """`# Linux/x86 6.1.176 Kernel Configuration` near the top."""
    match = re.search(rb"^# Linux/\S+ (\d\S*) Kernel Configuration", data[:4096], re.MULTILINE)
    if not match:
        raise ValueError("does not say which kernel it is of")
    return match[1].decode("utf-8", "backslashreplace")


def option(machine: Tree, name: str) -> Optional[Observation[str]]:
    """What the file says of an option; nothing where there is none."""
    data = machine.once(file)
    return rows(data.value, data.evidence).look(name) if isinstance(data, Value) else None


def rows(data: bytes, at: Evidence) -> Rows[str]:
    """Rows of a .config: of several lines for an option the last counts, and one as in `SAID` before any other.

    An option is looked up among the lines as they stand: most specs ask for some fifty of ten thousand.
    """
    lines = data.split(b"\n")
    last: Dict[bytes, int] = {}

    def look(name: str) -> Optional[Observation[str]]:
        if not last:
            last.update(zip(lines, range(len(lines))))
        option = b"CONFIG_%b" % name.encode()
        line = max(last.get(form % option, -1) for form in SAID)
        found = _row(lines[line]) if line >= 0 else None
        if not found:
            start = max(data.rfind(form % option) for form in (b"\n%b=", b"\n# %b is not set"))
            line = data.count(b"\n", 0, start + 1) if start >= 0 else 0
            found = _row(lines[line])
        return Value(found[1], at._replace(line=line)) if found else None

    def every() -> Mapping[str, Observation[str]]:
        rows: Dict[str, Observation[str]] = {}
        said = set()
        for line, text in enumerate(lines):
            found = _row(text)
            if not found:
                continue
            option = b"CONFIG_%b" % found[0].encode()
            if text in [form % option for form in SAID]:
                said.add(option)
            elif option in said:
                continue
            rows[found[0]] = Value(found[1], at._replace(line=line))
        return rows

    return Rows(look, every, Value("undefined", at))


SAID = (b"%b=y", b"%b=m", b"# %b is not set")  # by almost every line
_ROW = re.compile(rb"CONFIG_(\w+)=(.*?)\r?|# CONFIG_(\w+) is not set\s*")


def _row(line: bytes) -> Optional[tuple[str, str]]:
    """Name and value of a line; of a string without its quotes. Nothing for any other line."""
    match = _ROW.fullmatch(line)
    if not match:
        return None
    if match[3]:
        return match[3].decode(), "n"
    value = match[2]
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    return match[1].decode(), value.decode("utf-8", "backslashreplace")

"""Files with the build configuration of the kernel: their paths and their syntax."""

from __future__ import annotations

import re
from functools import partial

from nodespec.checks import _kernel_version
from nodespec.facts.declaration import Rows
from nodespec.host.tree import MAX_FILE_BYTES, Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Lacking, Observation, Unknown, Value, select_first

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterator, Mapping, Optional

# The first readable file counts: that of the kernel itself, then of its package, then of its build tree. `{}` is the
# release. A file without a release in its path must name the kernel in its header.
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
PATHS_AT_REST = PATHS[1:]
# The names of the places in `config_sources`; few programs read those of `other`.
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


def read_kernel_config(machine: Tree) -> Observation[bytes]:
    """Return the content of the first file that exists, after a line break."""
    return select_first(_read_config_files(machine))


def _read_config_files(machine: Tree) -> Iterator[Observation[bytes]]:
    release = _kernel_version.read_kernel_release(machine)
    named = release.value if isinstance(release, Value) else ""
    for path in PATHS if machine.running else PATHS_AT_REST:
        read = machine.read(path.format(named)).then(_unpack_config)
        is_certain = "{}" in path or path.startswith("/proc/")
        yield read if is_certain else read.then(partial(_require_release, named))
    if not machine.running:
        yield from _read_embedded_config(machine)


def list_config_places(machine: Tree) -> Observation[FrozenSet[str]]:
    """Return the places that have a configuration of this kernel.

    `module` is the place that `modprobe configs` adds.
    """
    release = _kernel_version.read_kernel_release(machine)
    if not isinstance(release, Value):
        return release
    paths: Dict[str, str] = {}
    unread = None
    for path in PATHS if machine.running else PATHS_AT_REST:
        file = machine.entry(path.format(release.value))
        unread = unread or (file if isinstance(file, Unknown) else None)
        if isinstance(file, Value) and file.value.kind == "file" and file.value.size >= (path not in PSEUDO_FILES):
            paths.setdefault(PLACES.get(path, "other"), path.format(release.value))
    listed = _kernel_version.list_installed_modules(machine)
    if isinstance(listed, Value) and "configs" in listed.value:
        paths["module"] = listed.evidence.source
    kept = None if machine.running else _find_proc_config(machine)
    if isinstance(kept, Value):
        paths["proc"] = kept.evidence.source
    unread = unread or (kept if isinstance(kept, Unknown) else None)
    if not paths and unread:
        return unread
    return Value(frozenset(paths), Evidence(", ".join(dict.fromkeys(paths.values())) or PATHS[machine.running < 1]))


def _find_proc_config(tree: Tree) -> Observation[str]:
    """Return `proc` if the kernel is built to provide /proc/config.gz."""
    data, shown = tree.once(read_kernel_config), read_config_option(tree, "IKCONFIG_PROC")
    if not isinstance(data, Value):
        return data
    return data.then(lambda _: "proc") if isinstance(shown, Value) and shown.value == "y" else Absent(data.evidence)


PSEUDO_FILES = PATHS[:1]  # /proc reports no size for some files.


def _read_embedded_config(tree: Tree) -> Iterator[Observation[bytes]]:
    """Yield the configuration in the kernel's file or the module `configs`, at rest.

    CONFIG_IKCONFIG stores it there. Unpacking is slow, so this is the last source.
    """
    from nodespec.checks import _boot_next, _kernel_image  # noqa: PLC0415

    kernel, builtin, listed = (
        _boot_next.resolve_next_kernel(tree),
        _kernel_version.list_builtin_modules(tree),
        _kernel_version.list_installed_modules(tree),
    )
    if isinstance(listed, Value) and "configs" in listed.value:
        path = _kernel_version.find_module_file(tree, listed.evidence._replace(line=listed.value["configs"]))
        yield _kernel_image.extract_config(tree, path).then(_unpack_config)
    may_be = isinstance(builtin, Absent) or (isinstance(builtin, Value) and "configs" in builtin.value)
    if isinstance(kernel, Value) and kernel.value.installed.image and may_be:
        yield _kernel_image.extract_config(tree, kernel.value.installed.path).then(_unpack_config)


def _unpack_config(data: bytes) -> bytes:
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data)
    if b"\nCONFIG_" not in b"\n" + data:
        raise ValueError("not a kernel configuration; expected lines such as CONFIG_NET=y")
    if not data.endswith(b"\n"):  # A full disk truncates the file: options that are missing would be `undefined`.
        raise ValueError("does not end with a newline; the file may be truncated")
    return b"\n" + data + b"\n"


def _gunzip(data: bytes) -> bytes:
    import zlib  # noqa: PLC0415

    unpacking = zlib.decompressobj(31)
    try:
        unpacked = unpacking.decompress(data, MAX_FILE_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof:
        raise ValueError("the file is truncated or too large")
    return unpacked


def _require_release(release: str, data: bytes) -> bytes:
    """Return the configuration if its header names this kernel."""
    if not re.match(re.escape(parse_headline(data)) + r"(?![\w.])", release):
        raise ValueError("the configuration is that of another kernel")
    return data


def parse_signature(data: bytes) -> str:
    """Parse the upstream version, which is last, of Ubuntu's signature.

    Example: `CONFIG_VERSION_SIGNATURE="Ubuntu 5.15.0-25.25-generic 5.15.30"`.
    """
    # Most kernels have none. To find the plain text first is ten times as fast as the pattern.
    at = data.find(b"CONFIG_VERSION_SIGNATURE=")
    text = data[max(at - 1, 0) :] if at >= 0 else b""
    match = re.search(rb'^CONFIG_VERSION_SIGNATURE="[^"\n]* (\d[^"\s]*)"', text, re.MULTILINE) if text else None
    if not match:
        raise ValueError("no version signature found")
    return match[1].decode("utf-8", "backslashreplace")


def parse_headline(data: bytes) -> str:
    """Parse `# Linux/x86 6.1.176 Kernel Configuration` near the start."""
    match = re.search(rb"^# Linux/\S+ (\d\S*) Kernel Configuration", data[:4096], re.MULTILINE)
    if not match:
        raise ValueError("no header with a kernel version found")
    return match[1].decode("utf-8", "backslashreplace")


def read_config_option(machine: Tree, name: str) -> Optional[Observation[str]]:
    """Return the value of an option; None if the file does not mention it."""
    data = machine.once(read_kernel_config)
    return parse_config_rows(data.value, data.evidence).observe(name) if isinstance(data, Value) else None


def parse_config_rows(data: bytes, at: Evidence) -> Rows[str]:
    """Rows of a .config.

    If several lines set an option, the last counts, but a line as in `SAID` comes before all others. An option is
    searched in the raw text: most specs use some fifty of ten thousand options.
    """
    lines = data.split(b"\n")
    last: Dict[bytes, int] = {}

    def find_row(name: str) -> Optional[Observation[str]]:
        if not last:
            last.update(zip(lines, range(len(lines))))
        option = b"CONFIG_%b" % name.encode()
        line, value = max((last.get(form % option, -1), value) for form, value in COMMON_FORMS.items())
        if line >= 0:
            return Value(value, at._replace(line=line))
        start = max(data.rfind(form % option) for form in (b"\n%b=", b"\n# %b is not set"))
        line = data.count(b"\n", 0, start + 1) if start >= 0 else 0
        parsed = _parse_config_line(lines[line])
        return Value(parsed[1], at._replace(line=line)) if parsed else None

    def every() -> Mapping[str, Observation[str]]:
        rows: Dict[str, Observation[str]] = {}
        common = set()
        for line, text in enumerate(lines):
            parsed = _parse_config_line(text)
            if not parsed:
                continue
            option = b"CONFIG_%b" % parsed[0].encode()
            if text in [form % option for form in COMMON_FORMS]:
                common.add(option)
            elif option in common:
                continue
            rows[parsed[0]] = Value(parsed[1], at._replace(line=line))
        return rows

    return Rows(find_row, every, Value("undefined", at))


COMMON_FORMS = {b"%b=y": "y", b"%b=m": "m", b"# %b is not set": "n"}  # almost every line has one of these forms
_ROW = rb"CONFIG_(\w+)=(.*?)\r?|# CONFIG_(\w+) is not set\s*"  # compiled when it is first used


def _parse_config_line(line: bytes) -> Optional[tuple[str, str]]:
    """Parse name and value of a line; None for any other line.

    A string is returned without its quotes.
    """
    match = re.fullmatch(_ROW, line)
    if not match:
        return None
    if match[3]:
        return match[3].decode(), "n"
    value = match[2]
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
    return match[1].decode(), value.decode("utf-8", "backslashreplace")


def read_options(tree: Tree) -> Rows[str]:
    """Return the options of the kernel."""
    return tree.once(_read_options)


def read_options_at_rest(tree: Tree) -> Rows[str]:
    """Return the options of the kernel that the next boot starts."""
    release = _kernel_version.read_kernel_release(tree)
    return Rows.lacking(release) if isinstance(release, Unknown) else tree.once(_read_options)


def _read_options(tree: Tree) -> Rows[str]:
    file = tree.once(read_kernel_config)
    if isinstance(file, Value):
        return parse_config_rows(file.value, file.evidence)
    from nodespec.checks import _kernel_config_inferred  # noqa: PLC0415

    return Rows(
        lambda name: _kernel_config_inferred.infer_option(tree, name),
        lambda: _kernel_config_inferred.infer_options(tree),
        _explain_unread_config(tree, file),
    )


def _explain_unread_config(tree: Tree, file: Lacking) -> Unknown:
    if isinstance(file, Unknown):
        return file
    if not tree.running:
        message = "no configuration of the kernel found, and no other evidence of the option"
        return Unknown("not found", message, "install /boot/config-RELEASE, or the kernel's headers")
    hint = "make /boot/config-RELEASE visible here, or boot a kernel that provides /proc/config.gz"
    return Unknown(
        "not found", "no configuration of the running kernel found, and no other evidence of the option", hint
    )

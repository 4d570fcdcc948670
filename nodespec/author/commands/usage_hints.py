"""Suggest the right command after a usage error.

Nothing here runs unless a command line has already been rejected.
"""

from __future__ import annotations

import os
import re

from nodespec.errors import UsageError, suggest_name
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO, Iterator, Sequence, Tuple

SNIFFED_BYTES = 4096
DISK_IMAGES = {  # magic bytes and their offset
    "a qcow2 disk image": (0, b"QFI\xfb"),
    "a VMDK disk image": (0, b"KDMV"),
    "a VHDX disk image": (0, b"vhdxfile"),
    "a SquashFS image": (0, b"hsqs"),
    "an ISO 9660 image": (32769, b"CD001"),
    "a raw disk image": (510, b"\x55\xaa"),
    "an ext file system": (1080, b"\x53\xef"),
}
SPEC, RECORDING, REPORT, WAIVERS, IMAGE, DISK, UNKNOWN = (
    "a spec",
    "a recording",
    "a stored report",
    "a waiver file",
    "an image",
    "a disk image",
    "",
)
RIGHT_PLACE = {  # how a file of each kind is used
    SPEC: "nodespec check {file}",
    RECORDING: "nodespec check SPEC --facts {file}",
    REPORT: "nodespec report {file}",
    WAIVERS: "nodespec check SPEC --waivers {file}",
    IMAGE: "nodespec check SPEC --image {file}",
}
EXPECTED = {"check": SPEC, "lint": SPEC, "bundle": SPEC, "gate": SPEC, "report": REPORT, "verify": REPORT}
OPTION_FILES = {"--facts": RECORDING, "--waivers": WAIVERS, "--image": IMAGE}
REGISTRY = re.compile(
    r"(?:[a-z]+://)?[\w-]+(?:\.[\w-]+)+(?::\d+)?/[\w./-]+(?::[\w.-]+)?(?:@sha256:[0-9a-f]+)?$", re.ASCII
)
OPTIONS = {  # options of other programs, and what to write here
    "--json": "-o json",
    "--yaml": "-o json (a report is never YAML; `nodespec facts` prints YAML)",
    "--html": "-o html=FILE",
    "--markdown": "-o markdown",
    "--junit": "-o junit=FILE",
    "--format": "-o FORMAT[=FILE]",
    "--output": "-o FORMAT[=FILE]",
    "-f": "-o FORMAT[=FILE]",
    "-q": "the exit code alone: >/dev/null",
    "--quiet": "the exit code alone: >/dev/null",
    "--silent": "the exit code alone: >/dev/null",
    "--param": "--set NAME=VALUE",
    "--spec": "the name of the spec without an option",
    "--timeout": "--deadline SECONDS",
    "--exclude": "--skip GLOB",
    "--include": "--only GLOB",
}
EXTENSIONS = {"html": "html", "htm": "html", "json": "json", "xml": "junit", "md": "markdown", "txt": "text"}


def improve_usage_error(args: Sequence[str], error: UsageError) -> UsageError:
    """Return the error with suggestions for this command line, or the error itself if there are none."""
    from nodespec.author.commands.main import COMMANDS  # noqa: PLC0415 - a plain check does not import the table

    commands = tuple(COMMANDS)
    words = args[1:] if args[:1] == ["help"] else args
    suggestions = [f"nodespec: {one}" for one in dict.fromkeys(_suggest(words, commands))]
    if not suggestions:
        return error
    known = bool(words) and words[0] in commands
    return UsageError(*(error.messages if known else ()), *suggestions)


def _suggest(args: Sequence[str], commands: Sequence[str]) -> Iterator[str]:
    """Yield suggestions for a rejected command line."""
    command = args[0] if args else ""
    if command not in commands:
        if command and not command.startswith("-"):
            yield from _suggest_command(command, commands)
        return
    for option in args[1:]:
        name, _, _ = option.partition("=")
        if name in OPTIONS:
            yield f"{name} is not an option; write {OPTIONS[name]}"
    yield from _suggest_format(args)
    for role, expected, file in _named_files(args):
        found = sniff_kind(file)
        if found and found != expected:
            yield _suggest_place(file, found, role)


def _suggest_command(word: str, commands: Sequence[str]) -> Iterator[str]:
    from nodespec.author.spec.library import Library  # noqa: PLC0415 - after an error only

    kind = sniff_kind(word)
    if kind in RIGHT_PLACE:
        yield f"{word} is {kind}; write {RIGHT_PLACE[kind].format(file=word)}"
    elif word in Library().names():
        yield f"{word} is a spec; write nodespec check {word}"
    else:
        near = suggest_name(word, commands)
        yield f"`{word}` is not a command{near or '; nodespec help lists the commands'}"


def _suggest_format(args: Sequence[str]) -> Iterator[str]:
    """Yield what to write instead of `-o report.html` or `-o yaml`, in the commands that write reports."""
    if not args or args[0] not in ("check", "report"):
        return
    values = [after for before, after in zip(args, args[1:]) if before == "-o"]
    values += [one[2:] for one in args if one.startswith("-o") and len(one) > 2]  # noqa: PLR2004 - `-oVALUE`
    for value in values:
        extension = value.rpartition(".")[2].lower()
        if "=" not in value and "." in value and extension in EXTENSIONS:
            yield f"-o takes a format; for a file write -o {EXTENSIONS[extension]}={value}"
        elif value in ("yaml", "yml"):
            yield "a report is never YAML; write -o json"
        elif value == "md":
            yield "write -o markdown"


def _named_files(args: Sequence[str]) -> Iterator[Tuple[str, str, str]]:
    """Yield the role, the expected kind and the path of each argument that names a file."""
    role = ""
    for one in args[1:]:
        if role:
            yield role, OPTION_FILES[role], one
            role = ""
        elif one in OPTION_FILES:
            role = one
        elif one.partition("=")[0] in OPTION_FILES:
            name, _, value = one.partition("=")
            yield name, OPTION_FILES[name], value
        elif not one.startswith("-") and args[0] in EXPECTED:
            yield args[0], EXPECTED[args[0]], one


def _suggest_place(file: str, kind: str, role: str) -> str:
    """Return where a file of this kind belongs."""
    if kind in RIGHT_PLACE:
        return f"{file} is {kind}; write {RIGHT_PLACE[kind].format(file=file)}"
    if kind == REGISTRY_REFERENCE:
        return (
            f"{file} looks like an image in a registry, which nodespec does not pull; write "
            f"skopeo copy docker://{file.partition('://')[2] or file} oci-archive:image.tar, then "
            "nodespec check SPEC --image image.tar"
        )
    return f"{file} is {kind}, not {EXPECTED.get(role, OPTION_FILES.get(role, SPEC))}; {DISK_HELP.format(file=file)}"


REGISTRY_REFERENCE = "an image reference"
DISK_HELP = "write virt-tar-out -a {file} / - | nodespec check SPEC --image -, or mount it and use --image DIR"


def sniff_kind(path: str) -> str:
    """Return what kind of input a path names, judged by at most 4 KiB of it; empty if that is not certain."""
    if os.path.isdir(path):
        return IMAGE if any(os.path.isdir(os.path.join(path, name)) for name in ("etc", "usr")) else UNKNOWN
    if not os.path.exists(path):
        return REGISTRY_REFERENCE if REGISTRY.match(path) and not path.startswith(".") else UNKNOWN
    if not os.path.isfile(path):
        return UNKNOWN
    try:
        with open(path, "rb") as file:
            start = file.read(SNIFFED_BYTES)
            magics = {kind: _read_at(file, offset, len(magic)) for kind, (offset, magic) in DISK_IMAGES.items()}
    except OSError:
        return UNKNOWN
    for kind, (_, magic) in DISK_IMAGES.items():
        if magics[kind] == magic:
            return kind
    return _sniff_document(start)


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _sniff_document(start: bytes) -> str:
    """Return the kind of a YAML, JSON or tar file by its first bytes."""
    if start[257:262] == b"ustar":
        return IMAGE
    text = start.decode("utf-8", "replace")
    if re.match(r'\s*\{\s*"nodespec-facts"', text):
        return RECORDING
    if re.match(r'\s*\{\s*"nodespec":\s*1,\s*"reports"', text):
        return REPORT
    if re.search(r"^nodespec-waivers:|^waivers:", text, re.MULTILINE):
        return WAIVERS
    return SPEC if re.search(r"^nodespec:\s*1\b", text, re.MULTILINE) else UNKNOWN

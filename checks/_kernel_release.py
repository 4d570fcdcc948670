"""The version of Linux that a kernel was built from, by any available source."""

from __future__ import annotations

import re

from nodespec.checks import _kernel_config, _kernel_version
from nodespec.facts.declaration import Columns
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Optional

    from nodespec.checks._boot_kernels import BootKernel

PACKAGED = ("/var/lib/dpkg/*", "*/rpmdb.sqlite", "*/apk/db/installed")
HEADERS = ("/lib/modules/{}/source", "/lib/modules/{}/build", "/usr/src/linux-headers-{}", "/usr/src/kernels/{}")
SOURCES = (
    *_kernel_version.BOOT_FILES,
    *_kernel_config.FILES,
    *PACKAGED,
    *(f"{folder.format('*')}/Makefile" for folder in HEADERS),
)
PACKAGES = ("linux-image-{}", "linux-image-unsigned-{}", "linux-modules-{}")  # of Debian and derivatives
RPMS = ("kernel-core", "kernel", "kernel-default")  # all releases of these may be installed side by side


def resolve_version_at_rest(tree: Tree) -> Observation[str]:
    """Return the version of the kernel that the next boot starts."""
    from nodespec.checks import _boot_next  # noqa: PLC0415

    kernel = _boot_next.resolve_kernel_at_rest(tree)
    if not isinstance(kernel, Value):
        return kernel
    return choose_version(_read_version_sources(tree, kernel.value))


def choose_version(versions: Iterable[Observation[str]]) -> Observation[str]:
    """Return the first exact version, else the first inferred, else the last reason.

    If a source exists and cannot be read, nothing is inferred: the source would have been more precise.
    """
    last: Observation[str] = Absent(Evidence(""))
    inferred: Optional[Value[str]] = None
    unread: Optional[Unknown] = None
    for version in versions:
        last = version
        if isinstance(version, Value) and not version.evidence.inferred:
            return version
        if isinstance(version, Unknown) and version.reason in UNREAD_REASONS:
            unread = unread or version
        inferred = inferred or (version if isinstance(version, Value) else None)
    return unread or inferred or last


UNREAD_REASONS = ("hidden", "no permission", "failed", "timed out")


def parse_upstream_version(text: str) -> str:
    """Parse an upstream version.

    It is 6.1.176 for 6.1.176-1, 6.2-rc3 for 6.2~rc3-1, and 6.19.0-rc7 for Fedora's 6.19.0-0.rc7.51.fc44
    and for 6.19.0-061900rc7-generic, a mainline build of Ubuntu.
    """
    match = _UPSTREAM.match(text)
    if not match:
        raise ValueError(f"`{text[:80]}` does not begin with a version")
    return "-".join(filter(None, match.groups()))


_UPSTREAM = re.compile(r"(\d{1,4}\.\d{1,5}(?:\.\d{1,5})?)(?:[-~](?:0\.|\d{6})?(rc\d{1,3}))?")


def parse_debian_version(banner: str) -> str:
    """Parse Debian's version from the text of /proc/version.

    Example: `... (gcc-12 (Debian 12.2.0-14) ...) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-05-01)`.
    """
    build = re.search(r"\bDebian (?:\d+:)?(\S+)", banner.rpartition("#")[2])
    if not build:
        raise ValueError("no version of a Debian package found")
    return parse_upstream_version(build[1])


def read_header_version(tree: Tree) -> Observation[str]:
    """Return the version of the configuration's header, if the series is the same.

    A release in the header may only name an ABI.
    """
    release = _kernel_version.read_kernel_release(tree)
    series = release.value.split(".")[:2] if isinstance(release, Value) else []

    def agreed(text: str) -> str:
        version = parse_upstream_version(text)
        if version.split(".")[:2] != series:
            raise ValueError("the configuration is that of another kernel")
        return version

    data = tree.once(_kernel_config.read_kernel_config)
    signed = data.then(_kernel_config.parse_signature).then(agreed)
    if isinstance(signed, Value):
        return signed
    line = data.then(_kernel_config.parse_headline)
    return _mark_inferred(line.then(agreed), line.value if isinstance(line, Value) else "")


def _mark_inferred(version: Observation[str], text: str) -> Observation[str]:
    """Return a version, inferred if more text follows it: 5.15.0-25-generic."""
    if not isinstance(version, Value) or _UPSTREAM.fullmatch(text):
        return version
    return Value(version.value, version.evidence._replace(inferred=True))


def infer_release_version(tree: Tree) -> Observation[str]:
    """Return the version of a release, which may only name an ABI."""
    named = _kernel_version.read_kernel_release(tree).then(parse_upstream_version)
    return Value(named.value, named.evidence._replace(inferred=True)) if isinstance(named, Value) else named


def _read_version_sources(tree: Tree, kernel: BootKernel) -> Iterator[Observation[str]]:
    from nodespec.checks import _kernel_image  # noqa: PLC0415

    if kernel.installed.image:
        yield _kernel_image.read_banner(tree, kernel.installed.path).then(parse_debian_version)
    yield read_header_version(tree)
    yield _read_package_version(tree, kernel.release)
    for folder in HEADERS:
        yield tree.text(f"{folder.format(kernel.release)}/Makefile").then(_parse_makefile)
    yield infer_release_version(tree)


def _read_package_version(tree: Tree, release: str) -> Observation[str]:
    """Return the version of the package that contains only this kernel release."""
    from nodespec.checks.packages import read_packages  # noqa: PLC0415

    rows = read_packages(tree)
    for name in (*(name.format(release) for name in PACKAGES), *RPMS):
        row = rows.observe(name)
        if isinstance(row, Value) and isinstance(row.value, Columns):
            full_version, version = row.value["rpm"], row.value["version"].then(str)
            if not isinstance(full_version, Value) or release.startswith(re.sub(r"^\d+:", "", str(full_version.value))):
                return _parse_package_version(row.value, version, release)
    return Unknown("not found", f"no package has the version of the kernel {release}")


def _parse_package_version(row: Columns, version: Observation[str], release: str) -> Observation[str]:
    """Return the version of a package; inferred if its name is that of the ABI.

    Example: Ubuntu's 5.15.0-25.25.
    """
    full_version = row["deb"].then(str)
    abi = re.match(r"\d+(?:\.\d+)*-\d+", release)
    named = (
        isinstance(full_version, Value) and abi is not None and full_version.value.rpartition(":")[2].startswith(abi[0])
    )
    upstream = version.then(parse_upstream_version)
    return (
        Value(upstream.value, upstream.evidence._replace(inferred=True))
        if isinstance(upstream, Value) and named
        else upstream
    )


def _parse_makefile(makefile: str) -> str:
    """Parse `VERSION = 6`, `PATCHLEVEL = 1`, `SUBLEVEL = 176` of the top Makefile."""
    numbers = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL)[ \t]*=[ \t]*(\d{1,5})[ \t]*$", makefile, re.MULTILINE))
    return f"{numbers['VERSION']}.{numbers['PATCHLEVEL']}.{numbers['SUBLEVEL']}"

from __future__ import annotations

import gzip
import struct
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _rpm, packages
from nodespec.facts.declaration import Record, Row, Rows, Table, resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

REAL = gzip.decompress((Path(__file__).parent / "rpmdb.sqlite.gz").read_bytes())  # tests/stages/rpm.py makes it
PATH = "/usr/lib/sysimage/rpm/rpmdb.sqlite"
NEWEST = {
    "containerd": "2.1.5-1.el9",
    "cri-o": "1:1.35.0~rc1-2.fc43",
    "glibc": "2.34-100.el9_4.2",
    "glibc:i686": "2.34-100.el9_4.2",
    "kernel-core": "5.14.0-503.11.1.el9_5",
    "kubelet": "1.35.0-150500.1.1",
    "python3.11-pip": "22.3.1^20240101git-5.el9",
    "runc": "4:1.2.0-1.el9",
}


def rows(root: str) -> Rows[Row]:
    assert packages.packages.resting
    return packages.packages.resting(DirectoryTree(root))


def record(row: Observation[Row]) -> Record:
    assert isinstance(row, Value), row
    return cast("Record", row.value)


def values(row: Observation[Row]) -> Dict[str, object]:
    for seen in record(row).values():
        assert not isinstance(seen, Unknown)
        assert any(fnmatchcase(seen.evidence.source, source) for source in packages.packages.sources)
    return {name: column.value for name, column in record(row).items() if isinstance(column, Value)}


@pytest.fixture
def real(make_tree: MakeTree) -> Rows[Row]:
    return rows(make_tree({PATH: REAL}))


class TestReal:
    """A database that rpm itself has filled."""

    def test_every_package_is_there_in_its_newest_version(self, real: Rows[Row]) -> None:
        assert {name: values(row)["rpm"] for name, row in real.every().items()} == NEWEST
        assert {name: values(real.observe(name))["rpm"] for name in NEWEST} == NEWEST

    def test_a_row_has_all_of_it(self, real: Rows[Row]) -> None:
        row = real.observe("cri-o")
        assert values(row) == {
            "version": "1.35.0-rc1",
            "rpm": NEWEST["cri-o"],
            "status": "installed",
            "architecture": "x86_64",
            "held": False,
        }
        assert record(row)["deb"] == Absent(Evidence(PATH), "a package of RPM has its version in the column `rpm`")
        assert record(row)["apk"] == record(row)["deb"]

    def test_an_architecture_may_be_asked_for(self, real: Rows[Row]) -> None:
        assert values(real.observe("glibc"))["architecture"] == "x86_64"
        assert values(real.observe("glibc:i686"))["architecture"] == "i686"
        assert values(real.observe("python3.11-pip:noarch"))["version"] == "22.3.1^20240101git"
        assert isinstance(real.observe("glibc:s390x"), Absent)

    def test_what_is_missing_is_absent_and_the_nearest_is_named(self, real: Rows[Row]) -> None:
        assert real.observe("kubelets") == Absent(Evidence(PATH), "there is `kubelet`")

    @pytest.mark.parametrize("path", _rpm.FILES)
    def test_wherever_it_is_kept(self, make_tree: MakeTree, path: str) -> None:
        assert set(rows(make_tree({path: REAL})).every()) == set(NEWEST)

    def test_one_that_cannot_be_understood_says_so(self, make_tree: MakeTree) -> None:
        seen = rows(make_tree({PATH: REAL[:9000]})).observe("glibc")
        assert isinstance(seen, Unknown)
        assert seen.reason == "malformed"
        assert seen.say.startswith(PATH)

    def test_the_packages_of_dpkg_count_first_if_there_are_any(self, make_tree: MakeTree) -> None:
        status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n"
        seen = rows(make_tree({PATH: REAL, "/var/lib/dpkg/status": status}))
        assert set(seen.every()) == {"bash"}


@pytest.mark.parametrize(
    ("path", "form"),
    [("/var/lib/rpm/Packages", "Berkeley DB"), ("/usr/lib/sysimage/rpm/Packages.db", "NDB")],
)
def test_older_formats_are_known_and_not_read(make_tree: MakeTree, path: str, form: str) -> None:
    seen = rows(make_tree({path: "x"})).observe("bash")
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say) == ("unsupported", f"{path}: RPM's database format {form} is not supported")


def header(**said: object) -> bytes:
    """A header as rpm writes one."""
    numbers = {name: tag for tag, name in _rpm.TAGS.items()}
    index, store = b"", b""
    for name, value in said.items():
        data = struct.pack(">I", value) if isinstance(value, int) else f"{value}".encode() + b"\0"
        kind = _rpm.NUMBER if isinstance(value, int) else _rpm.STRING
        index += struct.pack(">4I", numbers[name], kind, len(store), 1)
        store += data
    return struct.pack(">2I", len(said), len(store)) + index + store


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@settings(max_examples=100)
@given(st.fixed_dictionaries({"name": TEXTS, "version": TEXTS, "release": TEXTS, "epoch": st.integers(0, 2**32 - 1)}))
def test_a_header_says_what_was_written(said: Dict[str, object]) -> None:
    read = _rpm.parse_rpm_header(header(**said))
    assert read == {name: str(value) for name, value in said.items()}


@settings(max_examples=150)
@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: header(name="a", version="1")[:40] + tail))
def test_no_header_is_too_strange(blob: bytes) -> None:
    with suppress(ValueError, LookupError):
        assert isinstance(_rpm.parse_rpm_header(blob), dict)


APK = """C:Q1abc=
P:busybox
V:1.36.1-r29
A:x86_64
F:bin
R:busybox
a:0:0:755

C:Q1def=
P:containerd
V:2.0.0_rc3-r1
A:x86_64

P:.build-deps
V:20240101.000000
A:noarch
"""


@pytest.mark.parametrize("path", ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"])
def test_apk_s_packages_have_their_line(make_tree: MakeTree, path: str) -> None:
    seen = rows(make_tree({path: APK}))
    assert values(seen.observe("busybox")) == {
        "version": "1.36.1",
        "apk": "1.36.1-r29",
        "status": "installed",
        "architecture": "x86_64",
        "held": False,
    }
    assert record(seen.observe("containerd"))["version"] == Value("2.0.0-rc3", Evidence(path, 10))
    assert set(seen.every()) == {"busybox", "containerd", ".build-deps"}
    assert seen.observe("busybax") == Absent(Evidence(path), "there is `busybox`")


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["P:a", "P:b", "V:1-r0", "V:", "A:x", "", "P", ":", "F:P:a", "é"]), max_size=16))
def test_no_database_of_apk_is_too_strange(lines: list[str]) -> None:
    from nodespec.checks import _apk  # noqa: PLC0415 - for this test

    found = list(_apk._parse_apk_packages("f", "\n".join(lines)))  # noqa: SLF001 - what every database goes through
    assert all(lines[one.at.line - 1] == f"P:{one.name}" and one.version for one in found)


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [("rpm", ">=0:2.1.5-1.el9 <1:2", ">=a:b:c"), ("deb", ">=1.6.20~ds1-1", ">=a"), ("apk", "1.36.1-r29", ">=1.36")],
)
def test_each_system_s_versions_have_its_own_order(column: str, good: str, bad: str) -> None:
    from nodespec.judge.expectation import parse_expectation  # noqa: PLC0415 - for this test

    table = resolve_place(("packages",)).fact
    assert isinstance(table, Table)
    assert parse_expectation(good, table.columns[column])
    with pytest.raises(ValueError):  # noqa: PT011 - each kind has its own words
        parse_expectation(bad, table.columns[column])

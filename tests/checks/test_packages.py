from __future__ import annotations

import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Mapping, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks import _apk, _dpkg, packages
from nodespec.facts.declaration import Record, Row, Rows, resolve_place
from nodespec.facts.versions import DEB, RELEASE
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    Dpkg = Callable[..., "Rows[Row]"]

DEBIAN = str(Path(__file__).parents[1] / "hosts" / "debian-12-minbase")
STATUS, UPDATES, ALONE = _dpkg.STATUS, _dpkg.UPDATES, _dpkg.STATUS_FOLDER


def stanza(
    name: str, version: str = "1.0-1", status: str = "install ok installed", architecture: str = "amd64", more: str = ""
) -> str:
    return f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nVersion: {version}\n{more}"


def record(row: Observation[Row]) -> Record:
    assert isinstance(row, Value), row
    return cast("Record", row.value)


def values(row: Observation[Row]) -> Dict[str, object]:
    seen = {name: column for name, column in record(row).items() if isinstance(column, Value)}
    return {name: column.value for name, column in seen.items()}


@pytest.fixture
def dpkg(make_tree: MakeTree) -> Dpkg:
    def made(*stanzas: str, **more: str) -> Rows[Row]:
        files = {STATUS: "\n".join(stanzas), **{f"{UPDATES}/{name.lstrip('_')}": text for name, text in more.items()}}
        return packages.packages.probe(Machine(make_tree(files)))

    return made


def test_a_package_is_told_with_the_lines_that_say_it() -> None:
    row = packages.packages.probe(Machine(DEBIAN)).observe("libc6")
    assert values(row) == {
        "version": "2.36",
        "deb": "2.36-9+deb12u14",
        "status": "installed",
        "architecture": "amd64",
        "held": False,
    }
    assert isinstance(row, Value)
    assert row.evidence == Evidence(STATUS, 482)
    assert record(row)["version"] == Value("2.36", Evidence(STATUS, 491))


def test_a_missing_package_is_absent_and_the_nearest_is_named() -> None:
    seen = packages.packages.probe(Machine(DEBIAN)).observe("zlib2g")
    assert seen == Absent(Evidence(STATUS), "there is `zlib1g`")


def test_the_table_is_enumerated_and_says_what_asking_says() -> None:
    rows = packages.packages.probe(Machine(DEBIAN))
    every = rows.every()
    assert len(every) == 33
    assert {name: values(row) for name, row in every.items()} == {name: values(rows.observe(name)) for name in every}
    assert {row.evidence for row in every.values() if isinstance(row, Value)} == {
        row.evidence for row in map(rows.observe, every) if isinstance(row, Value)
    }


def test_at_rest_says_the_same() -> None:
    assert packages.packages.resting is not None
    assert values(packages.packages.resting(DirectoryTree(DEBIAN)).observe("bash"))["status"] == "installed"


def test_evidence_is_among_the_declared_sources(make_tree: MakeTree) -> None:
    root = make_tree({STATUS: stanza("a"), f"{UPDATES}/0001": stanza("b"), f"{ALONE}/c": stanza("c")})
    rows = packages.packages.probe(Machine(root))
    sources = {
        seen.evidence.source
        for row in rows.every().values()
        for seen in record(row).values()
        if isinstance(seen, Value)
    }
    assert sources == {STATUS, f"{UPDATES}/0001", f"{ALONE}/c"}
    assert all(any(fnmatchcase(source, glob) for glob in packages.packages.sources) for source in sources)


class TestStatus:
    def test_removed_with_its_configuration_left_is_not_installed(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("bash"), stanza("nginx", status="deinstall ok config-files"))
        seen = rows.observe("nginx")
        assert seen == Absent(Evidence(STATUS, 7), "removed; only its configuration files remain")
        assert list(rows.every()) == ["bash"]

    @pytest.mark.parametrize("status", ["deinstall ok not-installed", "install ok not-installed"])
    def test_merely_known_is_not_installed(self, dpkg: Dpkg, status: str) -> None:
        assert isinstance(dpkg(stanza("bash"), stanza("nginx", status=status)).observe("nginx"), Absent)

    @pytest.mark.parametrize("state", packages.STATES)
    def test_half_way_is_there_and_says_so(self, dpkg: Dpkg, state: str) -> None:
        assert values(dpkg(stanza("nginx", status=f"install reinstreq {state}")).observe("nginx"))["status"] == state

    def test_what_dpkg_never_writes_is_malformed(self, dpkg: Dpkg) -> None:
        seen = dpkg(stanza("nginx", status="installed")).observe("nginx")
        assert isinstance(seen, Unknown)
        assert seen.reason == "malformed"

    def test_without_status_in_the_one_file_nothing_is_installed(self, dpkg: Dpkg) -> None:
        assert isinstance(dpkg(stanza("bash"), "Package: nginx\nVersion: 1\n").observe("nginx"), Absent)

    def test_a_column_that_is_not_there_is_malformed(self, dpkg: Dpkg) -> None:
        row = dpkg("Package: nginx\nStatus: install ok half-installed\n").observe("nginx")
        assert record(row)["version"] == Unknown("malformed", f"{STATUS}:1: the package has no field Version")


class TestArchitectures:
    I386 = stanza("libc6", "2.36-8", architecture="i386", more="Multi-Arch: same\n")
    AMD64 = stanza("libc6", "2.36-9", more="Multi-Arch: same\n")

    def test_a_plain_name_means_the_machines_own(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("dpkg"), self.I386, self.AMD64)
        assert values(rows.observe("libc6"))["deb"] == "2.36-9"
        assert values(rows.observe("libc6:i386"))["deb"] == "2.36-8"
        assert values(rows.observe("libc6:amd64"))["deb"] == "2.36-9"
        assert isinstance(rows.observe("libc6:arm64"), Absent)
        assert set(rows.every()) == {"dpkg", "libc6", "libc6:i386"}

    def test_another_is_meant_where_the_own_is_not_installed(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("dpkg"), self.I386, stanza("libc6", status="deinstall ok config-files"))
        assert values(rows.observe("libc6"))["architecture"] == "i386"

    def test_what_fits_every_architecture_is_the_machines_own(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("dpkg"), stanza("tzdata", architecture="i386"), stanza("tzdata", architecture="all"))
        assert values(rows.observe("tzdata"))["architecture"] == "all"


class TestDatabase:
    def test_a_description_is_not_taken_for_a_package(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("bash", more="Description: x\n Package: nginx\n .\n Status: install ok installed\n"))
        assert isinstance(rows.observe("nginx"), Absent)
        assert list(rows.every()) == ["bash"]

    def test_one_name_is_not_taken_for_a_longer_one(self, dpkg: Dpkg) -> None:
        assert isinstance(dpkg(stanza("libc6-dev"), stanza("xlibc6")).observe("libc6"), Absent)

    def test_a_stanza_is_of_one_package(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("apt"), "Package: bash\nPackage: nginx\nStatus: install ok installed\n")
        seen = rows.observe("nginx")
        assert isinstance(seen, Unknown)
        assert (seen.reason, seen.say) == ("malformed", f"{STATUS}: line 7: `package` occurs twice")
        assert rows.observe("bash") == Unknown("malformed", f"{STATUS}: line 7: `package` occurs twice")
        assert values(rows.observe("apt"))["status"] == "installed"

    def test_what_dpkg_has_not_merged_yet_counts_the_last_first(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("a"), _0001=stanza("a", "2.0-1"), _0002=stanza("a", "3.0-1"), tmp=stanza("a", "4.0-1"))
        assert values(rows.observe("a"))["deb"] == "3.0-1"
        assert values(rows.every()["a"])["deb"] == "3.0-1"

    def test_one_file_a_package_as_in_images_without_a_package_manager(self, make_tree: MakeTree) -> None:
        # the shape of distroless images, typed off; the fields are those of the package's own control file
        files = {
            f"{ALONE}/base": "Package: base-files\nVersion: 12.4+deb12u11\nArchitecture: amd64\n",
            f"{ALONE}/libc6": "Package: libc6\nVersion: 2.36-9+deb12u14\nArchitecture: amd64\nMulti-Arch: same\n",
            f"{ALONE}/libc6.md5sums": "Package: fake\n0123456789abcdef0123456789abcdef  lib/libc.so.6\n",
        }
        rows = packages.packages.probe(Machine(make_tree(files)))
        assert values(rows.observe("base-files")) == {
            "version": "12.4",
            "deb": "12.4+deb12u11",
            "status": "installed",
            "architecture": "amd64",
            "held": False,
        }
        assert rows.observe("bash") == Absent(Evidence(f"{ALONE}/*"))
        assert set(rows.every()) == {"base-files", "libc6"}

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({"/etc/passwd": ""}, "not found"),
            ({STATUS: ""}, "not found"),
            ({STATUS: "\n\n"}, "not found"),
            ({STATUS: None}, "failed"),  # a directory
            ({STATUS: "", "/var/lib/rpm/rpmdb.sqlite": ""}, "malformed"),
            ({"/usr/lib/sysimage/rpm/Packages.db": ""}, "unsupported"),
            ({"/var/lib/rpm/Packages": ""}, "unsupported"),
            ({"/var/lib/pacman/local": None}, "unsupported"),
            ({"/lib/apk/db/installed": "C:Q1\n"}, "not found"),
        ],
    )
    def test_without_rows_there_is_no_database(
        self, make_tree: MakeTree, files: Mapping[str, str], reason: str
    ) -> None:
        rows = packages.packages.probe(Machine(make_tree(files)))
        seen = rows.observe("bash")
        assert isinstance(seen, Unknown)
        assert seen.reason == reason
        assert not rows.every()

    def test_nothing_is_absent_from_a_database_that_was_read_in_part(self, make_tree: MakeTree) -> None:
        root = make_tree({STATUS: stanza("bash"), f"{ALONE}/nginx": None})
        rows = packages.packages.probe(Machine(root))
        assert values(rows.observe("bash"))["status"] == "installed"
        seen = rows.observe("nginx")
        assert isinstance(seen, Unknown)
        assert seen.reason == "failed"


FORMS = {  # that dpkg reads and does not write
    "a name in lower case": "package: nginx\nstatus: install ok installed\nversion: 1.0-1\n",
    "a name in upper case": "PACKAGE: nginx\nSTATUS: install ok installed\nVERSION: 1.0-1\n",
    "blanks": "Package:   nginx  \nStatus:  install  ok  installed \nVersion: 1.0-1 \n",
    "no blank": "Package:nginx\nStatus:install ok installed\nVersion:1.0-1\n",
    "tabs": "Package:\tnginx\t\nStatus:\tinstall\tok\tinstalled\t\nVersion:\t1.0-1\n",
    "a blank before the colon": "Package : nginx\nStatus\t: install ok installed\nVersion : 1.0-1\n",
    "carriage returns": "Package: nginx\r\nStatus: install ok installed\r\nVersion: 1.0-1\r\n",
    "a status in upper case": "Package: nginx\nStatus: INSTALL OK INSTALLED\nVersion: 1.0-1\n",
    "another order": "Version: 1.0-1\nStatus: install ok installed\nPackage: nginx\n",
    "a line of blanks": "Package: nginx\n \nStatus: install ok installed\nVersion: 1.0-1\n",
    "more empty lines": "\n\n\nPackage: nginx\nStatus: install ok installed\nVersion: 1.0-1\n",
    "a package in upper case": "Package: NGINX\nStatus: install ok installed\nVersion: 1.0-1\n",
}
REFUSED = {  # by dpkg, and with it the whole database
    "a field twice": stanza("nginx", more="Version: 2.0-1\n"),
    "no colon": stanza("nginx", more="Description\n"),
    "a blank at the beginning": " " + stanza("nginx"),
    "a name of nothing": stanza("nginx", more=": x\n"),
    "a name with a hyphen in front": stanza("nginx", more="-X: x\n"),
    "a cut line": stanza("nginx", more="Description: x"),
    "lines of DOS": stanza("nginx").replace("\n", "\r\n") + "\r\n" + stanza("vim"),
    "two words of status": stanza("nginx", status="ok installed"),
    "no version": "Package: nginx\nStatus: install ok installed\n",
    "no package": "Status: install ok installed\nVersion: 1.0-1\n",
    "a package that can be none": stanza("ngi nx"),
    "the end of a file of DOS": stanza("nginx").replace("1.0-1", "1.0-1\x1a"),
    "another of another architecture": stanza("nginx") + "\n" + stanza("nginx", architecture="i386"),
}


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_what_dpkg_reads_is_read(self, dpkg: Dpkg, form: str) -> None:
        rows = dpkg(stanza("bash"), f"{FORMS[form]}Architecture: amd64\n", stanza("zlib1g"))
        assert values(rows.observe("nginx"))["deb"] == "1.0-1"
        assert set(rows.every()) == {"bash", "nginx", "zlib1g"}
        assert isinstance(rows.observe("nosuch"), Absent)

    @pytest.mark.parametrize("form", REFUSED)
    def test_what_dpkg_refuses_leaves_nothing_absent(self, dpkg: Dpkg, form: str) -> None:
        rows = dpkg(stanza("bash"), stanza("vi", status="deinstall ok config-files"), REFUSED[form])
        assert values(rows.observe("bash"))["status"] == "installed"
        for name in ("nosuch", "vi"):
            seen = rows.observe(name)
            assert isinstance(seen, Unknown)
            assert seen.reason == "malformed"
            assert seen.say.startswith(f"{STATUS}: line ")
        assert isinstance(rows.rest, Unknown)

    def test_an_update_that_is_cut_makes_its_package_unknown(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("bash"), stanza("nginx"), _0001="Package: nginx\nStatus: install ok unpa")
        assert isinstance(rows.observe("nginx"), Unknown)
        assert values(rows.observe("bash"))["status"] == "installed"

    def test_of_two_stanzas_the_last_counts(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("nginx", "1.0-1", "install ok not-installed"), stanza("nginx", "2.0-1"))
        assert values(rows.observe("nginx"))["deb"] == "2.0-1"

    def test_an_update_takes_the_place_of_another_architecture(self, dpkg: Dpkg) -> None:
        rows = dpkg(stanza("dpkg"), stanza("nginx"), _0001=stanza("nginx", "2.0-1", architecture="i386"))
        assert values(rows.observe("nginx"))["deb"] == "2.0-1"
        assert isinstance(rows.observe("nginx:amd64"), Absent)


@pytest.mark.parametrize(
    ("evr", "own"),
    [
        ("1.6.20~ds1-1+deb12u1", "1.6.20"),
        ("1.1.5+ds1-1+deb12u1", "1.1.5"),
        ("20.10.24+dfsg1-1+deb12u1", "20.10.24"),
        ("1:1.2.13.dfsg-1", "1.2.13"),
        ("1:2.0.repack.1-3", "2.0"),
        ("5:27.3.1-1~debian.12~bookworm", "27.3.1"),
        ("1.35.0-1.1", "1.35.0"),
        ("2.0~rc1+ds1-1", "2.0-rc1"),
        ("1.0.0~alpha.5-2", "1.0.0-alpha.5"),
        ("1.2-3-4", "1.2-3"),
        ("12.4+deb12u11", "12.4"),
        ("2.9~bpo12+1", "2.9"),
        ("1.5+nmu1", "1.5"),
        ("7.0+really6.9.2-1", "6.9.2"),
        ("5.0.0+really.4.3.1-5", "4.3.1"),
        ("1.9.13p3-1+deb12u1", "1.9.13p3"),
        ("2025b-0+deb12u2", "2025b"),
        ("20230311", "20230311"),
        ("0.0~git20200730.1b2c-1", "0.0~git20200730.1b2c"),
    ],
)
def test_the_softwares_own_version(evr: str, own: str) -> None:
    assert _dpkg._parse_deb_upstream(evr) == own  # noqa: SLF001 - what every package goes through
    assert RELEASE.key(own)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a/b", "-a", "a:", ":i386", "a:b:c", "a\0"])
def test_what_cannot_be_a_package_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid package name"):
        packages.packages.key(name)


def test_the_default_fix_names_the_package() -> None:
    assert resolve_place(("packages", "socat")).fix == "install the package socat"
    assert resolve_place(("packages", "socat", "version")).fix == "upgrade socat to {want}"


LINES = st.sampled_from(
    [
        *("Package: a", "Package: b", "Package:  a", "Package: a b", " Package: a", "Status: install ok installed"),
        *(
            "Status: deinstall ok config-files",
            "Status: x",
            "Version: 1.0-1",
            "Architecture: i386",
            "",
            "",
            "\x85",
            "é",
        ),
    ]
)


def database(text: str) -> _dpkg.DpkgDatabase:
    return _dpkg.build_dpkg_database([(STATUS, f"{text}\n")])._replace(native="amd64")


@settings(max_examples=200)
@given(st.lists(LINES, max_size=24).map("\n".join))
def test_asking_and_enumerating_agree_whatever_stands_there(text: str) -> None:
    found = database(text)
    every = found.every()
    for name in ("a", "b"):
        seen = found.observe(name)
        assert isinstance(seen, type(every.get(name, seen)))
        assert isinstance(seen, (Absent, type(None))) == (name not in every) or isinstance(found.rest, Unknown)
        if isinstance(seen, Value):
            assert values(seen) == values(every[name])


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    for found in (database(text), database(stanza("a", text, text, text)), database(f"Package: a\nVersion: {text}")):
        for row in (*found.every().values(), found.observe("a")):
            if isinstance(row, Value):
                kinds = {column: type(seen) for column, seen in row.value.items()}
                assert kinds.pop("rpm") is kinds.pop("apk") is Absent
                assert set(kinds.values()) <= {Value, Unknown}


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[a-z][a-z0-9+.-]{1,8}", fullmatch=True),
            st.from_regex(r"[1-9][a-z0-9.+~]{0,8}", fullmatch=True),
        ),
        unique_by=lambda row: row[0],
        max_size=8,
    )
)
def test_what_is_written_is_read_line_by_line(rows: list[tuple[str, str]]) -> None:
    text = "\n".join(stanza(name, version) for name, version in rows)
    found = database(text)
    assert set(found.every()) == {name for name, _ in rows}
    for number, (name, version) in enumerate(rows):
        row = found.observe(name)
        assert row is not None
        assert record(row)["deb"] == Value(version, Evidence(STATUS, 5 * number + 4))


@pytest.mark.root
def test_the_live_machine_says_what_dpkg_query_says() -> None:
    fields = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Status}\\t${db:Status-Want}\\n"
    argv = ["/usr/bin/dpkg-query", "-W", "-f", fields]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rows = packages.packages.probe(Machine())
    installed = 0
    for name, architecture, version, status, want in (line.split("\t") for line in said.splitlines()):
        seen = rows.observe(f"{name}:{architecture}")
        if status in ("config-files", "not-installed"):
            assert isinstance(seen, Absent)
            continue
        assert values(seen) | {"version": ""} == {
            "version": "",
            "deb": version,
            "status": status,
            "architecture": architecture,
            "held": want == "hold",
        }
        assert DEB.key(version)
        assert RELEASE.key(str(values(seen)["version"]))
        installed += 1
    assert installed == len(rows.every()) > 100


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("P:a\nV:1-r0\nA:x86_64\n\n", [("a", "1", "1-r0", "x86_64", 1)]),
        ("C:Q1\nP:a\nV:1-r0\n", [("a", "1", "1-r0", "", 2)]),
        ("P:a\nV:1-r0\nP:b\nV:2-r0\n\n", [("a", "1", "1-r0", "", 1)]),  # the first of each counts
        ("P:a\nV:1-r0\n\n\nP:b\nV:2_rc1-r3\n", [("a", "1", "1-r0", "", 1), ("b", "2-rc1", "2_rc1-r3", "", 5)]),
        ("P:a\nVV:1\nV\n\n", []),
        ("V:1-r0\n\nP:b\n\n", []),
    ],
)
def test_packages_of_apk(text: str, found: list[object]) -> None:
    packages_ = _apk._parse_apk_packages("/x", text)  # noqa: SLF001
    assert [(one.name, one.version, one.whole, one.architecture, one.at.line) for one in packages_] == found

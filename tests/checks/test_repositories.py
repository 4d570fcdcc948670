"""Repositories of apt, dnf, zypper and apk; holds and version locks."""

from __future__ import annotations

import time
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Mapping, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _package_locks
from nodespec.facts.declaration import resolve_place
from nodespec.facts.live import Live
from nodespec.formats import package_sources
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.value_types import Datum

Files = Mapping[str, Union[str, bytes, None]]
K8S = "https://pkgs.k8s.io/core:/stable:/v1.35/deb"
RPM = "https://pkgs.k8s.io/core:/stable:/v1.35/rpm"
KEY = "/etc/apt/keyrings/kubernetes-apt-keyring.gpg"
APT = "/etc/apt/sources.list.d/kubernetes"
REPO = "/etc/yum.repos.d/kubernetes.repo"
SECTION = f"[kubernetes]\nname=Kubernetes\nbaseurl={RPM}/\nenabled=1\ngpgkey={RPM}/repodata/repomd.xml.key\n"
EMBEDDED = f"Types: deb\nURIs: {K8S}\nSuites: /\nSigned-By:\n -----BEGIN PGP\n .\n x\n"
STANZA = f"Types: deb deb-src\nURIs: {K8S}/\nSuites: /\nSigned-By: {KEY}\n"


def look(make_tree: MakeTree, files: Files, *place: str) -> Observation[Datum]:
    found = resolve_place(place)
    seen = Live(DirectoryTree(make_tree(files)), time.monotonic() + 60).observe(found)
    if not isinstance(seen, Unknown):
        for source in seen.evidence.source.split(", "):
            assert any(fnmatchcase(source, declared) for declared in found.fact.sources), source
    return seen


def value(seen: Observation[Datum]) -> object:
    return seen.value if isinstance(seen, Value) else type(seen).__name__.lower()


@pytest.mark.parametrize(
    ("files", "enabled", "signed", "keys"),
    [
        ({f"{APT}.list": f"deb [signed-by={KEY}] {K8S}/ /\n"}, True, True, {KEY}),
        ({f"{APT}.list": f"deb [ trusted=yes arch=amd64 ] {K8S}/ /\n"}, True, False, set()),
        ({f"{APT}.list": f"# deb {K8S}/ /\ndeb-src {K8S} /\n"}, "absent", "absent", "absent"),
        ({f"{APT}.sources": STANZA}, True, True, {KEY}),
        ({f"{APT}.sources": f"{STANZA}Enabled: no\n"}, False, True, {KEY}),
        ({f"{APT}.sources": f"# x\n{STANZA}Trusted: yes\n"}, True, False, {KEY}),
        (
            {f"{APT}.sources": EMBEDDED},
            True,
            True,
            {"embedded"},
        ),
        ({f"{APT}.list.save": f"deb {K8S}/ /\n", "/etc/apt/sources.list": ""}, "absent", "absent", "absent"),
    ],
)
def test_repositories_of_apt(make_tree: MakeTree, files: Files, enabled: object, signed: object, keys: object) -> None:
    seen = [value(look(make_tree, files, "repositories", K8S, column)) for column in ("enabled", "signed", "keys")]
    assert seen == [enabled, signed, frozenset(keys) if isinstance(keys, set) else keys]


def test_one_url_in_several_lines(make_tree: MakeTree) -> None:
    line = "deb http://deb.debian.org/debian"
    text = f"{line} bookworm main\n{line}/ bookworm-updates main contrib\n"
    place = ("repositories", "http://deb.debian.org/debian")
    files = {"/etc/apt/sources.list": text}
    assert value(look(make_tree, files, *place, "suites")) == frozenset({"bookworm", "bookworm-updates"})
    assert value(look(make_tree, files, *place, "components")) == frozenset({"main", "contrib"})
    assert look(make_tree, files, *place) == Value("there", Evidence("/etc/apt/sources.list", 1))


@pytest.mark.parametrize(
    ("files", "enabled", "signed"),
    [
        ({REPO: f"{SECTION}gpgcheck=1\n"}, True, True),
        ({REPO: f"{SECTION}gpgcheck=0\n"}, True, False),
        ({REPO: SECTION}, True, "unknown"),
        ({REPO: SECTION, "/etc/dnf/dnf.conf": "[main]\ngpgcheck=True\n"}, True, True),
        ({REPO: SECTION, "/etc/dnf/dnf.conf": "[main]\ngpgcheck=0\n"}, True, False),
        ({REPO: SECTION.replace("enabled=1", "enabled=0")}, False, "unknown"),
        ({REPO: SECTION.replace("enabled=1\n", "")}, True, "unknown"),
        ({"/etc/zypp/repos.d/k8s.repo": SECTION}, True, True),
        ({"/etc/zypp/repos.d/k8s.repo": f"{SECTION}gpgcheck=0\n"}, True, False),
        ({"/etc/apk/repositories": f"#{RPM}x\n@k8s {RPM}/\n"}, True, True),
    ],
)
def test_repositories_of_other_systems(make_tree: MakeTree, files: Files, enabled: object, signed: object) -> None:
    seen = [value(look(make_tree, files, "repositories", RPM, column)) for column in ("enabled", "signed")]
    assert seen == [enabled, signed]


def test_a_malformed_file_leaves_other_urls_unknown(make_tree: MakeTree) -> None:
    files = {f"{APT}.list": f"deb {K8S}/ /\n", "/etc/apt/sources.list": "rubbish\n"}
    assert value(look(make_tree, files, "repositories", K8S, "enabled")) is True
    assert value(look(make_tree, files, "repositories", "https://x/y")) == "unknown"


def test_without_a_package_manager_nothing_is_absent(make_tree: MakeTree) -> None:
    assert value(look(make_tree, {}, "repositories", K8S)) == "unknown"


STATUS = "Package: kubelet\nStatus: {} ok installed\nArchitecture: amd64\nVersion: 1.35.0-1.1\n\n"


@pytest.mark.parametrize(("want", "held"), [("hold", True), ("install", False), ("Hold", True)])
def test_holds_of_dpkg(make_tree: MakeTree, want: str, held: bool) -> None:  # noqa: FBT001
    files = {"/var/lib/dpkg/status": STATUS.format(want)}
    assert value(look(make_tree, files, "packages", "kubelet", "held")) is held
    assert value(look(make_tree, files, "packages", "kubeadm", "held")) == "absent"


@pytest.mark.parametrize(
    ("files", "locked"),
    [
        ({}, False),
        ({"/etc/dnf/plugins/versionlock.list": "kubelet-0:1.35.0-0.*\n"}, False),  # no plugin
        (
            {
                "/etc/dnf/plugins/versionlock.conf": "[main]\nenabled = 1\n",
                "/etc/dnf/plugins/versionlock.list": "# x\nkubelet-0:1.35.0-0.*\n",
            },
            True,
        ),
        (
            {
                "/etc/dnf/plugins/versionlock.conf": "[main]\nenabled = 1\n",
                "/etc/dnf/plugins/versionlock.list": "!kubelet-0:1.35.0-0.*\nkubelet-extra-1.0\n",
            },
            False,
        ),
        ({"/etc/yum/pluginconf.d/versionlock.conf": "[main]\nenabled=0\n"}, False),
        ({"/etc/dnf/versionlock.toml": 'version = "1.0"\n[[packages]]\nname = "kubelet"\n'}, True),
        ({REPO: f"{SECTION}exclude=kubelet kubeadm kubectl\n"}, True),
        ({REPO: f"{SECTION.replace('enabled=1', 'enabled=0')}exclude=kubelet\n"}, False),
        ({"/etc/dnf/dnf.conf": "[main]\nexcludepkgs=kube*\n"}, True),
        ({"/etc/zypp/locks": "type: package\nmatch_type: glob\nsolvable_name: kubelet\n"}, True),
    ],
)
def test_locks_of_rpm(make_tree: MakeTree, files: Files, locked: bool) -> None:  # noqa: FBT001
    tree = DirectoryTree(make_tree({"/etc/x": "", **files}))
    seen = _package_locks.find_rpm_lock(tree, "kubelet")
    assert isinstance(seen, Value)
    assert seen.value is locked
    assert any(fnmatchcase(seen.evidence.source, declared) for declared in _package_locks.SOURCES)


@pytest.mark.parametrize(
    ("world", "locked"),
    [("kubelet\n", False), ("kubelet=1.35.0-r0\n", True), ("kubelet~1.35\n", True), ("kubelet-x=1\n", False)],
)
def test_locks_of_apk(make_tree: MakeTree, world: str, locked: bool) -> None:  # noqa: FBT001
    seen = _package_locks.find_apk_lock(DirectoryTree(make_tree({"/etc/apk/world": world})), "kubelet")
    assert isinstance(seen, Value)
    assert seen.value is locked


@given(st.text(max_size=120))
def test_parsers_of_sources_raise_nothing_else(text: str) -> None:
    for parse in (
        package_sources.parse_apt_lines,
        package_sources.parse_apt_stanzas,
        package_sources.parse_apk_lines,
        package_sources.parse_ini,
        lambda text: package_sources.parse_repo_file(text, signed=None),
    ):
        with suppress(ValueError):
            list(parse(text))

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Union

import pytest
from refusing import RefusingTree

from nodespec.checks import _openrc
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

SCRIPT = "#!/sbin/openrc-run\n"
FILES: Dict[str, Union[str, bytes, None]] = {
    **{f"/etc/init.d/{name}": SCRIPT for name in ("kubelet", "crio", "net", "idle", "early")},
    "/etc/init.d/kubelet": "#!/sbin/openrc-run\ndepend() {\n\tneed net\n\twant crio # for pods\n}\n",
    "/etc/init.d/net": "#!/sbin/openrc-run\ndepend() {\n\tneed kubelet\n}\n",  # a circle
    "/etc/conf.d/crio": 'rc_need="early"\n',
    "/usr/local/etc/init.d/own": SCRIPT,
    "/etc/runlevels/boot": None,
}
LINKS = {"/etc/runlevels/default/kubelet": "/etc/init.d/kubelet"}
LINK = Evidence("/etc/runlevels/default/kubelet")
LEVELS = Evidence("/etc/runlevels")


def starts(root: str, name: str, *refused: str) -> Observation[bool]:
    return _openrc.is_service_started(RefusingTree(root, *refused), name)


def enabled(root: str, name: str, *refused: str) -> Observation[bool]:
    return _openrc.is_service_enabled(RefusingTree(root, *refused), name)


def test_a_runlevel_starts_a_service_and_what_it_needs(make_tree: MakeTree) -> None:
    root = make_tree(FILES, LINKS)
    assert starts(root, "kubelet") == enabled(root, "kubelet") == Value(value=True, evidence=LINK)
    script = Value(value=True, evidence=Evidence("/etc/init.d/kubelet", inferred=True))
    assert starts(root, "net") == starts(root, "crio") == script
    assert starts(root, "early") == Value(value=True, evidence=Evidence("/etc/conf.d/crio", inferred=True))
    for name in ("net", "crio", "early", "idle"):
        assert enabled(root, name) == Value(value=False, evidence=LEVELS)
    assert starts(root, "idle") == starts(root, "own") == Value(value=False, evidence=LEVELS)
    missing = Absent(Evidence("/etc/init.d"), "service nosuch not found")
    assert starts(root, "nosuch") == enabled(root, "nosuch") == missing


@pytest.mark.parametrize("folder", ["sysinit", "boot", "default"])
def test_every_boot_enters_three_runlevels(make_tree: MakeTree, folder: str) -> None:
    root = make_tree({**FILES, "/etc/runlevels/shutdown": None}, {f"/etc/runlevels/{folder}/idle": "/etc/init.d/idle"})
    assert starts(root, "idle") == Value(value=True, evidence=Evidence(f"/etc/runlevels/{folder}/idle"))


def test_other_runlevels_enable_and_do_not_start(make_tree: MakeTree) -> None:
    root = make_tree(FILES, {"/etc/runlevels/shutdown/idle": "/etc/init.d/idle"})
    assert starts(root, "idle") == Value(value=False, evidence=LEVELS)
    assert enabled(root, "idle") == Value(value=True, evidence=Evidence("/etc/runlevels/shutdown/idle"))


def test_stacked_runlevels_are_entered_once(make_tree: MakeTree) -> None:
    links = {
        "/etc/runlevels/default/more": "../more",
        "/etc/runlevels/more/idle": "/etc/init.d/idle",
        "/etc/runlevels/more/default": "../default",
    }
    root = make_tree(FILES, links)
    assert starts(root, "idle") == Value(value=True, evidence=Evidence("/etc/runlevels/more/idle"))


@pytest.mark.parametrize(
    ("inittab", "level"),
    [
        ("::wait:/sbin/openrc multi\n", "multi"),
        ("l3:3:wait:/sbin/openrc multi\n", "multi"),
        ("::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n", "default"),
        ("::shutdown:/sbin/openrc shutdown\n", "default"),
        ("# ::wait:/sbin/openrc multi\n", "default"),
        ("::wait:/sbin/init multi\n", "default"),
    ],
)
def test_inittab_names_the_default_runlevel(make_tree: MakeTree, inittab: str, level: str) -> None:
    links = {f"/etc/runlevels/{name}/idle": "/etc/init.d/idle" for name in ("multi", "default")}
    root = make_tree({**FILES, "/etc/inittab": inittab}, links)
    assert starts(root, "idle") == Value(value=True, evidence=Evidence(f"/etc/runlevels/{level}/idle"))


@pytest.mark.parametrize(
    "path",
    [
        "/etc/runlevels",
        "/etc/runlevels/boot",
        "/etc/runlevels/default",
        "/etc/init.d/kubelet",
        "/etc/init.d/net",
        "/etc/conf.d/crio",
        "/etc/inittab",
    ],
)
def test_what_a_refused_source_hides_may_start_a_service(make_tree: MakeTree, path: str) -> None:
    root = make_tree(FILES, LINKS)
    seen = starts(root, "idle", path)
    assert isinstance(seen, Unknown)
    assert seen.reason == "no permission"
    assert seen.say.startswith(path)


@pytest.mark.parametrize("path", ["/etc/runlevels", "/etc/runlevels/default", "/etc/runlevels/default/kubelet"])
def test_what_a_refused_runlevel_holds_may_enable_a_service(make_tree: MakeTree, path: str) -> None:
    seen = enabled(make_tree(FILES, LINKS), "kubelet", path)
    assert isinstance(seen, Unknown)
    assert seen.reason == "no permission"
    assert seen.say.startswith(path)


def test_refused_sources_that_do_not_matter_leave_a_verdict(make_tree: MakeTree) -> None:
    root = make_tree(FILES, LINKS)
    assert starts(root, "kubelet", "/etc/conf.d/crio", "/etc/init.d/net") == Value(value=True, evidence=LINK)
    assert enabled(root, "kubelet", "/etc/runlevels/boot", "/etc/inittab") == Value(value=True, evidence=LINK)
    assert enabled(root, "idle", "/etc/inittab", "/etc/init.d/net") == Value(value=False, evidence=LEVELS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("depend() {\n\tneed net localmount\n}\n", ["net", "localmount"]),
        ("depend() { need net; }\n", []),
        ("\twant a.b @c d-e f@g\n", ["a.b", "@c", "d-e", "f@g"]),
        ("need $services a\n", ["a"]),
        ("\tneed a # b\n\tuse c\n", ["a"]),
        ("rc_need='a b'\nrc_want=c\n", ["a", "b", "c"]),
        ("#rc_need=a\nneeds b\nneed\n", []),
    ],
)
def test_scripts_name_what_they_need(text: str, names: object) -> None:
    assert list(_openrc.parse_service_needs(text)) == names

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Dict, Mapping, Union

import pytest

from nodespec.facts.declaration import Row, Rows, Table, resolve_place
from nodespec.host.directory import DirectoryTree
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

Files = Mapping[str, Union[str, None]]
SYSTEMD = {"/sbin/init": "/usr/lib/systemd/systemd"}
MODULES = "/lib/modules/6.1.9"
LINE = "/etc/kernel/cmdline"
KERNEL: Files = {
    "/boot/vmlinuz-6.1.9": "",
    "/sbin/modprobe": "",
    f"{MODULES}/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    f"{MODULES}/modules.dep": "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz "
    "kernel/net/llc.ko.xz\n"
    "kernel/net/bridge/bridge.ko.xz: kernel/net/llc.ko.xz\nkernel/net/llc.ko.xz:\nkernel/fs/overlayfs/overlay.ko.zst:\n"
    "kernel/fs/autofs/autofs4.ko:\nkernel/fs/fuse/fuse.ko:\n",
    f"{MODULES}/modules.order": "kernel/net/sctp/sctp.ko\n",
    f"{MODULES}/modules.alias": "alias fs-overlay overlay\nalias pci:v* nothing\n",
}


def rows(root: str) -> Rows[Row]:
    fact = resolve_place(("modules", "x")).fact
    assert isinstance(fact, Table)
    assert fact.resting
    return fact.resting(DirectoryTree(root))


def look(root: str, name: str) -> Observation[Row]:
    """One row at rest; whatever it names as its source is declared."""
    fact = resolve_place(("modules", "x")).fact
    seen = rows(root).observe(name)
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(one, glob) for one in seen.evidence.source.split(":") for glob in fact.resting_sources)
    return seen


def states(root: str, *names: str) -> Dict[str, object]:
    seen = {name: look(root, name) for name in names}
    return {name: one.value if isinstance(one, Value) else type(one).__name__ for name, one in seen.items()}


def test_each_module_says_its_state(make_tree: MakeTree) -> None:
    root = make_tree({**KERNEL, "/etc/modules-load.d/k8s.conf": "# for pods\nbr-netfilter\n"}, SYSTEMD)
    assert look(root, "br_netfilter") == Value("loaded", Evidence("/etc/modules-load.d/k8s.conf", 2))
    assert look(root, "llc") == Value("loaded", Evidence("/etc/modules-load.d/k8s.conf", 2))  # which that needs
    assert look(root, "overlay") == Value("loadable", Evidence(f"{MODULES}/modules.dep", 4))
    assert look(root, "ext4") == Value("builtin", Evidence(f"{MODULES}/modules.builtin", 1))
    assert look(root, "autofs4") == Value("loaded", Evidence("/sbin/init", inferred=True))
    sctp = look(root, "sctp")
    assert sctp == Absent(
        Evidence(f"{MODULES}/modules.order", 1), "the kernel was built with it, but its file is not installed"
    )
    assert isinstance(look(root, "nothing"), Absent)
    listed = {name for name, row in rows(root).every().items() if isinstance(row, Value) and row.value == "loaded"}
    assert listed == {"br_netfilter", "bridge", "llc", "autofs4"}


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"/usr/lib/modules-load.d/a.conf": "overlay"}, "loaded"),
        ({"/usr/lib/modules-load.d/a.conf": "fs-overlay"}, "loaded"),  # an alias
        ({"/usr/lib/modules-load.d/a.conf": "overlay", "/etc/modules-load.d/a.conf": ""}, "loadable"),
        ({"/run/modules-load.d/a.conf": "overlay"}, "loadable"),
        ({"/etc/modules": "overlay"}, "loadable"),  # which systemd does not read
        ({LINE: "quiet modules_load=bridge,overlay"}, "loaded"),
        ({LINE: "rd.driver.pre=overlay"}, "loaded"),
        ({LINE: "modules_load=overlay module_blacklist=overlay"}, "blocked"),
        ({LINE: "modules-load=overlay modprobe.blacklist=overlay"}, "blacklisted"),
        ({LINE: "modules_load=overlay", "/etc/modprobe.d/a.conf": "blacklist overlay"}, "blacklisted"),
        ({"/etc/modules-load.d/a.conf": "overlay # for pods"}, "loadable"),  # the whole line is the name
        ({"/etc/modules-load.d/a.conf": "; bridge\n\t overlay \r\n"}, "loaded"),
        ({"/etc/modules-load.d/a.conf": "overlay bridge"}, "loadable"),
        ({"/etc/modules-load.d/a.conf": "fs_overlay"}, "loaded"),
        ({"/etc/modules-load.d/a.conf": "x1", "/etc/modprobe.d/a.conf": "alias x? overlay"}, "loaded"),
        ({"/etc/modules-load.d/a.conf": "overlay", "/etc/modprobe.d/a.conf": "alias overlay bridge"}, "blocked"),
        ({"/etc/modules-load.d/a.conf": "bridge", "/etc/modprobe.d/a.conf": "softdep bridge pre: overlay"}, "loaded"),
        (
            {"/etc/modules-load.d/a.conf": "bridge", "/etc/modprobe.d/a.conf": "softdep bridge post: fs-overlay"},
            "loaded",
        ),
        (
            {"/etc/modules-load.d/a.conf": "bridge", f"{MODULES}/modules.softdep": "softdep bridge pre: overlay"},
            "loaded",
        ),
        (
            {"/etc/modules-load.d/a.conf": "bridge", "/etc/modprobe.d/.a.conf": "softdep bridge pre: overlay"},
            "loadable",
        ),
        ({"/etc/modules-load.d/a.conf": "bridge", "/etc/modprobe.d/a.conf": "softdep bridge overlay"}, "loadable"),
        ({"/sbin/modprobe": None}, "blocked"),
        ({"/sbin/modprobe": None, "/etc/modules-load.d/a.conf": "overlay"}, "loaded"),  # by systemd itself
        ({"/etc/sysctl.d/a.conf": "kernel.modprobe=/bin/x", "/bin/x": ""}, "blocked"),
        ({LINE: "modules_load=overlay", "/etc/modprobe.d/a.conf": "install overlay /bin/true"}, "blocked"),
        ({LINE: "modules_load=overlay", "/run/modprobe.d/a.conf": "install overlay /bin/true"}, "loaded"),
        ({"/etc/modprobe.d/a.conf": "install overlay /bin/true", "/etc/modules-load.d/a.conf": "overlay"}, "blocked"),
        ({"/etc/sysctl.d/a.conf": "kernel.modules_disabled=1"}, "blocked"),
    ],
)
def test_files_and_the_command_line_decide(make_tree: MakeTree, files: Files, state: str) -> None:
    assert states(make_tree({**KERNEL, **files}, SYSTEMD), "overlay") == {"overlay": state}


def test_what_needs_a_banned_module_is_not_loaded(make_tree: MakeTree) -> None:
    files = {LINE: "module_blacklist=llc", "/etc/modules-load.d/a.conf": "br_netfilter\noverlay"}
    root = make_tree({**KERNEL, **files}, SYSTEMD)
    assert states(root, "llc", "br_netfilter", "overlay") == {
        "llc": "blocked",
        "br_netfilter": "blocked",
        "overlay": "loaded",
    }


def test_a_masked_service_loads_nothing(make_tree: MakeTree) -> None:
    mask = {"/etc/systemd/system/systemd-modules-load.service": "/dev/null"}
    root = make_tree({**KERNEL, "/etc/modules-load.d/a.conf": "overlay"}, {**SYSTEMD, **mask})
    assert states(root, "overlay") == {"overlay": "loadable"}


def test_units_want_modules(make_tree: MakeTree) -> None:
    units = "/usr/lib/systemd/system"
    mount = "[Unit]\nConditionPathExists=/x\nWants=modprobe@fuse.service other.service\n[Mount]\n"
    files = {f"{units}/fuse.mount": mount, f"{units}/idle.service": "[Unit]\nWants=modprobe@overlay.service\n"}
    root = make_tree({**KERNEL, **files}, {**SYSTEMD, f"{units}/sysinit.target.wants/fuse.mount": "../fuse.mount"})
    assert look(root, "fuse") == Value("loaded", Evidence(f"{units}/fuse.mount", 3, inferred=True))
    assert states(root, "overlay") == {"overlay": "loadable"}


@pytest.mark.parametrize(
    ("init", "path", "text"),
    [
        ("/sbin/openrc-init", "/etc/modules", "overlay option=1\n"),
        ("/sbin/openrc-init", "/etc/conf.d/modules", '# modules="x"\nmodules="bridge overlay"\n'),
        ("/sbin/openrc-init", "/etc/modules-load.d/a.conf", "overlay\n"),
    ],
)
def test_other_init_systems_have_their_own(make_tree: MakeTree, init: str, path: str, text: str) -> None:
    files = {**KERNEL, path: text, "/etc/init.d/modules": "#!/sbin/openrc-run\n"}
    root = make_tree(files, {"/sbin/init": init, "/etc/runlevels/boot/modules": "/etc/init.d/modules"})
    assert states(root, "overlay", "autofs4") == {"overlay": "loaded", "autofs4": "loadable"}


def test_openrc_loads_nothing_without_its_service(make_tree: MakeTree) -> None:
    files = {**KERNEL, "/etc/modules": "overlay\n", "/etc/init.d/modules": "#!/sbin/openrc-run\n"}
    assert states(make_tree(files, {"/sbin/init": "/sbin/openrc-init"}), "overlay") == {"overlay": "loadable"}


def test_without_a_kernel_all_of_it_is_deferred(make_tree: MakeTree) -> None:
    seen = look(make_tree({"/etc/modules-load.d/a.conf": "overlay"}, SYSTEMD), "overlay")
    assert seen == Unknown("deferred", "no kernel found in this tree")


def test_without_a_module_tree_the_configuration_says_what_is_built_in(make_tree: MakeTree) -> None:
    files = {"/boot/vmlinuz-6.1.9": "", "/boot/config-6.1.9": "CONFIG_OVERLAY_FS=y\nCONFIG_BRIDGE=m\n"}
    root = make_tree(files, SYSTEMD)
    assert look(root, "overlay") == Value("builtin", Evidence("/boot/config-6.1.9", 1, inferred=True))
    seen = look(root, "bridge")
    assert isinstance(seen, Unknown)
    assert seen.reason == "not found"


def test_what_sys_and_proc_of_an_image_hold_says_nothing(make_tree: MakeTree) -> None:
    root = make_tree(
        {**KERNEL, "/proc/modules": "overlay 1 0 - Live 0x0\n", "/sys/module/x/initstate": "live"}, SYSTEMD
    )
    assert states(root, "overlay", "x") == {"overlay": "loadable", "x": "Absent"}

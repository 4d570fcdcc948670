from __future__ import annotations

import tarfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Union

import pytest

from nodespec.checks import _boot_cmdline, _boot_next, _boot_systemd_boot, _kernel_version
from nodespec.formats.pe import Section
from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.images import open as image
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

HOSTS = Path(__file__).parents[1] / "hosts"
OLD, NEW = "6.1.0-49-amd64", "6.1.0-50-amd64"
BOTH: Mapping[str, Union[str, None]] = {f"/boot/vmlinuz-{OLD}": "", f"/boot/vmlinuz-{NEW}": ""}
GRUB = "/boot/grub/grub.cfg"


def next_(root: str) -> Observation[str]:
    """The release that boots; whatever says it is a declared source."""
    seen = _boot_next.resolve_next_kernel(DirectoryTree(root)).then(lambda kernel: kernel.release)
    if not isinstance(seen, Unknown):
        assert all(
            any(fnmatchcase(one, glob) for glob in _kernel_version.BOOT_FILES)
            for one in seen.evidence.source.split(":")
        )
    return seen


def line(root: str) -> Observation[str]:
    seen = _boot_cmdline.resolve_cmdline(DirectoryTree(root)).then(lambda line: line.text)
    if isinstance(seen, Value):
        assert any(fnmatchcase(seen.evidence.source, glob) for glob in _kernel_version.CMDLINE_FILES)
    return seen


def menu(default: str, *entries: str, before: str = "") -> str:
    return f"{before}\nset default={default}\n" + "\n".join(entries)


def entry(title: str, release: str, more: str = "ro quiet", ident: str = "") -> str:
    return (
        f"menuentry '{title}' --class debian $menuentry_id_option '{ident or title}' {{\n"
        "\tif [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi\n"
        f"\tlinux\t/boot/vmlinuz-{release} root=UUID=x {more}\n\tinitrd\t/boot/initrd.img-{release}\n}}"
    )


class TestHeld:
    @pytest.mark.parametrize(
        ("path", "release"),
        [
            ("/boot/vmlinuz-6.1.0-50-amd64", "6.1.0-50-amd64"),
            ("/boot/vmlinux-6.1.0-50-powerpc64le", "6.1.0-50-powerpc64le"),
            ("/boot/Image-6.6.31+rpt-rpi-v8", "6.6.31+rpt-rpi-v8"),
            ("/boot/vmlinuz-4.18.0-553.97.1.el8_10.x86_64", "4.18.0-553.97.1.el8_10.x86_64"),
            ("/usr/lib/modules/6.11.4-301.fc41.x86_64/vmlinuz", "6.11.4-301.fc41.x86_64"),
            ("/lib/modules/6.11.4/vmlinuz", "6.11.4"),
            ("/boot/0123456789abcdef0123456789abcdef/6.11.4/linux", "6.11.4"),
            ("/efi/0123456789abcdef0123456789abcdef/6.11.4/linux", "6.11.4"),
        ],
    )
    def test_the_only_kernel_boots(self, make_tree: MakeTree, path: str, release: str) -> None:
        assert next_(make_tree({path: ""})) == Value(release, Evidence(path))

    def test_an_unreadable_configuration_makes_even_the_only_kernel_unknown(self, make_tree: MakeTree) -> None:
        root = make_tree({f"/boot/vmlinuz-{OLD}": "", f"{GRUB}/x": ""})
        assert isinstance(_boot_next.resolve_next_kernel(DirectoryTree(root)), Unknown)
        assert isinstance(_boot_next.resolve_next_release(DirectoryTree(root)), Unknown)
        asked = DirectoryTree(root)
        asked.kernel = OLD
        assert _boot_next.resolve_next_release(asked) == Value(OLD, Evidence(f"/boot/vmlinuz-{OLD}"))
        assert isinstance(_boot_cmdline.resolve_cmdline(asked), Unknown)
        asked = DirectoryTree(root)
        asked.kernel = "6.1.0-99-amd64"
        assert isinstance(_boot_next.resolve_next_release(asked), Unknown)

    def test_modules_alone_are_a_kernel_that_lies_elsewhere(self, make_tree: MakeTree) -> None:
        seen = next_(make_tree({"/lib/modules/6.1.9/modules.dep": ""}))
        assert seen == Value("6.1.9", Evidence("/lib/modules/6.1.9", inferred=True))

    @pytest.mark.parametrize("name", ["vmlinuz-lts", "vmlinuz"])
    def test_a_file_without_a_release_is_of_the_modules_beside_it(self, make_tree: MakeTree, name: str) -> None:
        root = make_tree({f"/boot/{name}": "", "/lib/modules/6.12.9-0-lts/modules.dep": ""})
        assert next_(root) == Value("6.12.9-0-lts", Evidence(f"/boot/{name}"))

    @pytest.mark.parametrize(
        "path",
        [
            "/boot/vmlinuz-0-rescue-0123456789abcdef0123456789abcdef",
            "/boot/vmlinuz-6.1.0.old",
            "/boot/.vmlinuz-6.1.0.hmac",
            "/lib/modules/6.1.9/updates/x.ko",
            "/boot/initrd.img-6.1.0",
            "/etc/x",
        ],
    )
    def test_what_is_no_kernel_is_none(self, make_tree: MakeTree, path: str) -> None:
        seen = next_(make_tree({path: ""}))
        assert seen == Absent(Evidence("/boot:/usr/lib/modules:/lib/modules"), "no kernel found in this tree")
        assert _boot_next.resolve_kernel_at_rest(DirectoryTree(make_tree({}))) == Unknown(
            "deferred", "no kernel found in this tree"
        )

    def test_a_damaged_unified_image_is_unknown(self, make_tree: MakeTree) -> None:
        seen = next_(make_tree({"/boot/efi/EFI/Linux/node-6.12.efi": "MZ"}))
        assert seen == Unknown("malformed", "/boot/efi/EFI/Linux/node-6.12.efi: is not a PE image")

    @pytest.mark.parametrize("name", ["notes.txt", ".node.efi", "auto-windows.efi", "node.efi.bak"])
    def test_other_files_beside_unified_images_are_left_alone(self, make_tree: MakeTree, name: str) -> None:
        path = f"/boot/vmlinuz-{NEW}"
        seen = next_(make_tree({path: "", f"/boot/efi/EFI/Linux/{name}": "MZ"}))
        assert seen == next_(make_tree({path: ""})) == Value(NEW, Evidence(path))

    @pytest.mark.parametrize(
        ("offset", "size", "known"),
        [
            ((256 << 20) - 4, 4, True),
            ((256 << 20) - 3, 4, False),
            ((256 << 20) - 4, 1 << 20, True),
            (256 << 20, 0, True),
            ((256 << 20) + 1, 0, False),
        ],
    )
    def test_a_section_behind_256_mib_is_not_read(
        self,
        make_tree: MakeTree,
        offset: int,
        size: int,
        known: bool,  # noqa: FBT001 - a parameter of a table
    ) -> None:
        tree = DirectoryTree(make_tree({"/x": "MZ"}))
        seen = _boot_systemd_boot._read_section(tree, "/x", Section(".osrel", offset, size), 4)  # noqa: SLF001
        if known:
            assert seen == Value(b"", Evidence("/x"))
        else:
            assert isinstance(seen, Unknown)
            assert (seen.reason, seen.say.startswith("/x: ")) == ("unsupported", True)

    def test_a_kernel_whose_release_nothing_tells_is_not_absent(self, make_tree: MakeTree) -> None:
        for path in ("/boot/kernel8.img", "/boot/firmware/kernel8.img"):
            seen = next_(make_tree({path: ""}))
            assert seen == Unknown("not found", f"release of the kernel {path} not found")
            Path(make_tree({}) + path).unlink()


class TestWithoutALoader:
    def test_the_link_decides(self, make_tree: MakeTree) -> None:
        assert next_(make_tree(BOTH, {"/vmlinuz": f"boot/vmlinuz-{OLD}"})) == Value(OLD, Evidence("/vmlinuz"))

    def test_a_link_to_what_is_not_there_does_not(self, make_tree: MakeTree) -> None:
        seen = next_(make_tree(BOTH, {"/vmlinuz": "boot/vmlinuz-6.1.0-99-amd64"}))
        assert seen == Value(NEW, Evidence(f"/boot/vmlinuz-{NEW}", inferred=True))

    @pytest.mark.parametrize(
        ("lower", "higher"),
        [
            ("6.1.0-9-amd64", "6.1.0-10-amd64"),
            ("6.9.9", "6.10.0"),
            ("6.2.0-rc3-amd64", "6.2.0-1-amd64"),
            ("4.18.0-553.el8_9.x86_64", "4.18.0-553.el8_10.x86_64"),
            ("6.5.6-300.fc39.x86_64", "6.11.4-301.fc41.x86_64"),
        ],
    )
    def test_else_the_highest(self, make_tree: MakeTree, lower: str, higher: str) -> None:
        seen = next_(make_tree({f"/boot/vmlinuz-{lower}": "", f"/boot/vmlinuz-{higher}": ""}))
        assert seen == Value(higher, Evidence(f"/boot/vmlinuz-{higher}", inferred=True))

    def test_a_folder_of_modules_is_no_rival_of_a_kernel(self, make_tree: MakeTree) -> None:
        root = make_tree({f"/boot/vmlinuz-{OLD}": "", f"/lib/modules/{NEW}/modules.dep": ""})
        assert next_(root) == Value(OLD, Evidence(f"/boot/vmlinuz-{OLD}"))


class TestGrub:
    @pytest.mark.parametrize(
        ("default", "kept", "release"),
        [
            ('"0"', "", NEW),
            ('"1>1"', "", OLD),
            ('"gnulinux-advanced>old"', "", OLD),
            ("'Advanced>Old'", "", OLD),
            ('"${saved_entry}"', "", NEW),
            ('"${saved_entry}"', "saved_entry=gnulinux-advanced>old\n", OLD),
            ('"${saved_entry}"', "saved_entry=nothing of the kind\n", NEW),
            ('"nothing of the kind"', "", NEW),
            ("7", "", NEW),
            ('"${next_entry}"', "next_entry=gnulinux-advanced>old\n", OLD),
        ],
    )
    def test_the_default_boots(self, make_tree: MakeTree, default: str, kept: str, release: str) -> None:
        text = menu(
            default,
            entry("Debian", NEW),
            "submenu 'Advanced' $menuentry_id_option 'gnulinux-advanced' {",
            entry("New", NEW, ident="new"),
            entry("Old", OLD, ident="old"),
            "}",
            before="load_env",
        )
        seen = next_(make_tree({**BOTH, GRUB: text, "/boot/grub/grubenv": f"# GRUB Environment Block\n{kept}####"}))
        assert isinstance(seen, Value)
        assert seen.value == release
        assert (seen.evidence.source, seen.evidence.inferred) == (GRUB, False)

    @pytest.mark.parametrize(
        ("kept", "release"),
        [
            ("saved_entry=old\nprev_saved_entry=new\n", NEW),
            ("saved_entry=new\nprev_saved_entry=old\n", OLD),
            ("saved_entry=old\nprev_saved_entry=\n", OLD),
            ("saved_entry=new\n", NEW),
        ],
    )
    def test_after_a_boot_of_once_the_entry_saved_before_it_boots(
        self, make_tree: MakeTree, kept: str, release: str
    ) -> None:
        once = 'load_env\nif [ "${prev_saved_entry}" ]; then\n  set saved_entry="${prev_saved_entry}"\n'
        once += "  save_env saved_entry\n  set prev_saved_entry=\n  save_env prev_saved_entry\n  set boot_once=true\nfi"
        entries = (entry("New", NEW, ident="new"), entry("Old", OLD, ident="old"))
        text = menu('"${saved_entry}"', *entries, before=once)
        seen = next_(make_tree({**BOTH, GRUB: text, "/boot/grub/grubenv": f"# GRUB Environment Block\n{kept}####"}))
        assert isinstance(seen, Value)
        assert seen.value == release

    def test_a_submenu_starts_its_first_entry(self, make_tree: MakeTree) -> None:
        text = menu("1", entry("Old", OLD), "submenu 'All' {", entry("New", NEW), "}", entry("A", OLD))
        assert next_(make_tree({**BOTH, GRUB: text})) == Value(NEW, Evidence(GRUB, 11))

    @pytest.mark.parametrize(
        ("text", "reason", "say"),
        [
            (
                menu("0", entry("Gone", "6.1.0-1-amd64")),
                "not found",
                "kernel /boot/vmlinuz-6.1.0-1-amd64 of the default entry `Gone` not found",
            ),
            (menu("0", "menuentry a {", "chainloader +1", "}"), "unsupported", "`a` runs `chainloader`"),
            (menu("0"), "unsupported", "the menu has no entries"),
            (menu("0", entry("Old", OLD), "while true; do", "true", "done"), "unsupported", "loops are not supported"),
            (
                menu("0", entry("Old", OLD), "legacy_source /x"),
                "unsupported",
                "the command `legacy_source` is not supported",
            ),
            (menu("0", entry("Old", OLD), "if [ x"), "unsupported", "expected `then`"),
            (
                menu("${grub_platform}", entry("Old", OLD), entry("New", NEW)),
                "hidden",
                "depends on state of the machine",
            ),
            (
                menu("0", "if [ $grub_cpu = x ]; then", entry("Old", OLD), "fi", entry("New", NEW)),
                "hidden",
                "which entry has the number 0 depends on state of the machine",
            ),
        ],
    )
    def test_what_is_not_understood_is_unknown(self, make_tree: MakeTree, text: str, reason: str, say: str) -> None:
        root = make_tree({**BOTH, GRUB: text})
        seen, given = next_(root), line(root)
        assert isinstance(seen, Unknown)
        assert isinstance(given, Unknown)
        assert seen.reason == given.reason == reason
        assert say in seen.say
        assert say in given.say

    def test_a_script_that_takes_saved_entry_for_read(self, make_tree: MakeTree) -> None:
        text = menu('"${saved_entry}"', entry("New", NEW), entry("a", OLD))
        kept = "# GRUB Environment Block\nsaved_entry=a\n"
        seen = next_(make_tree({**BOTH, GRUB: text, "/boot/grub/grubenv": kept}))
        assert isinstance(seen, Value)
        assert seen.value == OLD

    @pytest.mark.parametrize("kept", ["saved_entry=0\n", "", "# GRUB Environment Block\nsaved_entry=a"])
    def test_grubenv_as_grub_reads_it(self, make_tree: MakeTree, kept: str) -> None:
        """Without its first line GRUB does not read it; a line without an end does not count."""
        text = menu('"${saved_entry}"', entry("New", NEW), entry("a", OLD), before="load_env")
        seen = next_(make_tree({**BOTH, GRUB: text, "/boot/grub/grubenv": kept}))
        if kept.startswith("saved"):
            assert isinstance(seen, Unknown)
            assert "must begin with" in seen.say
        else:
            assert seen == Value(NEW, Evidence(GRUB, 5))

    def test_a_function_is_no_menu(self, make_tree: MakeTree) -> None:
        before = f"function f {{\nset default=9\n{entry('New', NEW)}\n}}"
        assert next_(make_tree({**BOTH, GRUB: menu("0", entry("Old", OLD), before=before)})) == Value(
            OLD, Evidence(GRUB, 12)
        )

    def test_the_command_line_is_that_of_the_entry(self, make_tree: MakeTree) -> None:
        text = menu("0", entry("New", NEW, '$more ${none} dyndbg="file a" -- single'), before="set more=quiet")
        seen = line(make_tree({**BOTH, GRUB: text}))
        assert seen == Value('root=UUID=x quiet "dyndbg=file a" -- single', Evidence(GRUB, 5))

    def test_of_a_kernel_that_was_asked_for_it_is_that_of_its_first_entry(self, make_tree: MakeTree) -> None:
        entries = (entry("New", NEW), entry("Old", OLD, "ro"), entry("Old, recovery", OLD, "ro single"))
        tree = DirectoryTree(make_tree({**BOTH, GRUB: menu("0", *entries)}))
        tree.kernel = OLD
        assert _boot_cmdline.resolve_cmdline(tree).then(lambda line: line.text) == Value(
            "root=UUID=x ro", Evidence(GRUB, 10)
        )
        seen = _boot_next.resolve_next_kernel(tree).then(lambda kernel: kernel.release)
        assert seen == Value(OLD, Evidence(f"/boot/vmlinuz-{OLD}"))

    def test_a_kernel_that_is_not_held_cannot_be_asked_for(self, make_tree: MakeTree) -> None:
        tree = DirectoryTree(make_tree(BOTH))
        tree.kernel = "6.1"
        say = f"kernel 6.1 not found in this tree; installed: {NEW}, {OLD}"
        assert _boot_next.resolve_kernel_at_rest(tree) == Unknown("not found", say)


MACHINE = "0123456789abcdef0123456789abcdef"
ENTRIES = "/boot/loader/entries"
BLSCFG = 'load_env\nset default="${saved_entry}"\ninsmod blscfg\nblscfg\n'


def bls(release: str, **more: str) -> str:
    said = {"title": f"Fedora Linux ({release})", "version": release, "linux": f"/vmlinuz-{release}", **more}
    return "".join(f"{key.replace('_', '-')} {value}\n" for key, value in said.items())


class TestEntries:
    FILES: Mapping[str, Union[str, None]] = {
        **BOTH,
        f"{ENTRIES}/{MACHINE}-{OLD}.conf": bls(OLD, options="root=/dev/vda $kernelopts old"),
        f"{ENTRIES}/{MACHINE}-{NEW}.conf": bls(NEW, options="root=/dev/vda new"),
        f"{ENTRIES}/{MACHINE}-0-rescue.conf": bls("0-rescue", options="rescue"),
    }

    def test_grub_takes_the_newest(self, make_tree: MakeTree) -> None:
        root = make_tree({**self.FILES, "/boot/grub2/grub.cfg": BLSCFG})
        assert next_(root) == Value(NEW, Evidence(f"{ENTRIES}/{MACHINE}-{NEW}.conf", 3))
        assert line(root) == Value("root=/dev/vda new", Evidence(f"{ENTRIES}/{MACHINE}-{NEW}.conf", 3))

    @pytest.mark.parametrize("saved", [f"{MACHINE}-{OLD}", "1", f"Fedora Linux ({OLD})"])
    def test_or_what_was_saved(self, make_tree: MakeTree, saved: str) -> None:
        kept = f"# GRUB Environment Block\nsaved_entry={saved}\nkernelopts=a b=c\n"
        root = make_tree({**self.FILES, "/boot/grub2/grub.cfg": BLSCFG, "/boot/grub2/grubenv": kept})
        assert next_(root) == Value(OLD, Evidence(f"{ENTRIES}/{MACHINE}-{OLD}.conf", 3))
        assert line(root) == Value("root=/dev/vda a b=c old", Evidence(f"{ENTRIES}/{MACHINE}-{OLD}.conf", 3))

    @pytest.mark.parametrize(
        ("default", "release"),
        [("", NEW), (f"default {MACHINE}-{OLD}.conf\n", OLD), ("default *-49-*\n", OLD), ("default nothing\n", NEW)],
    )
    def test_systemd_boot_has_a_pattern(self, make_tree: MakeTree, default: str, release: str) -> None:
        root = make_tree({**self.FILES, "/boot/loader/loader.conf": f"timeout 3\n{default}"})
        assert next_(root) == Value(release, Evidence(f"{ENTRIES}/{MACHINE}-{release}.conf", 3))

    def test_what_the_firmware_saved_is_not_seen(self, make_tree: MakeTree) -> None:
        root = make_tree({**self.FILES, "/boot/loader/loader.conf": "default @saved\n"})
        seen = next_(root)
        assert isinstance(seen, Unknown)
        assert "only an EFI variable has the entry" in seen.say

    @pytest.mark.parametrize(
        ("variable", "conf"),
        [("LoaderEntryDefault", ""), ("LoaderEntryOneShot", f"default {MACHINE}-{NEW}.conf\n")],
    )
    def test_a_running_machine_shows_what_the_firmware_saved(
        self, make_tree: MakeTree, variable: str, conf: str
    ) -> None:
        data = b"\x07\0\0\0" + f"{MACHINE}-{OLD}.conf\0".encode("utf-16-le")
        path = f"/sys/firmware/efi/efivars/{variable}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
        files = {**self.FILES, path: data, "/sys/kernel/x": "", "/boot/loader/loader.conf": conf}
        seen = _boot_next.resolve_next_release(Machine(make_tree(files)))
        assert isinstance(seen, Value)
        assert seen.value == OLD

    def test_entries_without_a_loader_are_inferred(self, make_tree: MakeTree) -> None:
        at = Evidence(f"{ENTRIES}/{MACHINE}-{NEW}.conf", 3, inferred=True)
        assert line(make_tree(self.FILES)) == Value("root=/dev/vda new", at)

    def test_a_sort_key_comes_before_the_version(self, make_tree: MakeTree) -> None:
        files = {
            f"{ENTRIES}/{OLD}+3-1.conf": bls(OLD, sort_key="a"),
            f"{ENTRIES}/{NEW}.conf": bls(NEW, sort_key="b"),
            "/boot/loader/loader.conf": "",
        }
        assert next_(make_tree({**BOTH, **files})) == Value(OLD, Evidence(f"{ENTRIES}/{OLD}+3-1.conf", 3))


def test_extlinux_has_labels(make_tree: MakeTree) -> None:
    text = (
        "default l1\nprompt 0\n\nlabel l0\n\tlinux /boot/vmlinuz-{0}\n\tappend ro a\n"
        "label l1\n\tlinux /boot/vmlinuz-{1}\n\tappend ro b\n"
    )
    root = make_tree({**BOTH, "/boot/extlinux/extlinux.conf": text.format(NEW, OLD)})
    assert next_(root) == Value(OLD, Evidence("/boot/extlinux/extlinux.conf", 8))
    assert line(root) == Value("ro b", Evidence("/boot/extlinux/extlinux.conf", 8))


class TestCommandLineWithoutALoader:
    @pytest.mark.parametrize(
        ("files", "text", "source"),
        [
            ({"/etc/kernel/cmdline": "root=/dev/vda\nquiet\n"}, "root=/dev/vda quiet", "/etc/kernel/cmdline"),
            ({"/usr/lib/kernel/cmdline": "quiet"}, "quiet", "/usr/lib/kernel/cmdline"),
            ({"/boot/firmware/cmdline.txt": "rootwait\n"}, "rootwait", "/boot/firmware/cmdline.txt"),
            (
                {"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="a b=c"\n'},
                "a b=c quiet",
                "/etc/default/grub",
            ),
            (
                {
                    "/etc/default/grub": "GRUB_DISTRIBUTOR=`lsb_release -i -s`\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n",
                    "/etc/default/grub.d/50.cfg": 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT x=1"\n',
                    "/etc/default/grub.d/README": "GRUB_CMDLINE_LINUX_DEFAULT=no\n",
                },
                "quiet x=1",
                "/etc/default/grub.d/50.cfg",
            ),
        ],
    )
    def test_it_is_inferred(self, make_tree: MakeTree, files: Mapping[str, str], text: str, source: str) -> None:
        assert line(make_tree({**BOTH, **files})) == Value(text, Evidence(source, inferred=True))

    def test_or_deferred(self, make_tree: MakeTree) -> None:
        seen = line(make_tree(BOTH))
        assert isinstance(seen, Unknown)
        assert seen.reason == "deferred"

    def test_without_a_kernel_it_is_deferred_with_all_of_it(self, make_tree: MakeTree) -> None:
        assert line(make_tree({"/etc/default/grub": ""})) == _boot_next.NO_KERNEL


class TestOthers:
    LABELS = f"label new\n linux /boot/vmlinuz-{NEW}\n append a\nlabel old\n linux /boot/vmlinuz-{OLD}\n append b\n"

    @pytest.mark.parametrize(
        ("head", "more", "release"),
        [
            ("", " menu default\n", OLD),  # U-Boot: SYSLINUX starts nothing then
            ("ontimeout old\n", "", OLD),
            ("default new\n", " menu default\n", ""),  # SYSLINUX and U-Boot differ
            ("default new\nontimeout old\n", "", ""),
            ("ui menu.c32\ndefault new\n", " menu default\n", OLD),
            ("default none\n", "", ""),
            ("default old\n", " sysappend 2\n", OLD),
            ("default old\n", "label more\n localboot 0\n", OLD),
            ("default more\n", "label more\n localboot 0\n", ""),
            ("default more\n", "label more\n kernel chain.c32\n", ""),
        ],
    )
    def test_extlinux_and_u_boot(self, make_tree: MakeTree, head: str, more: str, release: str) -> None:
        seen = next_(make_tree({**BOTH, "/boot/extlinux/extlinux.conf": head + self.LABELS + more}))
        assert (seen.value if isinstance(seen, Value) else "") == release

    @pytest.mark.parametrize(
        ("config", "names", "releases"),
        [
            ("arm_64bit=1\n", "kernel.img kernel7.img kernel8.img", ["6.1.21-v8+"]),
            ("arm_64bit=0\n", "kernel7.img kernel8.img", ["6.1.21-v7+"]),
            ("", "kernel7.img kernel8.img", ["6.1.21-v8+", "6.1.21-v7+"]),
            ("[pi4]\nkernel=kernel7.img\n[all]\n", "kernel7.img kernel8.img", ["6.1.21-v8+", "6.1.21-v7+"]),
            ("[none]\nkernel=x\n[all]\nkernel=kernel.img\n", "kernel.img kernel8.img", ["6.1.21+"]),
        ],
    )
    def test_a_raspberry_pi(self, make_tree: MakeTree, config: str, names: str, releases: List[str]) -> None:
        modules = {f"/lib/modules/6.1.21{end}/modules.dep": "" for end in ("+", "-v7+", "-v8+")}
        files = {f"/boot/{name}": "" for name in names.split()}
        root = make_tree({**modules, **files, "/boot/config.txt": config, "/boot/cmdline.txt": "a b\n"})
        seen = _boot_next.resolve_next_release(DirectoryTree(root))
        assert isinstance(seen, Value)
        assert [seen.value, *seen.others] == releases
        assert line(root).then(str) == Value("a b", Evidence("/boot/cmdline.txt", inferred=True))
        assert isinstance(_boot_next.resolve_next_kernel(DirectoryTree(root)), Value if len(releases) == 1 else Unknown)


def test_a_machine_that_runs_says_what_it_boots_next(make_tree: MakeTree) -> None:
    seen: Optional[object] = _boot_next.resolve_next_kernel(Machine(make_tree({**BOTH, "/proc/self/stat": ""})))
    assert isinstance(seen, Value)
    assert seen.value.release == NEW


@pytest.mark.parametrize("path", ["/boot/limine.conf", "/boot/boot.scr", "/etc/lilo.conf"])
def test_a_loader_that_is_not_read_is_named(make_tree: MakeTree, path: str) -> None:
    seen = next_(make_tree({**BOTH, path: ""}))
    assert isinstance(seen, Unknown)
    assert path in seen.say


def test_what_doubles_itself_does_not_grow(make_tree: MakeTree) -> None:
    text = "set a=xx\n" + 'set a="$a$a"\n' * 60 + entry("New", NEW, "$a")
    given = line(make_tree({**BOTH, GRUB: text}))
    assert isinstance(given, Value)
    assert len(given.value) < 2 * _boot_cmdline.MAX_VALUE_CHARS
    said: Dict[str, str] = {}
    for one in ("a=xx", *['a="$a$a"'] * 60):
        said.update(_boot_cmdline._parse_shell_assignments(one, said))  # noqa: SLF001 - hostile text
    assert len(said["a"]) == _boot_cmdline.MAX_VALUE_CHARS


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
@pytest.mark.parametrize(
    ("host", "kernel", "release", "line"),
    [
        ("rest-debian-12-grub", "", OLD, "root=UUID=0f6a ro console=tty0 console=ttyS0,115200 quiet"),
        ("rest-debian-12-grub", NEW, NEW, "root=UUID=0f6a ro console=tty0 console=ttyS0,115200 quiet"),
        (
            "rest-fedora-41-bls",
            "",
            "6.11.4-301.fc41.x86_64",
            "root=UUID=4c1e ro rootflags=subvol=root systemd.unified_cgroup_hierarchy=1",
        ),
        (
            "rest-fedora-41-bls",
            "6.12.7-200.fc41.x86_64",
            "6.12.7-200.fc41.x86_64",
            "root=UUID=4c1e ro rootflags=subvol=root systemd.unified_cgroup_hierarchy=1",
        ),
    ],
)
def test_whole_trees_say_what_they_boot(
    host: str, kernel: str, release: str, line: str, tmp_path: Path, *, packed: bool
) -> None:
    path = HOSTS / host
    if packed:
        with tarfile.open(tmp_path / "tree.tar.gz", "w:gz") as archive:
            archive.add(path, ".")
        path = tmp_path / "tree.tar.gz"
    tree = image.open_image(str(path))
    tree.kernel = kernel
    seen = _boot_next.resolve_next_kernel(tree).then(lambda kernel: kernel.release)
    assert isinstance(seen, Value)
    assert (seen.value, seen.evidence.inferred) == (release, False)
    given = _boot_cmdline.resolve_cmdline(tree)
    assert isinstance(given, Value)
    assert given.value == _boot_cmdline.KernelCommandLine(line, whole=True)


def test_zipl_without_a_default_starts_the_only_section(make_tree: MakeTree) -> None:
    kernels = {f"/boot/vmlinuz-6.1.0-{number}-s390x": "" for number in (49, 50)}
    section = '[{0}]\nimage=/boot/vmlinuz-6.1.0-{0}-s390x\ntarget=/boot\nparameters="root=/dev/dasda1 number={0}"\n'
    root = make_tree({**kernels, "/etc/zipl.conf": section.format(49)})
    assert next_(root).then(str) == Value("6.1.0-49-s390x", Evidence("/etc/zipl.conf", 2))
    assert line(root) == Value("root=/dev/dasda1 number=49", Evidence("/etc/zipl.conf", 2))
    root = make_tree({"/etc/zipl.conf": section.format(49) + section.format(50)})
    seen = next_(root)
    assert isinstance(seen, Unknown)
    assert (seen.reason, seen.say.startswith("/etc/zipl.conf: ")) == ("unsupported", True)

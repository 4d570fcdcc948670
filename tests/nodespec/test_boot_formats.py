from __future__ import annotations

import contextlib
import struct
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats import (
    boot_entry,
    grub_legacy,
    grub_menu,
    grub_state,
    grub_syntax,
    grub_test,
    pe,
    pi_config,
    syslinux,
)
from nodespec.formats.grub_test import ANY
from nodespec.formats.version_order import compare_rpm, compare_rpm_names, compare_uapi


class Files:
    """Files of a machine by GRUB's paths."""

    def __init__(self, texts: Dict[str, str], entries: Sequence[grub_state.GrubEntry] = ()) -> None:
        self._texts, self._entries = texts, entries

    def kind(self, path: str) -> Optional[str]:
        return None if path.startswith("(") else "file" if path in self._texts else ""

    def text(self, path: str) -> Optional[str]:
        return self._texts.get(path)

    def entries(self) -> Sequence[grub_state.GrubEntry]:
        return self._entries


def menu(text: str, **files: str) -> grub_menu.GrubMenu:
    texts = {f"/boot/grub/{name.replace('_', '.')}": content for name, content in files.items()}
    return grub_menu.GrubMenu(Files(texts), "/boot/grub/grub.cfg", text)


def started(text: str, **files: str) -> List[str]:
    return [
        f"{kernel.path} {option}" for kernel in menu(text, **files).list_default_kernels() for option in kernel.options
    ]


ENTRIES = "menuentry a {\n linux /a x\n}\nmenuentry b --id two {\n linux /b y\n}\nmenuentry c {\n linux /c z\n}\n"


class TestGrubScript:
    @pytest.mark.parametrize(
        ("script", "kernel"),
        [
            ("", "/a x"),
            ("set default=1", "/b y"),
            ("default=2", "/c z"),
            ("set default=two", "/b y"),
            ("set default='c'", "/c z"),
            ("set default=3", "/a x"),
            ("set default=02", "/c z"),
            ("set x=1; set default=$x", "/b y"),
            ('set x="a b"; set default="${x}"', "/a x"),
            ("if [ a = b ]; then set default=1; else set default=2; fi", "/c z"),
            ("if [ a == a -a ! b = b ]; then set default=1; elif true; then set default=2; fi", "/c z"),
            ("if [ -z $none ]; then set default=1; fi", "/b y"),
            ('if [ "$none" ]; then set default=1; fi', "/a x"),
            ("if test -f /boot/grub/grubenv; then set default=1; fi", "/a x"),
            ("function f { set default=$1; }; f 2", "/c z"),
            ("function f {\n return\n set default=1\n}\nf", "/a x"),
            ("for i in 0 1 2; do set default=$i; done", "/c z"),
            ("set timeout=1 # set default=1\n# set default=2", "/a x"),
            ("search --set=default -l x; set default=1", "/b y"),
            ("set d=1; export d; unset d; set default=$d", "/a x"),
            ("eval 'set default=1'", "/b y"),
            ("set n=1; increment n; set default=$n", "/c z"),
            ("set n=3; decrement n; set default=$n", "/c z"),
            ("if [ 10 -gt 9 ]; then set default=1; fi", "/b y"),
            ("if [ abc '<' abd -o x = y ]; then set default=1; fi", "/b y"),
            ("if [ ( a = b ) -o ( c = c ) ]; then set default=1; fi", "/b y"),
            ("if loadfont x; then set gfxmode=auto; fi; set default=1", "/b y"),
            ("insmod gzio;insmod x", "/a x"),
            ("x=' 1 '; set default=$x", "/b y"),
            ("set default=\\\n1", "/b y"),
            ("set default=$#", "/a x"),
        ],
    )
    def test_the_default_is_evaluated(self, script: str, kernel: str) -> None:
        assert started(f"{script}\n{ENTRIES}") == [kernel]

    def test_a_condition_on_the_machine_leaves_both_values(self) -> None:
        text = "if [ $grub_cpu = i386 ]; then set x=1; else set x=2; fi\nmenuentry a {\n linux /a x=$x\n}\n"
        assert started(text) == ["/a x=1", "/a x=2"]

    def test_a_condition_on_the_machine_for_the_default_leaves_both_entries(self) -> None:
        text = f"if [ $grub_platform = efi ]; then set default=1; else set default=2; fi\n{ENTRIES}"
        assert started(text) == ["/b y", "/c z"]

    def test_the_same_in_both_branches_is_sure(self) -> None:
        same = "menuentry x { linux /x; }"
        assert started(f"if [ $grub_platform = efi ]; then {same}; else {same}; fi")[0] == "/x "

    def test_submenus_see_exported_variables_only(self) -> None:
        text = "set a=1\nset b=2\nexport b\nsubmenu s {\n menuentry e {\n  linux /k a=$a b=$b\n }\n}\n"
        assert started(text) == ["/k a= b=2"]

    def test_a_file_that_is_read_counts(self) -> None:
        assert started(f"source /boot/grub/x.cfg\n{ENTRIES}", x_cfg="set default=1") == ["/b y"]
        assert started(f". /boot/grub/none.cfg\n{ENTRIES}") == ["/a x"]

    def test_configfile_takes_over(self) -> None:
        kernels = menu(f"set default=1\nconfigfile $prefix/x.cfg\n{ENTRIES}", x_cfg=ENTRIES).list_default_kernels()
        assert [(kernel.file, kernel.path) for kernel in kernels] == [("/boot/grub/x.cfg", "/a")]

    def test_fallback_entries(self) -> None:
        found = menu(f"set fallback='1 2'\n{ENTRIES}")
        assert [kernels[0].path for kernels in found.iterate_fallbacks()] == ["/b", "/c"]

    def test_options_are_joined_as_grub_does(self) -> None:
        text = """menuentry a { linux /a "x y" 'q"q' a\\ b $none "" end; }"""
        assert started(text) == ['/a "x y" q\\"q "a b"  end']

    @pytest.mark.parametrize(
        "text",
        [
            "menuentry a {",
            "if true; then",
            "if true; then; set a=1; fi",
            "if true; then\n# nothing\nfi",
            "menuentry a {\n}",
            "set a=1\n;",
            "fi",
            "}",
            "a | b",
            "'",
            "while true; do true; done",
            "function f { f; }; f",
            "source /boot/grub/grub.cfg",
            "lua x",
            "menuentry a { true; }",
            "$grub_cpu x",
            "blscfg x",
            "if [ $grub_cpu = x ]; then exit; fi",
            "configfile /none",
            "source $root",
            "submenu s { submenu t { true; }; }",
        ],
    )
    def test_what_is_not_understood_raises(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            started(text, grub_cfg=text)

    @pytest.mark.parametrize(("depth", "fits"), [(22, True), (23, True), (24, False)])
    def test_blocks_are_bounded(self, depth: int, *, fits: bool) -> None:
        text = "if true; then\n" * depth + "true\n" + "fi\n" * depth
        if fits:
            grub_syntax.parse_script(text)
        else:
            with pytest.raises(ValueError, match="24 deep"):
                grub_syntax.parse_script(text)

    @pytest.mark.parametrize(("count", "fits"), [(511, True), (512, True), (513, False)])
    def test_entries_are_bounded(self, count: int, *, fits: bool) -> None:
        text = "menuentry a { linux /a; }\n" * count
        if fits:
            assert started(text) == ["/a "]
        else:
            with pytest.raises(ValueError, match="more than 512"):
                started(text)

    def test_a_variable_that_doubles_itself_is_bounded(self) -> None:
        text = "set a=xx\n" + "set a=$a$a\n" * 40 + "menuentry a { linux /a $a; }"
        assert len(started(text)[0]) == 8193  # of `a=` and the value 8192 characters are kept

    def test_statements_are_bounded(self) -> None:
        words = " ".join(map(str, range(300)))
        text = f"for a in {words}; do for b in {words}; do true; done; done\n{ENTRIES}"
        with pytest.raises(ValueError, match="too long"):
            started(text)


@pytest.mark.parametrize(
    ("words", "truth"),
    [
        ([ANY, "=", "x"], None),
        ([f"x{ANY}", "=", "y"], False),
        ([f"x{ANY}", "!=", "y"], True),
        ([f"x{ANY}", "=", "xyz"], None),
        (["-n", ANY], None),
        (["-n", f"x{ANY}"], True),
        (["-z", f"x{ANY}"], False),
        ([ANY], None),
        ([], False),
        (["-f", f"/{ANY}"], None),
        (["-f", f"({ANY})/x"], False),
        ([ANY, "=", "x", "-a", "a", "=", "b"], False),
        ([ANY, "=", "x", "-o", "a", "=", "a"], True),
        (["!", ANY, "=", "x"], None),
        (["010", "-eq", "8"], None),
        (["!"], True),
        (["a", "-nt", "b"], None),
    ],
)
def test_what_only_the_machine_knows_stays_open(words: List[str], *, truth: Optional[bool]) -> None:
    assert grub_test.evaluate_test([*words, "]"], lambda _: "") is (truth if words else True)


def image(*sections: Tuple[str, bytes], count: Optional[int] = None) -> bytes:
    table = 64 + 24
    offset = table + 40 * len(sections)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HH12xHH", 0x8664, len(sections) if count is None else count, 0, 0)
    body = b""
    for name, data in sections:
        head += struct.pack("<8sIIII16x", name.encode(), len(data), 0, len(data), offset + len(body))
        body += data
    return head + body


class TestPe:
    def test_sections_are_found(self) -> None:
        data = image((".osrel", b"ID=x"), (".linux", b"MZ"))
        found = pe.parse_sections(data)
        assert [(one.name, data[one.offset : one.offset + one.size]) for one in found] == [
            (".osrel", b"ID=x"),
            (".linux", b"MZ"),
        ]

    def test_every_beginning_is_an_image_or_raises(self) -> None:
        data = image((".osrel", b"ID=x"), (".linux", b"MZ"))
        for end in range(64 + 24 + 80):
            with pytest.raises(ValueError, match=r"is not a PE image|has a truncated"):
                pe.parse_sections(data[:end])
        assert len(pe.parse_sections(data[: 64 + 24 + 80])) == 2

    @pytest.mark.parametrize(
        ("count", "problem"), [(95, "has a truncated"), (96, "has a truncated"), (97, "more than 96")]
    )
    def test_sections_are_bounded(self, count: int, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            pe.parse_sections(image(count=count))

    @given(st.binary(max_size=400).map(lambda tail: b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + tail))
    def test_no_bytes_break_it(self, data: bytes) -> None:
        with contextlib.suppress(ValueError):
            assert len(pe.parse_sections(data)) <= pe.MAX_SECTIONS


WORDS = st.sampled_from(
    """menuentry submenu function { } 'a' "${x}" $x $1 linux /vmlinuz-1 set default=0 default=1 ; if then elif else fi
    for in do done while [ ] = != -a -o -n -z ! ( ) ' " \\ blscfg --id # source configfile load_env $grub_cpu true
    label LABEL MENU DEFAULT append INCLUDE x kernel title [all] [pi4] include a=b options""".split()  # noqa: SIM905
)
TEXTS = st.lists(WORDS | st.just("\n"), max_size=60).map(" ".join) | st.text(max_size=80)


@given(TEXTS, TEXTS)
@settings(max_examples=300)
def test_no_text_breaks_a_parser(text: str, other: str) -> None:
    for read in (
        lambda: menu(text, x=other, grubenv=f"# GRUB Environment Block\n{other}").list_default_kernels(),
        lambda: menu(text).list_kernels(),
        lambda: syslinux.SyslinuxConfig("/x", text, lambda _: other).started(),
        lambda: pi_config.parse(text, lambda _: other),
    ):
        with contextlib.suppress(ValueError):
            read()
    entry = boot_entry.parse("x+2-1.conf", text)
    assert (entry.id, entry.left, entry.done) == ("x.conf", 2, 1)
    assert isinstance(boot_entry.matches_entry(text, entry), bool)
    assert isinstance(boot_entry.parse_default(text), str)
    assert isinstance(boot_entry.parse_os_release(text), dict)
    assert len(grub_legacy.parse_menu(text).entries) <= grub_legacy.MAX_ENTRIES
    assert len(grub_legacy.parse_zipl(text).entries) <= grub_legacy.MAX_ENTRIES
    assert grub_test.evaluate_test(text.split(), lambda _: None) in (True, False, None)


VERSIONS = st.text("019ab-.~^_+", max_size=8)


@given(VERSIONS, VERSIONS, VERSIONS)
@settings(max_examples=300)
@pytest.mark.parametrize("compare", [compare_uapi, compare_rpm, compare_rpm_names])
def test_orders_are_total(compare: Callable[[str, str], int], a: str, b: str, c: str) -> None:
    assert compare(a, a) == 0
    assert (compare(a, b) > 0) == (compare(b, a) < 0)
    if compare(a, b) <= 0 and compare(b, c) <= 0 and compare is compare_uapi:
        assert compare(a, c) <= 0


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("M-4.18.0-348.el8.x86_64", "M-4.18.0-348.2.1.el8_5.x86_64"),
        ("M-0-rescue", "M-3.10.0-1160.el7.x86_64"),
        ("M-6.12.0-55.7.1.el10_0", "M-6.12.0-55.30.1.el10_0"),
        ("M-6.11.4-301.fc41.x86_64", "M-6.11.4-301.fc41.x86_64+debug"),
        ("A-9.0-1", "B-1.0-1"),
        ("M-6.1~rc1-1", "M-6.1-1"),
    ],
)
def test_blscfg_sorts_as_rpm_does(older: str, newer: str) -> None:
    assert compare_rpm_names(older, newer) < 0 < compare_rpm_names(newer, older)

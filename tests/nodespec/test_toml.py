"""TOML: the same documents as the standard library's reader takes, with the same values, and with lines."""

from __future__ import annotations

import sys
from typing import Dict, List, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats.toml import MAX_DEPTH, TomlValue, parse

Plain = Union[str, int, float, bool, List["Plain"], Dict[str, "Plain"]]


def plain(found: object) -> Plain:
    """Tables and arrays without lines."""
    if isinstance(found, TomlValue):
        return plain(found.value)
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list):
        return [plain(value) for value in found]
    assert isinstance(found, (str, int, float, bool))
    return found


def test_settings_know_their_lines() -> None:
    text = """
version = 3  # of the format
imports = ["/etc/one.toml", # the first ]
  "/etc/two.toml",
]
  [plugins."io.containerd.cri.v1.runtime".containerd]
    note = \"\"\"
[not.a.table]
\"\"\"
    inline = { SystemdCgroup = true, Root.x = '/run' }
"""
    found = parse(text)
    assert found["version"] == TomlValue(3, 2)
    assert found["imports"] == TomlValue(["/etc/one.toml", "/etc/two.toml"], 3)
    assert found["plugins"] == {
        "io.containerd.cri.v1.runtime": {
            "containerd": {
                "note": TomlValue("[not.a.table]\n", 7),
                "inline": {"SystemdCgroup": TomlValue(value=True, line=10), "Root": {"x": TomlValue("/run", 10)}},
            }
        }
    }


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_nesting_is_bounded(depth: int) -> None:
    assert MAX_DEPTH == 32
    text = "a = " + "[" * (depth + 1) + "]" * (depth + 1) + "\n"
    if depth <= 32:
        assert isinstance(parse(text)["a"], TomlValue)
    else:
        with pytest.raises(ValueError, match="line 1: nested too deep"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = 1\na = 2\n", "line 2: `a` is set twice"),
        ("[a]\n[a]\n", "line 2: `a` is set twice"),
        ("a = 1 b = 2\n", "line 1: expected the end of the line"),
        ("\na 1\n", "line 2: expected `=`"),
        ("a = yes\n", "line 1: expected a value"),
        ('a = "open\n', "line 1: expected a value"),
        ("a = '\x01'\n", "line 1: a control character"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(text)


KEYS = ["a", "b", '"a b"', "'c'", "a.b", "a.b.c", ".", "=", "=", "[", "]", "[[", "]]", "{", "}", ","]
VALUES = ["1", "-0x1", "0xfF", "1_0", "+1", "01", "1.5e3", "inf", "true", "false", "1979-05-27", "07:32:00"]
STRINGS = ['"x\\ny"', "'''z'''", '""', '"\\u00e9"', '"\\q"']
LINES = ["\n", "\n", "\r\n", " ", "# c\n", "[a]\n", "[[a]]\n", "[a.b]\n", "[[a.b]]\n", "a.b=1\n", "b=[1,\n2]\n"]
TABLES = ["a={b=1}\n", "b={a.b=1,c=2}\n", '"""\nq\\\n  r"""', "2020-01-01 10:00:00Z", "x=1\n"]


def standard(text: str) -> Optional[Plain]:
    """What the standard library reads; nothing where it refuses. Dates are their text."""
    import tomllib  # noqa: PLC0415 - Python 3.11 has it

    def dated(value: object) -> Plain:
        if isinstance(value, dict):
            return {key: dated(one) for key, one in value.items()}
        if isinstance(value, list):
            return [dated(one) for one in value]
        return value if isinstance(value, (str, int, float, bool)) else "a date"

    try:
        return dated(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return None


def same(ours: Plain, theirs: Plain) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return isinstance(ours, str) if theirs == "a date" else (type(ours), ours) == (type(theirs), theirs)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*KEYS, *VALUES, *STRINGS, *LINES, *TABLES]), max_size=14).map("".join))
def test_it_takes_and_reads_what_the_standard_library_does(text: str) -> None:
    theirs = standard(text)
    try:
        ours: Optional[Plain] = plain(parse(text))
    except ValueError:
        ours = None
    assert (ours is None) == (theirs is None)
    assert ours is None or theirs is None or same(ours, theirs)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text("[]{}=.\"'\\\n #a1,", max_size=300))
def test_any_text_is_a_document_or_refused(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - a document is as good

from __future__ import annotations

import json
import sys
from typing import Dict, List, Tuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats.toml import LONGEST, Entry, entries

Scalar = Union[str, int, bool, List[str]]


def test_keys_are_found_in_every_form_with_their_lines() -> None:
    text = """
version = 3  # of the format
imports = ["/etc/one.toml", # the first ]
  "/etc/two.toml",
]
plain.dotted."quoted.key" = 'literal # text'

  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name="runc"
    note = \"\"\"
[not.a.table]
wrong = true
\"\"\"
    inline = { SystemdCgroup = true, Root = "/run" , list = [1, 2]}
[[ array.of ]]
tables = 07:32:00
"""
    cri = ("plugins", "io.containerd.cri.v1.runtime", "containerd")
    assert entries(text) == {
        ("version",): Entry(("3",), 2),
        ("imports",): Entry(("/etc/one.toml", "/etc/two.toml"), 3),
        ("plain", "dotted", "quoted.key"): Entry(("literal # text",), 6),
        (*cri, "default_runtime_name"): Entry(("runc",), 9),
        (*cri, "note"): Entry(("",), 10),
        (*cri, "inline"): Entry(("SystemdCgroup", "true", "Root", "/run", "list", "1", "2"), 14),
        (*cri, "inline", "SystemdCgroup"): Entry(("true",), 14),
        (*cri, "inline", "Root"): Entry(("/run",), 14),
        (*cri, "inline", "list"): Entry((), 14),
        ("array", "of", "tables"): Entry(("07:32:00",), 16),
    }


@settings(max_examples=300)
@given(st.text(max_size=200) | st.text(alphabet="a.=[]{}\"'#\\, \n", max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert all(entry.line <= text.count("\n") + 1 for entry in entries(text).values())


@pytest.mark.parametrize("text", ["a=[\n", "a", '"\\', "x={,a=", "[a. ", "'\n", '"""', "a.a=,", "a = [1,\n", "#", "="])
def test_no_text_takes_long(text: str) -> None:
    found = entries(text * (50_000 // len(text)))
    assert all(len(word) <= LONGEST for entry in found.values() for word in entry.words)


NAMES = st.text(alphabet="abc.-_é", min_size=1, max_size=4)
WORDS = st.text(alphabet="ab #=[]{}'.,\\\"", max_size=8)
TABLES = st.dictionaries(NAMES, st.one_of(WORDS, st.integers(), st.booleans(), st.lists(WORDS, max_size=3)), max_size=4)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib, the oracle, comes with Python 3.11")
@settings(max_examples=150)
@given(st.dictionaries(st.tuples(NAMES, NAMES), TABLES, max_size=3), st.booleans())
def test_sound_files_are_read_as_the_standard_library_does(
    tables: Dict[Tuple[str, str], Dict[str, Scalar]],
    several: bool,  # noqa: FBT001 - whether lists go over several lines
) -> None:
    import tomllib  # noqa: PLC0415 - where there is one

    end = "\n" if several else ""
    text = ""
    for path, table in tables.items():
        text += f"[{'.'.join(json.dumps(part, ensure_ascii=False) for part in path)}] # a table\n"
        for name, value in table.items():
            said = (
                f"[{end}{f',{end}'.join(map(json.dumps, value))}{end}]"
                if isinstance(value, list)
                else json.dumps(value)
            )
            text += f"{json.dumps(name, ensure_ascii=False)} = {said} # said\n"
    expected = {}
    for outer, inner in tomllib.loads(text).items():
        for middle, table in inner.items():
            for name, value in table.items():
                expected[outer, middle, name] = tuple(value) if isinstance(value, list) else (plain(value),)
    assert {key: entry.words for key, entry in entries(text).items()} == expected


def plain(value: Union[str, int, bool]) -> str:  # noqa: FBT001 - a value of TOML
    return value if isinstance(value, str) else json.dumps(value)

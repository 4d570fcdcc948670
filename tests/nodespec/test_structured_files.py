"""Readers of structured files: YAML is held equal to PyYAML, the others to the standard library."""

from __future__ import annotations

import configparser
import json
import shlex
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple, Union

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.formats.data_tree import DataNode, UnsupportedSyntaxError, find_node, parse_pointer
from nodespec.formats.structured import parse_structured

FILES = sorted((Path(__file__).parents[1] / "hosts" / "structured").glob("*.yaml"))
Canonical = Union[Set[str], List[Any], Dict[str, Any]]
TEXTS = st.text("ab:#-?'\"\\[]{},&*!|>%@ \n\té0159.xo_~<=yn", max_size=12)
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.sampled_from(["no", "0644", "1:30", "1e3", "y"]))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXTS, below, max_size=3)),
    max_leaves=8,
)


def read_reference(text: str) -> Canonical:
    """What PyYAML reads; raises if it is not one document of scalars, lists and mappings with distinct keys."""
    (node,) = yaml.compose_all(text, yaml.SafeLoader)
    return canonical(node)


def canonical(node: yaml.Node) -> Canonical:
    if isinstance(node, yaml.SequenceNode):
        return [canonical(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {min(spellings(key)): canonical(value) for key, value in node.value}
    return spellings(node)


def spellings(node: yaml.Node) -> Set[str]:
    assert isinstance(node, yaml.ScalarNode)
    tag = node.tag.rpartition(":")[2]
    if node.style or tag not in ("bool", "int", "null", "float"):
        return {node.value}
    value = yaml.SafeLoader("").construct_object(node)
    if tag == "float":
        return {node.value, str(value), str(int(value)) if abs(value) < 1e15 else node.value}
    return {{True: "true", False: "false", None: "null"}.get(value, str(value)) if tag != "int" else str(value)}


def agrees(mine: DataNode, reference: Canonical) -> bool:
    if isinstance(mine.value, str):
        return isinstance(reference, set) and bool({mine.value, *mine.others} & reference)
    if isinstance(mine.value, list):
        return (
            isinstance(reference, list)
            and len(reference) == len(mine.value)
            and all(map(agrees, mine.value, reference))
        )
    return isinstance(reference, dict) and all(agrees(value, reference[key]) for key, value in mine.value.items())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_of_kubernetes_distributions_are_read_as_pyyaml_reads_them(file: Path) -> None:
    text = file.read_text("utf-8")
    mine = parse_structured("yaml", text)
    assert agrees(mine, read_reference(text))
    assert isinstance(mine.value, dict)
    assert len(mine.value) == len(yaml.safe_load(text))


STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([None, False, True]),
        "default_style": st.sampled_from([None, "'", '"', "|", ">"]),
    }
)


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, STYLES)
def test_what_pyyaml_writes_is_read_or_refused_never_guessed(document: object, styles: Dict[str, Any]) -> None:
    text = yaml.safe_dump(document, allow_unicode=True, width=20, **styles)
    try:
        mine = parse_structured("yaml", text)
    except ValueError:
        return
    assert agrees(mine, read_reference(text)), text


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([file.read_text("utf-8") for file in FILES]), st.integers(0, 2000), TEXTS)
def test_a_damaged_file_is_never_read_differently(text: str, at: int, inserted: str) -> None:
    damaged = text[:at] + inserted + text[at + len(inserted) // 2 :]
    try:
        mine = parse_structured("yaml", damaged)
    except ValueError:
        return
    assert agrees(mine, read_reference(damaged)), damaged


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1",
        "a: *x",
        "a: !!str 1",
        "<<: {a: 1}",
        "a: 1\n---\nb: 2",
        "? a\n: b",
        "%YAML 1.1\n---\na",
        "[a: b]",
        "a: \tb",
    ],
)
def test_unsupported_yaml_is_named(text: str) -> None:
    with pytest.raises(UnsupportedSyntaxError, match="line "):
        parse_structured("yaml", text)


@pytest.mark.parametrize(
    "text", ["a: b: c", "a: 1\na: 2", "a: [1", "- a\nb: 1", "a: 'x", "a:\n  - b\n c: d", "{a: 1", "x\x00"]
)
def test_malformed_yaml_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="line "):
        parse_structured("yaml", text)


@pytest.mark.parametrize(
    ("text", "value", "others"),
    [
        ("no", "false", ("no",)),
        ("0644", "420", ("0644",)),
        ("0o644", "0o644", ("420",)),
        ("1:30", "1:30", ("90",)),
        ("1_000", "1000", ("1_000",)),
        ("1e3", "1e3", ("1000",)),
        ("0x1F", "31", ()),
        ("1.50", "1.50", ()),
        ("True", "true", ()),
        ("~", "null", ()),
        ("y", "true", ("y",)),
        ("10s", "10s", ()),
        ("'no'", "no", ()),
    ],
)
def test_scalars_that_parsers_read_differently_have_several_values(text: str, value: str, others: object) -> None:
    node = parse_structured("yaml", text)
    assert (node.value, node.others) == (value, others)


@pytest.mark.parametrize("depth", [32, 33])
@pytest.mark.parametrize(("kind", "opening", "closing"), [("yaml", "[", "]"), ("json", "[", "]")])
def test_nesting_is_limited(kind: str, opening: str, closing: str, depth: int) -> None:
    text = opening * (depth + 1) + closing * (depth + 1)
    if depth == 32:
        assert isinstance(parse_structured(kind, text).value, list)
    else:
        with pytest.raises(ValueError, match="nested too deep"):
            parse_structured(kind, text)


def plain(node: DataNode) -> object:
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def texts(value: object) -> object:
    if isinstance(value, dict):
        return {key: texts(below) for key, below in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 2]))
def test_json_is_read_as_the_standard_library_reads_it(document: object, indent: object) -> None:
    text = json.dumps(document, indent=indent)  # type: ignore[arg-type]
    assert plain(parse_structured("json", text)) == texts(json.loads(text))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', "{'a': 1}", "[1,]", "01", '"\\ud800"', "[1] 2", "", '{"a" 1}', "NaN"]
)
def test_malformed_json_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        parse_structured("json", text)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text("ABZ", min_size=1, max_size=4),
        st.dictionaries(st.text("abz", min_size=1), st.text("ab =:x", max_size=8)),
    )
)
def test_ini_is_read_as_configparser_reads_it(sections: Dict[str, Dict[str, str]]) -> None:
    text = "".join(
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) for name, keys in sections.items()
    )
    reference = configparser.RawConfigParser(delimiters=("=",), strict=True)
    reference.optionxform = str  # type: ignore[assignment,method-assign]
    reference.read_string(text)
    assert plain(parse_structured("ini", text)) == {name: dict(reference[name]) for name in reference.sections()}


@settings(max_examples=50, deadline=None)
@given(st.text("ab -=/.'\"$\\#", max_size=10))
def test_quoted_assignments_are_read_as_a_shell_reads_them(value: str) -> None:
    node = find_node(parse_structured("env", f"A={shlex.quote(value)}\n"), "/A")
    assert node is not None
    assert node.problem or value in (node.value, *node.others)


@pytest.mark.parametrize(
    ("kind", "text", "pointer", "seen"),
    [
        ("ini", "[A]\nx = 1\nx=2\n", "/A/x", ("2", 3, ("1",))),
        ("env", "# c\nexport A='b c'\n", "/A", ("b c", 2, ())),
        ("env", "A=b # c\n", "/A", ("b", 1, ("b # c",))),
        ("env", "A=1\nA=2\n", "/A", ("2", 2, ())),
        ("toml", "a = 1\n[b.'c/d']\ne = [true, 'x']\n", "/b/c~1d/e/1", ("x", 3, ())),
        ("json", '{\n"a~": [\n1,\n2.0]}', "/a~0/1", ("2.0", 4, ())),
        ("yaml", "a:\n  - b: 1\n    c: 2\n", "/a/0/c", ("2", 3, ())),
    ],
)
def test_pointers_lead_to_values_with_lines(
    kind: str, text: str, pointer: str, seen: Tuple[str, int, Tuple[str, ...]]
) -> None:
    node = find_node(parse_structured(kind, text), pointer)
    assert node is not None
    assert (node.value, node.line, node.others) == seen


@pytest.mark.parametrize(
    ("kind", "text"), [("ini", "[A]\nx=1 \\\ny=2\n"), ("ini", "[A]\nx=1\n  2\n"), ("env", "x=$Y\n")]
)
def test_values_that_depend_on_the_program_have_a_problem(kind: str, text: str) -> None:
    node = find_node(parse_structured(kind, text), "/A/x" if kind == "ini" else "/x")
    assert node is not None
    assert node.problem


@pytest.mark.parametrize("pointer", ["a", "", "/a~2", "/~"])
def test_invalid_pointers_are_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="is not a pointer"):
        parse_pointer(pointer)

"""Every mistake that a spec can hold ends in one sentence with its position, and in exit code 2."""

from __future__ import annotations

import io
import os
import re
import threading
import time
from pathlib import Path
from typing import Iterator, List, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.__main__ import main
from nodespec.author.spec.library import Library
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError

TABLE = Path(__file__).parent / "bad-specs.txt"
PLACED = re.compile(r"(?s)(.+?):(\d+):(\d+): .+")


class Bad(NamedTuple):
    said: List[str]
    text: str


def bad_specs() -> Iterator[Bad]:
    for record in re.split(r"\n\n+", TABLE.read_text("utf-8")):
        lines = [line for line in record.splitlines() if not line.startswith("#")]
        said = [line for line in lines if not line.startswith("    ")]
        if said:
            yield Bad(said, "nodespec: 1\n" + "".join(f"{line[4:]}\n" for line in lines if line.startswith("    ")))


BAD = list(bad_specs())


def mistakes(path: Path) -> List[str]:
    with pytest.raises(UsageError) as caught:
        resolve([str(path)], Library(), {})
    return list(caught.value.messages)


def told(path: Path, expected: str) -> re.Pattern[str]:
    """The sentence that is expected of a file, `...` for what varies."""
    position, said = expected.split(": ", 1)
    parts = ".*".join(map(re.escape, said.split("...")))
    return re.compile(f"{re.escape(str(path))}:{position}: {parts}", re.DOTALL)


def test_the_table_has_its_cases() -> None:
    assert len(BAD) > 200


@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.said[0]}" for bad in BAD])
def test_a_bad_spec_is_told_with_its_position(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(bad.text)
    said = mistakes(path)
    assert len(said) == len(bad.said), said
    for line, expected in zip(said, bad.said):
        assert told(path, expected).match(line), line


@pytest.mark.parametrize("bad", BAD, ids=[f"{bad.said[0]}" for bad in BAD])
def test_the_same_is_found_by_the_yaml_reader_in_python(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    path = tmp_path / "s.yaml"
    path.write_text(bad.text)
    said = mistakes(path)
    assert all(PLACED.fullmatch(line) for line in said), said
    assert len(said) == len(bad.said)


def lines_of(path: Path, data: bytes) -> List[str]:
    path.write_bytes(data)
    began = time.process_time()
    said = mistakes(path)
    assert time.process_time() - began < 2
    return [line.replace(str(path), "s") for line in said]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "s:1:1: the document is empty"),
        (b"# only a comment\n", "s:1:1: the document is empty"),
        (b"nodespec: 2\n", "s:1:11: `nodespec: 1` is required"),
        (b"require: {cpu: {count: 2}}\n", "s:1:1: `nodespec: 1` is required"),
        (b"[a]\n", "s:1:1: a spec must be a mapping"),
        (b"text\n", "s:1:1: a spec must be a mapping"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "s:1:1: "),
        (b"nodespec: 1\ntitle: caf\xe9\n", "s:2:11: the text must be UTF-8"),
        ("nodespec: 1\n".encode("utf-16"), "s:1:1: the text must be UTF-8"),
        (b"nodespec: 1\ntitle: a\x07b\n", "s:2:9: "),
        (b"[" * 900, "s:1:33: nested deeper than 32"),
        (b"{" * 900, "s:1:33: nested deeper than 32"),
        (b"- " * 50_000, "s:1:65: nested deeper than 32"),
        (b"a: " * 30_000, "s:1:5: mapping values are not allowed"),
        (b"? " * 50_000, "s:1:65: nested deeper than 32"),
        (b'"' * 99_999, "s:1:"),
        (b"nodespec: 1\ntitle: " + b"x" * (50 << 20), "s:1:1: the file must not be larger than 1 MiB"),
    ],
    ids=lambda value: f"{value[:24]} {len(value)}",
)
def test_what_is_no_spec_at_all(data: bytes, said: str, tmp_path: Path) -> None:
    assert lines_of(tmp_path / "s.yaml", data)[0].startswith(said)


@pytest.mark.parametrize("sign", [b"[", b"{"])
def test_depth_is_bounded_whoever_counts_it(sign: bytes, tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path / "s.yaml", sign * 100_000)
    counts = r"s:1:(33|1001): nested deeper than 32 levels"  # nodespec's count, or that of newer libyaml
    assert re.fullmatch(counts, line)


def test_a_byte_order_mark_moves_no_column(tmp_path: Path) -> None:
    assert lines_of(tmp_path / "s.yaml", b"\xef\xbb\xbfnodespec: x") == [
        "s:1:11: `nodespec: 1` is required: the version of the spec language"
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere.yaml", "./nowhere.yaml: No such file or directory"),
        ("/", "/: Is a directory"),
        ("/dev/zero", "/dev/zero:1:1: the file must not be larger than 1 MiB"),
        ("/dev/null", "/dev/null:1:1: the document is empty"),
        (
            "kubernets/1.35",
            "spec `kubernets/1.35` not found; to use a file, write ./",
        ),
        ("kubernetes/../../../../etc/passwd", "spec `kubernetes/../../../../etc/passwd` not found"),
        ("a\0b.yaml", "a\0b.yaml: embedded null byte"),
        ("", "spec `` not found"),
    ],
)
def test_what_is_named_must_be_there(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve([name], Library(), {})
    assert str(caught.value).startswith(said)


def test_a_name_leads_to_nothing_beside_the_library(tmp_path: Path) -> None:
    (tmp_path / "specs" / "inner").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "specs" / "inner"):
        (folder / "x.yaml").write_text("nodespec: 1\nrequire: {cpu: {count: 2}}\n")
    library = Library((str(tmp_path / "specs"),))
    assert resolve(["inner/x"], library, {}).specs[0].name == "inner/x"
    assert "inner/x" in library.names()
    with pytest.raises(UsageError, match=r"spec `.*` not found"):
        resolve(["inner/../../x"], library, {})


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(b"nodespec: 1\nrequire: {cpu: {count: 2}}\n"))
    monkeypatch.setattr("sys.stdin", text)
    plan = resolve(["-", "container-host"], Library(), {})
    assert [spec.name for spec in plan.specs] == ["-", "container-host"]
    assert plan.requirements[0].source == ("-:2:17",)


def test_a_pipe_that_nobody_writes_to_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.yaml")
    assert mistakes(tmp_path / "s.yaml")[0].endswith("s.yaml:1:1: the document is empty")


def test_a_pipe_that_is_slow_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.yaml")
    held = os.open(tmp_path / "s.yaml", os.O_RDWR)

    def write() -> None:
        os.write(held, b"nodespec: 1\nrequire: {cpu: {count: 2}}\n")
        os.close(held)

    slow = threading.Timer(0.2, write)
    slow.start()
    assert len(resolve([str(tmp_path / "s.yaml")], Library(), {}).requirements) == 1
    slow.join()


def test_a_bad_spec_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("nodespec: 1\nrequire: {kernle: {}, os: {id: present}}\n")
    for command in ("check", "lint"):
        assert main([command, str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            f"{path}:2:11: unknown family of facts `kernle`; did you mean `kernel`?",
            f"{path}:2:28: `os.id: present` cannot fail",
        ]


def test_hidden_characters_of_a_spec_are_shown_as_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    path.write_text('nodespec: 1\nrequire: {"\\e[31m\\a": {}}\n')
    assert main(["lint", str(path)]) == 2
    assert "\x1b" not in capsys.readouterr().err


# several documents


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(f"nodespec: 1\n{text}\n")
    return folder / f"{next(iter(texts))}.yaml"


def test_a_contradiction_names_both_files(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        child="extends: [./parent.yaml]\nrequire: {kernel: {version: '>=6'}}",
        parent="require: {kernel: {version: '<5'}}",
    )
    assert mistakes(path) == [
        f"{path}:3:20: `kernel.version` contradicts {tmp_path}/parent.yaml:2:20; no host can meet both"
    ]


def test_a_contradiction_among_three_is_found_that_no_two_have(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        child="extends: [./a.yaml, ./b.yaml]\nrequire: {cgroups: {version: {not: hybrid}}}",
        a="require: {cgroups: {version: [1, hybrid]}}",
        b="require: {cgroups: {version: [2, hybrid]}}",
    )
    assert mistakes(path) == [
        (
            f"{path}:3:21: `cgroups.version` contradicts {tmp_path}/a.yaml:2:21, {tmp_path}/b.yaml:2:21; "
            "no host can meet both"
        )
    ]


def test_two_of_one_command_line_contradict_each_other(tmp_path: Path) -> None:
    written(tmp_path, a="require: {cpu: {count: '>=4'}}", b="require: {cpu: {count: '<4'}}")
    with pytest.raises(
        UsageError, match=r"b\.yaml:2:17: `cpu\.count` contradicts .*a\.yaml:2:17; no host can meet both"
    ):
        resolve([f"{tmp_path}/a.yaml", f"{tmp_path}/b.yaml"], Library(), {})


def test_a_circle_is_told_where_it_closes(tmp_path: Path) -> None:
    path = written(tmp_path, a="extends: [./b.yaml]", b="extends: [./c.yaml]", c="extends: [./a.yaml]")
    assert mistakes(path) == [f"{tmp_path}/c.yaml:2:11: `./a.yaml` extends itself"]


def test_a_mistake_in_a_parent_is_told_at_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path, child="extends: [./parent.yaml]\nrequire: {cpu: {count: 2}}", parent="require: {cpu: {cuont: 2}}"
    )
    assert mistakes(path) == [
        f"{tmp_path}/parent.yaml:2:17: unknown fact `cuont` of `cpu`; did you mean `count`?",
    ]


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (
            "drop: [kernel.versio]",
            "2:8: `kernel.versio` matches no inherited requirement or rule; did you mean `kernel.version`?",
        ),
        ("drop: [kernel]", "2:8: `kernel` matches no inherited requirement or rule; did you mean `kernel.version`?"),
        ("drop: [kernel.version, kernel.*]", "2:24: `kernel.*` matches no inherited requirement or rule"),
        ("drop: [cpu.count]\nrequire: {cpu: {count: 2}}", "2:8: `cpu.count` matches no inherited requirement or rule"),
        ("drop: [kernel.version, runtimes]", "1:1: the spec has no requirements"),
        (
            "rules: [{name: runtimes, require: {cpu: {count: 2}}}]",
            "2:42: rule `runtimes` is also defined in ./parent.yaml; drop that rule to replace it",
        ),
        (
            "params: {swap: {choices: [on, off]}}",
            "2:26: `on` is not an inherited choice; an extending spec can only remove choices",
        ),
        (
            "params: {swap: {choices: [limited]}}",
            "2:10: the inherited default of `swap` is not valid: `off` is not one of limited",
        ),
        ("params: {swap: {type: number}}", "2:23: type `number` differs from the inherited type text; remove `type`"),
        ("params: {swap: {default: on}}", "2:26: `on` is not one of off, limited"),
        ("params: {least: {type: size}}", "2:24: type `size` differs from the inherited type number; remove `type`"),
    ],
)
def test_what_a_child_may_not_say(child: str, said: str, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        child=f"{child}\nextends: [./parent.yaml]",
        parent="""\
params:
  swap: {default: off, choices: [off, limited]}
  least: {default: 2, type: number}
require: {kernel: {version: '>=5'}}
rules:
  - name: runtimes
    any: [{commands: {runc: present}}, {commands: {crun: present}}]""",
    )
    position, words = said.split(": ", 1)
    assert mistakes(path) == [f"{path}:{position}: {words.replace('./parent', f'{tmp_path}/parent')}"]


def test_ids_that_render_alike_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, a="require: {packages: {x: {version: '>=1'}, x.version: present}}")
    assert mistakes(path) == [f"{path}:2:43: duplicate requirement `packages.x.version`"]
    path = written(
        tmp_path,
        a="extends: [./b.yaml]\nrequire: {packages: {x: {version: '>=1'}}}",
        b="require: {packages: {x.version: present}}",
    )
    assert mistakes(path) == [
        f"{path}:3:26: `packages.x.version` is also the id of another place, at {tmp_path}/b.yaml:2:22"
    ]


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ({"rôle": "x"}, "--set rôle: no spec has a param of this name; did you mean `role`?"),
        ({"role": "boss"}, "--set role=boss: `boss` is not one of worker, control-plane"),
        ({"count": "many"}, "--set count=many: `many` is not a whole number"),
        ({"version": "soon"}, "{path}:6:37: `soon` is not a version"),
    ],
)
def test_what_cannot_be_set(bound: dict[str, str], said: str, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        a="""\
params:
  role: {default: worker, choices: [worker, control-plane]}
  count: {default: 2, type: number}
  version: {default: '6'}
require: {kernel: {version: {param: version}}}""",
    )
    with pytest.raises(UsageError) as caught:
        resolve([str(path)], Library(), bound)
    assert str(caught.value) == said.replace("{path}", str(path))


def test_a_param_without_default_is_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, a="params: {role: {choices: [a, b]}}\nrequire: {cpu: {count: 2}}")
    assert mistakes(path) == [f"{path}:2:10: `role` has no default; use --set role=a|b"]
    assert resolve([str(path)], Library(), {"role": "b"}).params[0].value == "b"


# whatever is written


SCRAPS = st.sampled_from(
    [bad.text for bad in BAD] + ["{", "}", "[", "]", ": ", "- ", "\n", "  ", "'", '"', "is", "present", "\t", "#", "\0"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(SCRAPS, st.text(max_size=8)), max_size=6).map("".join))
def test_no_text_is_more_than_a_mistake(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(b"nodespec: 1\n" + text.encode("utf-8", "surrogatepass"))
    try:
        resolve([str(path)], Library(), {})
    except UsageError as mistake:
        assert mistake.messages  # noqa: PT017 - a plan is as good


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BAD), st.data())
def test_no_change_of_one_character_is_more_than_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, bad: Bad, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(bad.text)))
    text = bad.text[:at] + data.draw(st.characters(codec="utf-8")) + bad.text[at + data.draw(st.integers(0, 1)) :]
    path = tmp_path_factory.getbasetemp() / "changed.yaml"
    path.write_text(text)
    try:
        resolve([str(path)], Library(), {})
    except UsageError as mistake:
        assert mistake.messages  # noqa: PT017 - a plan is as good

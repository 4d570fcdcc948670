"""Work grows with what is said: held by counts of operations, not by clocks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest
from pretended import Shelf, planned, report

from nodespec.__main__ import main
from nodespec.author.commands import stored
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.judge.judge import ALL_REQUIREMENTS, Terms, judge
from nodespec.judge.memo import MemoizedPlan
from nodespec.model.json_types import Json, check_depth
from nodespec.model.observation import Limits
from nodespec.model.report import Host, Seat, Waiver
from nodespec.recording.replay import ReplayedFacts


def calls(work: Callable[[], object]) -> int:
    """How many functions of Python and of C are called."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def growth(work: Callable[[int], Callable[[], object]], size: int) -> float:
    """By what factor the calls grow where the size is four times as large; 4 is linear, 16 quadratic."""
    work(8)()  # what is made ready once
    return calls(work(size * 4)) / calls(work(size))


def resolving(texts: Dict[str, str], name: str) -> Callable[[], object]:
    return lambda: resolve([name], Shelf(texts), {})


def diamonds(depth: int) -> Callable[[], object]:
    texts = {"0": "require: {os: {id: debian}, cpu: {count: '>=2'}}"}
    for n in range(1, depth + 1):
        texts |= {f"{n}a": f"extends: ['{n - 1}']", f"{n}b": f"extends: ['{n - 1}']", f"{n}": f"extends: [{n}a, {n}b]"}
    return resolving(texts, str(depth))


def chain(length: int) -> Callable[[], object]:
    texts = {"0": "require: {os: {id: debian}}"}
    texts |= {f"{n}": f"extends: ['{n - 1}']\nrequire: {{sysctl: {{net.k{n}: 1}}}}" for n in range(1, length)}
    return resolving(texts, str(length - 1))


def names_in_a_list(count: int) -> Callable[[], object]:
    names = ", ".join(f"f{n}" for n in range(count))
    return resolving({"a": f"require: {{cpu: {{flags: [{names}]}}}}"}, "a")


def aliases(count: int) -> Callable[[], object]:
    names = ", ".join(f"m{n}" for n in range(count))
    return resolving({"a": f"require: {{modules: {{overlay: {{is: usable, aliases: [{names}]}}}}}}"}, "a")


def dropping(glob: str) -> Callable[[int], Callable[[], object]]:
    def work(count: int) -> Callable[[], object]:
        keys = ", ".join(f"net.k{n}x: 1" for n in range(count))
        drops = ", ".join(f"'{glob.replace('N', str(n))}'" for n in range(count))
        texts = {"a": f"require: {{os: {{id: x}}, sysctl: {{{keys}}}}}", "b": f"extends: [a]\ndrop: [{drops}]"}
        return resolving(texts, "b")

    return work


def conditions(count: int) -> Callable[[], object]:
    rules = (
        f"  - {{name: r{n}, when: {{os: {{id: v{n}}}}}, require: {{sysctl: {{net.k{n}: 1}}}}}}" for n in range(count)
    )
    return resolving({"a": "rules:\n" + "\n".join(rules)}, "a")


def one_long_condition(count: int) -> Callable[[], object]:
    when = ", ".join(f"net.w{n}: 1" for n in range(count))
    require = ", ".join(f"net.k{n}: 1" for n in range(count))
    return resolving(
        {"a": f"rules: [{{name: r, when: {{sysctl: {{{when}}}}}, require: {{sysctl: {{{require}}}}}}}]"}, "a"
    )


def rows(count: int) -> Callable[[], object]:
    plan = planned(a="rules: [{name: r, every: packages, where: {version: '>=1.1'}, require: {version: '!=9'}}]")
    kept: Dict[str, Json] = {f"p{n}": {"is": ["there", n + 1], "version": [f"1.{n}", n + 2]} for n in range(count)}
    facts: Json = {"packages": {"from": "/x", "rest": {"absent": "/x"}, "rows": kept}}
    seat = Seat("running", "live", Host("x"))
    return lambda: judge(plan, ReplayedFacts(facts), seat, Terms(0, embeds=False))


def waivers(count: int) -> Callable[[], object]:
    keys = ", ".join(f"net.k{n}: 1" for n in range(count))
    plan = planned(a=f"require: {{sysctl: {{{keys}}}}}")
    given = [Waiver((f"sysctl.net.k{n}",), ("*",), "r", "o", "2031-01-01", "w:1:1") for n in range(count)]
    return lambda: report(plan, {}, waivers=given)


WORK: Dict[str, Tuple[Callable[[int], Callable[[], object]], int]] = {
    "diamonds": (diamonds, 24),
    "a chain": (chain, 100),
    "names in a list": (names_in_a_list, 300),
    "aliases": (aliases, 300),
    "drops": (dropping("sysctl.net.kNx"), 200),
    "drops by the end of an id": (dropping("*.kNx"), 200),
    "drops by a part of an id": (dropping("*kNx*"), 200),
    "conditions": (conditions, 100),
    "one long condition": (one_long_condition, 100),
    "rows": (rows, 300),
    "waivers": (waivers, 100),
}


@pytest.mark.parametrize("name", WORK)
def test_work_grows_no_faster_than_what_is_said(name: str) -> None:
    work, size = WORK[name]
    assert growth(work, size) < 6


@pytest.mark.parametrize(
    ("rule", "most"),
    [("where: {version: '>=1.1'}, require: {version: '!=9'}", 160), ("require: {version: '>=1.5'}", 95)],
)
def test_a_row_of_a_large_recording_costs_few_calls(
    rule: str, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """250,000 rows are judged in about 3 s: before, a row cost 279 and 163 calls, and all rows 8 s."""

    def checked(count: int) -> Callable[[], object]:
        rows: Dict[str, Json] = {f"p{n}": {"is": ["there", 1], "version": [f"1.{n}", 2]} for n in range(count)}
        table: Json = {"from": "/x", "rest": {"absent": "/x"}, "rows": rows}
        head = {"nodespec-facts": 1, "context": "running", "door": "live", "host": {"name": "x"}, "tool": "x"}
        facts = tmp_path / f"{count}.json"
        facts.write_text(json.dumps({**head, "time": "2026-12-31T23:59:59Z", "facts": {"packages": table}}), "utf-8")
        return lambda: main(["check", str(spec), "--facts", str(facts)])

    spec = tmp_path / "s.yaml"
    spec.write_text(f"nodespec: 1\nrules: [{{name: r, every: packages, {rule}}}]\n", "utf-8")
    few, many = checked(22_000), checked(26_000)  # more rows than are memoized for other hosts
    few()
    capsys.readouterr()
    assert (calls(many) - calls(few)) / 4_000 < most


def test_patterns_on_one_fact_are_not_tried_in_all_combinations() -> None:
    many = ", ".join(f"{{os: {{id: {{matches: 'x{n}'}}}}}}" for n in range(64))
    assert planned(a=f"rules: [{{name: r, any: [{many}]}}]").requirements


@pytest.mark.parametrize("depth", [24, 200])
def test_deep_diamonds_resolve(depth: int) -> None:
    assert calls(diamonds(depth)) < 2500 * depth


def test_a_circle_that_does_not_pass_through_the_first_file_is_told() -> None:
    with pytest.raises(UsageError) as told:
        planned("a", a="extends: [b]", b="extends: [c]", c="extends: [b]")
    assert told.value.messages == ("c:2:11: `b` extends itself",)


def test_judging_the_rows_of_a_recording_ends_at_the_deadline() -> None:
    plan = planned(a="rules: [{name: r, every: packages, require: {version: '!=9'}}]")
    kept: Dict[str, Json] = {f"p{n}": {"is": ["there", 1], "version": ["1", 2]} for n in range(300)}
    facts: Json = {"packages": {"from": "/x", "rest": {"absent": "/x"}, "rows": kept}}
    late = judge(
        plan,
        ReplayedFacts(facts),
        Seat("running", "x", Host("x")),
        Terms(0, ALL_REQUIREMENTS, limits=Limits(run_seconds=-1.0)),
        MemoizedPlan(plan),
    )
    assert late.findings[0].outcome == "unknown"
    assert "set a longer --deadline" in late.findings[0].sentence


# stored documents


def nested(depth: int) -> object:
    made: List[object] = []
    for _ in range(depth - 1):
        made = [made]
    return made


@pytest.mark.parametrize(("depth", "right"), [(199, True), (200, True), (201, True), (202, False), (800, False)])
def test_a_document_is_at_most_so_deep(depth: int, *, right: bool) -> None:
    """The document itself is not counted."""
    if right:
        check_depth(nested(depth))
    else:
        with pytest.raises(ValueError, match="nested more than 200 deep"):
            check_depth(nested(depth))


@pytest.mark.parametrize("depth", [250, 800, 100_000])
def test_what_is_nested_too_deep_is_told_with_exit_2(
    depth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, facts, made, deep = (str(tmp_path / name) for name in ("s.yaml", "f.json", "r.json", "deep.json"))
    Path(spec).write_text("nodespec: 1\nrequire: {os: {id: x}}\n", "utf-8")
    head = {"nodespec-facts": 1, "context": "running", "door": "live", "host": {"name": "x"}, "tool": "x"}
    whole = {**head, "time": "2026-12-31T23:59:59Z", "facts": {"os.id": ["DEEP", "/x"]}}
    Path(facts).write_text(json.dumps(whole), "utf-8")
    main(["check", spec, "--facts", facts, "-o", f"json={made}"])
    for source, commands in (
        (facts, [["check", spec, "--facts", deep], ["diff", deep, facts]]),
        (made, [["report", deep, "-o", "json"], ["verify", deep], ["diff", deep, made]]),
    ):
        text = Path(source).read_text("utf-8").replace('"DEEP"', "[" * depth + "]" * depth, 1)
        Path(deep).write_text(text, "utf-8")
        for command in commands:
            capsys.readouterr()
            assert main(command) == 2, command
            assert "nested" in capsys.readouterr().err


def test_equal_texts_and_objects_of_a_stored_report_are_one() -> None:
    share = stored._ObjectCache()  # noqa: SLF001 - what is shared shows only there
    text = json.dumps([{"a": "some text", "b": ["some text"], "c": {"d": "e" * 9}} for _ in range(2)])
    one, other = json.loads(text, object_pairs_hook=share.object)
    assert one["a"] is other["a"] is one["b"][0]
    assert one["c"] is other["c"]
    with pytest.raises(ValueError, match="`a` is a duplicate key"):
        json.loads('{"a": 1, "b": 2, "a": 3}', object_pairs_hook=share.object)

"""Facts against requirements: what is found, why, and in which words."""

from __future__ import annotations

from itertools import product
from typing import Dict, List, Mapping, Tuple

import pytest
from pretended import ABSENT, DEFERRED, HERE, HIDDEN, Said, found, planned, report

from nodespec.model.observation import Absent, Evidence, Unknown, Value
from nodespec.model.report import Finding

SEEN: Mapping[str, Said] = {"pass": 8, "fail": 1, "unknown": HIDDEN, "deferred": DEFERRED}


def one(text: str, said: Mapping[str, Said]) -> Finding:
    """The only finding of a spec."""
    (finding,) = found(planned(a=text), said).values()
    return finding


# law 1: only a value or a true absence passes or fails


@pytest.mark.parametrize("expects", ["'>=2'", "'<2'", "{not: 2}", "[1, 2]", "{any: [absent, '>=2']}"])
def test_what_could_not_be_looked_at_is_no_verdict(expects: str) -> None:
    for place in ("packages.x.version", "cpu.count"):
        family, *path = place.split(".")
        body = expects if len(path) < 2 else f"{{{path[1]}: {expects}}}"
        if place == "cpu.count" and "absent" in expects:
            continue
        text = f"require: {{{family}: {{{path[0]}: {body}}}}}"
        assert one(text, {place: HIDDEN}).outcome == "unknown"
        assert one(text, {place: DEFERRED}).outcome == "deferred"


def test_absence_of_what_is_never_absent_is_not_believed() -> None:
    finding = one("require: {cpu: {count: '>=2'}}", {"cpu.count": ABSENT})
    assert finding.outcome == "unknown"
    assert finding.parts[0].observed.reason == "not found"


def test_a_value_that_its_type_cannot_read_says_nothing() -> None:
    finding = one("require: {kernel: {version: '>=2'}}", {"kernel.version": "mainline"})
    assert (finding.outcome, finding.parts[0].observed.reason) == ("unknown", "malformed")
    assert finding.sentence == "wanted >=2, not known: /pretended:7: `mainline` is not a version"


def test_where_evidence_cannot_tell_values_apart_both_must_agree() -> None:
    text = "require: {kernel: {config: {A: %s}}}"
    either = Value("y", HERE, ("m",))
    assert one(text % "enabled", {"kernel.config.A": either}).outcome == "pass"
    assert one(text % "disabled", {"kernel.config.A": either}).outcome == "fail"
    finding = one(text % "y", {"kernel.config.A": either})
    assert finding.outcome == "unknown"
    observed = finding.parts[0].observed
    assert (observed.state, observed.value, observed.others, observed.text) == ("value", "y", ("m",), "y or m")


# conditions


CONDITIONAL = "rules: [{name: r, when: {cpu: {count: '>=2'}}, require: {memory: {total: '>=2'}}}]"


@pytest.mark.parametrize(("when", "required"), [*product(SEEN, SEEN)])
def test_a_requirement_under_a_condition(when: str, required: str) -> None:
    finding = one(CONDITIONAL, {"cpu.count": SEEN[when], "memory.total": SEEN[required]})
    undecided = "unknown" if "unknown" in (when, required) else "deferred"
    expected = (
        "not-applicable"
        if when == "fail"
        else required
        if when == "pass"
        else "pass"
        if required == "pass"
        else undecided
    )
    assert finding.outcome == expected


def test_it_says_why_it_does_not_apply() -> None:
    finding = one(CONDITIONAL, {"cpu.count": 1, "memory.total": 1})
    assert finding.sentence == "applies only if cpu.count is >=2; found 1"
    assert [part.place for part in finding.parts] == ["cpu.count"]


def test_it_says_that_it_is_not_known_whether_it_applies() -> None:
    finding = one(CONDITIONAL, {"cpu.count": HIDDEN, "memory.total": 1})
    assert finding.sentence == "condition: wanted >=2, not known: a curtain"
    assert [(part.place, part.outcome) for part in finding.parts] == [
        ("cpu.count", "unknown"),
        ("memory.total", "fail"),
    ]


def test_nothing_is_looked_at_for_what_does_not_apply() -> None:
    plan = planned(a=CONDITIONAL)
    facts = report(plan, {"cpu.count": 1}).facts
    assert isinstance(facts, dict)
    assert list(facts) == ["cpu.count"]


def test_a_condition_of_params_asks_no_host() -> None:
    text = """
params: {p: {default: a, choices: [a, b]}}
rules: [{name: r, when: {params: {p: %s}}, require: {cpu: {count: 2}}}]
"""
    assert one(text % "a", {"cpu.count": 2}).outcome == "pass"
    finding = one(text % "b", {"cpu.count": 2})
    assert (finding.outcome, finding.sentence) == ("not-applicable", "applies only if params.p is b; found a")


# alternatives


ANY = (
    "rules: [{name: r, why: one of them, any: [{cpu: {count: '>=2'}}, {memory: {total: '>=2'}, swap: {total: '>=2'}}]}]"
)


@pytest.mark.parametrize(("first", "second", "third"), [*product(SEEN, repeat=3)])
def test_a_rule_of_alternatives(first: str, second: str, third: str) -> None:
    finding = one(ANY, {"cpu.count": SEEN[first], "memory.total": SEEN[second], "swap.total": SEEN[third]})
    inner = next(o for o in ("fail", "unknown", "deferred", "pass") if o in (second, third))
    assert finding.outcome == next(o for o in ("pass", "unknown", "deferred", "fail") if o in (first, inner))
    assert finding.why == "one of them"


def test_of_alternatives_the_one_that_holds_is_shown() -> None:
    finding = one(ANY, {"cpu.count": 1, "memory.total": 8, "swap.total": 8})
    assert [part.place for part in finding.parts] == ["memory.total", "swap.total"]
    assert finding.sentence == "memory.total wanted >=2, found 8; swap.total wanted >=2, found 8"


def test_where_none_holds_each_is_told() -> None:
    finding = one(ANY, {"cpu.count": 1, "memory.total": 8, "swap.total": 1})
    assert finding.sentence == "none of: cpu.count wanted >=2, found 1; swap.total wanted >=2, found 1"
    assert [(part.place, part.outcome) for part in finding.parts] == [
        ("cpu.count", "fail"),
        ("memory.total", "pass"),
        ("swap.total", "fail"),
    ]


def test_what_is_negated_is_told_as_it_is_wanted() -> None:
    text = "rules: [{name: r, any: [{not: {cpu: {count: 1}}}, {memory: {total: '>=2'}}]}]"
    finding = one(text, {"cpu.count": 1, "memory.total": 1})
    assert finding.outcome == "fail"
    assert [(part.place, part.expected, part.outcome) for part in finding.parts] == [
        ("cpu.count", "not 1", "fail"),
        ("memory.total", ">=2", "fail"),
    ]
    assert one(text, {"cpu.count": 2, "memory.total": 1}).outcome == "pass"
    assert one(text, {"cpu.count": HIDDEN, "memory.total": 1}).outcome == "unknown"


def test_a_pattern_that_is_negated_holds_where_the_fact_is_absent() -> None:
    text = "rules: [{name: r, when: {not: {os: {container: docker}}}, require: {cpu: {count: 2}}}]"
    assert one(text, {"os.container": ABSENT, "cpu.count": 2}).outcome == "pass"
    assert one(text, {"os.container": "docker", "cpu.count": 2}).outcome == "not-applicable"


# several names of one thing


NAMES = "require: {kernel: {config: {A: {is: %s, aliases: [B, C]}}}}"


@pytest.mark.parametrize(
    ("expects", "a", "b", "c", "outcome", "text"),
    [
        ("enabled", "y", "n", "undefined", "pass", "y"),
        ("enabled", "n", "m", "undefined", "pass", "m (as B)"),
        ("enabled", "undefined", "m", "y", "pass", "y (as C)"),
        ("enabled", "undefined", "n", "undefined", "fail", "n (as B)"),
        ("disabled", "n", "undefined", "undefined", "pass", "n"),
        ("disabled", "n", "undefined", "y", "fail", "y (as C)"),
        ("m", "m", "y", "n", "fail", "y (as B)"),
        ("enabled", "n", "y", HIDDEN, "pass", "y (as B)"),
        ("enabled", HIDDEN, "n", "n", "unknown", "a curtain"),
        ("enabled", "n", "n", DEFERRED, "deferred", "only a running machine can tell"),
    ],
)
def test_the_strongest_value_counts(expects: str, a: Said, b: Said, c: Said, outcome: str, text: str) -> None:  # noqa: PLR0917
    said = {"kernel.config.A": a, "kernel.config.B": b, "kernel.config.C": c}
    finding = one(NAMES % expects, said)
    assert (finding.outcome, finding.parts[0].observed.text) == (outcome, text)


def test_a_module_by_another_name() -> None:
    text = "require: {modules: {xt_MASQUERADE: {is: usable, aliases: [ipt_MASQUERADE]}}}"
    assert one(text, {"modules.ipt_MASQUERADE": "loadable"}).parts[0].observed.text == "loadable (as ipt_MASQUERADE)"
    blocked: Dict[str, Said] = {"modules.xt_MASQUERADE": "blocked", "modules.ipt_MASQUERADE": "loadable"}
    assert one(text, blocked).outcome == "pass"
    finding = one(text, {})
    assert (finding.outcome, finding.parts[0].observed.text) == ("fail", "no such module")


# rows


PACKAGES = "rules: [{name: r, %s: packages, where: {architecture: amd64}, require: {status: installed}%s}]"


def rows(**columns: str) -> Dict[str, Said]:
    """Packages by name: of this architecture or another one, and how far installed."""
    said: Dict[str, Said] = {"packages.*": tuple(columns)}
    words = {"yes": "amd64", "no": "i386", "pass": "installed", "fail": "unpacked"}
    other: Dict[str, Said] = {"unknown": HIDDEN, "deferred": DEFERRED}
    for name, both in columns.items():
        for column, word in zip(("architecture", "status"), both.split()):
            said[f"packages.{name}.{column}"] = other[word] if word in other else words[word]
    return said


@pytest.mark.parametrize(
    ("how", "more", "said", "outcome"),
    [
        ("every", "", {"a": "yes pass", "b": "no fail"}, "pass"),
        ("every", "", {"a": "yes pass", "b": "yes fail"}, "fail"),
        ("every", "", {"a": "yes pass", "b": "yes unknown"}, "unknown"),
        ("every", "", {"a": "yes pass", "b": "unknown fail"}, "unknown"),
        ("every", "", {"a": "yes pass", "b": "unknown pass"}, "pass"),
        ("every", "", {"a": "yes pass", "b": "deferred fail"}, "deferred"),
        ("every", "", {"a": "yes fail", "b": "yes unknown"}, "fail"),
        ("every", "", {"a": "no pass"}, "fail"),
        ("every", "", {}, "fail"),
        ("every", ", or-none: true", {"a": "no pass"}, "pass"),
        ("every", ", or-none: true", {}, "pass"),
        ("some", "", {"a": "yes pass", "b": "yes fail"}, "pass"),
        ("some", "", {"a": "no pass", "b": "yes fail"}, "fail"),
        ("some", "", {"a": "yes fail", "b": "yes unknown"}, "unknown"),
        ("some", "", {"a": "yes fail", "b": "unknown pass"}, "unknown"),
        ("some", "", {"a": "yes fail", "b": "unknown fail"}, "fail"),
        ("some", "", {"a": "yes fail", "b": "deferred pass"}, "deferred"),
        ("some", "", {"a": "yes pass", "b": "unknown unknown"}, "pass"),
        ("some", "", {}, "fail"),
        ("some", ", or-none: true", {}, "pass"),
    ],
)
def test_a_rule_over_rows(how: str, more: str, said: Dict[str, str], outcome: str) -> None:
    finding = one(PACKAGES % (how, more), rows(**said))
    assert finding.outcome == outcome


def test_a_table_of_which_no_row_can_be_told() -> None:
    text = PACKAGES % ("every", "")
    for why in (HIDDEN, DEFERRED):
        finding = one(text, {"packages.*": why})
        assert finding.outcome == ("unknown" if why is HIDDEN else "deferred")
        assert finding.sentence == why.say


def test_rows_are_counted_and_told() -> None:
    finding = one(PACKAGES % ("every", ""), rows(a="yes pass", b="yes fail", c="no fail"))
    assert finding.sentence == "every row: 1 fail, 1 pass"
    assert ("packages.b.status", "fail") in [(part.place, part.outcome) for part in finding.parts]
    assert not [part.place for part in finding.parts if part.place.startswith("packages.c")]
    assert one(PACKAGES % ("every", ""), {"packages.*": ()}).sentence == "no package matches"


def test_rows_of_one_value() -> None:
    text = "rules: [{name: r, every: modules, where: {not: blocked}, require: {any: [loaded, builtin]}}]"
    said: Dict[str, Said] = {"modules.*": ("a", "b"), "modules.a": "loaded", "modules.b": "blocked"}
    assert one(text, said).outcome == "pass"
    assert one(text, {**said, "modules.b": "loadable"}).outcome == "fail"


def test_a_row_may_be_asked_by_any_all_and_not() -> None:
    text = (
        "rules: [{name: r, every: packages, where: {not: {architecture: i386}},"
        " require: {any: [{status: installed}, {version: '>=2'}]}}]"
    )
    said: Dict[str, Said] = {
        "packages.*": ("a",),
        "packages.a.architecture": "amd64",
        "packages.a.status": "unpacked",
        "packages.a.version": "2.1",
    }
    assert one(text, said).outcome == "pass"
    assert one(text, {**said, "packages.a.version": "1"}).outcome == "fail"


# what a finding says


def test_a_finding_can_be_believed_by_itself() -> None:
    text = """
require:
  kernel: {version: {is: '>=6.3', why: because, see: https://example.com}}
"""
    finding = one(text, {"kernel.version": Value("6.1.176", Evidence("/proc/version", 1, inferred=True))})
    assert finding == Finding(
        "kernel.version",
        "required",
        "fail",
        "enforced",
        "wanted >=6.3, found 6.1.176",
        "because",
        "boot a kernel 6.3",
        "https://example.com",
        ("a:4:12",),
        finding.parts,
    )
    (part,) = finding.parts
    assert (part.place, part.expected, part.outcome) == ("kernel.version", ">=6.3", "fail")
    assert (part.observed.state, part.observed.text, part.observed.value) == ("value", "6.1.176", "6.1.176")
    assert [tuple(one) for one in part.evidence] == [("/proc/version", 1, True)]


@pytest.mark.parametrize(
    ("text", "said", "sentence"),
    [
        (
            "cgroups: {controllers: [cpu, io, memory]}",
            frozenset({"cpu"}),
            "wanted cpu, io, memory, found cpu (lacks io, memory)",
        ),
        ("cgroups: {controllers: {only: [cpu]}}", frozenset({"cpu", "io"}), "wanted only cpu, found cpu, io (has io)"),
        ("cgroups: {controllers: {none: [io]}}", frozenset({"cpu", "io"}), "wanted none of io, found cpu, io (has io)"),
        ("cgroups: {controllers: [cpu]}", frozenset(), "wanted cpu, found nothing (lacks cpu)"),
        ("memory: {total: '>=2Gi'}", 1 << 30, "wanted >=2Gi, found 1.0Gi"),
        ("kubelet: {running: true}", False, "wanted true, found false"),
        ("kernel: {lockdown: integrity}", ABSENT, "wanted integrity, found absent"),
        (
            "kernel: {lockdown: integrity}",
            Absent(HERE, "built without"),
            "wanted integrity, found absent: built without",
        ),
        (
            "sysctl: {vm.x: 1}",
            Absent(HERE, "there is `vm.y`"),
            "wanted 1, found no such kernel parameter: there is `vm.y`",
        ),
        ("packages: {runc: present}", ABSENT, "wanted present, found no such package"),
        ("os: {pretty_name: x}", "", "wanted x, found empty"),
        ("kernel: {release: x}", Unknown("failed", "broken", "mend it"), "wanted x, not known: broken"),
        ("kernel: {release: x}", DEFERRED, "only a running machine can tell"),
    ],
)
def test_a_sentence_says_what_was_wanted_and_found(text: str, said: Said, sentence: str) -> None:
    names = [name.strip(" {}") for name in text.split(":")[:-1]]
    place = ".".join(names) if "controllers" not in text else "cgroups.controllers"
    assert one(f"require: {{{text}}}", {place: said}).sentence == sentence


@pytest.mark.parametrize(
    ("expects", "text"),
    [
        ("'>=5,<6  || >=6.1'", ">=5,<6 || >=6.1"),
        ("[5.4, {all: ['>=5.10', '<6']}]", "5.4 or (>=5.10 and <6)"),
        ("{is: ['>=5', 4.19], not: 5.4}", "(>=5 or 4.19) and not 5.4"),
        ("{not: [5.4, 5.10]}", "not (5.4 or 5.10)"),
        ("{none: [5.4, 5.10]}", "none of 5.4, 5.10"),
        ("{not: {not: 5.4}}", "not not 5.4"),
    ],
)
def test_what_is_wanted_reads_one_way(expects: str, text: str) -> None:
    finding = one(f"require: {{kernel: {{version: {expects}}}}}", {"kernel.version": "3.10"})
    assert finding.parts[0].expected == text


SYSCTL = "sysctl -w vm.x={0}, and `vm.x = {0}` in a file of /etc/sysctl.d for the next boot"


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("memory: {total: '>=2Gi'}", {"memory.total": 1}, "give the machine 2Gi of memory"),
        ("memory: {total: '>2Gi <4Gi'}", {"memory.total": 1}, "give the machine 2147483649 of memory"),
        (
            "sysctl: {vm.x: '>=60'}",
            {"sysctl.vm.x": "1"},
            SYSCTL.format(60),
        ),
        (
            "sysctl: {vm.x: '>60'}",
            {"sysctl.vm.x": "1"},
            SYSCTL.format(61),
        ),
        (
            "sysctl: {vm.x: [3, 4]}",
            {"sysctl.vm.x": "1"},
            SYSCTL.format(3),
        ),
        ("memory: {total: '>=2Gi'}", {"memory.total": 4 << 30}, ""),
        ("memory: {total: '>=2Gi'}", {"memory.total": HIDDEN}, ""),
        ("memory: {total: {is: '>=2Gi', fix: buy some}}", {"memory.total": 1}, "buy some"),
        ("memory: {total: {is: '>=2Gi', fix: buy some}}", {"memory.total": 4 << 30}, ""),
        ("memory: {total: {is: '>=2Gi', fix: buy some}}", {"memory.total": HIDDEN}, ""),
        ("packages: {telnet: absent}", {"packages.telnet": "there"}, ""),
        ("commands: {runc: present}", {}, "install the package that contains runc"),
        ("packages: {runc: {version: '>=1.1'}}", {"packages.runc.version": "1"}, "upgrade runc to 1.1"),
    ],
)
def test_a_fix_is_proposed_for_a_failure_with_a_value_that_would_pass(
    text: str, said: Mapping[str, Said], fix: str
) -> None:
    assert one(f"require: {{{text}}}", said).fix == fix


# causes


def test_findings_of_one_cause_are_told_together() -> None:
    root = Unknown("no permission", "may not be read", "run as root")
    text = """
require: {cpu: {count: 2}, memory: {total: 2}, kernel: {version: 6, release: x}, swap: {total: 1}, os: {id: x}}
"""
    made = report(
        planned(a=text),
        {
            "cpu.count": root,
            "memory.total": root._replace(say="nor this"),
            "kernel.version": Unknown("hidden", "no /proc"),
            "kernel.release": Unknown("hidden", "no /proc"),
            "swap.total": Unknown("failed", "alone"),
            "os.id": "y",
        },
    )
    assert [(cause.outcome, cause.say, cause.look, cause.ids) for cause in made.causes] == [
        ("unknown", "may not be read (and 1 similar)", "run as root", ("cpu.count", "memory.total")),
        ("unknown", "no /proc", "", ("kernel.version", "kernel.release")),
    ]


def test_absences_of_one_cause_are_told_together_and_guesses_are_not() -> None:
    module = Absent(HERE, "it comes with the module br_netfilter")
    text = "require: {sysctl: {a.b: 1, a.c: 1, a.d: 1, a.e: 1}}"
    made = report(
        planned(a=text),
        {
            "sysctl.a.b": module,
            "sysctl.a.c": module,
            "sysctl.a.d": Absent(HERE, "there is `a.f`"),
            "sysctl.a.e": Absent(HERE, "there is `a.f`"),
        },
    )
    assert [(cause.outcome, cause.say, cause.ids) for cause in made.causes] == [
        ("fail", "it comes with the module br_netfilter", ("sysctl.a.b", "sysctl.a.c"))
    ]


# order, and that nothing vanishes


def test_every_requirement_stands_in_a_report_once_in_its_order() -> None:
    plan = planned(a=f"require: {{cpu: {{count: 2}}}}\nrecommend: {{cpu: {{count: 4}}}}\n{CONDITIONAL}")
    made = report(plan, {"cpu.count": HIDDEN, "memory.total": DEFERRED})
    assert [finding.id for finding in made.findings] == [one.id for one in plan.requirements]
    assert [finding.outcome for finding in made.findings] == ["unknown"] * 3


@pytest.mark.parametrize(
    ("expects", "a", "b", "outcome"),
    [
        ("disabled", "n", HIDDEN, "unknown"),
        ("m", "m", HIDDEN, "unknown"),
        ("disabled", "y", HIDDEN, "fail"),
        ("enabled", "m", HIDDEN, "pass"),
        ("m", Value("y", HERE, ("n",)), HIDDEN, "unknown"),
        ("m", Value("n", HERE, ("y",)), "m", "unknown"),
        ("enabled", Value("n", HERE, ("y",)), "m", "pass"),
        ("disabled", Value("n", HERE, ("y",)), "n", "unknown"),
        ("y", Value("y", HERE, ("m",)), "n", "unknown"),
        ("enabled", Value("y", HERE, ("n",)), "m", "pass"),
    ],
)
def test_what_may_be_stronger_is_no_verdict(expects: str, a: Said, b: Said, outcome: str) -> None:
    said = {"kernel.config.A": a, "kernel.config.B": b, "kernel.config.C": "undefined"}
    assert one(NAMES % expects, said).outcome == outcome


OPEN = ("unknown", "deferred")


def rule_over(worlds: List[Tuple[bool, bool]], how: str, or_none: bool) -> bool:  # noqa: FBT001
    """Whether a rule holds of rows, of each of which it is known whether it matches and whether it is as required."""
    matching = [required for matches, required in worlds if matches]
    return or_none if not matching else all(matching) if how == "every" else any(matching)


@pytest.mark.parametrize("how", ["every", "some"])
@pytest.mark.parametrize("or_none", [False, True])
def test_a_rule_over_rows_is_decided_where_every_world_agrees(how: str, or_none: bool) -> None:  # noqa: FBT001
    words = {"yes": True, "no": False, "pass": True, "fail": False}
    rows_ = [*product(("yes", "no", *OPEN), ("pass", "fail", *OPEN))]
    for table in [(), *((row,) for row in rows_), *product(rows_, repeat=2)]:
        flat = [word for row in table for word in row]
        free = [at for at, word in enumerate(flat) if word in OPEN]
        verdicts = {}
        for choice in product((False, True), repeat=len(free)):
            world = [words.get(word, False) for word in flat]
            for at, value in zip(free, choice):
                world[at] = value
            verdicts[choice] = rule_over(list(zip(world[::2], world[1::2])), how, or_none)
        said = rows(**{name: " ".join(row) for name, row in zip("ab", table)})
        found_ = one(PACKAGES % (how, ", or-none: true" if or_none else ""), said).outcome
        if len(set(verdicts.values())) == 1:
            assert found_ == ("pass" if verdicts.popitem()[1] else "fail"), table
        else:
            assert found_ in {flat[at] for at in free}, table

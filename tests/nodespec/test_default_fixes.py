"""A default fix that is shown contains a value that passes its own expectation, as a command takes it."""

from __future__ import annotations

import shlex
from typing import Iterator, List, Tuple

import pytest
from pretended import found, planned

from nodespec.author.spec.satisfiability import find_outcomes
from nodespec.checks.files import Mode
from nodespec.errors import UsageError
from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place
from nodespec.facts.value_numbers import Option, Size, UntypedValue, Version, Whole
from nodespec.facts.value_types import Datum, Flag, Kind, OneOf, SetOf
from nodespec.judge.clause_result import evaluate_clause, format_value, is_passing_value, select_default_fix
from nodespec.judge.expectation import parse_expectation
from nodespec.judge.pattern import Clause
from nodespec.model.observation import Absent, Evidence, Value
from nodespec.model.plan import Node

HERE = Evidence("/x", 1)
WORDS: List[Tuple[type, List[str]]] = [
    (Option, ["y", "m", "250", '"a b"']),
    (UntypedValue, ["60", "1", "0", "-1", "1 2"]),
    (Size, ["2Gi", "1", "512M"]),
    (Whole, ["1", "4", "0"]),
    (Version, ["1.7", "6", "5.10.0", "2.0", "1.0.0-rc.1"]),
    (Mode, ["0600", "644"]),
    (Flag, ["true", "false"]),
]


def places() -> Iterator[Place]:
    """Every place with a default fix that takes a value."""
    for name in declaration.list_families():
        family = declaration.load_family(name)
        members = family.members if isinstance(family, declaration.Group) else {"": family}
        for member, fact in members.items():
            path = (name, *filter(None, [member]))
            if isinstance(fact, Leaf):
                yield Place(path, fact)
                continue
            yield Place((*path, "row"), fact, "row")
            yield from (Place((*path, "row", column), fact, "row", column) for column in fact.columns)


FIXED = [place for place in places() if "{want}" in place.fix]


def texts(kind: Kind[Datum]) -> List[str]:
    inner = kind.element if isinstance(kind, SetOf) else kind
    if isinstance(inner, OneOf):
        return [*inner.choices, *inner.words]
    return next((words for type_, words in WORDS if isinstance(inner, type_)), ["a", "a b", "it's"])


def forms(kind: Kind[Datum]) -> List[Node]:
    """Expectations of every form, whether or not they can be meant of this type."""
    words = texts(kind)
    made: List[Node] = ["present", "absent", f">={words[0]} <{words[-1]}", f"<{words[0]} || >{words[-1]}"]
    for word in words:
        made += [word, [word], {"not": word}, {"equals": word}, {"matches": f"{word}.*"}, {"any": [word, "absent"]}]
        made += [{"none": [word, words[0]]}, {"any": [f">{word}", words[-1]]}, {"all": [f">={word}", {"not": word}]}]
        made += [f"{operator}{word}" for operator in ("<", "<=", ">", ">=", "!=", "=")]
    return made


def test_there_are_fixes_that_take_a_value() -> None:
    names = {place.path[0] for place in FIXED}
    assert names >= {"sysctl", "kernel", "kubelet", "cpu", "memory", "files", "packages", "runtime", "ports", "swap"}


@pytest.mark.parametrize("place", FIXED, ids=[".".join(place.path) for place in FIXED])
def test_a_fix_that_is_shown_has_a_value_that_passes(place: Place) -> None:
    shown = 0
    for form in forms(place.kind):
        try:
            clause = Clause(place, parse_expectation(form, place.kind))
        except ValueError:
            continue
        if len(find_outcomes(clause)) < 2:
            continue
        fix = select_default_fix([evaluate_clause(clause, Absent(HERE))])
        if not fix:
            continue
        shown += 1
        before, _, after = place.fix.replace("{word}", "{want}").partition("{want}")
        after = after.partition("{want}")[0]
        assert fix.startswith(before)
        value = fix[len(before) : fix.index(after, len(before)) if after else None]
        text = shlex.split(value)[0] if "{word}" in place.fix else value
        assert is_passing_value(text, clause), (form, fix)
    assert shown


@pytest.mark.parametrize(
    ("place", "expects", "seen", "fix"),
    [
        ("sysctl.vm.swappiness", "{not: 60}", "60", "sysctl -w vm.swappiness=61, and `vm.swappiness = 61`"),
        ("sysctl.vm.swappiness", "<=10", "60", "sysctl -w vm.swappiness=10, and"),
        ("sysctl.vm.swappiness", "<10", "60", "sysctl -w vm.swappiness=9, and"),
        ("sysctl.net.range", "32768 60999", "1 2", "sysctl -w net.range='32768 60999', and `net.range = 32768 60999`"),
        ("kernel.version", ">=5.8", "4.18", "boot a kernel 5.8"),
        ("kernel.version", ">5.8", "4.18", "boot a kernel 5.9"),
        ("kernel.version", "<6", "6.1", "boot a kernel 5"),
        ("kernel.version", "<6.0", "6.1", "boot a kernel 5"),
        ("kubelet.version", ">=1.32 <=1.35", "1.36", "install kubelet 1.35"),
        ("memory.total", ">=2Gi", 1, "give the machine 2Gi of memory"),
    ],
)
def test_the_value_that_is_proposed(place: str, expects: str, seen: Datum, fix: str) -> None:
    family, _, name = place.partition(".")
    (finding,) = found(
        planned(a=f"require: {{{family}: {{{name}: {expects!r}}}}}".replace("'{", "{").replace("}'", "}")),
        {place: seen},
    ).values()
    assert finding.outcome == "fail"
    assert finding.fix.startswith(fix)


@pytest.mark.parametrize("expects", ["{matches: '[0-9] [0-9]'}", "{none: [a, b]}"])
def test_no_fix_is_shown_where_no_value_is_known_to_pass(expects: str) -> None:
    seen = Value("a", HERE)
    (finding,) = found(planned(a=f"require: {{sysctl: {{net.range: {expects}}}}}"), {"sysctl.net.range": seen}).values()
    assert (finding.outcome, finding.fix) == ("fail", "")


# what is written otherwise than it is meant


@pytest.mark.parametrize(
    ("body", "say"),
    [
        (
            "kernel: {version: 5.10+}",
            "`5.10+` is not a range; for 5.10 or later, write `>=5.10`",
        ),
        ("kernel: {version: '>=5.10+'}", "write `>=5.10`"),
        ("kernel: {version: v5.10+}", "write `>=v5.10`"),
        ("kernel: {version: 5.10 or later}", "write `>=5.10`"),
        ("cpu: {count: 4+}", "write `>=4`"),
        ("memory: {total: 2Gi+}", "write `>=2Gi`"),
        ("sysctl: {vm.x: 4096+}", "write `>=4096`"),
        ("packages: {runc: {version: 1.1+}}", "write `>=1.1`"),
        (
            "files: {/x: {mode: '<=0600'}}",
            "`<=0600`: permissions are bits and have no order; for 0600 or stricter write `{within: 0600}`",
        ),
        ("files: {/x: {mode: '<=755'}}", "`{within: 755}`"),
        (
            "files: {'/etc/cni/net.d/*': absent}",
            "`/etc/cni/net.d/*`: wildcards are not supported; name each path, or write a rule with",
        ),
        ("files: {'/etc/cni/net.d/?': absent}", "`{empty: true}`"),
        ("files: {'/etc/[ab].conf': absent}", "wildcards are not supported"),
        ("sysctl: {net.ipv4.conf.*.rp_filter: 1}", "wildcards are not supported"),
        ("packages: {'docker*': absent}", "write a rule with `every`"),
        ("commands: {'containerd*': present}", "wildcards are not supported"),
        ("modules: {'nf_*': loaded}", "wildcards are not supported"),
    ],
)
def test_what_would_be_taken_otherwise_is_refused_with_what_to_write(body: str, say: str) -> None:
    with pytest.raises(UsageError) as told:
        planned(a=f"require: {{{body}}}")
    assert say in str(told.value)
    assert str(told.value).startswith("a:2:")


@pytest.mark.parametrize(
    ("within", "modes", "others"),
    [
        ("0600", ["0600", "0400", "0200", "0000"], ["0644", "0610", "0700", "4600"]),
        ("755", ["0755", "0700", "0644", "0511"], ["0775", "0757", "1755"]),
    ],
)
def test_the_mask_that_is_proposed_is_that_of_the_mode(within: str, modes: List[str], others: List[str]) -> None:
    plan = planned(a=f"require: {{files: {{/x: {{mode: {{within: {within}}}}}}}}}")
    outcomes = [found(plan, {"files./x.mode": mode})["files./x.mode"].outcome for mode in (*modes, *others)]
    assert outcomes == ["pass"] * len(modes) + ["fail"] * len(others)


def test_a_literal_bracket_is_no_wildcard() -> None:
    assert planned(a="require: {commands: {'[': present}, files: {'/usr/bin/[': present}}").requirements


@pytest.mark.parametrize(
    ("kind", "text", "near"),
    [
        (Whole(), "0", ["0", "1"]),
        (Whole(), "1", ["1", "2", "0"]),
        (Whole(), "7", ["7", "8", "6"]),
        (UntypedValue(), "7", ["7", "8", "6"]),
        (UntypedValue(), "-1", ["-1", "0", "-2"]),
        (UntypedValue(), "0x10", ["0x10", "17", "15"]),
        (UntypedValue(), "none", ["none"]),
    ],
)
def test_values_near_a_value(kind: Kind[Datum], text: str, near: List[str]) -> None:
    assert list(kind.near(text)) == near


def test_values_that_no_expectation_names() -> None:
    assert list(Kind[str]().others()) == []
    assert list(Whole().others()) == [0]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        ((1 << 20) - 1, "1048575"),
        (1 << 20, "1Mi"),
        ((1 << 30) - 1, "1024Mi"),
        (1 << 30, "1.0Gi"),
        (3 << 29, "1.5Gi"),
    ],
)
def test_sizes_are_rounded(size: int, text: str) -> None:
    assert format_value(size, Size()) == text
    assert format_value(size, Whole()) == str(size)


@pytest.mark.parametrize("place", list(places()), ids=lambda place: ".".join(place.path))
def test_a_fix_at_rest_changes_only_files(place: Place) -> None:
    for command in ("sysctl -w", "modprobe {key}", "modprobe row,", "swapoff"):
        assert command not in place.fix_at_rest or place.column == "size"


def test_an_image_gets_the_part_of_a_fix_that_changes_files() -> None:
    place = declaration.resolve_place(("sysctl", "net.ipv4.ip_forward"))
    sight = evaluate_clause(Clause(place, parse_expectation("1", place.kind)), Value("0", HERE))
    assert select_default_fix([sight]).startswith("sysctl -w net.ipv4.ip_forward=1, and ")
    assert select_default_fix([sight], at_rest=True) == "put `net.ipv4.ip_forward = 1` into a file of /etc/sysctl.d"

"""Expectations: tests of a value or its absence, parsed without access to a host.

An expectation is written as text, a list or a mapping of operators. This module parses it into a test and the finite
list of values that the test distinguishes. All facts use the same grammar; the kind of a fact defines its words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

from nodespec.errors import DocumentError
from nodespec.facts.value_types import OTHER, Case, Datum, FreeText, Kind, Presence, SetOf, begins_with_operator
from nodespec.facts.versions import Position, Span
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.plan import Node
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterator, List, Mapping, Sequence, Tuple

RELATIONS = ("within", "includes", "cpus")  # operators of judge.relation
OPERATORS = ("is", "any", "all", "none", "not", "only", "equals", "matches", *RELATIONS, "same-as", "param")
REQUIREMENT_KEYS = ("why", "fix", "see")  # keys next to an expectation that do not belong to it
OR_LATER = r"\s*(?:>=|=)?\s*(v?\d[\w.]*?)(?:\+|\s+(?:or|and) (?:later|newer|more|above|higher|up))\s*"
MAX_CASES = 1000  # maximum values that one expectation distinguishes; each of them is tested


class Expect(NamedTuple):
    """An expectation.

    `absent` is true if an absence satisfies it. `cases` holds the values that it distinguishes.
    """

    text: str
    test: Callable[[Case], bool]
    absent: bool = False
    cases: Tuple[Case, ...] = ()
    opaque: bool = False  # a regular expression: its matches cannot be enumerated
    lack: Callable[[Case], str] = lambda _: ""  # describes what a failing value lacks, or has in excess
    only: FrozenSet[Case] = frozenset()  # if not empty, exactly these values pass
    named: Tuple[str, ...] = ()  # values as the spec writes them; a passing value is one of them or next to one
    denies: bool = False  # whether it only excludes values


PRESENT = Expect("present", lambda _: True)
ABSENT = Expect("absent", lambda _: False, absent=True)


def parse_expectation(node: Node, kind: Kind[Datum]) -> Expect:
    """Parse the expectation of a fact of this kind, for example `>=1.7 <2`.

    Raises `DocumentError` if the node is not a valid expectation.
    """
    expect = _parse_node(node, kind)
    if len(expect.cases) > MAX_CASES:
        raise DocumentError(
            node, f"the expectation distinguishes {len(expect.cases)} values; the maximum is {MAX_CASES}"
        )
    return expect


def _parse_node(node: Node, kind: Kind[Datum]) -> Expect:
    if isinstance(node, str):
        return _locate_errors(node, lambda: parse_scalar(node, kind))
    if isinstance(node, list):
        return _parse_quantifiers({"all" if isinstance(kind, SetOf) else "any": node}, kind)
    if not node:
        raise DocumentError(node, "the expectation is empty; write a value, `present` or `absent`")
    for name in node:
        if name not in OPERATORS:
            raise _make_operator_error(name)
    quantified = {name: arg for name, arg in node.items() if _is_quantifier(name, kind)}
    parts = [_parse_operator(name, arg, kind) for name, arg in node.items() if name not in quantified]
    if quantified:
        parts.append(_parse_quantifiers(quantified, kind))
    return parts[0] if len(parts) == 1 else join_all(parts)


def _locate_errors(node: Node, make: Callable[[], Expect]) -> Expect:
    if getattr(node, "null", False):
        raise DocumentError(node, "the expectation is empty; write a value, `present` or `absent`")
    try:
        return make()
    except DocumentError:
        raise
    except ValueError as error:
        raise DocumentError(node, str(error)) from None


@lru_cache(maxsize=1024)  # specs repeat the same words, such as `enabled`
def parse_scalar(text: str, kind: Kind[Datum]) -> Expect:
    """Parse one word or range. Raises ValueError if it is not valid."""
    if text in ("present", "absent"):
        return PRESENT if text == "present" else ABSENT
    if text in kind.words:
        group = kind.words[text]
        return Expect(text, lambda value: value in group, cases=group, only=frozenset(group), named=group)
    later = (
        re.fullmatch(OR_LATER, text) if kind.ordered and any(word in text for word in ("+", "or ", "and ")) else None
    )
    if later:
        raise ValueError(f"`{text}` is not a range; for {later[1]} or later, write `>={later[1]}`")
    if kind.spans or (kind.ordered and begins_with_operator(text)):
        return _parse_range(text, kind)
    wanted = kind.read(text)
    if kind.spellings:
        return Expect(text, lambda value: kind.equals(value, wanted), cases=(wanted,), named=(text,))
    if kind.repeats:
        return Expect(
            text, lambda value: value == wanted or wanted in _get_members(value), cases=(wanted,), named=(text,)
        )
    return Expect(text, lambda value: value == wanted, cases=(wanted,), only=frozenset([wanted]), named=(text,))


# ranges: `>=1.7 <2 || >=2.1.5`

_COMPARE: Mapping[str, Callable[[Position, Span], bool]] = {
    ">=": lambda at, span: at >= span[0],
    "<=": lambda at, span: at < span[1],
    ">": lambda at, span: at >= span[1],
    "<": lambda at, span: at < span[0],
    "=": lambda at, span: span[0] <= at < span[1],
    "!=": lambda at, span: not span[0] <= at < span[1],
}
_TERM = r"\s*(>=|<=|!=|>|<|=|)\s*([^\s,<>=!|]+)[\s,]*"  # compiled for a range that is more than one such word


def _parse_range(text: str, kind: Kind[Datum]) -> Expect:
    alternatives = [join_all(list(_parse_terms(part, kind))) for part in text.split("||")]
    return join_any(alternatives)._replace(text=" ".join(text.split()))


def _parse_terms(text: str, kind: Kind[Datum]) -> Iterator[Expect]:
    bound = text.lstrip("<>=!")
    operator = text[: len(text) - len(bound)] or "="
    if operator in _COMPARE and bound.isascii() and bound.replace(".", "").isalnum():  # most ranges: >=1.7
        yield _make_term(operator, bound, kind)
        return
    at, term = 0, re.compile(_TERM)
    while at < len(text) or not at:
        match = term.match(text, at)
        if not match:
            raise ValueError(f"`{text}` is not a range such as `>=1.7 <3`")
        yield _make_term(match[1] or "=", match[2], kind)
        at = match.end()


def _make_term(operator: str, bound: str, kind: Kind[Datum]) -> Expect:
    compare, span = _COMPARE[operator], kind.span(bound)

    def test(value: Case) -> bool:
        try:
            return compare(kind.position(value), span)
        except ValueError:
            return False

    return Expect(operator + bound, test, cases=tuple(kind.around(span)), named=(bound,))


# operators


def _parse_operator(name: str, arg: Node, kind: Kind[Datum]) -> Expect:
    if name == "is":
        return parse_expectation(arg, kind)
    if name == "not":
        if isinstance(kind, SetOf):
            raise DocumentError(name, "`not` is ambiguous for a set; use `none`")
        return join_none([parse_expectation(arg, kind)])
    if name == "equals":
        return _locate_errors(arg, lambda: _parse_equals(arg, kind))
    if name == "matches":
        return _locate_errors(arg, lambda: parse_matches(arg, kind))
    if name in RELATIONS:
        return _locate_errors(arg, lambda: _parse_relation(name, arg, kind))
    if name == "same-as":
        raise DocumentError(name, "`same-as` must be the whole expectation of a fact")
    if name == "only":
        raise DocumentError(name, "`only` applies to sets; to allow several values, write a list")
    raise _make_operator_error(name)


def _parse_relation(name: str, arg: Node, kind: Kind[Datum]) -> Expect:
    from nodespec.judge import relation  # noqa: PLC0415 - few specs have relations

    relation.check_relation(name, arg, kind)
    if name != "cpus":
        test, cases = kind.relate(name, str(arg))
        return Expect(f"{relation.WORDS[name]} {arg}", test, cases=cases, named=(str(arg),))
    inner = parse_expectation(arg, relation.CPU_LIST)
    if inner.absent:
        raise DocumentError(arg, "`cpus` requires a CPU list; write `absent` without `cpus`")
    return inner._replace(text=f"CPUs {inner.text}", test=relation.make_cpus_test(inner.test), only=frozenset())


def _make_operator_error(name: str) -> DocumentError:
    if " " in name or begins_with_operator(name):
        return DocumentError(name, f"`{name}`: a comma within braces ends the value; put the value in quotes")
    from nodespec.model.newer import suggest_newer  # noqa: PLC0415 - only needed for an error message

    return DocumentError(name, f"unknown operator `{name}`{suggest_newer(name, (*OPERATORS, *REQUIREMENT_KEYS))}")


def _is_quantifier(name: str, kind: Kind[Datum]) -> bool:
    return name in ("any", "all", "none") or (name in ("only", "equals") and isinstance(kind, SetOf))


def _parse_quantifiers(asks: Mapping[str, Node], kind: Kind[Datum]) -> Expect:
    """Parse `any`, `all` and `none`, and for sets also `only` and `equals`.

    For a set they apply to its members, else to several expectations of one value.
    """
    inner = kind.element if isinstance(kind, SetOf) else kind
    parts: Dict[str, List[Expect]] = {}
    for word, node in asks.items():
        if not isinstance(node, list):
            raise DocumentError(node, f"`{word}` must be a list")
        if not node and word not in ("only", "equals"):
            raise DocumentError(node, f"the list of `{word}` must not be empty")
        parts[word] = [parse_expectation(one, inner) for one in node]
    if isinstance(kind, SetOf):
        equal = [_make_set_expectation({"equals": parts.pop("equals")})] if "equals" in parts else []
        return join_all([*([_make_set_expectation(parts)] if parts else []), *equal])
    join = {"all": join_all, "any": join_any, "none": join_none}
    joined = join_all([join[word](made) for word, made in parts.items()])
    if kind.repeats:  # a fact with several values at once needs a case that has them all
        several = frozenset(case for case in joined.cases if isinstance(case, str))
        return joined._replace(cases=(*joined.cases, several))
    return joined


def _parse_equals(arg: Node, kind: Kind[Datum]) -> Expect:
    if not isinstance(arg, str):
        raise DocumentError(arg, "`equals` must be a text, because the fact has a single value")
    if isinstance(kind, Presence):
        raise ValueError(f"`equals` does not apply to {kind.noun}")
    if kind.spellings:
        return parse_scalar(arg, kind)
    verbatim = isinstance(kind, FreeText) or _has_position(arg, kind)  # 9.2p1 is a version, but not a bound
    wanted: Datum = str(arg) if verbatim else kind.read(arg)
    return Expect(
        f"exactly {arg}", lambda value: value == wanted, cases=(wanted,), only=frozenset([wanted]), named=(str(arg),)
    )


def _has_position(text: str, kind: Kind[Datum]) -> bool:
    """Return whether a text is an observed value of the type that has an order."""
    try:
        return bool(kind.position(str(text)))
    except ValueError:
        return False


def parse_matches(arg: Node, kind: Kind[Datum]) -> Expect:
    """Return the expectation of a full match by a regular expression.

    It applies to a text, or to any member of a set.
    """
    if not isinstance(arg, str) or not isinstance(kind.element if isinstance(kind, SetOf) else kind, FreeText):
        raise DocumentError(arg, f"`matches` requires a pattern, and a fact that is text; this fact is {kind.noun}")
    from nodespec.judge.text_match import make_text_test  # noqa: PLC0415 - few specs have regular expressions

    return Expect(f"matching {arg}", make_text_test(arg), opaque=True)


# joining

JOINING_WORDS = (" and ", " or ", "none of", "; ")


def _join_parts(parts: Sequence[Expect], word: str, test: Callable[[Case], bool], *, absent: bool) -> Expect:
    cases = tuple(chain.from_iterable(part.cases for part in parts))
    text = word.join(_bracket_text(part.text) for part in parts)
    named = tuple(chain.from_iterable(part.named for part in parts))
    return Expect(text, test, absent, cases, any(part.opaque for part in parts), named=named)


def _bracket_text(text: str) -> str:
    """Put a text in brackets if it joins several parts."""
    return f"({text})" if any(word in text for word in JOINING_WORDS) else text


def join_all(parts: Sequence[Expect]) -> Expect:
    """Return the expectation that all parts hold."""
    if len(parts) == 1:
        return parts[0]
    joined = _join_parts(
        parts, " and ", lambda value: all(p.test(value) for p in parts), absent=all(p.absent for p in parts)
    )
    return joined._replace(lack=lambda value: "; ".join(filter(None, (p.lack(value) for p in parts))))


def join_any(parts: Sequence[Expect]) -> Expect:
    """Return the expectation that at least one part holds."""
    if len(parts) == 1:
        return parts[0]
    some = _make_any_test(parts)
    joined = _join_parts(parts, " or ", some, absent=any(p.absent for p in parts))
    only = frozenset(chain.from_iterable(part.only for part in parts)) if all(part.only for part in parts) else ()
    return joined._replace(only=frozenset(only))


def _make_any_test(parts: Sequence[Expect]) -> Callable[[Case], bool]:
    """Return a test whether a value passes at least one part.

    Parts that accept only single values are combined into one set lookup.
    """
    only = frozenset(chain.from_iterable(part.only for part in parts))
    others = [part.test for part in parts if not part.only]
    return lambda value: value in only or any(test(value) for test in others)


def join_none(parts: Sequence[Expect]) -> Expect:
    """Return the expectation that no part holds.

    An absence satisfies only `not: present`.
    """
    several = f"none of {', '.join(_bracket_text(part.text) for part in parts)}"
    text = several if len(parts) > 1 else f"not {_bracket_text(parts[0].text)}"
    absent = len(parts) == 1 and parts[0] is PRESENT
    some = _make_any_test(parts)
    joined = _join_parts(parts, "", lambda value: not some(value), absent=absent)
    return joined._replace(text=text, denies=all(part.cases for part in parts))


def _make_set_expectation(asks: Mapping[str, Sequence[Expect]]) -> Expect:
    """Return the expectation of a set by the operators on its members.

    `all`: these members; `any`: at least one of them; `none`: none of them; `only`: no other members; `equals`: exactly
    these members.
    """
    shown = tuple(asks)
    if "equals" in asks:
        asks = {**asks, "all": asks["equals"], "only": asks["equals"]}
    every, some, none = (asks.get(word, ()) for word in ("all", "any", "none"))
    allowed, is_some, is_none = _make_any_test(asks.get("only", ())), _make_any_test(some), _make_any_test(none)

    def may(member: str) -> bool:
        return ("only" not in asks or allowed(member)) and not is_none(member)

    def has(have: FrozenSet[str], part: Expect) -> bool:
        return not part.only.isdisjoint(have) if part.only else any(map(part.test, have))

    def test(value: Case) -> bool:
        have = _get_members(value)
        return all(has(have, part) for part in every) and (not some or any(map(is_some, have))) and all(map(may, have))

    def lack(value: Case) -> str:
        have = _get_members(value)
        missing = [part.text for part in every if not has(have, part)]
        beyond = sorted(member for member in have if not may(member))
        texts = (f"{word} {', '.join(names)}" for word, names in (("lacks", missing), ("has", beyond)) if names)
        return "; ".join(texts)

    parts = [part for word in asks for part in asks[word]]
    words = {"all": "{}", "any": "some of {}", "none": "none of {}", "only": "only {}", "equals": "exactly {}"}
    text = "; ".join(
        words[word].format(", ".join(_bracket_text(p.text) for p in asks[word]) or "nothing") for word in shown
    )
    named = frozenset(case for part in parts for case in part.cases if isinstance(case, str)) | {OTHER}
    # `all` and `any` need more members, `none` and `only` need fewer. The cases are therefore the empty set, all named
    # members, the largest allowed set, and the smallest required set.
    least = frozenset(case for part in every for case in part.cases if isinstance(case, str))
    cases: Tuple[Case, ...] = (frozenset(), named, frozenset(filter(may, named)), least)
    return Expect(text, test, cases=cases, opaque=any(part.opaque for part in parts), lack=lack)


def _get_members(value: Case) -> FrozenSet[str]:
    return value if isinstance(value, frozenset) else frozenset()

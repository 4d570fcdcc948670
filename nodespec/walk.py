"""A mapping of facts walked beside the declared facts: what is stated of which place, and every mistake."""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, NamedTuple, Tuple, TypeVar

from . import expectation, facts
from .facts import Group, Place, Table
from .kinds import Datum, Kind, nearest
from .mistake import At, Wrong
from .pattern import Clause, Data, Params
from .plan import nodes
from .source import Map, Node, Seq, Word, mapping, sequence, word

T = TypeVar("T")
WORDS = ("why", "fix", "see")
Said = Mapping[str, str]


class Stated(NamedTuple):
    """What a document says of one place: as data for the plan, and read."""

    clause: Clause
    data: Data
    words: Said
    at: At

    @property
    def id(self) -> str:
        """The place's segments joined."""
        return ".".join(self.clause.place.path)


class Walk:
    """Walks mappings of facts. Mistakes are kept in `problems`, so that all are told at once."""

    def __init__(self, params: Params, problems: List[Wrong]) -> None:
        self.params, self.problems = params, problems

    def guarded(self, work: Iterator[T]) -> Iterator[T]:
        """What an iteration yields before it meets a mistake; the mistake is kept."""
        try:
            yield from work
        except Wrong as wrong:
            self.problems.append(wrong)

    def family(self, name: Word, node: Node) -> Iterator[Stated]:
        """What is said under the name of a family."""
        try:
            declared = facts.family(name)
        except LookupError:
            raise Wrong(name, f"`{name}` is no family of facts{nearest(name, facts.families())}") from None
        if isinstance(declared, Table):
            yield from self._table((name,), declared, node)
            return
        for member, below in items(node, f"`{name}`"):
            yield from self.guarded(self._member(name, declared, member, below))

    def _member(self, family: str, declared: Group, name: Word, node: Node) -> Iterator[Stated]:
        fact = declared.members.get(name)
        if fact is None:
            raise Wrong(name, f"`{name}` is no fact of `{family}`{nearest(name, declared.members)}")
        if isinstance(fact, Table):
            yield from self._table((family, name), fact, node)
        else:
            expect, words, _ = self._parted(node, aliased=False)
            yield self._stated(Place((family, str(name)), fact), expect, {}, words, name.at)

    def _table(self, owner: Tuple[str, ...], table: Table, node: Node) -> Iterator[Stated]:
        rows: Dict[str, Word] = {}
        for name, below in items(node, f"`{'.'.join(owner)}`"):
            yield from self.guarded(self._named(owner, table, name, below, rows))

    def _named(
        self, owner: Tuple[str, ...], table: Table, name: Word, node: Node, rows: Dict[str, Word]
    ) -> Iterator[Stated]:
        key = _key(table, name)
        if key in rows:
            raise Wrong(name, f"`{name}` is `{key}`, which stands here twice: see line {rows[key].at.line}")
        rows[key] = name
        yield from self.row(Place((*owner, key), table, key), node, name.at)

    def row(self, place: Place, node: Node, at: At) -> Iterator[Stated]:
        """What is said of one row: of it as a whole, or of its columns."""
        table = place.fact
        expect, words, aliases = self._parted(node, aliased=True)
        if not isinstance(table, Table) or not table.columns or not isinstance(expect, Map) or "is" in expect:
            keys = [_key(table, one) for one in aliases] if isinstance(table, Table) else []
            yield self._stated(place, expect, {"aliases": nodes(keys)} if keys else {}, words, at)
            return
        if aliases:
            raise Wrong(aliases[0], f"`{'.'.join(place.owner)}` has no aliases")
        for name, below in items(expect, f"`{'.'.join(place.path)}`"):
            yield from self.guarded(self._column(place, table, name, below, words))

    def _column(self, row: Place, table: Table, name: Word, node: Node, words: Said) -> Iterator[Stated]:
        if name not in table.columns:
            raise Wrong(name, f"`{name}` is no column of `{'.'.join(row.owner)}`{nearest(name, table.columns)}")
        expect, said, _ = self._parted(node, aliased=False)
        place = row._replace(path=(*row.path, str(name)), column=str(name))
        yield self._stated(place, expect, {}, {**words, **said}, name.at)

    def _parted(self, node: Node, *, aliased: bool) -> Tuple[Node, Said, List[Word]]:
        """What is expected, the words beside it, and the other names."""
        if not isinstance(node, Map):
            return node, {}, []
        words = {name: text(node[name], name) for name in WORDS if name in node}
        aliases = [a for a in listed(node["aliases"]) if isinstance(a, Word)] if aliased and "aliases" in node else []
        apart = {*WORDS, "aliases"} if aliased else {*WORDS}
        rest = mapping(node.at, ((name, below) for name, below in node.items() if name not in apart))
        if list(rest) == ["is"]:
            return rest["is"], words, aliases
        return rest, words, aliases

    def _stated(self, place: Place, node: Node, more: Data, words: Said, at: At) -> Stated:
        expect, bound = self.expectation(node, place.kind)
        aliases = tuple(
            place._replace(path=(*place.owner, str(key)), key=str(key)) for key in listed_texts(more.get("aliases"))
        )
        if aliases:
            try:
                place.kind.strength("")
            except ValueError as error:
                raise Wrong(node, str(error)) from None
        return Stated(
            Clause(place, expect, aliases), {"fact": nodes([*place.path]), "expect": nodes(bound), **more}, words, at
        )

    def expectation(self, node: Node, kind: Kind[Datum]) -> Tuple[expectation.Expect, Node]:
        """An expectation read, with its params put in; every choice of a param must be right there."""
        for name in _asked(node):
            if name not in self.params:
                raise Wrong(name, f"`{name}` is no param{nearest(name, self.params)}")
            for choice in self.params[name].choices:
                expectation.read(nodes(self._bound(node, {name: choice})), kind)
        bound = self._bound(node, {})
        return expectation.read(nodes(bound), kind), bound

    def _bound(self, node: Node, instead: Mapping[str, str]) -> Node:
        """The node as if the text of each param stood where it is named."""
        if isinstance(node, Seq):
            return sequence(node.at, [self._bound(one, instead) for one in node])
        if not isinstance(node, Map):
            return node
        name = node.get("param")
        if isinstance(name, Word) and len(node) == 1:
            return word(instead.get(name, self.params[name].value), name.at)
        return mapping(node.at, ((key, self._bound(below, instead)) for key, below in node.items()))


def _asked(node: Node) -> Iterator[Word]:
    """The params that an expectation names."""
    if isinstance(node, Map):
        name = node.get("param")
        if isinstance(name, Word) and len(node) == 1:
            yield name
            return
    for below in node.values() if isinstance(node, Map) else node if isinstance(node, Seq) else ():
        yield from _asked(below)


def _key(table: Table, name: Word) -> str:
    try:
        return table.key(str(name))
    except ValueError as error:
        raise Wrong(name, str(error)) from None


# nodes of the wanted shape


def items(node: Node, what: str) -> Iterator[Tuple[Word, Node]]:
    """The keys and values of a mapping that says something."""
    if not isinstance(node, Map):
        raise Wrong(node, f"{what} wants a mapping")
    if not node:
        raise Wrong(node, f"{what} says nothing")
    return iter([(key if isinstance(key, Word) else word(key, node.at), node[key]) for key in node])


def listed(node: Node) -> Seq:
    """A list that is not empty."""
    if not isinstance(node, Seq):
        raise Wrong(node, "a list is wanted here")
    if not node:
        raise Wrong(node, "an empty list says nothing")
    return node


def listed_texts(value: object) -> List[str]:
    """The texts of a list in data; none where there is none."""
    return [str(one) for one in value] if isinstance(value, list) else []


def text(node: Node, what: str) -> str:
    """A text that is not empty, its blanks folded."""
    if not isinstance(node, Word) or node.null:
        raise Wrong(node, f"`{what}` wants a text")
    return " ".join(node.split())

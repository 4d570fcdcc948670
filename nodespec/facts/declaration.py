"""Declare facts.

A module of `checks` is a family: its decorated functions are facts, and their docstrings are the manual.
"""

from __future__ import annotations

import re
from importlib import import_module

from nodespec.errors import suggest_name
from nodespec.facts.value_types import Datum, Kind, Presence
from nodespec.light_typing import TYPE_CHECKING, Generic, TypeVar, cast
from nodespec.model.observation import Absent, Lacking, Observation, TimedOut, Unknown
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Callable, Dict, Iterable, Iterator, Mapping, Tuple, TypeAlias, Union

    from nodespec.facts.questions import Question
    from nodespec.host.machine import Machine
    from nodespec.host.tree import Tree

    T = TypeVar("T", bound=Datum)
    Record = Mapping[str, Observation[Datum]]
    KindByName = Mapping[str, Kind[Datum]]
    Members = Mapping[str, Union["Leaf", "Table"]]
else:  # At run time typing would compile these texts; the first costs 3 ms, to load Python's parser.
    from collections.abc import Mapping as Record

    KindByName = Members = Record

T_co = TypeVar("T_co", covariant=True)
Row: TypeAlias = "Union[Datum, Record]"
MAX_COMPARED_NAMES = 2000  # Names to compare.
MIN_SIMILARITY = 0.8  # The similarity of a typing error. xt_comment and xt_recent have 0.6 and are two modules.
Sources: TypeAlias = "Tuple[str, ...]"  # The paths that evidence may name; `*` replaces the part that varies.


class Columns(Record):
    """A row of a table; each column is observed when it is first read."""

    def __init__(self, **looks: Callable[[], Observation[Datum]]) -> None:
        self._looks = looks
        self.ask: Callable[[str], Observation[Datum]] = lambda name: looks[name]()  # Observes any other column.
        self._seen: Dict[str, Observation[Datum]] = {}

    def __getitem__(self, name: str) -> Observation[Datum]:
        if name not in self._seen:
            look = self._looks.get(name)
            self._seen[name] = look() if look else self.ask(name)
        return self._seen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._looks)

    def __len__(self) -> int:
        return len(self._looks)


class LazyColumns(KindByName):
    """The types of columns, most of them in a module that is imported when a spec names one.

    The module has `COLUMNS`, and `QUESTIONS` for columns with an argument, such as `yaml:/a/b`.
    """

    def __init__(self, names: Tuple[str, ...], known: KindByName, module: str) -> None:
        self.names, self.known, self.module = names, known, module

    @property
    def questions(self) -> Mapping[str, Question]:
        """The columns with an argument."""
        return cast("Mapping[str, Question]", import_module(self.module).QUESTIONS)

    def __contains__(self, name: object) -> bool:
        question, _, argument = str(name).partition(":")
        return name in self.names or (":" in str(name) and argument in self.questions.get(question, ()))

    def __getitem__(self, name: str) -> Kind[Datum]:
        if ":" in name:
            return self.questions[name.partition(":")[0]].kind
        return self.known.get(name) or cast("KindByName", import_module(self.module).COLUMNS)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Rows(Generic[T_co]):
    """An observed table: single rows by name, all rows, and the value of other names.

    `look` returns None for a row that does not exist. `rest` is the observation of any other name. It is Absent only if
    the whole table was read. It is a value only in a total table, where a missing row has a meaning. `names` returns
    the names of all rows, for a table where `every` is slow. `own` observes columns that exist without their row,
    by the name of the row. `matching` returns the names that match a glob, in a table with `globs`; it is unknown if
    they cannot all be listed.
    """

    def __init__(
        self,
        look: Callable[[str], Union[Observation[T_co], None]],
        every: Callable[[], Mapping[str, Observation[T_co]]],
        rest: Observation[T_co],
        names: Union[Callable[[], Iterable[str]], None] = None,
        own: Union[Mapping[str, Callable[[str], Observation[Datum]]], None] = None,
        *,
        matching: Union[Callable[[str], Union[Tuple[str, ...], Unknown]], None] = None,
    ) -> None:
        self.every, self.rest, self._look, self.matching = every, rest, look, matching
        self.own: Mapping[str, Callable[[str], Observation[Datum]]] = own or {}
        self._names = names or every

    def observe(self, name: str) -> Observation[T_co]:
        """Return one row. If it is absent, suggest a row of a similar name."""
        row = self._look(name)
        if row is None:
            row = self.rest
        if isinstance(row, Absent) and not row.say:
            return row._replace(say=self._hint(name))
        return row

    def _hint(self, name: str) -> str:
        """Return a suggestion, or an empty string if it takes too long.

        A hint must not cost a verdict.
        """
        try:
            return suggest_similar_name(name, self._names())
        except TimedOut:
            return ""

    @classmethod
    def of(cls, rows: Mapping[str, Observation[T_co]], rest: Observation[T_co]) -> Rows[T_co]:
        """Return a table whose rows are all known."""
        return cls(rows.get, lambda: rows, rest)

    @classmethod
    def lacking(cls, why: Lacking) -> Rows[T_co]:
        """Return a table whose rows cannot be observed."""
        return cls.of({}, why)


def suggest_similar_name(name: str, names: Iterable[str]) -> str:
    """Return the most similar name, or an empty string.

    A host may have thousands of names, so that only similar candidates are compared.
    """
    like = sorted(n for n in names if n[:1] == name[:1] and abs(len(n) - len(name)) < 3)  # noqa: PLR2004 - a difference of at most two characters
    hint = suggest_name(name, like[:MAX_COMPARED_NAMES], MIN_SIMILARITY)
    return hint.lstrip("; ").rstrip("?").replace("did you mean", "there is")


WILDCARD = r"[*?]|\[[^]/]+\]"  # Wildcards of a shell, in a path.
S = TypeVar("S")


class Fact(Generic[S]):
    """The common part of a leaf and a table.

    `probe` observes a running machine, `resting` an offline tree. `sources` are the paths that evidence may name. `fix`
    is the default fix.
    """

    moves: Union[bool, Tuple[str, ...]] = False  # Whether the value, or which column, changes by itself.

    def __init__(self, probe: Callable[[Machine], S], sources: Sources, fix: str, *, sensitive: bool) -> None:
        self.probe, self.sources, self.fix, self.sensitive = probe, sources, fix, sensitive
        self.about = probe.__doc__ or ""
        self.resting: Union[Callable[[Tree], S], None] = None  # None: the fact requires a running machine.
        self.resting_sources: Sources = ()
        self.resting_fix = ""  # The default fix of an offline tree, if it differs.

    def at_rest(self, *sources: str, fix: str = "") -> Callable[[Callable[[Tree], S]], Callable[[Tree], S]]:
        """Declare a function as the probe of an offline tree. `fix`: how to change its files."""

        def declare(probe: Callable[[Tree], S]) -> Callable[[Tree], S]:
            self.resting, self.resting_sources, self.resting_fix = probe, sources, fix
            return probe

        return declare


if TYPE_CHECKING:
    LeafFact = Fact[Observation[Datum]]
    TableFact = Fact[Rows[Row]]
else:
    LeafFact = TableFact = Fact


class Leaf(LeafFact):
    """One fact."""

    kind: Kind[Datum]
    optional = False


class Table(TableFact):
    """Facts by name: scalars of kind `row`, or records of `columns`."""

    row: Kind[Datum] = Presence()
    columns: Mapping[str, Kind[Datum]] = {}
    fixes: Mapping[str, str] = {}  # The default fix by column.
    noun = "row"
    labels: Mapping[str, str] = {}  # The name of a row in a sentence, where it is not the key.
    key: Callable[[str], str] = staticmethod(str)
    closed = False  # Whether all rows can be enumerated.
    globs = False  # Whether the rows of an open table that match a glob can be enumerated, on a running machine.
    listed: Callable[[str], bool] = staticmethod(bool)  # Whether the enumeration would list a row of that name.
    optional = True  # False: `rest` is a value itself, and no row is ever absent.

    @property
    def stable_columns(self) -> Tuple[str, ...]:
        """The columns whose values do not change by themselves."""
        moves = tuple(self.columns) if self.moves is True else self.moves or ()
        return tuple(column for column in self.columns if column not in moves)


def parse_row_key(table: Table, name: str) -> str:
    """Return the key of a row as a person writes it.

    Raises ValueError for a name that does not name a single row.
    """
    if re.search(WILDCARD, name) if name.startswith("/") else "*" in name:
        every = f"write a rule with `every` {table.noun}" if table.closed else f"name each {table.noun}"
        every = f"{every}, or write a rule with `every` and `names`" if table.globs else every
        empty = ", or require `{empty: true}` of the directory" if "empty" in table.columns else ""
        raise ValueError(f"`{name}`: wildcards are not supported; {every}{empty}")
    return table.key(name)


class Group(NamedTuple):
    """The facts of a family that has several."""

    members: Mapping[str, Union[Leaf, Table]]
    about: str


Declared: TypeAlias = "Union[Leaf, Table, Group]"
LeafProbe: TypeAlias = "Callable[[Machine], Observation[T]]"
TableProbe: TypeAlias = "Callable[[Machine], Rows[Row]]"


def fact(
    kind: Kind[T],
    *,
    sources: Sources,
    optional: bool = False,
    fix: str = "",
    sensitive: bool = False,
    same_at_rest: bool = False,
    moves: bool = False,
) -> Callable[[LeafProbe[T]], Leaf]:
    """Declare a function as the probe of the fact of the same name.

    A `_` at the end of the function's name is removed. `optional`: a working machine may lack it. `fix`: how to fix it,
    with `{want}` for a value that would pass, and `{word}` for that value as one word of a shell command.
    `same_at_rest`: the probe takes a Tree and serves both contexts. A test verifies that it takes a Tree. `moves`: the
    value changes by itself, such as an uptime. It is recorded and compared only if a spec or the user names it.
    """

    def declare(probe: LeafProbe[T]) -> Leaf:
        leaf = Leaf(probe, sources, fix, sensitive=sensitive)
        leaf.kind, leaf.optional, leaf.moves = kind, optional, moves
        if same_at_rest:
            leaf.at_rest(*sources)(cast("Callable[[Tree], Observation[Datum]]", probe))
        return leaf

    return declare


def table(
    row: Union[Kind[T], Mapping[str, Kind[Datum]]],
    *,
    sources: Sources,
    noun: str,
    key: Callable[[str], str] = str,
    closed: bool = False,
    listed: Callable[[str], bool] = bool,
    total: bool = False,
    fix: str = "",
    fixes: Union[Mapping[str, str], None] = None,
    labels: Union[Mapping[str, str], None] = None,
    sensitive: bool = False,
    same_at_rest: bool = False,
    globs: bool = False,
    moves: Union[bool, Tuple[str, ...]] = False,
) -> Callable[[TableProbe], Table]:
    """Declare a function as the probe of a table: of one kind, or of columns by name.

    `key` normalizes a row's name and raises ValueError for an invalid name. `closed`: all rows can be enumerated.
    `listed` returns whether the enumeration would list a name: a row that has two names is listed under one of them.
    `total`: no row is ever absent. `fixes`: the fix by column; `{key}` is the row's name. `labels`: the names of rows
    in sentences, where they are not the keys. `moves`: the columns whose values change by themselves, such as free
    bytes, or True for the values of a table without columns. `globs`: the table is open, and its rows that match a glob
    can be enumerated (`Rows.matching`).
    """

    def declare(probe: TableProbe) -> Table:
        made = Table(probe, sources, fix, sensitive=sensitive)
        if isinstance(row, Kind):
            made.row = row
        else:
            made.columns = row
        made.noun, made.key, made.closed, made.listed = noun, key, closed, listed
        made.globs = globs
        made.optional, made.fixes, made.labels, made.moves = not total, fixes or {}, labels or {}, moves
        if same_at_rest:
            made.at_rest(*sources)(cast("Callable[[Tree], Rows[Row]]", probe))
        return made

    return declare


class Place(NamedTuple):
    """The location of a fact: `path` from the family on.

    In a table, `key` is the row and `column` its column, or empty.
    """

    path: Tuple[str, ...]
    fact: Union[Leaf, Table]
    key: str = ""
    column: str = ""

    @property
    def owner(self) -> Tuple[str, ...]:
        """The path of the leaf or table itself."""
        return self.path[: len(self.path) - bool(self.key) - bool(self.column)]

    @property
    def kind(self) -> Kind[Datum]:
        """The type of the observed value."""
        if isinstance(self.fact, Leaf):
            return self.fact.kind
        return self.fact.columns[self.column] if self.column else self.fact.row

    @property
    def optional(self) -> bool:
        """Whether an observed absence is valid.

        It is for an optional leaf, and for rows and columns unless the table is total.
        """
        return self.fact.optional

    @property
    def sensitive(self) -> bool:
        """Whether the value may be secret."""
        return self.fact.sensitive or self.shows_content

    @property
    def shows_content(self) -> bool:
        """Whether the value is text of a file, which may be anything."""
        columns = self.fact.columns if isinstance(self.fact, Table) and ":" in self.column else None
        return isinstance(columns, LazyColumns) and columns.questions[self.column.partition(":")[0]].secret

    @property
    def moves(self) -> bool:
        """Whether the value changes by itself."""
        moves = self.fact.moves
        return self.column in moves if isinstance(moves, tuple) else moves

    @property
    def fix(self) -> str:
        """The default fix; the placeholder of the required value is not filled in."""
        if isinstance(self.fact, Table):
            return self.fact.fixes.get(self.column, self.fact.fix).replace("{key}", self.key)
        return self.fact.fix

    @property
    def fix_at_rest(self) -> str:
        """The default fix of an offline tree: the part of `fix` that changes files."""
        resting_fix = "" if isinstance(self.fact, Table) and self.column in self.fact.fixes else self.fact.resting_fix
        return resting_fix.replace("{key}", self.key) or self.fix


def list_families() -> Tuple[str, ...]:
    """Return the names of the families that nodespec contains."""
    return cast("Tuple[str, ...]", import_module("nodespec.checks").FAMILIES)


def load_family(name: str) -> Union[Group, Table]:
    """Return what a module of `checks` declares: a group of facts or one table.

    The table has the name of the family. A third party's module is found by the entry point `nodespec.checks`. Raises
    LookupError if there is none.
    """
    if name not in _FAMILIES:
        if name in list_families():
            module = import_module(f"nodespec.checks.{name}")
        else:
            from nodespec.facts.foreign import load_foreign_module as load  # noqa: PLC0415 - third parties only

            module = load(name)
        _FAMILIES[name] = _collect_declarations(name, module)
    return _FAMILIES[name]


_FAMILIES: Dict[str, Union[Group, Table]] = {}


def _collect_declarations(name: str, module: ModuleType) -> Union[Group, Table]:
    declared = ((attribute.rstrip("_"), value) for attribute, value in vars(module).items())
    facts = ((attribute, value) for attribute, value in declared if isinstance(value, (Leaf, Table)))
    members = {attribute: value for attribute, value in facts if value.probe.__module__ == module.__name__}
    only = members.get(name)
    if len(members) == 1 and isinstance(only, Table):
        return only
    more = getattr(module, "import_more_facts", None)
    return Group(LateMembers(members, more) if more else members, module.__doc__ or "")


class LateMembers(Members):
    """The facts of a family. Some are in a module that is imported when one of them is asked for."""

    def __init__(self, first: Dict[str, Union[Leaf, Table]], load: Callable[[], ModuleType]) -> None:
        self._found, self._load = first, load
        self._complete = False

    def _complete_members(self) -> Dict[str, Union[Leaf, Table]]:
        if not self._complete:
            self._complete = True
            more = _collect_declarations("", self._load())
            self._found.update(more.members if isinstance(more, Group) else {})
        return self._found

    def __getitem__(self, name: str) -> Union[Leaf, Table]:
        return self._found[name] if name in self._found else self._complete_members()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._complete_members())

    def __len__(self) -> int:
        return len(self._complete_members())


def resolve_place(path: Tuple[str, ...]) -> Place:
    """Return the place that a path names. Raises LookupError if there is none."""
    declared = load_family(path[0])
    if isinstance(declared, Table):
        return _resolve_table_place(path, declared, 1)
    member = declared.members[path[1]]
    return Place(path, member) if isinstance(member, Leaf) else _resolve_table_place(path, member, 2)


def _resolve_table_place(path: Tuple[str, ...], owner: Table, depth: int) -> Place:
    key, column = (*path[depth:], "", "")[:2]
    if column and column not in owner.columns:
        raise LookupError(column)
    return Place(path, owner, key, column)

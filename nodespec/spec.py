"""Specs: documents, what they extend, their params and drops, joined into one plan before any host is looked at."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from . import __version__, expectation, plan, sysspec
from .conclusion import selects
from .kinds import Version, nearest
from .library import Library
from .mistake import At, Mistake, Wrong
from .parameter import declared
from .pattern import Data, Joined, Param
from .plan import Plan, Requirement, nodes
from .proof import possible
from .report import Spec
from .source import Map, Node, parse, word
from .statement import Reader, Statement, known
from .versions import RELEASE
from .walk import items, listed, text

TOP = ("nodespec", "requires", "name", "title", "extends", "params", "drop", "require", "recommend", "rules")


class Document(NamedTuple):
    """A file, parsed. `notes` say what a foreign one asks that cannot be carried over."""

    file: str
    body: Map
    notes: Tuple[str, ...] = ()

    def text(self, key: str) -> str:
        """A text at the top, or nothing."""
        return text(self.body[key], key) if key in self.body else ""


class Block(NamedTuple):
    """What all documents so far state under one id, and where."""

    statement: Statement
    source: Tuple[At, ...]


def resolve(names: Sequence[str], library: Library, given: Mapping[str, str], *, trial: bool = False) -> Plan:
    """The plan of all that was named; Mistake with every problem and its position.

    `trial`: for looking at specs without judging: unset params get a sample, and what is set but unknown is left alone.
    """
    whole = _Resolution(library, given, trial=trial)
    made = whole.run(names)
    if len(names) == 1:
        return made
    heads = [_Resolution(library, given, trial=True).run([name]).specs[0] for name in names]
    return made._replace(specs=tuple(heads))


class _Resolution:
    def __init__(self, library: Library, given: Mapping[str, str], *, trial: bool) -> None:
        self.library, self.given, self.trial = library, given, trial
        self.problems: List[Wrong] = []
        self.documents: Dict[str, Document] = {}
        self.params: Dict[str, Param] = {}
        self.blocks: Dict[str, Block] = {}
        self.drops: List[str] = []

    def run(self, names: Sequence[str]) -> Plan:
        for name in names:
            self._collect(name, "", ())
        self._stop()
        for document in self.documents.values():
            self._declare(document)
        self._check_given()
        self._stop()
        for document in self.documents.values():
            self._state(document)
        if not self.blocks and not self.problems:
            self.problems.append(Wrong(word(names[0], At(names[0], 1, 1)), "requires nothing"))
        self._stop()
        requirements = tuple(_requirement(block) for block in self.blocks.values())
        params = tuple(self.params.values())
        return Plan((self._head(names[0], requirements, params),), params, requirements)

    def _stop(self) -> None:
        if self.problems:
            raise Mistake(*dict.fromkeys(map(str, sorted(self.problems, key=_position))))

    def _head(self, name: str, requirements: Tuple[Requirement, ...], params: Tuple[Param, ...]) -> Spec:
        """What the report says of the spec that was named: the last document, which extends the others."""
        *others, last = self.documents.values()
        extends = tuple(document.text("name") or document.file for document in others)
        notes = tuple(note for document in self.documents.values() for note in document.notes)
        digest = plan.digest(requirements, params)
        sources = tuple(document.file for document in self.documents.values())
        return Spec(last.text("name") or name, last.text("title"), digest, sources, extends, tuple(self.drops), notes)

    # documents

    def _collect(self, name: str, beside: str, path: Tuple[str, ...]) -> None:
        """Parents as listed, depth first, then the document itself; each file once."""
        found = self.library.find(name, beside)
        if found.key in path:
            raise Mistake(f"`{name}` extends itself")
        if found.key in self.documents:
            return
        document = _document(parse(found.data, found.file), found.file)
        for parent in listed(document.body["extends"]) if "extends" in document.body else ():
            try:
                self._collect(text(parent, "extends"), found.key, (*path, found.key))
            except Wrong as wrong:
                self.problems.append(wrong)
            except Mistake as mistake:
                placed = any(
                    said.startswith(document.file) or re.match(r"\S+:\d+:\d+: ", said) for said in mistake.said
                )
                if placed:
                    raise
                self.problems.append(Wrong(parent, "; ".join(mistake.said)))
        self.documents[found.key] = document

    def _declare(self, document: Document) -> None:
        for name, node in items(document.body["params"], "`params`") if "params" in document.body else ():
            try:
                self.params[name] = declared(name, node, self.params.get(name), self.given.get(name), trial=self.trial)
            except Wrong as wrong:
                self.problems.append(wrong)

    def _check_given(self) -> None:
        for name in () if self.trial else self.given:
            if name not in self.params and not self.problems:
                raise Mistake(f"--set {name}: no spec has such a param{nearest(name, self.params)}")

    # statements

    def _state(self, document: Document) -> None:
        inherited = {block.statement.rule for block in self.blocks.values()} - {""}
        reader = Reader(self.params, self.problems)
        for _ in reader.guarded(self._dropped(document)):
            inherited = {block.statement.rule for block in self.blocks.values()} - {""}
        for statement in reader.statements(document.body):
            try:
                if statement.rule in inherited:
                    raise Wrong(_at(statement), f"rule `{statement.rule}` is inherited: drop it to say it anew")
                self._add(statement)
            except Wrong as wrong:
                self.problems.append(wrong)

    def _dropped(self, document: Document) -> Iterator[None]:
        for node in listed(document.body["drop"]) if "drop" in document.body else ():
            name = text(node, "drop")
            gone = [key for key, block in self.blocks.items() if selects(name, key) or name == block.statement.rule]
            if not gone:
                raise Wrong(node, f"`{name}` drops nothing that is inherited{nearest(name, self.blocks)}")
            for key in gone:
                del self.blocks[key]
            self.drops.append(f"{name} ({', '.join(gone)})" if gone != [name] else name)
            yield

    def _add(self, new: Statement) -> None:
        old = self.blocks.get(new.id)
        if old is None:
            self.blocks[new.id] = Block(new, (new.at,))
            return
        if _paths(old.statement.data) != _paths(new.data):
            raise Wrong(_at(new), f"`{new.id}` reads like another place, at {old.source[0]}")
        both = old.statement._replace(words={**old.statement.words, **new.words})
        if old.statement.data != new.data:
            data: Data = {"all": nodes([old.statement.data, new.data])}
            both = both._replace(data=data, pattern=Joined("all", (old.statement.pattern, new.pattern)))
            if "pass" not in possible(both.pattern):
                raise Wrong(_at(new), f"`{new.id}` contradicts {', '.join(map(str, old.source))}: both must hold")
        self.blocks[new.id] = Block(both, (*old.source, new.at))


def _document(body: Node, file: str) -> Document:
    if not isinstance(body, Map):
        raise Mistake(f"{body.at}: a spec is a mapping that begins with `nodespec: 1`")
    notes: Tuple[str, ...] = ()
    try:
        if sysspec.is_one(body):
            body, notes = sysspec.converted(body)
        if body.get("nodespec") != str(plan.LANGUAGE):
            raise Wrong(
                body.get("nodespec", body), f"`nodespec: {plan.LANGUAGE}` is wanted: the version of the language"
            )
        known(body, TOP)
        if "requires" in body:
            needed = expectation.read(nodes(body["requires"]), Version(RELEASE))
            if not needed.test(__version__):
                raise Wrong(body["requires"], f"this spec requires nodespec {needed.text}, and this is {__version__}")
    except Wrong as wrong:
        raise Mistake(str(wrong)) from None
    return Document(file, body, notes)


def _requirement(block: Block) -> Requirement:
    statement = block.statement
    words = [statement.words.get(word, "") for word in ("why", "fix", "see")]
    source = tuple(map(str, block.source))
    return Requirement(statement.id, statement.level, statement.data, statement.when, source, *words)


def _paths(data: Data) -> object:
    """The place that a statement is about, whoever states it."""
    joined = data.get("all")
    first: Optional[object] = joined[0] if isinstance(joined, list) else data
    return first.get("fact") if isinstance(first, dict) else None


def _at(statement: Statement) -> Node:
    return word(statement.id, statement.at)


def _position(wrong: Wrong) -> Tuple[str, int, int]:
    at = getattr(wrong.node, "at", None)
    return at if isinstance(at, At) else ("", 0, 0)

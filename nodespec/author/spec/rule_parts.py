"""Read the parts of requirements and rules: names, levels, tables, and words (why, fix, see, tags and aliases)."""

from __future__ import annotations

import re

from nodespec.author.spec.params import CONTEXT_BY_KEY
from nodespec.author.spec.satisfiability import ANY_ROW
from nodespec.errors import DocumentError, FilePosition, suggest_name
from nodespec.facts import declaration
from nodespec.facts.declaration import Place, Table
from nodespec.judge.expectation import REQUIREMENT_KEYS
from nodespec.judge.pattern import PARAMS
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.document import (
    Map,
    Node,
    Seq,
    Word,
    find_unknown_keys,
    make_mapping,
    require_distinct,
    require_list,
    require_text,
)
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Tuple, TypeAlias

TAG = r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}"
Words: TypeAlias = "Mapping[str, str]"
LEVELS = {"require": "required", "recommend": "recommended"}


class NodeParts(NamedTuple):
    """The parts of a node: its expectation, words (why, fix, see, and tags joined by blanks) and aliases.

    `rest` is the node without words and aliases.
    """

    expect: Node
    words: Words
    aliases: List[Word]
    rest: Node


def split_node(node: Node) -> NodeParts:
    """Return the parts of a node. Raises `DocumentError` for words or aliases that are not texts."""
    if not isinstance(node, Map):
        return NodeParts(node, {}, [], node)
    words = read_words(node)
    aliases = [_check_alias(alias) for alias in require_list(node["aliases"])] if "aliases" in node else []
    expected = make_mapping(
        node.at, ((name, below) for name, below in node.items() if name not in (*REQUIREMENT_KEYS, "tags", "aliases"))
    )
    return NodeParts(expected["is"] if list(expected) == ["is"] else expected, words, aliases, expected)


def read_words(node: Map) -> Dict[str, str]:
    """Return why, fix, see and tags of a requirement or rule."""
    words = {name: require_text(node[name], name) for name in ("why", "see") if name in node}
    if "fix" in node:
        words["fix"], words["fix_at_rest"] = _read_fix(node["fix"])
    return {**words, "tags": " ".join(_read_tags(node["tags"]))} if "tags" in node else words


def _read_fix(node: Node) -> Tuple[str, str]:
    """Return the fix of a running host, and that of an offline host if it differs."""
    if not isinstance(node, Map):
        return require_text(node, "fix"), ""
    errors = find_unknown_keys(node, tuple(CONTEXT_BY_KEY))
    if errors:
        raise errors[0]
    missing = [key for key in CONTEXT_BY_KEY if key not in node]
    if missing:
        raise DocumentError(
            node, f"`fix` has no `{missing[0]}`; write one text, or one for each of {', '.join(CONTEXT_BY_KEY)}"
        )
    running, at_rest = (require_text(node[key], "fix") for key in CONTEXT_BY_KEY)
    return running, "" if at_rest == running else at_rest


def _read_tags(node: Node) -> Iterator[str]:
    """Yield the tags of a list. Raises `DocumentError` for a tag that `--only tag:GLOB` could not name."""
    tags = require_list(node)
    require_distinct(tags)
    for tag in tags:
        if not re.fullmatch(TAG, require_text(tag, "tags")):
            raise DocumentError(tag, f"`{tag}` is not a tag; expected letters, digits and `._:/-`, such as CIS-4.1.5")
        yield str(tag)


def merge_words(outer: Words, inner: Words) -> Words:
    """Return the words of a requirement: its own, else those around it, and the tags of both."""
    tags = dict.fromkeys(f"{outer.get('tags', '')} {inner.get('tags', '')}".split())
    return {**outer, **inner, **({"tags": " ".join(tags)} if tags else {})}


def _check_alias(node: Node) -> Word:
    if not isinstance(node, Word) or node.null:
        raise DocumentError(node, "`aliases` must be names")
    return node


def joins_rows(node: Map) -> bool:
    """Return whether `any`, `all` or `not` joins patterns of a row.

    Otherwise it joins expectations of a value.
    """
    below = next(iter(node.values()))
    return isinstance(below[0] if isinstance(below, Seq) and below else below, Map)


def read_globs(node: Node, row: Place) -> List[str]:
    """Return the globs of `names`: one text, or a list. Raises `DocumentError` for a name without a wildcard."""
    nodes = node if isinstance(node, Seq) else [node]
    globs = [require_text(glob, "names") for glob in nodes]
    for glob, text in zip(nodes, globs):
        if "*" not in text:
            raise DocumentError(glob, f"`{text}` has no `*`; to require one {_noun(row)}, name it under `require`")
        if text.strip("*.") == "":
            every = "remove `names`" if cast("Table", row.fact).closed else "write a part of the name"
            raise DocumentError(glob, f"`{text}` matches every {_noun(row)}; {every}")
    if not globs:
        raise DocumentError(node, "the list of `names` must not be empty")
    return globs


def _noun(row: Place) -> str:
    return cast("Table", row.fact).noun


def find_table(node: Node, *, globs: bool) -> Place:
    """Return the place of any row of a table. Raises `DocumentError` if its rows cannot be listed."""
    name = require_text(node, "every")
    path = tuple(name.split("."))
    try:
        place = declaration.resolve_place((*path, ANY_ROW))
    except LookupError:
        place = None
    is_table = place is not None and isinstance(place.fact, Table) and place.owner == path
    if place is not None and is_table and cast("Table", place.fact).globs and not globs:
        raise DocumentError(
            node, f"the rows of `{name}` are listed only by a glob; write it as `names`, beside `{name}`"
        )
    if place is None or not is_table or not (cast("Table", place.fact).closed or cast("Table", place.fact).globs):
        raise DocumentError(
            node, f"`{name}` is not a table whose rows can be listed{suggest_name(name, declaration.list_families())}"
        )
    return place


def read_rule_name(node: Map, names: Dict[str, FilePosition]) -> Word:
    """Return the name of a rule, and note it in `names`. Raises `DocumentError` for an invalid or known name."""
    name = node.get("name")
    if not isinstance(name, Word) or not re.fullmatch("[a-z0-9-]+", name):
        raise DocumentError(name or node, "a rule must have a name of lower-case letters, digits and dashes")
    if name in declaration.list_families() or name in ("recommended", PARAMS):
        raise DocumentError(name, f"`{name}` is a reserved name; choose another name for the rule")
    if name in names:
        raise DocumentError(name, f"duplicate rule `{name}`; see line {names[name].line}")
    names[name] = name.at
    return name


def read_rule_level(node: Map) -> str:
    """Return the level of a rule. Raises `DocumentError` for an unknown one."""
    level = node.get("level")
    if level is not None and level not in LEVELS.values():
        raise DocumentError(level, f"`level` must be one of {', '.join(LEVELS.values())}")
    return str(level or "required")


def iter_rules(node: Node, problems: List[DocumentError]) -> Iterator[Map]:
    """Yield the rules of a document."""
    for rule in require_list(node):
        if isinstance(rule, Map):
            yield rule
        else:
            problems.append(DocumentError(rule, "a rule must be a mapping"))

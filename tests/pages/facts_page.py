"""Generate docs/facts.md from the declared facts: `python tests/pages/facts_page.py > docs/facts.md`.

The page is that of `nodespec explain`. A line of each fact says on which real systems it was seen, by
tests/seen_on.yaml. There a key is the place of a fact, of a table, or of a column, such as `mounts.free`. The entry of
a table counts for all its columns without an entry of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

import yaml

from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Table
from nodespec.output.manual import format_manual

SEEN_ON = Path(__file__).parents[1] / "seen_on.yaml"
MADE_UP = "made-up trees only"


def read_seen_on() -> Dict[str, str]:
    """Return where each place was seen, as text."""
    document = yaml.safe_load(SEEN_ON.read_text("utf-8"))
    undeclared = [place for place in document if not is_declared(place)]
    if undeclared:
        raise ValueError(f"{SEEN_ON.name}: {', '.join(undeclared)}: no such fact, table or column")
    return {place: ", ".join(where) if isinstance(where, list) else str(where) for place, where in document.items()}


def find_fact(place: str) -> Tuple[Leaf | Table, str] | None:
    """Return the fact of a place and the rest of its name, or None."""
    family, _, rest = place.partition(".")
    try:
        declared = declaration.load_family(family)
    except LookupError:
        return None
    if isinstance(declared, Table):
        return declared, rest
    member, _, column = rest.partition(".")
    fact = declared.members.get(member)
    return (fact, column) if fact else None


def is_declared(place: str) -> bool:
    """Return whether a place is a fact, a table or a column of a table."""
    found = find_fact(place)
    if found is None:
        return False
    fact, column = found
    return not column or (isinstance(fact, Table) and column in fact.columns)


def describe_places(name: str, known: Mapping[str, str]) -> str:
    """Return where a fact was seen: as a whole, and columns that differ from it."""
    found = find_fact(name)
    columns = tuple(found[0].columns) if found and isinstance(found[0], Table) else ()
    whole = known.get(name, "" if any(f"{name}.{column}" in known for column in columns) else MADE_UP)
    groups: Dict[str, List[str]] = {}
    for column in columns:
        where = known.get(f"{name}.{column}", whole or MADE_UP)
        if where != whole:
            groups.setdefault(where, []).append(f"`{column}`")
    return "; ".join(filter(None, [whole, *(f"{', '.join(names)}: {where}" for where, names in groups.items())]))


def add_seen_on(page: str, known: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the page, with a line at the end of each fact."""
    section: List[str] = []
    for line in [*page.splitlines(), "## "]:
        if line.startswith(("## ", "### ")):
            yield from _close_section(section, known)
            section = []
        section.append(line)


def _close_section(lines: Sequence[str], known: Mapping[str, str]) -> Iterator[str]:
    if not lines or not lines[0].startswith("### "):
        yield from lines
        return
    text = "\n".join(lines)
    yield from text.rstrip("\n").split("\n")
    yield f"Seen on: {describe_places(lines[0].removeprefix('### '), known)}."
    yield from [""] * (len(text) - len(text.rstrip("\n")))


if __name__ == "__main__":
    made = "".join(f"{line}\n" for line in format_manual())
    sys.stdout.write("".join(f"{line}\n" for line in add_seen_on(made, read_seen_on())))

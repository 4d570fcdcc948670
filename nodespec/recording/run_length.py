"""Run-length encoding of rows that have one value each.

Thousands of build options and modules take most of the space of a recording, each with its line. A run is a list: the
line of its first row, and its rows, each on the line after the previous one. A row is its name and its value, or only
its name if the value is the usual one:

    {"usual": {"is": ["m"]}, "runs": [[12, "CONFIG_A", ["CONFIG_B", "y"]], [20, "CONFIG_C"]]}
"""

from __future__ import annotations

from collections import Counter

from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Evidence, Observation, Value
from nodespec.recording.observation_json import EncodedObject, encode_value

if TYPE_CHECKING:
    from typing import Dict, List, Mapping

    from nodespec.facts.value_types import Datum
    from nodespec.model.json_types import Json

MIN_ROWS = 4  # Rows. For fewer rows the encoding saves nothing.


def encode_runs(rows: Mapping[str, Observation[Datum]], home: str) -> EncodedObject:
    """Encode the rows that are a plain value with a line in `home`.

    Returns the runs and the usual value, or an empty object for a few rows.
    """
    plainly = {name: seen for name, seen in rows.items() if isinstance(seen, Value) and _is_plain(seen, home)}
    if len(plainly) < MIN_ROWS:
        return {}
    [(usual, _)] = Counter(seen.value for seen in plainly.values()).most_common(1)
    runs: List[Json] = []
    run: List[Json] = []
    after = 0
    for line, name in sorted((seen.evidence.line, name) for name, seen in plainly.items()):
        if line != after:
            run = [line]
            runs.append(run)
        value = plainly[name].value
        run.append(name if value == usual else [name, encode_value(value)])
        after = line + 1
    return {"usual": {"is": [encode_value(usual)]}, "runs": runs}


def _is_plain(seen: Value[Datum], home: str) -> bool:
    line = seen.evidence.line
    return bool(line) and not seen.others and seen.evidence == Evidence(home, line)


def decode_runs(note: EncodedObject) -> EncodedObject:
    """Decode the runs of a table into its rows; a malformed run is ignored."""
    runs, usual, plain_rows = note.get("runs"), note.get("usual"), note.get("rows")
    if not isinstance(runs, list):
        return note
    value = usual.get("is") if isinstance(usual, dict) else None
    bare = value[:1] if isinstance(value, list) else []
    rows: Dict[str, Json] = {}
    for run in runs:
        first = run[0] if isinstance(run, list) and run else None
        if isinstance(run, list) and type(first) is int:
            for line, item in enumerate(run[1:], first):
                _add_row(rows, item, bare, line)
    return {**note, "rows": {**rows, **(plain_rows if isinstance(plain_rows, dict) else {})}}


def _add_row(rows: Dict[str, Json], item: Json, bare: List[Json], line: int) -> None:
    if isinstance(item, str):
        rows[item] = [*bare, line]
    elif isinstance(item, list) and len(item) == 2 and isinstance(item[0], str):  # noqa: PLR2004 - a name and a value
        rows[item[0]] = [item[1], line]

"""Render stored reports again, or judge again the facts that they contain."""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import lru_cache

from nodespec.errors import UsageError
from nodespec.escape import escape_line
from nodespec.light_typing import TYPE_CHECKING, cast
from nodespec.model.json_types import Json, check_depth
from nodespec.model.newer import describe_newer_format
from nodespec.model.plan import Spec
from nodespec.model.report import Param, Report, compute_exit_code
from nodespec.model.report_json import decode_reports
from nodespec.output.writer import parse_outputs, summarize_files, write_reports

if TYPE_CHECKING:
    import argparse
    from typing import Dict, Iterator, List, Sequence, Tuple

    from nodespec.author.verify.verification import ReportComparison

SHARED_TYPES = (str, dict, bool)  # values that are one object wherever they are equal
MAX_SHARED_FIELDS = 16  # fields of an object that is looked for among others
MAX_REPORT_BYTES = 256 << 20  # bytes of a stored report
COMPARED = (
    "compared: the conclusion and every outcome, disposition, observed value and evidence with a new judgment of the "
    "embedded plan, facts, waivers and time; the plan with its digests; the host's system and kernel, the context and "
    "the notices with the facts and with each other"
)
NOT_COVERED = (
    "not covered: the host's name and ids, the user, the version, paths, the owner and reason of a waiver, the time "
    "if no waiver depends on it, the wording of sentences, and whether reports were removed from the file"
)
UNSIGNED = "a report is not signed: this does not prove who wrote it, or that the facts are those of that host"


def report(args: argparse.Namespace) -> int:
    """Run `nodespec report`: the exit code is that of the rendered conclusion."""
    reports = load_reports(args.file)
    outputs = parse_outputs(args.output)
    summary = summarize_files(reports, outputs)
    return write_reports(reports, outputs, compute_exit_code(reports), every=args.all, summary=summary)


def verify(args: argparse.Namespace) -> int:
    """Run `nodespec verify`: print every difference; return 10 if there is one, else 0."""
    from nodespec.author.verify import verification  # noqa: PLC0415 - only this judges again

    count = 0
    for report in load_reports(args.file):
        comparison = verification.compare_report(report)
        count += len(comparison.differences)
        for line in _format_comparison(report, comparison):
            _print_escaped(line)
    for line in (COMPARED, NOT_COVERED, UNSIGNED):
        _print_escaped(line)
    return 10 if count else 0


def _format_comparison(report: Report, comparison: ReportComparison) -> Iterator[str]:
    """Yield the result of one host, line by line."""
    from nodespec.author.verify.verification import TOOL, format_wording  # noqa: PLC0415 - likewise

    number = len(comparison.differences)
    state = f"{number} difference{'s' * (number > 1)}" if number else "no difference"
    specs = ", ".join(f"{spec.name} (sha256:{spec.digest[:16]})" for spec in report.specs)
    tools = f"written by {report.tool}, judged again by {TOOL}"
    yield f"{report.host.name}: {report.conclusion}: {tools} with {specs}: {state}"
    yield from (f"  {line}" for line in comparison.differences)
    yield from (f"  {line}" for line in filter(None, [format_wording(comparison.wording)]))
    yield from (f"  not compared: {line}" for line in comparison.missing)
    yield from (f"  {line}" for spec in report.specs for line in _compare_with_library(spec, report.params))


def _compare_with_library(spec: Spec, params: Sequence[Param]) -> Iterator[str]:
    """Yield a line that says whether the spec equals the spec of this name in the library."""
    given = tuple((param.name, param.value) for param in params if param.source == "set")
    digest = _compute_library_digest(spec.name, given)
    if digest == spec.digest:
        yield f"{spec.name} is the spec of this nodespec"
    elif digest:
        yield f"{spec.name} is not the spec of that name in this nodespec"


@lru_cache(64)
def _compute_library_digest(name: str, given: Tuple[Tuple[str, str], ...]) -> str:
    """Return the digest of a spec of the library; empty if it is not found."""
    from nodespec.author.spec.library import Library  # noqa: PLC0415 - only a report that is verified asks for the library
    from nodespec.author.spec.resolver import resolve  # noqa: PLC0415 - likewise

    library = Library()
    if name not in library.names():
        return ""
    try:
        known = {param.name for param in resolve([name], library, {}, trial=True).params}
        return resolve([name], library, {key: value for key, value in given if key in known}).specs[0].digest
    except UsageError:  # this version's spec has other params
        return "of other params"


def _print_escaped(line: str) -> None:
    print(escape_line(line))  # noqa: T201 - the requested output


def load_reports(path: str) -> Tuple[Report, ...]:
    """Return the reports of a file. Raises `UsageError` if it is not a report."""
    try:
        data = sys.stdin.buffer.read(MAX_REPORT_BYTES + 1) if path == "-" else _read_content(path)
        if len(data) > MAX_REPORT_BYTES:
            raise ValueError(f"larger than {MAX_REPORT_BYTES >> 20} MiB")
        document = cast("Dict[str, Json]", json.loads(data, object_pairs_hook=_ObjectCache().object))
        del data
        check_depth(document)
        _validate_document(document)
        return decode_reports(document)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise UsageError(f"{path}: not a report of nodespec: lists and objects are nested too deep") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a report of nodespec: {error}") from None


class _ObjectCache:
    """A cache of equal texts and objects: reports on several hosts repeat most of them."""

    def __init__(self) -> None:
        self.texts: Dict[str, str] = {}
        self.objects: Dict[Tuple[object, ...], Dict[str, Json]] = {}

    def object(self, pairs: List[Tuple[str, Json]]) -> Dict[str, Json]:
        """Return an object. Raises ValueError for a duplicate key, which other programs may read differently."""
        fields = {name: self._share_value(value) for name, value in pairs}
        if len(fields) != len(pairs):
            duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise ValueError(f"`{duplicate[:80]}` is a duplicate key")
        if len(fields) > MAX_SHARED_FIELDS:
            return fields
        key = tuple(
            (name, id(value)) for name, value in fields.items() if value is None or isinstance(value, SHARED_TYPES)
        )
        return self.objects.setdefault(key, fields) if len(key) == len(fields) else fields

    def _share_value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.texts.setdefault(value, value)
        if isinstance(value, list):
            value[:] = [self.texts.setdefault(item, item) if isinstance(item, str) else item for item in value]
        return value


def _validate_document(document: Json) -> None:
    """Validate a report by the published schema, because it is untrusted data."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - 90 ms
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - likewise

    from nodespec.reports.json import schema  # noqa: PLC0415

    newer = describe_newer_format(document.get("nodespec"), 1) if isinstance(document, dict) else ""
    if newer:
        raise ValueError(newer)
    error = best_match(Draft202012Validator(schema()).iter_errors(document))
    if not error and document == {"nodespec": 1, "reports": []}:
        raise ValueError("it contains no report")
    if error:
        raise ValueError(f"{error.json_path}: {error.message[:200]}")


def _read_content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_REPORT_BYTES + 1)

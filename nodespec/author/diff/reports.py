"""Compare stored reports: conclusions, specs and findings of each host."""

from __future__ import annotations

from nodespec.judge.fleet_summary import label_hosts
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.report import Finding, Report

if TYPE_CHECKING:
    from typing import Dict, Iterator, Sequence, Tuple, Union

NOT_ASKED, NOT_JUDGED = "not asked", "not judged"


def diff_reports(before: Sequence[Report], after: Sequence[Report]) -> Iterator[str]:
    """Yield a line for each difference, in the order of the later report.

    With several hosts, each line begins with the hostname.
    """
    if len(before) == len(after) == 1:
        yield from _diff_report(before[0], after[0])
        return
    was, now = _index_by_host(before), _index_by_host(after)
    for host in {**now, **was}:
        if host in was and host in now:
            yield from (f"{host}: {line}" for line in _diff_report(was[host], now[host]))
        else:
            states = [reports[host].headline if host in reports else NOT_JUDGED for reports in (was, now)]
            yield f"{host}: {' -> '.join(states)}"


def _index_by_host(reports: Sequence[Report]) -> Dict[str, Report]:
    return dict(zip(label_hosts(reports), reports))


def _diff_report(before: Report, after: Report) -> Iterator[str]:
    if before.conclusion != after.conclusion:
        yield f"{before.conclusion} -> {after.conclusion}"
    digests = [{spec.name: spec.digest for spec in report.specs} for report in (before, after)]
    for name in {**digests[1], **digests[0]}:
        was, now = (
            f"sha256:{digest_by_name[name][:16]}" if name in digest_by_name else NOT_ASKED for digest_by_name in digests
        )
        if was != now:
            yield f"spec {name}: {was} -> {now}"
    yield from _diff_findings(before, after)


def _diff_findings(before: Report, after: Report) -> Iterator[str]:
    was, now = ({finding.id: finding for finding in report.findings} for report in (before, after))
    for id_ in {**now, **was}:
        pair = was.get(id_), now.get(id_)
        outcomes = [_format_outcome(finding) for finding in pair]
        if outcomes[0] != outcomes[1]:
            latest = pair[1] or pair[0]
            explanation = f": {latest.sentence}{_format_sources(latest)}" if latest else ""
            yield f"{id_}: {outcomes[0]} -> {outcomes[1]}{explanation}"


def _format_outcome(finding: Union[Finding, None]) -> str:
    """Format an outcome, with its disposition if that is not the default."""
    if finding is None:
        return NOT_ASKED
    usual: Tuple[str, ...] = ("enforced", "skipped" if finding.outcome == "skipped" else "enforced")
    return finding.outcome if finding.disposition in usual else f"{finding.outcome} ({finding.disposition})"


def _format_sources(finding: Finding) -> str:
    """Format the sources of a finding; for a rule, those of the decisive parts."""
    parts = [part for part in finding.parts if part.outcome == finding.outcome] or finding.parts
    evidence = (item for part in parts for item in part.evidence)
    places = dict.fromkeys(f"{item.source}:{item.line}" if item.line else item.source for item in evidence)
    return f"  # {'; '.join(places)}" if places else ""

"""Summarize reports on several hosts.

The summary shows the result of each spec on each host, and the causes that several hosts share. It also shows shared
values that must be unique, and different values that should be equal.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from nodespec.errors import DEFECT, EXIT
from nodespec.facts import declaration
from nodespec.judge.clause_result import format_value
from nodespec.judge.conclusion import derive_conclusion
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Value
from nodespec.model.plan import Spec
from nodespec.model.report import Finding, Host, Report
from nodespec.recording.replay import ReplayedFacts
from nodespec.records import NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Sequence, Tuple, TypeAlias, Union

# what must be unique to a host, and why
UNIQUE_VALUES: Mapping[str, Tuple[Callable[[Gist], Sequence[str]], str]] = {
    "hostname": (lambda one: [one.host.name], "node names must be unique in a cluster"),
    "machine-id": (
        lambda one: [one.host.id],
        "it must be unique, and a cloned machine keeps it: empty /etc/machine-id and run systemd-machine-id-setup",
    ),
    "product_uuid": (
        lambda one: [one.host.product],
        "it must be unique; clones may keep it, and some vendors use one for all machines: set a new one",
    ),
    "hardware address": (
        lambda one: one.host.addresses.split(" "),
        "it must be unique in a network: set a new one in the hypervisor",
    ),
}
# what should be equal on all hosts of a cluster: fields of the head of each report, and facts that specs require
EQUAL_HEAD_FIELDS: Mapping[str, Callable[[Report], str]] = {
    "os.pretty_name": lambda report: report.host.os,
    "kernel.release": lambda report: report.host.kernel,
    "kernel.arch": lambda report: report.host.arch,
}
EQUAL_FACTS = (
    "cgroups.version",
    "kubelet.version",
    "runtime.containerd.version",
    "runtime.crio.version",
    "runtime.docker.version",
    "runtime.runc.version",
)
EQUAL_FACT_FAMILIES = {name.partition(".")[0] for name in EQUAL_FACTS}


HostCause: TypeAlias = (
    "Tuple[str, str, str, str, str, str]"  # a cause that several hosts may share: outcome, key, id, text, hint, fix
)


class Gist(NamedTuple):
    """The part of a report that is kept in memory once it is printed.

    The summary is computed from gists alone.
    """

    host: Host
    door: str
    context: str
    conclusion: str
    headline: str
    partial: bool
    cells: Tuple[Tuple[str, str], ...]  # the name of each spec, and its result
    causes: Tuple[HostCause, ...]
    alike: Tuple[Tuple[str, str], ...]  # each fact that should be equal on all hosts, and its value
    defect: str = ""  # why nodespec could not judge the host

    @property
    def exit(self) -> int:
        """The exit code of this host alone."""
        return DEFECT if self.defect else EXIT[self.conclusion]


class HostRow(NamedTuple):
    """A host with the result of each spec, empty for a spec that was not requested."""

    host: str
    cells: Tuple[str, ...]


class Hit(NamedTuple):
    """One cause on several hosts.

    `say` is the text of the first host, with the number of different texts. It is empty if the cause has none.
    """

    outcome: str
    say: str
    look: str
    ids: Tuple[str, ...]
    hosts: Tuple[str, ...]
    fix: str = ""  # of the first host


class Shared(NamedTuple):
    """A value that must be unique to a host and occurs on several."""

    what: str
    value: str
    why: str
    hosts: Tuple[str, ...]


class HostDifference(NamedTuple):
    """A value that should be equal and is not.

    `values` holds each value with its hosts, the most common first.
    """

    place: str
    values: Tuple[Tuple[str, Tuple[str, ...]], ...]


class Summary(NamedTuple):
    """The summary of several reports."""

    specs: Tuple[str, ...]
    matrix: Tuple[HostRow, ...]
    hits: Tuple[Hit, ...]
    shared: Tuple[Shared, ...]
    differences: Tuple[HostDifference, ...]


def make_gist(report: Report) -> Gist:
    """Return the gist of a report."""
    facts = report.facts if isinstance(report.facts, dict) else {}
    asked = {name for name in EQUAL_FACTS if {name, name.partition(".")[0]} & facts.keys()}
    noted = ReplayedFacts({name: note for name, note in facts.items() if name in EQUAL_FACT_FAMILIES or name in asked})
    alike = {
        **{name: ask(report) for name, ask in EQUAL_HEAD_FIELDS.items()},
        **{name: _read_embedded_value(name, noted) for name in asked},
    }
    return Gist(
        report.host,
        report.door,
        report.context,
        report.conclusion,
        report.headline,
        report.partial,
        tuple((spec.name, _format_cell(report, spec)) for spec in report.specs),
        tuple(_list_host_causes(report)),
        tuple((name, alike.get(name, "")) for name in (*EQUAL_HEAD_FIELDS, *EQUAL_FACTS)),
        report.defect,
    )


def summarize_reports(reports: Sequence[Report]) -> Summary:
    """Summarize several reports."""
    return summarize_gists([make_gist(report) for report in reports])


def summarize_gists(gists: Sequence[Gist]) -> Summary:
    """Summarize several hosts by their gists."""
    specs = tuple(dict.fromkeys(name for gist in gists for name, _ in gist.cells))
    hosts = label_hosts(gists)
    cells = [dict(reversed(gist.cells)) for gist in gists]  # if several specs have the same name, the first counts
    matrix = tuple(HostRow(host, tuple(own.get(spec, "") for spec in specs)) for host, own in zip(hosts, cells))
    shared = (
        Shared(what, value, why, owners)
        for what, (ask, why) in UNIQUE_VALUES.items()
        for value, owners in _group_hosts(hosts, map(ask, gists)).items()
        if len(owners) > 1
    )
    return Summary(
        specs, matrix, tuple(_find_hits(hosts, gists)), tuple(shared), tuple(_find_differences(hosts, gists))
    )


def label_hosts(reports: Sequence[Union[Report, Gist]]) -> Tuple[str, ...]:
    """Return a label for the host of each report.

    The label is the hostname, with the access if several hosts have the same name.
    """
    names = [report.host.name or "a host without a name" for report in reports]
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({report.door})" for name, report in zip(names, reports))


def format_summary(
    summary: Summary, few: Callable[[Sequence[str]], Sequence[str]] = tuple
) -> Iterator[Tuple[str, str]]:
    """Format a summary, without the matrix, as pairs of a label and a text.

    `few` shortens long lists.
    """
    total = len(summary.matrix)
    for hit in summary.hits:
        what = hit.say or hit.ids[0]
        which = f": {', '.join(few(hit.ids))}" if hit.say else ""
        where = f" ({', '.join(few(hit.hosts))})" if len(hit.hosts) < total else ""
        look = f"; {hit.look}" if hit.look else ""
        fix = f"; fix: {hit.fix}" if hit.fix else ""
        yield hit.outcome, f"{len(hit.hosts)} of {total} hosts{where}: {what}{which}{look}{fix}"
    for shared in summary.shared:
        yield "shared", f"{', '.join(few(shared.hosts))} have the same {shared.what}: {shared.why}"
    for difference in summary.differences:
        values = (f"{value} on {', '.join(few(hosts))}" for value, hosts in difference.values)
        yield "differs", f"{difference.place}: {'; '.join(values)}"


# the matrix


def _format_cell(report: Report, spec: Spec) -> str:
    sources = frozenset(spec.sources)
    own = [finding for finding in report.findings if not _list_files(finding.source).isdisjoint(sources)]
    enforced = [finding.outcome for finding in own if finding.disposition == "enforced"]
    counts = ", ".join(f"{enforced.count(name)} {name}" for name in ("fail", "unknown") if name in enforced)
    return counts or derive_conclusion(own, report.context)


@lru_cache(4096)
def _list_files(source: Tuple[str, ...]) -> FrozenSet[str]:
    return frozenset(at.rsplit(":", 2)[0] for at in source)


# causes


def _list_host_causes(report: Report) -> Iterator[HostCause]:
    """Yield the causes of the findings of a report."""
    for finding in report.findings:
        if finding.disposition == "enforced" and finding.outcome in ("fail", "unknown"):
            for key, say, look in _list_finding_causes(finding, report):
                yield finding.outcome, key, finding.id, say, look, finding.fix


def _list_finding_causes(finding: Finding, report: Report) -> List[Tuple[str, str, str]]:
    """Return the causes of a finding: a key, the text, and the hint of each."""
    if finding.outcome == "unknown":
        seen = [part.observed for part in finding.parts if part.outcome == "unknown"]
        causes = [(f"{one.reason}: {one.look or one.text}", one.text, one.look) for one in seen]
    else:
        own = (cause for cause in report.causes if cause.outcome == "fail" and finding.id in cause.ids)
        causes = [(cause.say, cause.say, cause.look) for cause in own]
    return list(dict.fromkeys(causes)) or [(finding.id, "", "")]


def _find_hits(hosts: Sequence[str], gists: Sequence[Gist]) -> List[Hit]:
    """Return causes that occur on several hosts, the most common first."""
    members_by_cause: Dict[Tuple[str, str], List[Tuple[str, str, str, str, str]]] = {}
    for host, gist in zip(hosts, gists):
        for outcome, key, name, say, look, fix in gist.causes:
            members_by_cause.setdefault((outcome, key), []).append((host, name, say, look, fix))
    hits = [_make_hit(outcome, members) for (outcome, _), members in members_by_cause.items()]
    several = [hit for hit in hits if len(hit.hosts) > 1]
    return sorted(several, key=lambda hit: (-len(hit.hosts), hit.outcome))


def _make_hit(outcome: str, members: Sequence[Tuple[str, str, str, str, str]]) -> Hit:
    hosts, ids, says, looks, fixes = (tuple(dict.fromkeys(one)) for one in zip(*members))
    say = says[0] if len(says) == 1 else f"{says[0]} (and {len(says) - 1} similar)"
    return Hit(outcome, say, looks[0], ids, hosts, fixes[0])


# what should be equal


def _find_differences(hosts: Sequence[str], gists: Sequence[Gist]) -> Iterator[HostDifference]:
    for at, name in enumerate((*EQUAL_HEAD_FIELDS, *EQUAL_FACTS)):
        values = _group_hosts(hosts, ((one.alike[at][1],) for one in gists))
        if len(values) > 1:
            yield HostDifference(name, tuple(sorted(values.items(), key=lambda one: -len(one[1]))))


def _read_embedded_value(name: str, facts: ReplayedFacts) -> str:
    """Return the embedded value of a fact, empty if it is not known."""
    place = declaration.resolve_place(tuple(name.split(".")))
    seen = facts.observe(place)
    return format_value(seen.value, place.kind) if isinstance(seen, Value) else ""


def _group_hosts(hosts: Sequence[str], values: Iterable[Sequence[str]]) -> Dict[str, Tuple[str, ...]]:
    """Return the hosts of each value. Hosts without a value are left out."""
    hosts_by_value: Dict[str, List[str]] = {}
    for host, own in zip(hosts, values):
        for value in filter(None, own):
            hosts_by_value.setdefault(value, []).append(host)
    return {value: tuple(owners) for value, owners in hosts_by_value.items()}

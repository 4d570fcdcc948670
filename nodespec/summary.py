"""Reports on several hosts, seen together: which spec fails where, what hits many, what should be alike or apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from . import facts as declared
from .conclusion import conclusion
from .named import NamedTuple
from .observation import Value
from .recorded import Recorded
from .report import Finding, Report
from .sight import shown

if TYPE_CHECKING:
    from typing import TypeAlias

# what no two hosts may have in common, and why
APART: Mapping[str, Tuple[Callable[[Report], Sequence[str]], str]] = {
    "hostname": (lambda report: [report.host.name], "a cluster knows its nodes by name"),
    "machine-id": (
        lambda report: [report.host.id],
        "a copy of a machine keeps it: empty /etc/machine-id there and run systemd-machine-id-setup",
    ),
    "product_uuid": (
        lambda report: [report.host.product],
        "a copy of a virtual machine may keep it, and some makers give theirs all the same one: it must be set anew",
    ),
    "hardware address": (
        lambda report: report.host.addresses.split(" "),
        "on one network neither gets what is sent to it: have the hypervisor give each its own",
    ),
}
# what hosts of one cluster have alike: what every report says of its host, and what specs ask
ALIKE: Mapping[str, Callable[[Report], str]] = {
    "os.pretty_name": lambda report: report.host.os,
    "kernel.release": lambda report: report.host.kernel,
    "kernel.arch": lambda report: report.host.arch,
}
ASKED = (
    "cgroups.version",
    "kubelet.version",
    "runtime.containerd.version",
    "runtime.crio.version",
    "runtime.docker.version",
    "runtime.runc.version",
)


class Row(NamedTuple):
    """A host, and what each spec came to there: nothing where it was not asked for."""

    host: str
    cells: Tuple[str, ...]


class Hit(NamedTuple):
    """One cause on several hosts. `say` is empty where the hosts say it differently."""

    outcome: str
    say: str
    look: str
    ids: Tuple[str, ...]
    hosts: Tuple[str, ...]


class Shared(NamedTuple):
    """What should be a host's own and is that of several."""

    what: str
    value: str
    why: str
    hosts: Tuple[str, ...]


class Difference(NamedTuple):
    """What should be alike: each value with the hosts that have it, the most common first."""

    place: str
    values: Tuple[Tuple[str, Tuple[str, ...]], ...]


class Summary(NamedTuple):
    """Several reports, seen together."""

    specs: Tuple[str, ...]
    matrix: Tuple[Row, ...]
    hits: Tuple[Hit, ...]
    shared: Tuple[Shared, ...]
    differences: Tuple[Difference, ...]


def summary(reports: Sequence[Report]) -> Summary:
    """What several reports come to together."""
    specs = tuple(dict.fromkeys(spec.name for report in reports for spec in report.specs))
    hosts = labels(reports)
    matrix = tuple(Row(host, tuple(_cell(one, spec) for spec in specs)) for host, one in zip(hosts, reports))
    shared = (
        Shared(what, value, why, owners)
        for what, (ask, why) in APART.items()
        for value, owners in _by_value(hosts, map(ask, reports)).items()
        if len(owners) > 1
    )
    return Summary(specs, matrix, tuple(_hits(hosts, reports)), tuple(shared), tuple(_differences(hosts, reports)))


def labels(reports: Sequence[Report]) -> Tuple[str, ...]:
    """A name for each report's host, with the door where several hosts bear it."""
    names = [report.host.name or "a host without a name" for report in reports]
    return tuple(name if names.count(name) == 1 else f"{name} ({report.door})" for name, report in zip(names, reports))


def told(found: Summary, few: Callable[[Sequence[str]], Sequence[str]] = tuple) -> Iterator[Tuple[str, str]]:
    """A summary in words: a label and a sentence for each thing in it but the matrix. `few` shortens long lists."""
    total = len(found.matrix)
    for hit in found.hits:
        what = hit.say or hit.ids[0]
        which = f": {', '.join(few(hit.ids))}" if hit.say else ""
        where = f" ({', '.join(few(hit.hosts))})" if len(hit.hosts) < total else ""
        look = f"; {hit.look}" if hit.look else ""
        yield hit.outcome, f"{len(hit.hosts)} of {total} hosts{where}: {what}{which}{look}"
    for one in found.shared:
        yield "shared", f"{', '.join(few(one.hosts))} have one {one.what}: {one.why}"
    for other in found.differences:
        values = (f"{value} on {', '.join(few(hosts))}" for value, hosts in other.values)
        yield "differs", f"{other.place}: {'; '.join(values)}"


# the matrix


def _cell(report: Report, name: str) -> str:
    spec = next((one for one in report.specs if one.name == name), None)
    if spec is None:
        return ""
    own = [one for one in report.findings if {at.rsplit(":", 2)[0] for at in one.source} & set(spec.sources)]
    enforced = [one.outcome for one in own if one.disposition == "enforced"]
    counts = ", ".join(f"{enforced.count(one)} {one}" for one in ("fail", "unknown") if one in enforced)
    return counts or conclusion(own)


# causes


Key: TypeAlias = "Tuple[str, str]"


def _hits(hosts: Sequence[str], reports: Sequence[Report]) -> List[Hit]:
    """Causes that hit more hosts than one, the most common first."""
    found: Dict[Key, List[Tuple[str, str, str, str]]] = {}
    for host, report in zip(hosts, reports):
        for one in report.findings:
            if one.disposition == "enforced" and one.outcome in ("fail", "unknown"):
                for key, say, look in _causes(one, report):
                    found.setdefault((one.outcome, key), []).append((host, one.id, say, look))
    hits = [_hit(outcome, members) for (outcome, _), members in found.items()]
    several = [hit for hit in hits if len(hit.hosts) > 1]
    return sorted(several, key=lambda hit: (-len(hit.hosts), hit.outcome))


def _causes(finding: Finding, report: Report) -> List[Tuple[str, str, str]]:
    """What makes a finding one with others: a key, the sentence, and what would help."""
    if finding.outcome == "unknown":
        seen = [part.observed for part in finding.parts if part.outcome == "unknown"]
        causes = [(f"{one.reason}: {one.look or one.text}", one.text, one.look) for one in seen]
    else:
        own = (cause for cause in report.causes if cause.outcome == "fail" and finding.id in cause.ids)
        causes = [(cause.say, cause.say, cause.look) for cause in own]
    return list(dict.fromkeys(causes)) or [(finding.id, "", "")]


def _hit(outcome: str, members: Sequence[Tuple[str, str, str, str]]) -> Hit:
    hosts, ids, says, looks = (tuple(dict.fromkeys(one)) for one in zip(*members))
    say = says[0] if len(says) == 1 else f"{says[0]}, and {len(says) - 1} more like it"
    return Hit(outcome, say, looks[0], ids, hosts)


# what should be alike


def _differences(hosts: Sequence[str], reports: Sequence[Report]) -> Iterator[Difference]:
    asks = {**ALIKE, **{name: _asked(name) for name in ASKED}}
    for name, ask in asks.items():
        values = _by_value(hosts, ((ask(one),) for one in reports))
        if len(values) > 1:
            yield Difference(name, tuple(sorted(values.items(), key=lambda one: -len(one[1]))))


def _asked(name: str) -> Callable[[Report], str]:
    """What a report embeds of a fact: nothing where it was not asked, or is not known."""
    path = tuple(name.split("."))

    def ask(report: Report) -> str:
        facts = Recorded(report.facts)
        if not {name, path[0]} & facts.notes.keys():
            return ""
        place = declared.place(path)
        seen = facts.look(place)
        return shown(seen.value, place.kind) if isinstance(seen, Value) else ""

    return ask


def _by_value(hosts: Sequence[str], values: Iterator[Sequence[str]]) -> Dict[str, Tuple[str, ...]]:
    """The hosts that have each value; who has none is left out."""
    found: Dict[str, Tuple[str, ...]] = {}
    for host, own in zip(hosts, values):
        for value in filter(None, own):
            found[value] = (*found.get(value, ()), host)
    return found

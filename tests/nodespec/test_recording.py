"""A recording of a host, judged elsewhere, gives the findings that the host itself gave."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence, Tuple, Union

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unhurried import PROGRAM

from nodespec.__main__ import main
from nodespec.author.spec.library import Library, SpecText
from nodespec.author.spec.resolver import resolve
from nodespec.errors import UsageError
from nodespec.facts import declaration
from nodespec.facts.declaration import Leaf, Place, Table
from nodespec.facts.live import Live
from nodespec.host.at_rest import AtRestTree
from nodespec.host.machine import Machine
from nodespec.judge.judge import Terms, judge
from nodespec.model.json_types import Json
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value
from nodespec.model.plan import CONTEXTS, Plan
from nodespec.model.report import Finding, Host, Report, Seat
from nodespec.output.facts_yaml import format_facts
from nodespec.recording import file as recording
from nodespec.recording.file import Recording
from nodespec.recording.observation_json import is_not_recorded
from nodespec.recording.replay import ReplayedFacts
from nodespec.recording.tee import CapturedTable
from nodespec.run import record

if TYPE_CHECKING:
    from nodespec.facts.value_types import Datum

TOP = Path(__file__).parents[2]
HOSTS = sorted(path.name for path in (TOP / "tests" / "hosts").iterdir() if path.is_dir())
NOW = 1_800_000_000.0
SEAT = Seat("running", "root /host", Host("node-17", "0123456789abcdef", kernel="6.1.0"))
SMALL = """\
nodespec: 1
require:
  kernel: {version: ">=3", release: {matches: "[0-9].*"}, config: {USER_NS: enabled, NO_SUCH: undefined, OVERLAY_FS: m}}
  modules: {overlay: usable, overlai: absent, br-netfilter: loaded}
  sysctl: {net.ipv4.ip_forward: 1, net.ipv4.ip_forwar: present, kernel.pid_max: ">=4"}
  packages:
    bash: {version: ">=4", architecture: amd64}
    bsh: present
    libc6: present
    libc6:amd64: present
    zlib1g: absent
  commands: {sh: present, shh: present}
  files: {/etc/os-release: {type: file, size: ">=1"}, /etc/no-such: absent, /proc: {type: directory}}
  ports: {6443: free, 53/udp: free}
  swap: {total: 0}
  runtime: {runc: present, crio: {version: ">=1"}}
  os: {id: debian, variant: absent, families: [debian]}
  cgroups: {version: 2, controllers: [cpu, memory], bindings: {cpu: v2, cpux: present}}
rules:
  - name: packages-are-installed
    every: packages
    where: {architecture: amd64}
    require: {status: installed, version: "<100"}
  - name: some-swap
    some: swap.devices
    require: {size: ">=1Gi"}
  - name: all-free
    every: ports
    or-none: true
    require: free
  - name: only-where
    when: {kernel: {config: {OVERLAY_FS: y}}}
    require: {modules: {overlay: builtin}}
"""


@cache
def plan(name: str) -> Plan:
    return resolve([name], Shelf(), {}, trial=True)


class Shelf(Library):
    """The library, and the small spec."""

    def find(self, name: str, beside: str = "") -> SpecText:
        return SpecText("small.yaml", "small", SMALL.encode()) if name == "small" else super().find(name, beside)


SPECS = ("small", "container-host", "kubernetes/1.35", "sig-node/system-validators")


def live(host: str) -> Live:
    return Live(Machine(str(TOP / "tests" / "hosts" / host)), time.monotonic() + 60)


def resting(host: str) -> Live:
    """The same tree as an image."""
    return Live(AtRestTree(str(TOP / "tests" / "hosts" / host)), time.monotonic() + 60)


def taken(host: str, asked: Sequence[Union[str, Plan]], *, reveal: bool = True) -> Recording:
    """A recording that went through its file."""
    made, _ = record.record_host(asked, live(host), SEAT, reveal=reveal)
    return recording.parse_recording(recording.encode_recording(made, compressed=False))


@cache
def whole(host: str) -> Recording:
    return taken(host, declaration.list_families())


def judged(asked: Plan, facts: Union[Live, ReplayedFacts]) -> Report:
    return judge(asked, facts, SEAT, Terms(NOW))


@cache
def judged_live(host: str, spec: str) -> Report:
    return judged(plan(spec), live(host))


def tables() -> List[Place]:
    """Every table of every family, and every leaf."""
    found: List[Place] = []
    for name in declaration.list_families():
        family = declaration.load_family(name)
        members = {"": family} if isinstance(family, Table) else family.members
        found += [Place((name, *filter(None, [member])), fact) for member, fact in members.items()]
    return found


@pytest.mark.sampled(24)
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_recording_gives_the_findings_of_the_host(spec: str, host: str) -> None:
    own = judged_live(host, spec)
    theirs = judged(plan(spec), ReplayedFacts(taken(host, [plan(spec)]).facts))
    assert theirs.findings == own.findings
    assert theirs.causes == own.causes
    assert theirs.conclusion == own.conclusion


@pytest.mark.sampled(6)
@pytest.mark.parametrize("host", HOSTS)
def test_at_rest_too(host: str) -> None:
    seat = SEAT._replace(context="at rest", door=f"image {host}")
    for spec in SPECS:
        seen = [resting(host) for _ in range(2)]
        own = judged(plan(spec), seen[0])
        made = recording.parse_recording(
            recording.encode_recording(record.record_host([plan(spec)], seen[1], seat)[0], compressed=True)
        )
        theirs = judged(plan(spec), ReplayedFacts(made.facts))
        assert made.seat == seat
        assert (theirs.findings, theirs.causes, theirs.conclusion) == (own.findings, own.causes, own.conclusion)
        assert "deferred" in {finding.outcome for finding in theirs.findings}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("host", HOSTS)
def test_a_report_can_be_judged_again_from_what_it_embeds(host: str) -> None:
    for spec in SPECS:
        own = judged_live(host, spec)
        again = judged(plan(spec), ReplayedFacts(json.loads(json.dumps(own.facts))))
        assert (again.findings, again.causes, again.facts) == (own.findings, own.causes, own.facts)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("host", HOSTS)
def test_a_recording_of_everything_contradicts_no_other(host: str) -> None:
    """Whatever both know has one outcome; what only the other knows is not recorded in this one."""
    for spec in SPECS:
        own = judged_live(host, spec).findings
        for ours, theirs in zip(own, judged(plan(spec), ReplayedFacts(whole(host).facts)).findings):
            assert ours.id == theirs.id
            if not _unrecorded(theirs):
                assert (ours.outcome, _states(ours)) == (theirs.outcome, _states(theirs))
    both = ReplayedFacts(taken(host, [*declaration.list_families(), *map(plan, SPECS)]).facts)
    for spec in SPECS:
        assert judged(plan(spec), both).findings == judged_live(host, spec).findings


def _unrecorded(finding: Finding) -> bool:
    return any(part.observed.reason == "not recorded" for part in finding.parts) or finding.outcome == "unknown"


def _states(finding: Finding) -> List[tuple[str, str, Json]]:
    return [(part.place, part.observed.state, part.observed.value) for part in finding.parts]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("host", HOSTS)
def test_every_fact_is_recorded_as_it_is(host: str) -> None:
    _same(live(host), ReplayedFacts(whole(host).facts))
    made, _ = record.record_host(
        declaration.list_families(), resting(host), SEAT._replace(context="at rest"), reveal=True
    )
    _same(
        resting(host),
        ReplayedFacts(recording.parse_recording(recording.encode_recording(made, compressed=False)).facts),
    )


def _same(seen: Live, recorded: ReplayedFacts) -> None:
    for place in tables():
        if place.fact.moves is True:
            assert is_not_recorded(recorded.observe(place))
            continue
        if isinstance(place.fact, Leaf):
            assert recorded.observe(place) == seen.observe(place)
            continue
        assert recorded.rows(place) == seen.rows(place) or not place.fact.closed
        names = seen.names(place)
        for name in () if isinstance(names, Unknown) else names:
            row = place._replace(path=(*place.path, name), key=name)
            assert recorded.observe(row) == seen.observe(row)
            for column in place.fact.stable_columns:
                one = row._replace(path=(*row.path, column), column=column)
                assert recorded.observe(one) == seen.observe(one)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_not_there_and_what_is_not_recorded_stay_apart(host: str) -> None:
    """No name gives another state from a whole recording than from the host, be it of this host or of another."""
    asked = {(place.path, name) for spec in SPECS for place, name in _rows(plan(spec))}
    asked |= {(path, f"{name}x") for path, name in asked}
    seen, recorded = live(host), ReplayedFacts(whole(host).facts)
    for path, name in asked:
        place = declaration.resolve_place((*path, name))
        if isinstance(place.fact, Table) and not _is_name(place.fact, name):
            continue
        ours, theirs = seen.observe(place), recorded.observe(place)
        assert isinstance(theirs, Unknown) or type(ours) is type(theirs)
        if isinstance(theirs, Value):
            assert isinstance(ours, Value)
            assert (theirs.value, theirs.others) == (ours.value, ours.others)


def _is_name(table: Table, name: str) -> bool:
    try:
        return table.key(name) == name
    except ValueError:
        return False


def _rows(asked: Plan) -> List[tuple[Place, str]]:
    from nodespec.output.facts_yaml import iter_clauses  # noqa: PLC0415 - beside its one use

    places = [place for clause in iter_clauses(asked) for place in (clause.place, *clause.aliases)]
    return [(Place(place.owner, place.fact), place.key) for place in places if place.key]


def test_a_column_that_was_not_asked_for_is_not_recorded_and_a_misspelt_row_names_the_right_one() -> None:
    host = "debian-12-minbase"
    some = ReplayedFacts(taken(host, [plan("small")]).facts)
    every = ReplayedFacts(whole(host).facts)
    evr = next(name for name in ("deb", "evr") if name in _packages().columns)
    assert isinstance(every.observe(declaration.resolve_place(("packages", "bash", evr))), Value)
    assert isinstance(some.observe(declaration.resolve_place(("packages", "bash"))), Value)  # with the column, the row
    for path in (
        ("packages", "bash", evr),
        ("packages", "coreutils:amd64"),
        ("kernel", "arch"),
        ("kernel", "config", "NO_OTHER"),
        ("modules", "no_other"),
        ("files", "/etc/passwd"),
    ):
        assert getattr(some.observe(declaration.resolve_place(path)), "reason", "") == "not recorded", path
    absent = every.observe(declaration.resolve_place(("packages", "bsh")))
    assert isinstance(absent, Absent)
    assert absent.say == "there is `bash`"
    assert absent == live(host).observe(declaration.resolve_place(("packages", "bsh")))
    other = every.observe(declaration.resolve_place(("packages", "bash:amd64")))  # may be another name of what is there
    assert getattr(other, "reason", "") == "not recorded"


def _packages() -> Table:
    found = declaration.load_family("packages")
    assert isinstance(found, Table)
    return found


SOURCES = st.sampled_from(["/proc/a", "/*", "/sys/*/b", "/sys/net/ipv4", "net.ipv4", "", "*", "/x:1"])
SEEN = st.builds(
    Value,
    st.sampled_from(["0", "1", ""]),
    st.builds(Evidence, SOURCES, st.integers(0, 3), st.booleans()),
    st.sampled_from([(), ("2",)]),
) | st.builds(Absent, st.builds(Evidence, SOURCES, st.integers(0, 3)), st.sampled_from(["", "there is `x`"]))
TABLE = declaration.resolve_place(("sysctl",))


@settings(max_examples=200, deadline=None)
@example(dict.fromkeys(["net.ipv4", "a", "sys", "*"], Value("0", Evidence("/*", 1))), None, True)  # noqa: FBT003 - likewise
@given(st.dictionaries(st.sampled_from(["net.ipv4", "a", "sys", "*", "b.c/d"]), SEEN), st.none() | SEEN, st.booleans())
def test_any_table_reads_as_it_was_noted(
    rows: Dict[str, Union[Value[str], Absent]],
    rest: Union[Value[str], Absent, None],
    enumerated: bool,  # noqa: FBT001 - hypothesis fills arguments from the right
) -> None:
    """Whatever sources its rows name, by their own names or with a `*`, enumerated or not."""
    assert isinstance(TABLE.fact, Table)
    note = CapturedTable(TABLE, TABLE.fact)
    note.rows = {name: {"": seen} for name, seen in rows.items()}
    note.rest = rest
    note.names = tuple(rows) if enumerated else None
    read = ReplayedFacts(json.loads(json.dumps({"sysctl": note.encode()})))
    for name, seen in rows.items():
        assert read.observe(TABLE._replace(path=("sysctl", name), key=name)) == seen


# what is left out


CMDLINE = "quiet root=/dev/vda token=s3cret psi=1 module_blacklist=floppy nosmt\n"


@pytest.fixture
def host_with_a_secret(tmp_path: Path) -> str:
    for path, content in {"proc/self/stat": "1 (x)", "proc/cmdline": CMDLINE}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    return str(tmp_path)


def test_values_that_may_be_secret_are_cut_unless_they_are_to_be_revealed(host_with_a_secret: str) -> None:
    seen = Live(Machine(host_with_a_secret), time.monotonic() + 60)
    made, cut = record.record_host(["kernel.cmdline"], seen, SEAT)
    assert "s3cret" not in recording.format_recording(made)
    assert cut == 4
    read = ReplayedFacts(made.facts)
    token = read.observe(declaration.resolve_place(("kernel", "cmdline", "token")))
    assert isinstance(token, Unknown)
    assert (token.reason, token.look) == ("refused", "record with --reveal")
    for name, kind in (("nosmt", Value), ("splash", Absent)):  # a bare word has no value, and what is not there neither
        assert isinstance(read.observe(declaration.resolve_place(("kernel", "cmdline", name))), kind)
    shown, none = record.record_host(["kernel.cmdline"], seen, SEAT, reveal=True)
    assert none == 0
    assert "s3cret" in recording.format_recording(shown)


def test_a_value_that_a_recorded_spec_itself_says_is_kept(host_with_a_secret: str) -> None:
    seen = Live(Machine(host_with_a_secret), time.monotonic() + 60)
    wanted: List[List[Union[str, Plan]]] = [[plan("kubernetes/1.35")], ["kernel", plan("kubernetes/1.35")]]
    for asked in wanted:
        made, _ = record.record_host(asked, seen, SEAT)
        read = ReplayedFacts(made.facts)
        assert read.observe(declaration.resolve_place(("kernel", "cmdline", "psi"))) == seen.observe(
            declaration.resolve_place(("kernel", "cmdline", "psi"))
        )
        assert "s3cret" not in recording.format_recording(made)


def test_an_embedded_report_is_whole(host_with_a_secret: str) -> None:
    text = "nodespec: 1\nrequire: {kernel: {cmdline: {token: other}}}\n"
    asked = resolve(["-"], Given(text), {})
    report = judged(asked, Live(Machine(host_with_a_secret), time.monotonic() + 60))
    assert "s3cret" in json.dumps(report.facts)


class Given(Library):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def find(self, name: str, beside: str = "") -> SpecText:
        return SpecText(name, beside or name, self.text.encode())


# the file


def test_the_same_host_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 11, 21, 12, 0, 0, 5, 325, 0)))
    for compressed in (False, True):
        made = [record.record_host([plan("small"), "os"], live("debian-12-minbase"), SEAT)[0] for _ in range(2)]
        one, other = (recording.encode_recording(each, compressed=compressed) for each in made)
        assert one == other
        assert (one[:2] == b"\x1f\x8b") is compressed
        assert not compressed or one[4:8] == bytes(4)  # no time of its own
        assert recording.parse_recording(one) == made[0]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("host", HOSTS)
def test_what_is_recorded_is_what_the_schema_says(host: str) -> None:
    jsonschema.Draft202012Validator.check_schema(recording.schema())
    validator = jsonschema.Draft202012Validator(recording.schema())
    for made in (whole(host), taken(host, [plan("kubernetes/1.35"), plan("small")])):
        text = recording.format_recording(made)
        validator.validate(json.loads(text))
        assert text.isascii()


def test_a_recording_for_one_spec_is_small() -> None:
    for host in HOSTS:
        made = taken(host, [plan("kubernetes/1.35")])
        assert len(recording.encode_recording(made, compressed=False)) < 30_000


HEAD: Dict[str, Json] = {
    "nodespec-facts": 1,
    "context": "running",
    "door": "live",
    "host": {"name": "node-17"},
    "tool": "nodespec 0.1.0",
    "time": "2026-11-21T12:00:00Z",
    "facts": {},
}
BROKEN: Dict[str, object] = {
    "no json": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": [],
    "a report": {"nodespec": 1, "reports": []},
    "another version": {**HEAD, "nodespec-facts": 2},
    "no context": {**HEAD, "context": "asleep"},
    "no door": {name: value for name, value in HEAD.items() if name != "door"},
    "no time": {**HEAD, "time": "yesterday"},
    "time and more": {**HEAD, "time": "2026-11-21T12:00:00Z\n"},
    "a host that is none": {**HEAD, "host": "node-17"},
    "a host with more": {**HEAD, "host": {"name": "x", "serial": "1"}},
    "a host of numbers": {**HEAD, "host": {"name": 1}},
    "facts as a list": {**HEAD, "facts": []},
    "notices of numbers": {**HEAD, "notices": [1]},
    "deep": b"[" * 200_000,
    "not a number": b'{"nodespec-facts":NaN}',
    "a long number": b'{"nodespec-facts":' + b"1" * 100_000 + b"}",
    "compressed garbage": b"\x1f\x8bgarbage",
    "cut short": gzip.compress(json.dumps(HEAD).encode())[:-10],
    "and more": gzip.compress(json.dumps(HEAD).encode()) + b"x",
    "a bomb": gzip.compress(b" " * (recording.MAX_RECORDING_BYTES + 100)),
    "too large": b" " * (recording.MAX_RECORDING_BYTES + 100),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_recording_is_a_mistake(name: str, tmp_path: Path) -> None:
    content = BROKEN[name]
    file = tmp_path / "r.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UsageError, match="not a recording of nodespec"):
        recording.load_recording(str(file))


def test_a_whole_head_is_enough() -> None:
    assert recording.parse_recording(json.dumps(HEAD).encode()).seat.host.name == "node-17"


# recordings are hostile

KEYS = ("rows", "asked", "rest", "usual", "from", "is", "value", "or", "line", "inferred", "absent", "unknown", "say")
ROWS = ("overlay", "bash", "version", "USER_NS", "", "6443", "net.ipv4.ip_forward")
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 1 << 65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from((*KEYS, *ROWS)),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NAMES = [".".join(place.path) for place in tables()]


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=6))
def test_no_fact_of_a_recording_does_harm(facts: Dict[str, Json]) -> None:
    made = recording.parse_recording(json.dumps({**HEAD, "facts": facts}).encode())
    read = ReplayedFacts(made.facts)
    for spec in ("small", "kubernetes/1.35"):
        report = judged(plan(spec), read)
        assert len(report.findings) == len(plan(spec).requirements)
        assert all(f.outcome != "deferred" or "deferred" in json.dumps(facts) for f in report.findings)
    list(format_facts(declaration.list_families(), read, every=True))


@settings(max_examples=150, deadline=None)
@given(ANYTHING | st.dictionaries(st.sampled_from([*HEAD, "notices"]), ANYTHING))
def test_no_document_raises_but_what_says_that_it_is_no_recording(document: object) -> None:
    for one in (document, {**HEAD, **document} if isinstance(document, dict) else document):
        with suppress(ValueError):
            assert recording.parse_recording(json.dumps(one).encode()).seat.context in CONTEXTS


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_a_piece_that_cannot_be_read_spoils_no_other(name: str, data: st.DataObject) -> None:
    facts, sound = fit()
    spoilt = ReplayedFacts({**facts, name: data.draw(ANYTHING)})
    for place, seen in sound:
        if ".".join(place.path) != name:
            assert spoilt.observe(place) == seen


@cache
def fit() -> Tuple[Mapping[str, Json], List[Tuple[Place, Observation[Datum]]]]:
    """What is recorded of a host, and what that says of each fact that is no table."""
    facts = whole("fit-node").facts
    sound = ReplayedFacts(facts)
    return facts, [(place, sound.observe(place)) for place in tables() if isinstance(place.fact, Leaf)]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_but_what_says_that_they_are_no_recording(content: bytes) -> None:
    for one in (content, gzip.compress(content), b"\x1f\x8b" + content):
        with pytest.raises(ValueError):  # noqa: PT011 - whichever it is becomes the mistake
            recording.parse_recording(one)


# the command line


def nodespec(*args: str, folder: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *args],
        cwd=folder,
        env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        input=stdin,
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this very machine was recorded for the small spec, whole, and compressed."""
    made = tmp_path_factory.mktemp("recordings")
    (made / "small.yaml").write_text(SMALL, encoding="utf-8")
    for args in (("./small.yaml", "-o", "some.json", "--reveal"), ("-o", "all.json.gz"), ("os", "-o", "os.json")):
        done = nodespec("facts", *args, folder=made)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(args[-1 if args[-1].endswith((".json", ".gz")) else -2].encode())
    return made


def stable(findings: List[Dict[str, object]]) -> List[Dict[str, object]]:
    """All findings but that on every port: other programs connect while the host is judged."""
    left = [one for one in findings if one["id"] != "all-free"]
    assert len(left) == len(findings) - 1
    return left


def test_the_same_answer_here_and_elsewhere(folder: Path) -> None:
    own = nodespec("check", "./small.yaml", "-o", "json", folder=folder)
    ours = json.loads(own.stdout)["reports"][0]
    for file in ("some.json", "all.json.gz"):
        done = nodespec("check", "./small.yaml", "--facts", file, "-o", "json", folder=folder)
        assert done.returncode == own.returncode
        theirs = json.loads(done.stdout)["reports"][0]
        assert theirs["conclusion"] == ours["conclusion"]
        assert theirs["host"] == ours["host"]
        assert theirs["door"] == f"facts {file}"
        assert theirs["context"] == "running"
        assert [one["id"] for one in theirs["findings"]] == [one["id"] for one in ours["findings"]]
        if file == "some.json":
            assert stable(theirs["findings"]) == stable(ours["findings"])
    content = (folder / "some.json").read_bytes()
    assert nodespec("check", "./small.yaml", "--facts", "-", folder=folder, stdin=content).returncode == own.returncode


def test_the_machine_id_itself_is_never_recorded(folder: Path) -> None:
    machine_id = Path("/etc/machine-id")
    if machine_id.exists() and machine_id.read_text(encoding="utf-8").strip():
        for file in ("some.json", "all.json.gz"):
            content = (folder / file).read_bytes()
            text = gzip.decompress(content) if file.endswith(".gz") else content
            assert machine_id.read_bytes().strip() not in text


def test_a_host_s_name_moves_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("a\x1b[31mb\n")
    assert main(["facts", "os", "--image", str(tmp_path), "-o", f"{tmp_path}/r.json"]) == 0
    printed = capsys.readouterr().out
    assert " of unnamed, " in printed  # hostname(7) allows no such character
    assert "\x1b" not in printed


def test_what_a_recording_says_is_printed_as_of_a_host(folder: Path) -> None:
    done = nodespec("facts", "--facts", "some.json", "commands", "kernel.version", "os", folder=folder)
    assert done.returncode == 0, done.stderr
    assert b"version:" in done.stdout
    assert b"unknown (not recorded)" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("check", "./small.yaml", "--facts", "nothing.json"),
        ("check", "./small.yaml", "--facts", "small.yaml"),
        ("check", "./small.yaml", "--facts", "os.json", "--root", "/host"),
        ("check", "./small.yaml", "--facts", "os.json", "--wait", "2"),
        ("facts", "os", "--reveal"),
        ("facts", "os", "--facts", "os.json", "-o", "again.json"),
        ("facts", "os", "-o", "no/such/folder.json"),
        ("facts", "--facts", "."),
    ],
)
def test_a_mistake_is_told_and_exits_2(args: Sequence[str], folder: Path) -> None:
    done = nodespec(*args, folder=folder)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(b"nodespec: small.yaml is a spec")]
    assert len(lines) == 1, lines


def test_a_bundle_records_on_a_bare_node_what_is_judged_elsewhere(folder: Path) -> None:
    assert nodespec("bundle", "./small.yaml", "-o", "preflight", folder=folder).returncode == 0
    for args in (("-o", "bare.json"), ("--all", "-o", "bare.json.gz")):
        bare = subprocess.run(
            [sys.executable, "-I", "-S", "preflight", "facts", *args], cwd=folder, capture_output=True, check=False
        )
        assert bare.returncode == 0, bare.stderr
        own = nodespec("check", "./small.yaml", "-o", "json", folder=folder)
        done = nodespec("check", "./small.yaml", "--facts", args[-1], "-o", "json", folder=folder)
        assert done.returncode == own.returncode
        ours, theirs = (json.loads(one.stdout)["reports"][0] for one in (own, done))
        assert ours["findings"] == theirs["findings"]


def test_the_schema_is_printed(folder: Path) -> None:
    done = nodespec("schema", "facts", folder=folder)
    assert json.loads(done.stdout) == recording.schema()


def test_the_recording_that_the_documents_show_is_one() -> None:
    shown = re.findall(r"```json\n(.*?)```", (TOP / "docs" / "recordings.md").read_text(encoding="utf-8"), re.DOTALL)
    for body in shown:
        jsonschema.validate(json.loads(body), recording.schema())
        read = ReplayedFacts(recording.parse_recording(body.encode()).facts)
        places = [place for place in tables() if ".".join(place.path) in read.notes]
        assert places
        for place in places:
            for name in read.names(place) if isinstance(place.fact, Table) else ("",):
                one = place._replace(path=(*place.path, name), key=name) if name else place
                assert not isinstance(read.observe(one), Unknown), one.path
    assert shown


def test_of_a_folder_the_recordings_are_taken_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.json", "a.json.gz", ".b.json.swp", ".c.json", "d.txt", "json"):
        (tmp_path / name).write_text("")
    assert recording.list_recordings(str(tmp_path)) == tuple(str(tmp_path / name) for name in ("a.json.gz", "b.json"))
    for name in ("b.json", "a.json.gz"):
        (tmp_path / name).unlink()
    with pytest.raises(UsageError, match="no recording found"):
        recording.list_recordings(str(tmp_path))

"""What a recording of a large host takes: a distribution's whole kernel, and many packages and interfaces."""

from __future__ import annotations

import json
import random
import re
import time
from itertools import product
from typing import TYPE_CHECKING, Dict, Iterator, List, Union

import pytest
from fit_node import HOSTS, Node, planted
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recording import SEAT, plan

from nodespec.facts import declaration
from nodespec.facts.live import Live
from nodespec.facts.value_types import FreeText
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value
from nodespec.recording import file as recording
from nodespec.recording import run_length
from nodespec.recording.observation_decoding import decode_observation
from nodespec.recording.replay import ReplayedFacts
from nodespec.run import record

if TYPE_CHECKING:
    from pathlib import Path

    from nodespec.model.json_types import Json
    from nodespec.recording.file import Recording

# As Debian's kernel for any machine has, and a busy node; Ubuntu's kernel has some more modules.
OPTIONS, MODULES, PACKAGES, INTERFACES = 10_000, 4_500, 700, 50
PLAIN, PACKED, ONE_SPEC = 600_000, 150_000, 30_000  # bytes: the limits, of which a tenth is kept in hand
CHANCE = random.Random(17)  # noqa: S311 - the same host each time
CONFIG = HOSTS / "fit-node/boot/config-6.12.107+deb13-cloud-amd64"
WORDS = sorted(set(re.findall(r"[A-Z0-9]{2,}", CONFIG.read_text())))
SAYS = {"# CONFIG_{} is not set": 9, "CONFIG_{}=m": 7, "CONFIG_{}=y": 4, "CONFIG_{}=64": 1}  # and how many of 21 do
TABLES = ("ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh")
SETTINGS = ("accept_local", "arp_filter", "arp_notify", "forwarding", "rp_filter")


def relatives(name: str, joint: str) -> List[str]:
    """Names that stand behind a name as those of one driver do: they begin alike and go on differently."""
    words = name.split(joint)
    begin = CHANCE.randrange(len(words)) + 1
    return [joint.join([*words[:begin], *CHANCE.sample(WORDS, CHANCE.choice((1, 1, 2)))]) for _ in "ab"]


def enlarge(node: Node) -> None:
    """To each option and module some that are called alike; packages and interfaces besides."""
    (config,), (listed,) = node.paths("/boot/config-*"), node.paths("/usr/lib/modules/*/modules.dep")
    options = [line for old in node.text(config).split("\n") for line in (old, *more_options(old))]
    node.write(config, "\n".join(options))
    modules = [line for old in node.text(listed).split("\n") for line in (old, *more_modules(old))]
    node.write(listed, "\n".join(modules))
    node.write("/var/lib/dpkg/status", node.text("/var/lib/dpkg/status") + "".join(map(stanza, range(PACKAGES))))
    for number, name, table in product(range(INTERFACES), SETTINGS, TABLES):
        node.write(f"/proc/sys/net/{table}/veth{number:08x}/{name}", f"{number % 3}\n")


def more_options(line: str) -> Iterator[str]:
    found = re.search(r"CONFIG_(\w+)", line)
    for name in relatives(found[1], "_") if found and CHANCE.random() < 0.75 else ():
        yield CHANCE.choices([*SAYS], [*SAYS.values()])[0].format(name.upper())


def more_modules(line: str) -> Iterator[str]:
    folder, _, file = line.partition(":")[0].rpartition("/")
    for name in (*relatives(file.partition(".")[0], "_"), *relatives(file.partition(".")[0], "_"))[:3] if file else ():
        yield f"{folder}/{name.lower()}.ko.xz: {file}"


def stanza(number: int) -> str:
    name = "-".join(["lib", *CHANCE.sample(WORDS, 2)][number % 2 :]).lower()
    version = f"{CHANCE.randrange(9)}.{CHANCE.randrange(40)}.{CHANCE.randrange(9)}"
    about = "Description: what it is for\n" + " and more\n" * CHANCE.randrange(1, 9)
    return (
        f"\nPackage: {name}\nStatus: install ok installed\nArchitecture: {CHANCE.choice(('amd64', 'amd64', 'all'))}\n"
        f"Version: {version}+dfsg-{CHANCE.randrange(9)}{CHANCE.choice(('', '', '+deb13u1'))}\n{about}"
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("large"), enlarge).root


def taken(root: Path) -> Recording:
    live = Live(Machine(str(root)), time.monotonic() + 120)
    return record.record_host(
        [*declaration.list_families(), *map(plan, ("container-host", "kubernetes/1.35"))], live, SEAT
    )[0]


def test_a_recording_of_all_of_a_large_host_keeps_to_its_limits(large: Path) -> None:
    made = taken(large)
    read = ReplayedFacts(made.facts)
    counts = [
        len(read.names(declaration.resolve_place(path))) for path in (("kernel", "config"), ("modules",), ("packages",))
    ]
    assert [count >= least for count, least in zip(counts, (OPTIONS, MODULES, PACKAGES))] == [True] * 3, counts
    assert len(read.names(declaration.resolve_place(("sysctl",)))) > INTERFACES * 20
    assert len(recording.encode_recording(made, compressed=False)) <= PLAIN * 0.9
    assert len(recording.encode_recording(made, compressed=True)) <= PACKED * 0.9


def test_a_recording_for_one_spec_keeps_to_its_limit_on_a_large_host(large: Path) -> None:
    live = Live(Machine(str(large)), time.monotonic() + 120)
    made, _ = record.record_host([plan("kubernetes/1.35")], live, SEAT)
    assert len(recording.encode_recording(made, compressed=False)) <= ONE_SPEC * 0.9


# rows that follow each other

SEEN = st.builds(
    Value,
    st.sampled_from(["n", "m", "y"]),
    st.builds(Evidence, st.sampled_from(["/a", "/b"]), st.integers(0, 9), st.booleans()),
    st.sampled_from([(), ("y",)]),
) | st.builds(Absent, st.builds(Evidence, st.just("/a"), st.integers(0, 9)))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), SEEN, max_size=12))
def test_rows_are_unrolled_as_they_were(rows: Dict[str, Union[Value[str], Absent]]) -> None:
    rolled = run_length.encode_runs(rows, "/a")
    read = unrolled_rows(json.loads(json.dumps(rolled)))
    assert {name: decode_observation(row, FreeText(), "/a") for name, row in read.items()} == {n: rows[n] for n in read}
    kept = [
        n for n, seen in rows.items() if seen == Value(getattr(seen, "value", ""), Evidence("/a", seen.evidence.line))
    ]
    assert set(read) == ({n for n in kept if rows[n].evidence.line} if rolled else set())


def unrolled_rows(note: Dict[str, Json]) -> Dict[str, Json]:
    rows = run_length.decode_runs(note).get("rows", {})
    assert isinstance(rows, dict)
    return rows


def test_what_follows_each_other_is_one_run() -> None:
    lines = {"A": ("n", 3), "B": ("n", 4), "C": ("m", 5), "D": ("n", 9), "E": ("n", 9)}
    rows = {name: Value(value, Evidence("/a", line)) for name, (value, line) in lines.items()}
    assert run_length.encode_runs(rows, "/a") == {
        "usual": {"is": ["n"]},
        "runs": [[3, "A", "B", ["C", "m"]], [9, "D"], [9, "E"]],
    }
    assert run_length.encode_runs({name: rows[name] for name in "ABC"}, "/a") == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 65) | st.sampled_from(["A", "B", "n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["is", "A"]), inner, max_size=2),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_a_run_that_cannot_be_read_does_no_harm(said: Json, usual: Json, rows: Json) -> None:
    place = declaration.resolve_place(("kernel", "config", "A"))
    read = ReplayedFacts({"kernel.config": {"runs": [said, [7, "B"]], "usual": usual, "rows": rows}})
    assert isinstance(read.observe(place), (Value, Absent, Unknown))
    assert "B" in read.names(place)

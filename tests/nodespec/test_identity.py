"""Who a host is said to be, and what is said before its findings: a container's view, a pending reboot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Dict

import jsonschema
import pytest
from fit_node import NOW
from pretended import HERE, HIDDEN, Pretended, Said, planned

from nodespec import facts, identity
from nodespec.judging import Seat, Terms, judge
from nodespec.kinds import Text
from nodespec.machine import Machine
from nodespec.observation import Absent, Value
from nodespec.report import Report, Style, packed
from nodespec.reports import html, junit, markdown, text
from nodespec.reports import json as json_
from nodespec.tree import Tree

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts import Leaf

OLD, NEW = "6.1.0-49-amd64", "6.1.0-50-amd64"
BOTH: Dict[str, Said] = {"kernel.release": OLD, "kernel.next": NEW}
SENTENCE = f"reboot pending: the next boot starts kernel {NEW}, and {OLD} runs"


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release of the next kernel is a fact of the kernel, whoever observes it."""
    found = facts.family("kernel")
    assert isinstance(found, facts.Group)

    def next_(_: Machine) -> Absent:
        return Absent(HERE)

    leaf: Leaf = facts.fact(Text(), sources=("/pretended",), optional=True)(next_)
    monkeypatch.setitem(facts._FAMILIES, "kernel", found._replace(members={**found.members, "next": leaf}))  # noqa: SLF001 - there is no other door


def report(tree: Tree, said: Dict[str, Said]) -> Report:
    found = identity.host(tree, Pretended(said))
    seat = Seat("running", "live", found, identity.notices(found, tree.root))
    return judge(planned("one", one="require: {swap: {total: 0}}"), Pretended({"swap.total": 0}), seat, Terms(NOW))


def test_a_pending_reboot_is_said_in_every_format(make_tree: MakeTree) -> None:
    made = report(Machine(make_tree({"/proc/self/stat": "1 (x)"})), BOTH)
    assert (made.host.kernel, made.host.next, made.notices) == (OLD, NEW, (SENTENCE,))
    for format_ in (text, markdown, html, junit, json_):
        assert "reboot pending" in format_.render([made], Style())
    assert f"kernel {OLD} (the next boot starts {NEW})" in text.render([made], Style(every=True))


@pytest.mark.parametrize(
    "said",
    [
        {"kernel.release": OLD, "kernel.next": OLD},
        {"kernel.release": OLD, "kernel.next": Absent(HERE)},
        {"kernel.release": OLD, "kernel.next": HIDDEN},
        {"kernel.release": OLD, "kernel.next": Value(NEW, HERE, (OLD,))},
        {"kernel.next": NEW},
    ],
)
def test_nothing_is_said_where_no_other_kernel_is_known_to_start(said: Dict[str, Said], make_tree: MakeTree) -> None:
    made = report(Machine(make_tree({"/proc/self/stat": "1 (x)"})), said)
    assert (made.host.next, made.notices) == ("", ())


def test_nothing_is_said_at_rest_or_from_inside_a_container(make_tree: MakeTree) -> None:
    assert identity.host(Tree(make_tree({"/etc/hostname": "a"})), Pretended(BOTH)).next == ""
    inside = report(Machine("/"), {**BOTH, "os.container": "docker"})
    assert inside.host.next == ""
    assert [notice.split(":")[0] for notice in inside.notices] == ["this runs inside a container (docker)"]


def test_a_report_of_before_the_field_is_read_all_the_same(make_tree: MakeTree) -> None:
    document = json.loads(json.dumps(packed([report(Machine(make_tree({"/proc/self/stat": "1 (x)"})), BOTH)])))
    jsonschema.validate(document, json_.schema())
    del document["reports"][0]["host"]["next"]
    jsonschema.validate(document, json_.schema())
    del document["reports"][0]["host"]["kernel"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_.schema())

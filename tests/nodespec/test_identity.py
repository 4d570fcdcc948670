"""Who a host is said to be, and what is said before its findings: a container's view, a pending reboot."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from typing import TYPE_CHECKING, Dict

import fit_node
import jsonschema
import pytest
from fit_node import NOW, planted
from pretended import HERE, HIDDEN, Pretended, Said, planned

from nodespec.host.directory import DirectoryTree
from nodespec.host.machine import Machine
from nodespec.host.tree import Tree
from nodespec.judge.judge import Terms, judge
from nodespec.model.observation import Absent, Value
from nodespec.model.report import Report, Seat, Style
from nodespec.model.report_json import encode_reports
from nodespec.reports import html, junit, markdown, text
from nodespec.reports import json as json_
from nodespec.run import host_identity

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeTree
OLD, NEW = "6.1.0-49-amd64", "6.1.0-50-amd64"
BOTH: Dict[str, Said] = {"kernel.release": OLD, "kernel.next": NEW}
SENTENCE = f"reboot pending: kernel {OLD} runs, and the next boot starts kernel {NEW}"


def report(tree: Tree, said: Dict[str, Said]) -> Report:
    found = host_identity.identify_host(tree, Pretended(said))
    seat = Seat("running", "live", found, host_identity.list_notices(found, tree.root))
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


def test_a_node_whose_kernel_was_upgraded_says_so(tmp_path: Path) -> None:
    node = planted(tmp_path)
    assert not fit_node.report(node, fit_node.plan(["container-host"])).notices
    node.write("/boot/vmlinuz-6.99.1-amd64", "")
    node.write("/usr/lib/modules/6.99.1-amd64/modules.dep", "")
    node.link("/vmlinuz", "boot/vmlinuz-6.99.1-amd64")
    made = fit_node.report(node, fit_node.plan(["container-host"]))
    assert made.host.next == "6.99.1-amd64"
    running = "6.12.107+deb13-cloud-amd64"
    assert made.notices == (f"reboot pending: kernel {running} runs, and the next boot starts kernel 6.99.1-amd64",)


def test_nothing_is_said_at_rest_or_from_inside_a_container(make_tree: MakeTree) -> None:
    assert host_identity.identify_host(DirectoryTree(make_tree({"/etc/hostname": "a"})), Pretended(BOTH)).next == ""
    inside = report(Machine("/"), {**BOTH, "os.container": "docker"})
    assert inside.host.next == ""
    (notice,) = inside.notices
    assert notice == (
        "nodespec runs inside a container (docker): this report describes the view of the container, not the node; "
        "to check the node, mount its root directory and use --root"
    )


def test_a_report_of_before_the_field_is_read_all_the_same(make_tree: MakeTree) -> None:
    document = json.loads(json.dumps(encode_reports([report(Machine(make_tree({"/proc/self/stat": "1 (x)"})), BOTH)])))
    jsonschema.validate(document, json_.schema())
    del document["reports"][0]["host"]["next"]
    jsonschema.validate(document, json_.schema())
    del document["reports"][0]["host"]["kernel"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json_.schema())


def test_a_machine_is_known_by_what_is_its_own_and_nothing_of_it_is_shown(make_tree: MakeTree) -> None:
    uuid, address = "4C4C4544-0042-3610-8052-B4C04F4E4D32", "52:54:00:AA:bb:01"
    net = "/sys/class/net"
    tree = make_tree(
        {
            "/proc/self/stat": "1 (x)",
            "/sys/class/dmi/id/product_uuid": f"{uuid}\n",
            f"{net}/eth0/address": f"{address}\n",
            f"{net}/eth0/device/vendor": "",
            f"{net}/eth1/address": f"{address.lower()}\n",  # enslaved, as in a bond
            f"{net}/eth1/device/vendor": "",
            f"{net}/docker0/address": "02:42:00:00:00:01\n",
            f"{net}/none0/address": "00:00:00:00:00:00\n",
            f"{net}/none0/device/vendor": "",
        }
    )
    found = host_identity.identify_host(Machine(tree), Pretended({}))
    assert len(found.product) == len(found.addresses) == 32
    assert found.product != found.addresses
    assert not any(part in "".join(found) for part in (uuid, uuid.lower(), address, address.lower()))
    again = host_identity.identify_host(Machine(tree), Pretended({}))
    assert again == found
    at_rest = host_identity.identify_host(DirectoryTree(tree), Pretended({}))
    assert (at_rest.product, at_rest.addresses) == ("", "")


@pytest.mark.parametrize("said", ["0123456789abcdef0123456789abcdef", "x", "", "y" * 64, "z" * 200, "\u00e4" * 40])
def test_a_hash_of_an_identity_is_half_an_hmac(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hmac.new(said.encode(), host_identity.APPLICATION_ID, hashlib.sha256).hexdigest()
    assert host_identity._hash_identity(said) == whole[:32]  # noqa: SLF001 - what it must be equal to is made here
    for module in ("_sha2", "_sha256"):  # as of another Python than CPython
        monkeypatch.setitem(sys.modules, module, None)
    assert host_identity._hash_identity(said) == whole[:32]  # noqa: SLF001


ZEROS = "00000000-0000-0000-0000-000000000000"


SAMPLE = "03000200-0400-0500-0006-000700080009"  # of a vendor of firmware, on thousands of boards


@pytest.mark.parametrize(
    "uuid", ["", "Not Settable", ZEROS, ZEROS.replace("0", "F"), "4C4C4544-0042", "\0" * 36, SAMPLE]
)
def test_firmware_that_names_no_machine_has_no_product_id(uuid: str, make_tree: MakeTree) -> None:
    tree = make_tree({"/proc/self/stat": "1 (x)", "/sys/class/dmi/id/product_uuid": f"{uuid}\n"})
    assert host_identity.identify_host(Machine(tree), Pretended({})).product == ""


@pytest.mark.parametrize(
    ("address", "counts"),
    [
        ("52:54:00:aa:bb:01", True),
        ("10:00:00:00:00:00:00:01", True),  # FireWire
        (":".join(["80", *["00"] * 18, "01"]), True),  # InfiniBand
        ("00:00:00:00:00:00", False),
        ("ff:ff:ff:ff:ff:ff", False),
        ("01:00:5e:00:00:01", False),  # of a group
        ("not an address", False),
        ("52:54:00:aa:bb", False),
        ("52:54:00:aa:bb:01:02", False),
        ("52-54-00-aa-bb-01", False),
        ("52:54:00:aa:bb:0g", False),
        ("", False),
    ],
)
def test_only_a_hardware_address_identifies_a_machine(address: str, counts: bool, make_tree: MakeTree) -> None:  # noqa: FBT001 - a column of the table
    net = "/sys/class/net/eth0"
    tree = make_tree({"/proc/self/stat": "1 (x)", f"{net}/address": f"{address}\n", f"{net}/device/vendor": ""})
    assert bool(host_identity.identify_host(Machine(tree), Pretended({})).addresses) is counts


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("node-1\n", "node-1"),
        ("# the name of this node\n\n  node-1.example.org \n", "node-1.example.org"),
        ("a" * 63, "a" * 63),
        ("a" * 64, "a" * 64),
        ("a" * 65, "unnamed"),
        ("(none)\n", "unnamed"),
        ("a..b", "unnamed"),
        (".a", "unnamed"),
        ("a b", "unnamed"),
        ("\0\0\0\0", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_text_that_is_no_hostname_names_no_host(text: str, name: str, make_tree: MakeTree) -> None:
    assert host_identity.identify_host(DirectoryTree(make_tree({"/etc/hostname": text})), Pretended({})).name == name


@pytest.mark.parametrize("text", ["0" * 32, "z" * 32, "a" * 31, "a" * 33, "\0" * 32])
def test_a_text_that_is_no_machine_id_identifies_no_machine(text: str, make_tree: MakeTree) -> None:
    tree = make_tree({"/proc/self/stat": "1 (x)", "/etc/machine-id": text})
    assert host_identity.identify_host(Machine(tree), Pretended({})).id == ""
    assert host_identity.identify_host(Machine(make_tree({"/etc/machine-id": "a" * 32})), Pretended({})).id

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Optional, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespec.checks import _sysctl_names, sysctl
from nodespec.checks._sysctl_names import EXPLANATIONS
from nodespec.facts.declaration import Table, resolve_place
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

    from nodespec.facts.declaration import Row
    from nodespec.model.observation import Observation

OWN = {f"/proc/1/ns/{space}": os.readlink(f"/proc/self/ns/{space}") for space in ("net", "ipc", "uts", "user", "pid")}
OTHER = {name: f"{Path(name).name}:[1]" for name in OWN}
FILES = {
    "/proc/self/stat": "1",
    "/proc/1/comm": "init\n",
    "/proc/sys/net/ipv4/ip_forward": "1\n",
    "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
    "/proc/sys/net/ipv4/conf/eth0.100/forwarding": "0\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/vm/swappiness": "60\n",
    "/proc/sys/kernel/panic": "0\n",
    "/proc/sys/kernel/sem": "32000\t1024000000\t500\t32000\n",
    "/proc/sys/kernel/hostname": "node\n",
    "/proc/sys/user/max_user_namespaces": "100\n",
}


def table() -> Table:
    fact = resolve_place(("sysctl", "x.y")).fact
    assert isinstance(fact, Table)
    return fact


def look(root: str, key: str) -> Observation[Row]:
    """One row as a spec asks for it; whatever it names as its source is declared."""
    fact = table()
    seen = fact.probe(Machine(root)).observe(fact.key(key))
    if not isinstance(seen, Unknown):
        assert any(fnmatchcase(seen.evidence.source, declared) for declared in fact.sources)
    return seen


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("net.ipv4.ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.eth0/100.forwarding"),
        ("net.ipv4.conf.eth0/100.forwarding", "net.ipv4.conf.eth0/100.forwarding"),
        ("vm.swappiness", "vm.swappiness"),
    ],
)
def test_the_first_separator_decides(written: str, name: str) -> None:
    assert table().key(written) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "swappiness",
        ".",
        "/",
        "net..ipv4",
        "net.ipv4.",
        ".net.ipv4",
        "/proc/sys/net/ipv4/ip_forward",
        "net/../kernel/panic",
        "net/./ipv4",
        "net.//.kernel",
        "net./.kernel",
        "net.ipv4.conf.*.forwarding",
        "net.ipv4.ip_forward=1",
        "net.ipv4 .ip_forward",
        "net.ipv4.\0",
        "net." + "x" * 300,
    ],
)
def test_what_cannot_be_a_parameter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a name such as `net\.ipv4\.ip_forward`"):
        table().key(text)


@given(st.text() | st.text("./a") | st.text("./ab\n*", min_size=3))
def test_a_key_never_leads_out_and_is_its_own_key(text: str) -> None:
    try:
        key = table().key(text)
    except ValueError:
        return
    assert table().key(key) == key
    path = _sysctl_names.make_path(key)
    assert os.path.normpath(path) == path
    assert path.startswith("/proc/sys/")


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "1", "net/ipv4/ip_forward"),
        ("net.ipv4.tcp_rmem", "4096 131072 6291456", "net/ipv4/tcp_rmem"),
        ("net.ipv4.conf.eth0/100.forwarding", "0", "net/ipv4/conf/eth0.100/forwarding"),
        ("vm.swappiness", "60", "vm/swappiness"),
    ],
)
def test_values_have_their_blanks_folded(make_tree: MakeTree, key: str, value: str, path: str) -> None:
    assert look(make_tree(FILES, OWN), key) == Value(value, Evidence(f"/proc/sys/{path}"))


@pytest.mark.parametrize(
    ("key", "say"),
    [
        ("net.bridge.bridge-nf-call-iptables", "the module br_netfilter adds it"),
        ("net.netfilter.nf_conntrack_max", "the module nf_conntrack adds it"),
        ("net.ipv4.vs.conntrack", "the module ip_vs adds it"),
        (
            "net.ipv6.conf.all.forwarding",
            "the module ipv6 adds it, unless the kernel was started with ipv6.disable=1",
        ),
        (
            "kernel.unprivileged_userns_clone",
            "it requires Debian's patch; other kernels have user.max_user_namespaces",
        ),
        ("kernel.keys.root_maxkeys", "it requires a kernel built with CONFIG_KEYS"),
        ("vm.swapiness", "there is vm.swappiness"),
        ("net.ipv4.ipforward", "there is net.ipv4.ip_forward"),
        ("net.ipv4.conf.eth0/10.forwarding", "there is net.ipv4.conf.eth0/100"),
        ("nett.ipv4.ip_forward", "there is net"),
        ("vm.zzz", "/proc/sys/vm has no parameter of a similar name"),
        ("vm.swappiness.x", "/proc/sys/vm/swappiness has no parameter of a similar name"),
        ("net.ipv4", "a group of parameters; name one parameter"),
    ],
)
def test_a_missing_parameter_says_what_would_bring_it(make_tree: MakeTree, key: str, say: str) -> None:
    seen = look(make_tree(FILES, OWN), key)
    path = "/proc/sys/" + key.translate(str.maketrans("./", "/."))
    assert seen == Absent(Evidence(path), say)


def test_where_the_module_is_there_the_name_is_wrong(make_tree: MakeTree) -> None:
    files = {"/proc/sys/net/netfilter/nf_conntrack_max": "1", "/proc/sys/net/bridge/bridge-nf-call-iptables": "1"}
    root = make_tree({**FILES, **files}, OWN)
    for wrong, right in (
        ("net.netfilter.nf_conntrack_mx", "net.netfilter.nf_conntrack_max"),
        ("net.bridge.bridge-nf-call-iptable", "net.bridge.bridge-nf-call-iptables"),
    ):
        seen = look(root, wrong)
        assert isinstance(seen, Absent)
        assert seen.say == f"there is {right}"


@pytest.mark.parametrize("beginning", EXPLANATIONS)
def test_every_reason_can_be_reached(make_tree: MakeTree, beginning: str) -> None:
    seen = look(make_tree({"/proc/self/stat": "1", "/proc/sys/kernel/panic": "0"}, OWN), f"{beginning}x")
    assert isinstance(seen, Absent)
    assert seen.say == EXPLANATIONS[beginning]


SECRETS = ("net.ipv6.conf.eth0/100.stable_secret", "net/ipv6/conf/all/stable_secret", "net.ipv4.tcp_fastopen_key")


@pytest.mark.parametrize("key", SECRETS)
def test_secrets_are_not_read(make_tree: MakeTree, key: str) -> None:
    path = _sysctl_names.make_path(table().key(key))
    root = make_tree({**FILES, path: "5ec2e7"}, OWN)
    seen = look(root, key)
    assert isinstance(seen, Unknown)
    assert seen.reason == "refused"
    assert table().key(key) not in table().probe(Machine(root)).every()


def test_what_a_look_may_mount_is_not_looked_at(make_tree: MakeTree) -> None:
    root = make_tree({**FILES, "/proc/sys/fs/binfmt_misc/status": "enabled\n"}, OWN)
    seen = look(root, "fs.binfmt_misc.status")
    assert isinstance(seen, Unknown)
    assert seen.reason == "refused"
    assert "fs.binfmt_misc.status" not in table().probe(Machine(root)).every()


@pytest.mark.parametrize(
    ("key", "space"),
    [
        ("net.ipv4.ip_forward", "net"),
        ("net.bridge.bridge-nf-call-iptables", "net"),
        ("kernel.sem", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("kernel.hostname", "uts"),
        ("user.max_user_namespaces", "user"),
        ("kernel.pid_max", "pid"),
    ],
)
@pytest.mark.parametrize("links", [OTHER, {}])
def test_another_namespace_hides_its_parameters(
    make_tree: MakeTree, key: str, space: str, links: Mapping[str, str]
) -> None:
    seen = look(make_tree(FILES, {**OWN, f"/proc/1/ns/{space}": OTHER[f"/proc/1/ns/{space}"]} if links else {}), key)
    assert seen == Unknown(
        "hidden",
        f"the kernel reports the {space} namespace of nodespec, not that of the host",
        f"run nodespec in the host's {space} namespace",
    )


def test_a_namespace_that_may_not_be_seen_hides_them_too(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(make_tree(FILES))
    monkeypatch.setattr(machine, "link", lambda path: Unknown("no permission", f"{path} cannot be read by uid 0"))
    assert machine.elsewhere("net") == Unknown(
        "hidden",
        "the kernel reports the net namespace of nodespec, maybe not of the host: "
        "/proc/1/ns/net cannot be read by uid 0",
        "run nodespec with CAP_SYS_PTRACE and without a user namespace",
    )


@pytest.mark.parametrize("key", ["vm.swappiness", "kernel.panic"])
def test_what_is_no_namespaces_own_is_never_hidden(make_tree: MakeTree, key: str) -> None:
    assert isinstance(look(make_tree(FILES, OTHER), key), Value)


@pytest.mark.parametrize(
    ("files", "reason"), [({"/etc/x": ""}, "hidden"), ({"/proc/self/stat": "1", "/proc/version": ""}, "not found")]
)
def test_without_proc_sys_nothing_is_known(
    make_tree: MakeTree, files: Mapping[str, Union[str, bytes, None]], reason: str
) -> None:
    seen = look(make_tree(files), "vm.swappiness")
    assert isinstance(seen, Unknown)
    assert seen.reason == reason


def test_what_cannot_be_read_is_no_absence(make_tree: MakeTree) -> None:
    seen = look(make_tree(FILES, {**OWN, "/proc/sys/vm/loop": "loop"}), "vm.loop")
    assert isinstance(seen, Unknown)
    assert seen.reason == "failed"


def test_a_parameter_that_can_only_be_written() -> None:
    if not Path("/proc/sys/vm/compact_memory").exists():
        pytest.skip("the kernel has no vm.compact_memory")
    seen = look("/", "vm.compact_memory")
    assert isinstance(seen, Unknown)
    assert seen.reason == "unsupported"


def test_all_that_stays_as_it_is_can_be_listed(make_tree: MakeTree) -> None:
    moving = {"/proc/sys/fs/file-nr": "1 2 3", "/proc/sys/kernel/random/uuid": "x", "/proc/sys/kernel/odd name": "x"}
    root = make_tree({**FILES, **moving, "/proc/sys/kernel/private": "x"}, {**OWN, "/proc/sys/vm/up": ".."})
    Path(root, "proc/sys/kernel/private").chmod(0o600)
    every = table().probe(Machine(root)).every()
    assert {name: seen.value if isinstance(seen, Value) else None for name, seen in every.items()} == {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "net.ipv4.conf.eth0/100.forwarding": "0",
        "net.core.somaxconn": "4096",
        "vm.swappiness": "60",
        "kernel.panic": "0",
        "kernel.sem": "32000 1024000000 500 32000",
        "kernel.hostname": "node",
        "user.max_user_namespaces": "100",
    }


def test_a_list_has_an_end(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctl, "MAX_ROWS", 3)
    assert 3 <= len(table().probe(Machine(make_tree(FILES, OWN))).every()) < len(FILES) - 1


def test_the_running_kernel_agrees_with_itself() -> None:
    every = table().probe(Machine()).every()
    assert len(every) > 100
    for name, seen in every.items():
        assert isinstance(seen, (Value, Unknown)), name
    path: Optional[str] = next(seen.evidence.source for seen in every.values() if isinstance(seen, Value))
    assert path
    assert path.startswith("/proc/sys/")


@pytest.mark.parametrize(("spare", "opens"), [(2, 1), (1, 1), (0, 2), (-1, 2)])
def test_a_parameter_is_read_at_once_and_never_cut(monkeypatch: pytest.MonkeyPatch, spare: int, opens: int) -> None:
    path = Path("/proc/sys/kernel/osrelease")
    whole = path.read_bytes()
    opened = []
    real = os.open

    def spy(name: str, *args: object, **named: object) -> int:
        opened.append(name)
        return real(name, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("nodespec.host.machine.PAGE", len(whole) + spare)
    monkeypatch.setattr(os, "open", spy)
    assert Machine().read(str(path)) == Value(whole, Evidence(str(path)))
    assert opened == [str(path)] * opens
    assert Machine().head(str(path), 3) == Value(whole[:3], Evidence(str(path)))

"""Interfaces and routes of a network namespace, as iproute2 shows them.

    python tests/stages/network.py CACHE

As root. nodespec and `ip -json` observe a namespace with veth, bridge, VXLAN and dummy interfaces, addresses of both
families and default routes. The exit status is 1 if they differ. Nothing outside of the namespace changes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP), str(TOP / "tests")]

from nodespec.facts.declaration import resolve_place  # noqa: E402 - this folder is where Python starts, not the top
from nodespec.model.observation import Value  # noqa: E402 - likewise
from nodespec.recording import file  # noqa: E402 - likewise
from nodespec.recording.replay import ReplayedFacts  # noqa: E402 - likewise

# `lo` is up, and so are all others but the dummy. A kernel of this machine may lack a type.
SETUP = """
mount -t sysfs none /sys
ip link set lo up
ip link add veth0 mtu 1450 type veth peer name veth1
ip link add cni0 type bridge && ip link set veth1 master cni0
ip link add flannel.1 type vxlan id 1 dstport 8472 dev veth0 || true
ip link add dummy0 type dummy || true
ip addr add 10.1.2.3/24 dev veth0 && ip addr add 10.1.2.4/32 dev veth0 && ip addr add 192.0.2.9/32 dev lo
ip -6 addr add fd00::5/64 dev veth0 nodad || true
for name in veth0 veth1 cni0; do ip link set $name up; done
ip route add default via 10.1.2.1 && ip route add default via 10.1.2.2 metric 500
ip -6 route add default via fd00::1 || true
ip -json -details addr > "$OUT/addr.json"
ip -json route show default > "$OUT/route.json"
ip -json -6 route show default > "$OUT/route6.json"
exec "$@"
"""
PLACES = ("network.interfaces", "network.default_routes", "network.leftovers")
KINDS = {"veth": "virtual", "dummy": "virtual", "bridge": "bridge", "vxlan": "vxlan", "": "loopback"}


def main() -> int:
    """Return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        observe = [sys.executable, "-m", "nodespec", "facts", *PLACES, "-o", f"{folder}/facts.json"]
        done = subprocess.run(
            ["/usr/bin/unshare", "--net", "--mount", "sh", "-c", SETUP, "sh", *observe],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OUT": folder, "PYTHONPATH": str(TOP)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stderr)
            return 1
        facts = ReplayedFacts(file.load_recording(f"{folder}/facts.json").facts)
        told = {name: json.loads(Path(folder, f"{name}.json").read_text()) for name in ("addr", "route", "route6")}
    wrong = [*compare_interfaces(facts, told["addr"]), *compare_routes(facts, told)]
    print("\n".join(wrong) or f"{len(told['addr'])} interfaces and their routes are those of ip")
    return int(bool(wrong))


def compare_interfaces(facts: ReplayedFacts, told: List[Dict[str, Any]]) -> Iterator[str]:
    """Yield what differs of the interfaces."""
    for link in told:
        place = ("network", "interfaces", link["ifname"])
        expected = {
            "mtu": link["mtu"],
            "type": KINDS[link.get("linkinfo", {}).get("info_kind", "")],
            "up": "UP" in link["flags"],
            "addresses": frozenset(one["local"] for one in link["addr_info"]),
        }
        found = {column: observe(facts, *place, column) for column in expected}
        if found != expected:
            yield f"{link['ifname']}: {found}, and ip has {expected}"
    names = {link["ifname"] for link in told}
    leftovers = observe(facts, "network", "leftovers")
    if leftovers != {"cni0", "flannel.1"} & names:
        yield f"leftovers: {leftovers}"


def compare_routes(facts: ReplayedFacts, told: Dict[str, List[Dict[str, Any]]]) -> Iterator[str]:
    """Yield what differs of the default routes."""
    for family, table in (("ipv4", "route"), ("ipv6", "route6")):
        routes = told[table]
        for column, key in (("count", ""), ("gateways", "gateway"), ("interfaces", "dev")):
            found = observe(facts, "network", "default_routes", family, column)
            values = frozenset(one[key] for one in routes) if key else len(routes)
            if found != (values if routes else None):
                yield f"{family} {column}: {found}, and ip has {values}"


def observe(facts: ReplayedFacts, *path: str) -> object:
    """Return the value at a place, or None."""
    seen = facts.observe(resolve_place(path))
    return seen.value if isinstance(seen, Value) else None


if __name__ == "__main__":
    sys.exit(main())

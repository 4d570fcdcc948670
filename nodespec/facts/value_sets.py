"""The types of facts that are sets in one text: CPU lists, IP addresses and prefixes.

`read` returns the one spelling that values of these types are compared in. The relations `within` and `includes` are
those of sets. A module that few specs need: it is imported with the families that declare these types.
"""

from __future__ import annotations

import re

from nodespec.facts.value_types import Kind, UndecidedError
from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
    from typing import Callable, FrozenSet, Iterable, Iterator, List, Tuple, Union

    from nodespec.facts.value_types import Case, Datum

    Network = Union[IPv4Network, IPv6Network]
    Relation = Tuple[Callable[[Case], bool], Tuple[Case, ...]]

MAX_CPUS = 8192  # NR_CPUS of the largest kernel that is built.
MAX_LIST_CHARS = 8192
REGION = re.compile(r"(?:(\d{1,5}|N)(?:-(\d{1,5}|N))?|all)(?::(\d{1,5})/(\d{1,5}))?")
FLAGS = re.compile(r"(?:(?!all\b)[A-Za-z_]+,)*")


def parse_cpus(text: str) -> FrozenSet[int]:
    """Return the CPUs of a list as the kernel parses it, such as `0-3,8-15:1/2`.

    `START-END:USED/GROUP` are the first USED of each GROUP. Flags of isolcpus, such as `managed_irq,domain,`, are
    skipped. Raises ValueError for another text, and UndecidedError for `N` and `all`, which depend on the host.
    See https://docs.kernel.org/admin-guide/kernel-parameters.html#cpu-lists
    """
    if len(text) > MAX_LIST_CHARS:
        raise ValueError(f"{len(text)} characters are not a CPU list")
    flags = FLAGS.match(text)
    regions = [_parse_region(region) for region in re.split(r"[\s,]+", text[flags.end() if flags else 0 :]) if region]
    return frozenset(cpu for region in regions for cpu in region)


def _parse_region(text: str) -> Iterable[int]:
    match = REGION.fullmatch(text)
    if not match:
        raise ValueError(f"`{text[:80]}` is not a CPU, a range such as 2-15, or 0-15:1/2")
    first, last, used, group = match.groups()
    if first is None or "N" in (first, last):
        raise UndecidedError(f"`{text}` depends on the number of CPUs of the host")
    start, end = int(first), int(last or first)
    if start > end or end >= MAX_CPUS:
        raise ValueError(
            f"`{text}`: {'the range is empty' if start > end else f'the last CPU is at most {MAX_CPUS - 1}'}"
        )
    if group is None:
        return range(start, end + 1)
    if not 0 < int(used) <= int(group):
        raise ValueError(f"`{text}`: of each group of {group} CPUs {used} cannot be used")
    return [cpu for cpu in range(start, end + 1) if (cpu - start) % int(group) < int(used)]


def format_cpus(cpus: Iterable[int]) -> str:
    """Return CPUs as the kernel prints them: `2-15,17`."""
    runs: List[List[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


class CpuList(Kind[str]):
    """A set of CPUs; `2,3-15` and `2-15` are equal."""

    noun, pattern, spellings, relations = "a CPU list such as 2,3-15", r"^[\dNal:/,\s-]*$", True, ("within", "includes")

    def read(self, text: str) -> str:
        try:
            return format_cpus(parse_cpus(text))
        except UndecidedError as error:
            raise ValueError(f"{error}; write the numbers of the CPUs") from None

    def normalize(self, value: Datum) -> Datum:
        try:
            return format_cpus(parse_cpus(str(value)))
        except UndecidedError:
            return value

    def others(self) -> Iterable[Case]:
        return ("", "0", str(MAX_CPUS - 1))

    def equals(self, value: Case, wanted: Datum) -> bool:
        return format_cpus(parse_cpus(str(value))) == wanted

    def relate(self, operator: str, text: str) -> Relation:
        cpus = parse_cpus(self.read(text))
        if not cpus:
            raise ValueError(f"`{operator}` needs at least one CPU")
        first, beyond = min(cpus), next(cpu for cpu in range(MAX_CPUS + 1) if cpu not in cpus)
        near = [cpus, {first}, cpus - {first}, {*cpus, beyond}, {beyond}]

        def test(value: Case) -> bool:
            have = parse_cpus(str(value))
            return have <= cpus if operator == "within" else have >= cpus

        return test, tuple(map(format_cpus, near))


def parse_address(text: str) -> Union[IPv4Address, IPv6Address]:
    """Return an IPv4 or IPv6 address. Raises ValueError."""
    from ipaddress import ip_address  # noqa: PLC0415 - takes some milliseconds

    return ip_address(text)


def parse_prefix(text: str) -> Network:
    """Return a prefix such as 10.0.0.0/8; an address is a prefix of its full length. Raises ValueError."""
    from ipaddress import ip_interface  # noqa: PLC0415 - takes some milliseconds

    interface = ip_interface(text)
    network: Network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(f"`{text}` has bits beyond its length; write {network}")
    return network


def _iter_edges(network: Network) -> Iterator[Union[IPv4Address, IPv6Address]]:
    """Yield the first and last address of a prefix, and those before and after it."""
    first, last = network.network_address, network.broadcast_address
    yield from (first, last)
    if int(first):
        yield first - 1
    if int(last) < int(type(last)(b"\xff" * len(last.packed))):
        yield last + 1


class Address(Kind[str]):
    """An IP address; `::1` and `0:0:0:0:0:0:0:1` are equal."""

    noun, pattern, spellings, relations = (
        "an IP address such as 10.0.0.1 or fd00::1",
        r"^[\d.:A-Fa-f%]",
        True,
        ("within",),
    )

    def read(self, text: str) -> str:
        if "/" in text:
            raise ValueError(f"`{text}` is a prefix; for the addresses in it write {{within: {text}}}")
        try:
            return str(parse_address(text))
        except ValueError:
            raise ValueError(f"`{text}` is not {self.noun}") from None

    def others(self) -> Iterable[Case]:
        return ("0.0.0.0", "255.255.255.255", "::")  # noqa: S104 - values of an address

    def relate(self, operator: str, text: str) -> Relation:  # noqa: ARG002 - `within` is the only one
        network = parse_prefix(text)

        def test(value: Case) -> bool:
            try:
                address = parse_address(str(value))
            except ValueError:
                return False
            return address.version == network.version and address in network

        return test, tuple(map(str, _iter_edges(network)))


class Prefix(Kind[str]):
    """An IP prefix; `fd00::/8` and `fd00:0::/8` are equal."""

    noun, pattern, spellings = "an IP prefix such as 10.0.0.0/8 or fd00::/8", r"^[\d.:A-Fa-f]+(/\d+)?$", True
    relations = ("within", "includes")

    def read(self, text: str) -> str:
        if "/" not in text:
            raise ValueError(f"`{text}` is not {self.noun}")
        return str(parse_prefix(text))

    def others(self) -> Iterable[Case]:
        return ("0.0.0.0/0", "255.255.255.255/32", "::/0")

    def relate(self, operator: str, text: str) -> Relation:
        wanted = parse_prefix(text)

        def test(value: Case) -> bool:
            try:
                network = parse_prefix(str(value))
            except ValueError:
                return False
            return is_subnet(network, wanted) if operator == "within" else is_subnet(wanted, network)

        above = () if not wanted.prefixlen else (str(wanted.supernet()),)
        edges = tuple(f"{address}/{wanted.max_prefixlen}" for address in _iter_edges(wanted))
        return test, (str(wanted), *above, *edges)


def is_subnet(inner: Network, outer: Network) -> bool:
    """Return whether all addresses of one prefix are in another."""
    if inner.version != outer.version:
        return False
    return inner.prefixlen >= outer.prefixlen and inner.network_address in outer

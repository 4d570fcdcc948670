"""Start order of the units of a boot, and ordering cycles."""

from __future__ import annotations

from nodespec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Set, Tuple

    from nodespec.checks._systemd_load import Unit

PREDECESSORS = {  # Predecessors of units with default dependencies, by type.
    "service": ("sysinit.target", "basic.target"),
    "socket": ("sysinit.target",),
    "timer": ("sysinit.target",),
    "path": ("sysinit.target",),
}
SUCCESSORS = {
    "socket": "sockets.target",
    "timer": "timers.target",
    "path": "paths.target",
    "swap": "swap.target",
    "mount": "local-fs.target",
}


def build_wait_graph(names: Iterable[str], load: Callable[[str], Unit]) -> Mapping[str, Set[str]]:
    """Return each unit that may be started, with the units that it waits for."""
    graph: Dict[str, Set[str]] = {name: set() for name in names}
    for name in graph:
        unit = load(name)
        for first, then in _list_ordered_pairs(unit):
            earlier, other = load(first).name, load(then).name
            if earlier in graph and other in graph and earlier != other:
                graph[other].add(earlier)
    for name, waited in graph.items():
        for other in _list_target_members(load(name), load):
            if other in graph and name not in graph[other]:
                waited.add(other)
    return graph


def _list_ordered_pairs(unit: Unit) -> Iterator[Tuple[str, str]]:
    """Yield pairs of units; the first starts before the second."""
    yield from ((other, unit.name) for other in unit.after)
    yield from ((unit.name, other) for other in unit.before)
    kind = unit.name.rpartition(".")[2]
    if unit.default:
        yield from ((other, unit.name) for other in PREDECESSORS.get(kind, ()))
        yield from [(unit.name, SUCCESSORS[kind])] if kind in SUCCESSORS else []


def _list_target_members(target: Unit, load: Callable[[str], Unit]) -> Iterator[str]:
    """Yield the units that a target waits for: those that it pulls in.

    Both must have default dependencies.
    """
    if target.name.endswith(".target") and target.default:
        for pull in target.pulls:
            other = load(pull.name)
            if other.default and other.name != target.name:
                yield other.name


def find_cycles(graph: Mapping[str, Set[str]]) -> Iterator[FrozenSet[str]]:
    """Yield the strongly connected sets of several nodes (Tarjan, iterative)."""
    index: Dict[str, int] = {}
    low: Dict[str, int] = {}
    held: List[str] = []
    for root in graph:
        work = [(root, iter(sorted(graph[root])))] if root not in index else []
        while work:
            node, successors = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                held.append(node)
            other = next(successors, None)
            if other is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    cut = held.index(node)
                    component, held = held[cut:], held[:cut]
                    yield from [frozenset(component)] if len(component) > 1 else []
            elif other not in index:
                work.append((other, iter(sorted(graph[other]))))
            elif other in held:
                low[node] = min(low[node], index[other])

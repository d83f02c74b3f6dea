"""Finds what isolation should have prevented, in a history of appends to lists and reads of them.

Each appended element is unique, so a read of a list tells the order in which it came to be. From
that order follow the edges between transactions: one wrote after another (ww), read what another
wrote (wr), or read what another had not written yet (rw). A cycle is an anomaly, named by Adya's
terms after the edges it needs. An append of which nobody knows whether it was committed counts as
committed once somebody has read it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, TypeAlias

__all__ = ["Append", "Read", "Transaction", "anomalies"]

Graph: TypeAlias = dict[int, set[int]]


@dataclass(frozen=True, slots=True)
class Append:
    key: str
    element: int


@dataclass(frozen=True, slots=True)
class Read:
    key: str
    elements: tuple[int, ...]


@dataclass(slots=True)
class Transaction:
    """What it did, in order, and how it ended."""

    outcome: Literal["committed", "aborted", "unknown"] = "unknown"
    steps: list[Append | Read] = field(default_factory=list)


def anomalies(history: Sequence[Transaction], final: dict[str, tuple[int, ...]]) -> Counter[str]:
    """How often each was found; ``final`` are the lists as they are in the end.

    ``lost update``: an acknowledged append is not in the list. ``duplicate``: an element is there
    twice. ``incompatible order``: two reads of a list of which neither begins the other. ``G1a``:
    an aborted append was read. ``G1b``: a read between two appends of another transaction to the
    list. ``internal``: a transaction did not see its own append. ``G0``, ``G1c``, ``G-single`` and
    ``G2``: transactions in a cycle of ww edges alone, with wr, with one rw, with several rw.
    """
    found: Counter[str] = Counter()
    writer = _writers(history)
    orders = _orders(history, final, found)
    _look_at_reads(history, writer, found)
    _look_at_the_end(history, final, found)
    ww, wr, rw = _edges(history, orders, writer)
    found.update(_cycles(len(history), ww, wr, rw))
    return +found


def _writers(history: Sequence[Transaction]) -> dict[int, int]:
    return {
        step.element: number
        for number, transaction in enumerate(history)
        for step in transaction.steps
        if isinstance(step, Append)
    }


def _reads(history: Sequence[Transaction]) -> Iterable[tuple[int, Read]]:
    """Of those that were not rolled back: what they had read does not count."""
    for number, transaction in enumerate(history):
        if transaction.outcome != "aborted":
            for step in transaction.steps:
                if isinstance(step, Read):
                    yield number, step


def _orders(
    history: Sequence[Transaction], final: dict[str, tuple[int, ...]], found: Counter[str]
) -> dict[str, tuple[int, ...]]:
    """The order of each list: what it is in the end, which every read must be the beginning of."""
    for elements in final.values():
        found["duplicate"] += len(elements) - len(set(elements))
    for number, read in _reads(history):
        # Its own appends may be in what it reads before anyone knows whether they stay.
        own = {s.element for s in history[number].steps if isinstance(s, Append)}
        seen = read.elements
        while seen and seen[-1] in own:
            seen = seen[:-1]
        if final.get(read.key, ())[: len(seen)] != seen:
            found["incompatible order"] += 1
    return final


def _look_at_reads(
    history: Sequence[Transaction], writer: dict[int, int], found: Counter[str]
) -> None:
    last: dict[tuple[int, str], int] = {}
    for number, transaction in enumerate(history):
        for step in transaction.steps:
            if isinstance(step, Append):
                last[number, step.key] = step.element
    for number, read in _reads(history):
        for element in read.elements:
            if history[writer[element]].outcome == "aborted":
                found["G1a"] += 1
        if read.elements:
            end = read.elements[-1]
            other = writer[end]
            if other != number and last[other, read.key] != end:
                found["G1b"] += 1
    for transaction in history:
        mine: dict[str, list[int]] = defaultdict(list)
        for step in transaction.steps:
            if isinstance(step, Append):
                mine[step.key].append(step.element)
            elif not set(mine[step.key]) <= set(step.elements):
                found["internal"] += 1


def _look_at_the_end(
    history: Sequence[Transaction], final: dict[str, tuple[int, ...]], found: Counter[str]
) -> None:
    stored = {element for elements in final.values() for element in elements}
    for transaction in history:
        mine = {s.element for s in transaction.steps if isinstance(s, Append)}
        if transaction.outcome == "committed":
            found["lost update"] += len(mine - stored)
        elif transaction.outcome == "aborted":
            found["G1a"] += len(mine & stored)
        elif mine & stored and mine - stored:
            found["half a transaction"] += 1


def _edges(
    history: Sequence[Transaction], orders: dict[str, tuple[int, ...]], writer: dict[int, int]
) -> tuple[Graph, Graph, Graph]:
    ww, wr, rw = defaultdict(set), defaultdict(set), defaultdict(set)
    for order in orders.values():
        for before, after in pairwise(order):
            ww[writer[before]].add(writer[after])
    for number, read in _reads(history):
        if read.elements:
            wr[writer[read.elements[-1]]].add(number)
        order = orders.get(read.key, ())
        if len(read.elements) < len(order):
            rw[number].add(writer[order[len(read.elements)]])
    for graph in (ww, wr, rw):
        for number, others in graph.items():
            others.discard(number)
    return dict(ww), dict(wr), dict(rw)


def _cycles(size: int, ww: Graph, wr: Graph, rw: Graph) -> Counter[str]:
    """The transactions in cycles, each under the strongest name that fits its component."""
    found: Counter[str] = Counter()
    found["G0"] = _in_cycles(size, [ww])
    found["G1c"] = _in_cycles(size, [ww, wr]) - found["G0"]
    component = _components(size, [ww, wr, rw])
    members: dict[int, list[int]] = defaultdict(list)
    for number, name in enumerate(component):
        members[name].append(number)
    for group in (group for group in members.values() if len(group) > 1):
        inside = set(group)
        closes = any(
            other in inside and _reaches(other, number, inside, [ww, wr])
            for number in group
            for other in rw.get(number, ())
        )
        if _in_cycles(size, [ww, wr], inside) == 0:
            found["G-single" if closes else "G2"] += 1
    return found


def _in_cycles(size: int, graphs: list[Graph], inside: set[int] | None = None) -> int:
    counts = Counter(_components(size, graphs, inside))
    return sum(count for count in counts.values() if count > 1)


def _reaches(start: int, goal: int, inside: set[int], graphs: list[Graph]) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        if here == goal:
            return True
        new = {o for graph in graphs for o in graph.get(here, ()) if o in inside} - seen
        seen |= new
        waiting += new
    return False


def _components(size: int, graphs: list[Graph], inside: set[int] | None = None) -> list[int]:
    """The strongly connected component of each transaction, by Tarjan, without recursion."""
    index, low, component = [-1] * size, [0] * size, [-1] * size
    stack: list[int] = []
    clock = 0
    for root in range(size) if inside is None else inside:
        if index[root] >= 0:
            continue
        work = [(root, iter(_next(root, graphs, inside)))]
        index[root] = low[root] = clock
        clock += 1
        stack.append(root)
        while work:
            node, others = work[-1]
            for other in others:
                if index[other] < 0:
                    index[other] = low[other] = clock
                    clock += 1
                    stack.append(other)
                    work.append((other, iter(_next(other, graphs, inside))))
                    break
                if component[other] < 0:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    while component[node] < 0:
                        component[stack.pop()] = node
    return component if inside is None else [component[number] for number in inside]


def _next(node: int, graphs: list[Graph], inside: set[int] | None) -> list[int]:
    return [
        other
        for graph in graphs
        for other in graph.get(node, ())
        if inside is None or other in inside
    ]

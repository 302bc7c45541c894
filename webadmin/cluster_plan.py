"""A plan as people read it: what is alike on several nodes is told once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pxeserver.api.schemas.clusters import LineView, PlanView
from pxeserver.hostlist import fold

SIGNS = {"create": "+", "change": "~", "remove": "−", "finish": "…"}
TONES = {"create": "ok", "change": "wait", "remove": "fail", "finish": "work"}


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes on which the same is done."""

    nodes: str
    count: int
    lines: tuple[LineView, ...]


def changes(plan: PlanView) -> list[LineView]:
    """The lines that are something to do."""
    return [line for line in plan.lines if line.action != "nothing"]


def grouped(plan: PlanView) -> list[Group]:
    """The changes by nodes; nodes with the same changes are put together."""
    by_node: dict[str, list[LineView]] = {}
    for line in changes(plan):
        by_node.setdefault(line.node, []).append(line)
    groups: dict[tuple[object, ...], list[str]] = {}
    for node, lines in by_node.items():
        key = tuple((line.step, line.action, line.details, line.destructive) for line in lines)
        groups.setdefault(key, []).append(node)
    return [Group(fold(nodes), len(nodes), tuple(by_node[nodes[0]])) for nodes in groups.values()]


def counted(plan: PlanView) -> list[tuple[str, int]]:
    """How many steps of each kind."""
    return sorted(Counter(line.action for line in changes(plan)).items())

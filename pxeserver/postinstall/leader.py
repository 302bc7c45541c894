"""What the steps' facts say of the Swarm: who founded it, who is in it, and which member leads.

The leader is the one manager that carries out what is done once for the whole cluster: the volume, the
Swarm's members and networks, the stacks. Any manager of the Swarm can; it changes only when it must.
"""

from __future__ import annotations

from collections.abc import Collection

from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.work import Facts, StepKey

INIT, JOIN, SWARM_MEMBERS = "swarm-init", "swarm-join", "swarm-members"


def node_id(facts: Facts, node: str) -> str | None:
    """The node's id in the Swarm, while it is in it."""
    for step in (INIT, JOIN):
        key = StepKey(node, step)
        if key not in facts.undone and (found := facts.steps.get(key, {}).get("node_id")):
            return str(found)
    return None


def founder(layout: Layout, facts: Facts) -> str | None:
    """The node whose swarm-init made the Swarm, while it is in it."""
    found = [n for n in layout.everyone if _reported(facts, n, INIT)]
    return min(found, key=lambda n: layout.everyone[n].index, default=None)


def swarm_id(layout: Layout, facts: Facts) -> str | None:
    """The Swarm's id; None while no manager is known to be in one."""
    if first := founder(layout, facts):
        return str(facts.steps[StepKey(first, INIT)]["swarm_id"])
    for name, place in layout.everyone.items():
        told = facts.told.get(StepKey(name, JOIN), {}).get("swarm_id")
        if place.manager and told and _reported(facts, name, JOIN):
            return str(told)
    return None


def token(layout: Layout, facts: Facts, leader: str) -> str | None:
    """The token that workers join with now: the leader's newest word, else what the founder was told."""
    names = [leader, *(n for n in layout.everyone if n != leader)]
    for step in (SWARM_MEMBERS, INIT):
        for name in names:
            if found := facts.secrets.get(StepKey(name, step), {}).get("worker_token"):
                return str(found)
    return None


def leader(layout: Layout, seen: Collection[str], facts: Facts, former: str | None = None) -> str | None:
    """The member that leads. `seen` are the nodes heard of lately, `former` is who led until now: it goes on
    unless it has left, or is not seen while another able manager is.

    Once there is a Swarm only its managers are able: the founder, and whom swarm-members reported. One that
    leaves leads until a member is able.
    """
    staying = list(layout.managers)
    left = [n for n in layout.leaving if n not in layout.lost]
    leaving = [n for n in left if layout.leaving[n].manager]
    known = promoted(layout, facts)

    def able(names: list[str]) -> list[str]:
        return [n for n in joined(names) if n in known]

    def joined(names: list[str]) -> list[str]:
        return [n for n in names if node_id(facts, n)]

    found = able(staying) or able(leaving) or joined(staying) or joined(leaving) or staying or leaving
    # When all is taken down and the managers have gone first, somebody still has to see to the rest.
    candidates = found or left
    ranked = sorted(candidates, key=lambda n: (n not in seen, n != former, layout.everyone[n].index))
    return ranked[0] if ranked else None


def promoted(layout: Layout, facts: Facts) -> set[str]:
    """Who is known to be a manager of the Swarm: the founder, and whom swarm-members reported."""
    found = {n for n in layout.everyone if _reported(facts, n, INIT)}
    for name in layout.everyone:
        found.update(map(str, facts.steps.get(StepKey(name, SWARM_MEMBERS), {}).get("managers", ())))
    return found


def demotable(layout: Layout, facts: Facts) -> bool:
    """Whether all that shall be managers are: only then others cease to be."""
    return set(layout.managers) <= promoted(layout, facts)


def _reported(facts: Facts, node: str, step: str) -> bool:
    key = StepKey(node, step)
    return bool(facts.steps.get(key)) and key not in facts.undone

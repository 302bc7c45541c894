"""Agents: arm a node, make a join command, compare a code, look at who speaks for a node."""

from __future__ import annotations

from pxeserver.api import checks
from pxeserver.api.access import limits
from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.agents import Admit, AgentView, Arm, ClaimView, JoinOrder, JoinView, Thaw
from pxeserver.boot.model import Node
from pxeserver.postinstall import claims
from pxeserver.postinstall.agents import AgentsStage


def stage(call: Call) -> AgentsStage:
    """The agents' part; 503 where the listener is switched off."""
    found = call.rooms.agents
    if found is None or found.listening is None:
        step = "Set agents.enabled = true and start the server again"
        raise Problem(503, "there is no agents' listener", "it is switched off", step)
    return found


async def show(call: Call) -> AgentView:
    """Who speaks for a node, and who may claim it."""
    return await view(call, checks.node(call))


async def view(call: Call, node: Node) -> AgentView:
    """The agent of a node as it is known now."""
    roll = stage(call).roll
    await roll.load()
    agent = roll.view(node)
    joined = agent is not None and bool(agent.key)
    return AgentView(
        node=node.name,
        joined=joined,
        frozen=agent is not None and agent.frozen,
        why=agent.why if agent else "",
        claimed_at=agent.claimed_at or None if agent else None,
        seen=agent.seen if agent else None,
        address=agent.address if agent else "",
        rung=agent.rung if agent and joined else 0,
        code=claims.code(agent.key) if agent and joined else "",
        facts=dict(agent.facts) if agent else {},
        claims=tuple(_claim(claim) for claim in await roll.claims_of(node)),
    )


def _claim(claim: claims.Claim) -> ClaimView:
    return ClaimView(
        kind=claim.kind,
        state=claim.state,
        armed_by=claim.armed_by,
        armed_at=claim.armed_at,
        expires=claim.expires,
        attempt=claim.attempt,
        used_at=claim.used_at,
        address=claim.address,
        why=claim.why,
        code=claims.code(claim.key) if claim.key else "",
        facts=dict(claim.facts),
    )


async def arm(call: Call) -> AgentView:
    """Arm a node for one claim by the machine that boots as it."""
    body: Arm = call.body
    node = checks.node(call)
    await stage(call).arming.arm(node.name, call.by, ask=body.ask, seconds=body.seconds)
    return await view(call, node)


async def join(call: Call) -> JoinView:
    """Make a join command. A node of this name is added where there is none."""
    body: JoinOrder = call.body
    agents, name = stage(call), call.part("name")
    limits.nodes(call, [name])
    address = body.address or (agents.extra and min(agents.extra)) or next(iter(_served(call, agents)), None)
    if address is None:
        step = "Name the server's address as the machine reaches it: `node join-command NAME --address A`"
        raise Problem(422, "no join command was made", "this host has no address", step)
    if address not in agents.addresses():
        step = f"It has: {', '.join(agents.addresses())}; others go into server.address"
        raise Problem(422, "no join command was made", f"this server is not {address}", step)
    if call.hall.node(name) is None:
        async with call.hall.edit(call.by) as edit:
            # Its machine runs already: the next unknown one that boots is another.
            await edit.add_nodes([Node(id=0, name=name)], take_machines=False)
    token, claim = await agents.arming.join_token(name, call.by, ask=body.ask, seconds=body.seconds)
    return JoinView(node=name, line=agents.join_line(address, token), expires=claim.expires)


def _served(call: Call, agents: AgentsStage) -> list[str]:
    """This host's addresses, those of the served links first."""
    served = [text.split(" ", 1)[1].split("/")[0] for text in call.rooms.worker.seen().interfaces]
    return [*(a for a in served if a in agents.addresses()), *agents.addresses()]


async def admit(call: Call) -> AgentView:
    """A person has compared the claimant's code."""
    body: Admit = call.body
    node = checks.node(call)
    await stage(call).arming.admit(node.name, body.code, call.by)
    return await view(call, node)


async def thaw(call: Call) -> AgentView:
    """A person has looked at a frozen node."""
    body: Thaw = call.body
    node = checks.node(call)
    await stage(call).arming.thaw(node.name, call.by, forget=body.forget)
    return await view(call, node)


ROUTES = (
    Route("GET", "/nodes/{name}/agent", show, "Who speaks for a node", "node", AgentView, need=look("node")),
    Route(
        "POST",
        "/nodes/{name}/arm",
        arm,
        "Let a node claim itself, once",
        "node",
        AgentView,
        body=Arm,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/join-command",
        join,
        "Make a join command",
        "node",
        JoinView,
        body=JoinOrder,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/admit",
        admit,
        "Admit a claimant",
        "node",
        AgentView,
        body=Admit,
        need=operate("node", within_labels=True),
    ),
    Route(
        "POST",
        "/nodes/{name}/thaw",
        thaw,
        "Thaw a frozen node",
        "node",
        AgentView,
        body=Thaw,
        need=operate("node", within_labels=True),
    ),
)

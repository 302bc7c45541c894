"""Step swarm-join: this node becomes a worker of the cluster's Swarm. Managers are made by promotion."""

from __future__ import annotations

from collections.abc import Sequence

from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import swarm
from pxeserver.agent.join.steps.engine import Engine, EngineRefused

SECONDS = 30.0
"""For the engine to answer (it does after 20), and again for a join that goes on after that."""
_GOING_ON = "continue in the background"
_REMOVED = ("removed from", "not part of", "node not found", "unknown certificate", "not authorized")


class SwarmJoin:
    """The step. The token comes sealed, and is asked for only when the node has yet to join."""

    name = "swarm-join"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """Whether this node is in the wanted Swarm, by the wanted address."""
        where = swarm.place(self._engine)
        if not where.active:
            return [Drift("Swarm", "active", where.error or where.state)]
        drift = []
        if where.swarm_id != want["swarm_id"]:
            drift.append(Drift("Swarm", want["swarm_id"], where.swarm_id or "unknown"))
        if where.address != want["advertise"]:
            drift.append(Drift("address in the Swarm", want["advertise"], where.address))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Join, at the first manager that answers."""
        where = swarm.place(self._engine)
        if where.state in (swarm.PENDING, swarm.ERROR) and not _lost(where):
            where = swarm.wait_for(self._engine, swarm.ACTIVE, SECONDS)
        if where.state != swarm.INACTIVE and not (where.active and where.swarm_id == want["swarm_id"]):
            self._let_go(where, tell)
            where = swarm.place(self._engine)
        if not where.active:
            tell(f"joining the Swarm at {', '.join(want['managers'])}")
            self._join(want, tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The node's id in the Swarm."""
        where = swarm.place(self._engine)
        if where.active and where.swarm_id == want["swarm_id"]:
            swarm.keep(where.swarm_id)
        return {"node_id": where.node_id}

    def undo(self, want: Want, tell: Tell) -> None:
        """Leave the Swarm; a manager has been made a worker before."""
        if self._engine.answers():
            swarm.leave(self._engine, tell)

    def _let_go(self, where: swarm.Place, tell: Tell) -> None:
        """Leave what this node was in before: a Swarm that has removed it, or one that the agent had brought
        it into. Somebody else's Swarm is not left.
        """
        if where.active and where.swarm_id != swarm.kept():
            raise StepFailed(
                f"this node is already in another Swarm ({where.swarm_id or 'unknown'}). If nobody needs it "
                "there, run `docker swarm leave --force` on it",
                retry=False,
            )
        if not where.active and not _lost(where):
            raise StepFailed(f"the Swarm on this node is {where.state}: {swarm.explained(where.error)}")
        swarm.leave(self._engine, tell)

    def _join(self, want: Want, tell: Tell) -> None:
        token = want.get("token")
        if not token:
            raise StepFailed("the server sent no token to join with")
        body = {
            "ListenAddr": f"{want['advertise']}:{swarm.PORT}",
            "AdvertiseAddr": want["advertise"],
            "DataPathAddr": want["advertise"],
            "RemoteAddrs": _in_turn(want["managers"], want["advertise"]),
            "JoinToken": token,
            # No containers before its gate has passed: the leader makes it active then.
            "Availability": "pause",
        }
        try:
            self._engine.post("/swarm/join", body, timeout=SECONDS)
        except EngineRefused as why:
            if _GOING_ON not in why.reason:
                # What was begun and refused is left behind as a Swarm in error.
                swarm.leave(self._engine, tell)
                raise _failed(why.reason, want) from why
        where = swarm.wait_for(self._engine, swarm.ACTIVE, SECONDS)
        if not where.active:
            swarm.leave(self._engine, tell)
            raise _failed(where.error or "the managers did not take this node in", want)


def _lost(where: swarm.Place) -> bool:
    """Whether the Swarm has turned this node away for good."""
    return where.state == swarm.ERROR and any(words in where.error for words in _REMOVED)


def _in_turn(managers: Sequence[str], own: str) -> list[str]:
    """The managers, beginning with another one on each node."""
    start = sum(own.encode()) % len(managers) if managers else 0
    return [*managers[start:], *managers[:start]]


def _failed(reason: str, want: Want) -> StepFailed:
    token = str(want["token"])
    return StepFailed(f"not joined: {swarm.explained(reason.replace(token, '…'), want['advertise'])}")

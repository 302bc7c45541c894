"""Step swarm-init: this node founds the Swarm. Once in a Swarm's life."""

from __future__ import annotations

from pxeserver.agent.join.step import SECRETS, Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import swarm
from pxeserver.agent.join.steps.engine import Engine, EngineRefused, QuorumLost

SUBNET_SIZE = 24
SECONDS = 90.0
_SECOND = 1_000_000_000


class SwarmInit:
    """The step. Of the tokens it tells only the workers'; managers are made by promotion."""

    name = "swarm-init"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """Whether this node is in a Swarm, by the wanted address."""
        where = swarm.place(self._engine)
        if not where.active:
            return [Drift("Swarm", "active", where.error or where.state)]
        if where.address != want["advertise"]:
            return [Drift("address in the Swarm", want["advertise"], where.address)]
        have = self._heartbeat() if where.manager else None
        if have is not None and have != _nanoseconds(want):
            return [Drift("heartbeat of the Swarm", f"{want['heartbeat']} s", f"{have / _SECOND:g} s")]
        return []

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Found it, unless that was done; a node that has lost the Swarm it founded founds no other."""
        where = swarm.place(self._engine)
        if where.state in (swarm.PENDING, swarm.ERROR):
            where = swarm.wait_for(self._engine, swarm.ACTIVE, SECONDS / 3)
        if where.active:
            self._ours(where, want)
        elif where.state != swarm.INACTIVE:
            raise StepFailed(f"the Swarm on this node is {where.state}: {swarm.explained(where.error)}")
        elif former := swarm.kept():
            raise StepFailed(
                f"this node founded the Swarm {former} and has lost its part of it. Founding another would "
                "split the cluster: replace the node, so that it joins the others again",
                retry=False,
            )
        else:
            tell(f"founding a Swarm at {want['advertise']}")
            self._init(want)
        self._set_heartbeat(want)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The Swarm's id, the node's, and the token that workers join with, where this node may know it."""
        where = swarm.place(self._engine)
        facts: dict[str, object] = {"swarm_id": where.swarm_id, "node_id": where.node_id}
        if where.manager:
            try:
                found = self._engine.get("/swarm")
            except QuorumLost as why:
                raise swarm.quorum_lost(where, why.reason) from why
            swarm.keep(where.swarm_id)
            facts[SECRETS] = {"worker_token": found["JoinTokens"]["Worker"]}
        return facts

    def undo(self, want: Want, tell: Tell) -> None:
        """Leave the Swarm."""
        if self._engine.answers():
            swarm.leave(self._engine, tell)

    def _init(self, want: Want) -> None:
        # The engine would notice when it makes its first overlay network, and then only in its journal.
        if holder := swarm.holder(want["data_path_port"], "udp"):
            raise StepFailed(
                f"UDP port {want['data_path_port']}, which overlay networks need, is in use: {holder}"
            )
        body = {
            "ListenAddr": f"{want['advertise']}:{swarm.PORT}",
            "AdvertiseAddr": want["advertise"],
            "DataPathAddr": want["advertise"],
            "DataPathPort": want["data_path_port"],
            "DefaultAddrPool": list(want["pools"]),
            "SubnetSize": SUBNET_SIZE,
            # No containers before its gate has passed: the leader makes it active then.
            "Availability": "pause",
            "Spec": {"Name": "default", "Dispatcher": {"HeartbeatPeriod": _nanoseconds(want)}},
        }
        try:
            self._engine.post("/swarm/init", body, timeout=SECONDS)
        except EngineRefused as why:
            raise StepFailed(f"no Swarm: {swarm.explained(why.reason, want['advertise'])}") from why

    def _heartbeat(self) -> int | None:
        """Nanoseconds between the nodes' signs of life; None while nobody can say."""
        try:
            found = self._engine.get("/swarm")
        except StepFailed:
            return None
        return int(found["Spec"].get("Dispatcher", {}).get("HeartbeatPeriod") or 0)

    def _set_heartbeat(self, want: Want) -> None:
        if self._heartbeat() in (None, _nanoseconds(want)):
            return
        found = self._engine.get("/swarm")
        spec = found["Spec"] | {"Dispatcher": {"HeartbeatPeriod": _nanoseconds(want)}}
        self._engine.post("/swarm/update", spec, {"version": found["Version"]["Index"]})

    def _ours(self, where: swarm.Place, want: Want) -> None:
        """An agent that was killed between founding and telling finds a Swarm with nobody else in it."""
        if where.swarm_id and where.swarm_id == swarm.kept():
            if where.address != want["advertise"]:
                raise StepFailed(
                    f"this node is in its Swarm as {where.address}, and {want['advertise']} is wanted. A "
                    "Swarm knows a node by its address: remove the node from the cluster and add it again",
                    retry=False,
                )
            return
        alone = (
            where.manager and len(self._engine.listed("/nodes")) == 1 and where.address == want["advertise"]
        )
        if not alone:
            raise StepFailed(
                f"this node is already in another Swarm ({where.swarm_id or 'unknown'}). If nobody needs it "
                "there, run `docker swarm leave --force` on it",
                retry=False,
            )


def _nanoseconds(want: Want) -> int:
    return int(want["heartbeat"]) * _SECOND

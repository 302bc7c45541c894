"""What people decide about agents: arm a node, make a join token, admit a claimant, thaw a node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pxeserver.boot.model import Node
from pxeserver.boot.secret import Secret
from pxeserver.live import Missing, Refused
from pxeserver.postinstall import claims, sealing
from pxeserver.postinstall.claims import ARMED_SECONDS, Claim
from pxeserver.postinstall.roll import Roll
from pxeserver.storage.claims import Agents, Claims


class Arming:
    """The orders of people, on the roll."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    async def arm(self, name: str, by: str, *, ask: bool = False, seconds: float = ARMED_SECONDS) -> Claim:
        """Let the next boot of a node claim it, once; earlier arming is taken back.

        With `ask` a person has to compare the claimant's code. Missing; Refused where the node is frozen.
        """
        node = self._node(name)
        return await self._allow(node, by, claims.ATTEMPT, ask=ask, seconds=seconds)

    async def arm_members(self, names: Iterable[str], by: str) -> list[str]:
        """Arm those of these nodes that no agent speaks for yet and that are not armed already; which.

        For whoever applies a cluster. Frozen nodes and unknown names are left out.
        """
        armed = []
        await self._roll.load()
        for name in names:
            node = self._roll.hall.node(name)
            if node is None or ((agent := self._roll.view(node)) and (agent.key or agent.frozen)):
                continue
            if not any(claim.is_open(self._roll.clock()) for claim in await self._roll.claims_of(node)):
                await self.arm(name, by)
                armed.append(name)
        return armed

    async def join_token(
        self, name: str, by: str, *, ask: bool = False, seconds: float = ARMED_SECONDS
    ) -> tuple[Secret, Claim]:
        """A token that a machine joins as this node with, once; earlier ones are taken back. As `arm`."""
        token = sealing.new_token()
        digest = sealing.digest(token)
        return token, await self._allow(
            self._node(name), by, claims.TOKEN, ask=ask, seconds=seconds, token_sha256=digest
        )

    async def _allow(
        self, node: Node, by: str, kind: str, *, ask: bool, seconds: float, token_sha256: str = ""
    ) -> Claim:
        async with self._roll.one:
            await self._roll.load()
            if why := self._roll.frozen(node):
                step = f"look at {node.name}, then `pxeserver node thaw {node.name}`"
                raise Refused(f"node {node.name} is not armed", why, step)
            now = self._roll.clock()
            state: claims.State = "asks" if ask else "armed"
            claim = Claim(node.id, kind, by, now, now + seconds, state, token_sha256=token_sha256)
            async with self._roll.hall.database.write() as connection:
                await Claims(connection).revoke_open(node.id, f"armed anew by {by}", kind)
                claim = await Claims(connection).add(claim)
                await self._roll.trail(connection, by, "arm", node, {"kind": ["", kind]})
        return claim

    async def admit(self, name: str, code: str, by: str) -> Claim:
        """A person has compared the code of the waiting claimant. Missing; Refused where it is another's."""
        node = self._node(name)
        async with self._roll.one:
            now = self._roll.clock()
            waiting = [c for c in await self._roll.claims_of(node) if c.state == "waiting" and c.is_open(now)]
            if not waiting:
                raise Refused("nobody is admitted", f"no claim for {name} waits for approval", "look again")
            if not claims.same_code(code, waiting[0].key):
                why = f"the machine that claims {name} from {waiting[0].address} shows another code"
                step = "compare again; if it stays so, somebody else claims this node"
                raise Refused("nobody is admitted", why, step)
            admitted = replace(waiting[0], state="approved")
            async with self._roll.hall.database.write() as connection:
                await Claims(connection).put(admitted)
                await self._roll.trail(connection, by, "admit", node, {"address": ["", admitted.address]})
        return admitted

    async def thaw(self, name: str, by: str, *, forget: bool = False) -> None:
        """A person has looked at a frozen node. With `forget` its agent is dropped as well: whoever speaks
        for it has to claim anew, and be armed for it. Missing; Refused where it is not frozen.
        """
        node = self._node(name)
        async with self._roll.one:
            await self._roll.load()
            agent = self._roll.view(node)
            if agent is None or not (agent.frozen or forget):
                raise Refused(f"node {name} is not thawed", "it is not frozen", "`pxeserver node show` tells")
            drop = forget or not agent.key
            async with self._roll.hall.database.write() as connection:
                if drop:
                    await Agents(connection).remove(node.id)
                else:
                    await Agents(connection).put(replace(agent, frozen=False, why=""))
                await Claims(connection).revoke_open(node.id, f"thawed by {by}")
                await self._roll.trail(connection, by, "thaw", node, {"frozen": [agent.why, ""]})
            if drop:
                self._roll.drop(agent)
            else:
                self._roll.remember(replace(agent, frozen=False, why=""))

    def _node(self, name: str) -> Node:
        node = self._roll.hall.node(name)
        if node is None:
            raise Missing("node", name)
        return node

"""The agents' listener: TLS, four addresses, and whatever is not named here is refused.

GET  /v1/hello    the time and the authority's certificate; asked first, before there is trust
GET  /agent.pyz   the agent itself; the join command knows its sha256
POST /v1/claim    answered with a box that only the claimant opens
POST /v1/poll     an agent with its bearer token: what became of its work, and what to do next
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from pxeserver.live import Unavailable
from pxeserver.postinstall import sealing, wire
from pxeserver.postinstall.admission import Admission, Granted
from pxeserver.postinstall.claims import Freeze, Wait
from pxeserver.postinstall.listener_limits import HANDSHAKE_SECONDS, Connections, Pace, body_of
from pxeserver.postinstall.polls import LONGEST_WAIT, Answer, ForAgents
from pxeserver.postinstall.roll import Roll
from pxeserver.storage.claims import Agent

log = logging.getLogger(__name__)

_AWAY_SECONDS = 5
"""Retry-After while the database is away."""

Handler = Callable[[web.BaseRequest, str], Awaitable[web.Response]]


class AgentsListener:
    """Answers the agents on one socket. `pem` is the authority's certificate, `pack` the agent's file."""

    def __init__(
        self, roll: Roll, admission: Admission, clusters: ForAgents, *, pem: str, pack: bytes
    ) -> None:
        self._roll, self._admission = roll, admission
        self._clusters = clusters
        self._pem, self._pack = pem, pack
        self._strangers = Pace(rate=1.0, burst=30.0)
        self._known = Pace(rate=20.0, burst=200.0)
        self._server: asyncio.Server | None = None
        self._connections: Connections | None = None
        self._public: dict[tuple[str, str], Handler] = {
            ("GET", "/v1/hello"): self._hello,
            ("GET", "/agent.pyz"): self._send_pack,
            ("POST", "/v1/claim"): self._claim,
        }
        self.refused = 0
        """Requests without a right to what they asked for."""

    async def start(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Serve on this socket, which stays the caller's."""
        self._connections = Connections(self._handle)
        self._server = await asyncio.get_running_loop().create_server(
            self._connections,
            sock=sock.dup(),
            ssl=context,
            backlog=1024,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=2.0,
        )

    async def stop(self) -> None:
        """Take no new connections and end those that are there; agents come again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._connections is not None:
            self._connections.pre_shutdown()
            await self._connections.shutdown(0.5)
            self._connections = None

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        address = request.remote or ""
        try:
            return await self._dispatch(request, address)
        except web.HTTPException as error:
            response = _say(error.status, error.text or error.reason)
            response.force_close()
            return response
        except Unavailable as away:
            return _say(503, str(away), {"Retry-After": str(_AWAY_SECONDS)})
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("agents listener failed", extra={"address": address, "path": request.path[:100]})
            return _say(500, "the server failed; its log says why")

    async def _dispatch(self, request: web.BaseRequest, address: str) -> web.Response:
        public = self._public.get((request.method, request.path))
        if public is not None:
            if not self._strangers.takes(address, time.monotonic()):
                return _say(429, "too many requests; come again", {"Retry-After": "5"})
            return await public(request, address)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        await self._roll.load()
        speaker = self._roll.speaks(token) if scheme == "Bearer" and token else None
        if speaker is None:
            self.refused += 1
            if not self._strangers.takes(address, time.monotonic()):
                return _say(429, "too many requests; come again", {"Retry-After": "5"})
            return _say(401, "this is for agents that have claimed their node")
        if (request.method, request.path) != ("POST", "/v1/poll"):
            return _say(404, "no such operation")
        agent, node = speaker
        if not self._known.takes(str(agent.node_id), time.monotonic()):
            return _say(429, "too many polls; come again", {"Retry-After": "2"})
        if agent.frozen:
            return _say(409, f"node {node.name} is frozen: {agent.why}")
        return await self._poll(request, address, agent, node.name)

    # ------------------------------------------------------------------------------------------ answers

    async def _hello(self, _request: web.BaseRequest, _address: str) -> web.Response:
        return _json(200, {"now": time.time(), "ca": self._pem, "server": "pxeserver"})

    async def _send_pack(self, _request: web.BaseRequest, _address: str) -> web.Response:
        return web.Response(body=self._pack, content_type="application/octet-stream")

    async def _claim(self, request: web.BaseRequest, address: str) -> web.Response:
        try:
            asked = wire.claim(await body_of(request))
            outcome = await self._admission.claim(
                asked.key,
                wire.clean_facts(asked.facts),
                address,
                nonce=asked.nonce,
                attempt=asked.attempt or "",
                token=asked.token or "",
            )
        except (msgspec.MsgspecError, ValueError) as error:
            return _say(400, f"the claim is malformed: {error}")
        if isinstance(outcome, Granted):
            return _json(200, {"sealed": outcome.sealed, "now": time.time()})
        if isinstance(outcome, Wait):
            body: dict[str, Any] = {"wait": outcome.seconds, "why": outcome.why}
            return _json(202, body | ({"code": outcome.code} if outcome.code else {}))
        return _say(409 if isinstance(outcome, Freeze) else 403, outcome.why)

    async def _poll(self, request: web.BaseRequest, address: str, agent: Agent, node: str) -> web.Response:
        try:
            report = wire.report(await body_of(request))
        except (msgspec.MsgspecError, ValueError) as error:
            return _say(400, f"the report is malformed: {error}")
        self._roll.heard(agent, address, report.instance)
        report = replace(report, wait=min(max(report.wait, 0.0), LONGEST_WAIT))
        answer = await self._clusters.poll(node, report)
        if self._roll.speaks_still(agent):
            return _json(200, _told(answer, agent.key))
        # Frozen or replaced while the poll was held: it gets nothing of what was meant for the node.
        return _say(409, f"node {node} is frozen, or another agent speaks for it now")


def _told(answer: Answer, key: str) -> dict[str, Any]:
    """An answer as it travels: the work's secrets are sealed to the node's key."""
    work: dict[str, Any] | None = None
    if answer.work is not None:
        given = answer.work
        work = {
            "id": given.id,
            "verb": given.verb,
            "step": given.step,
            "want": given.want,
            "sealed": sealing.seal(key, given.secrets) if given.secrets else None,
            "timeout": given.timeout,
        }
    return {"now": time.time(), "work": work, "cancel": list(answer.cancel)}


def _say(status: int, why: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(status, {"why": why}, headers)


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(status=status, body=text, content_type="application/json", headers=headers)

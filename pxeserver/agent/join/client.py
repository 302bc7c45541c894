"""Talking to the server: first a word without trust, then TLS that only the pinned authority vouches for."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from pxeserver.agent.join.clock import TOLERANCE, Clock
from pxeserver.agent.join.secret import Secret

LARGEST = 4 << 20
"""Bytes of an answer: a want may hold Compose files."""
PATIENCE = 15.0
"""Seconds without an answer before it counts as away; polls add the time they are held."""
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


class Away(Exception):  # noqa: N818 - a state of the world that the caller waits out
    """No answer, or one that says to come again."""


class WrongServer(Away):
    """Somebody answers who is not the server that this node was told of."""


class Refused(Exception):  # noqa: N818 - what the server said
    """The server understood and said no; `status` is that of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Client:
    """One server, `host:port`, known by the sha256 (hex) of its authority's certificate."""

    def __init__(self, server: str, pin: str, clock: Clock, say: Callable[[str], None]) -> None:
        host, colon, port = server.rpartition(":")
        if not colon or not host or not port.isdigit():
            raise ValueError(f"not a server: {server!r}, it has to be HOST:PORT")
        if not re.fullmatch(r"[0-9a-f]{64}", pin.lower()):
            raise ValueError("the authority has to be named by a sha256, 64 hex digits")
        self.host, self.port, self.pin = host, int(port), pin.lower()
        self._clock, self._say = clock, say
        self._context: ssl.SSLContext | None = None
        self._connection: http.client.HTTPSConnection | None = None
        self.offset = 0.0
        """Seconds that this clock is behind the server's, by the newest answer."""

    @property
    def met(self) -> bool:
        """Whether the authority's certificate is here."""
        return self._context is not None

    def meet(self, *, may_step: bool) -> None:
        """Fetch the authority's certificate and check it against the pin; set the clock if it is off and it
        may be; then speak with trust once, and correct the clock by that answer. Away, WrongServer.
        """
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        told = self._once(unverified, "GET", "/v1/hello")[1]
        pem = str(told.get("ca", ""))
        self._check(pem)
        # Nothing but the time is taken from this answer, and only for as long as trust needs it.
        self._note(told)
        if may_step and abs(self.offset) > TOLERANCE:
            self._set_clock("the server's word")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=pem)
        self._context = context
        try:
            self._ask("GET", "/v1/hello")
        except BaseException:
            self._context = None
            raise
        if may_step and abs(self.offset) > TOLERANCE:
            self._set_clock("the server's answer over TLS")

    def _check(self, pem: str) -> None:
        found = _PEM.fullmatch(pem.strip() + "\n")
        try:
            der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
        except ValueError:
            der = b""
        if hashlib.sha256(der).hexdigest() != self.pin:
            raise WrongServer(
                f"{self.host}:{self.port} is not the server this node was told of:"
                " its certificate authority is another one"
            )

    def _set_clock(self, source: str) -> None:
        by = self.offset
        if self._clock.step(by):
            self._say(f"the clock was off by {by:+.1f} s; set it by {source}")
            self.offset = 0.0
        else:
            self._say(f"the clock is off by {by:+.1f} s and cannot be set here")

    def claim(self, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Claim: 200 with the sealed box, or 202 with what is waited for. Away, Refused."""
        return self._ask("POST", "/v1/claim", body)

    def poll(self, token: Secret, body: Mapping[str, Any]) -> dict[str, Any]:
        """Poll: what to do next. Away, Refused."""
        return self._ask("POST", "/v1/poll", body, token, held=float(body.get("wait") or 0.0))[1]

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: Secret | None = None,
        *,
        held: float = 0.0,
    ) -> tuple[int, dict[str, Any]]:
        if self._context is None:
            raise Away("the server's certificate authority is not here yet")
        status, answer = self._once(
            self._context, method, path, body=body, token=token, patience=PATIENCE + held
        )
        if status in (200, 202):
            self._note(answer)
            return status, answer
        why = str(answer.get("why") or f"HTTP {status}")[:500]
        if status in (408, 425, 429) or status >= 500:
            raise Away(f"{self.host} cannot answer now: {why}")
        raise Refused(status, why)

    def _note(self, answer: Mapping[str, Any]) -> None:
        now = answer.get("now")
        if isinstance(now, (int, float)) and 0 < now < 1 << 36:
            self.offset = float(now) + self._trip / 2 - self._clock.now()

    _trip = 0.0
    """Seconds that the newest answer was under way, at most; a held poll does not count."""

    def _once(
        self,
        context: ssl.SSLContext,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        token: Secret | None = None,
        patience: float = PATIENCE,
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.reveal()}"
        connection, self._connection = self._connection, None
        if connection is None or connection._context is not context:  # type: ignore[attr-defined]
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=patience, context=context)
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(patience)
            begun = time.monotonic()
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            took = time.monotonic() - begun
            raw = response.read(LARGEST + 1)
        except ssl.SSLCertVerificationError as wrong:
            connection.close()
            raise WrongServer(
                f"{self.host}:{self.port} has no valid certificate: {wrong.verify_message}"
            ) from wrong
        except (OSError, http.client.HTTPException) as broken:
            connection.close()
            why = getattr(broken, "strerror", None) or str(broken) or type(broken).__name__
            raise Away(f"no answer from {self.host}:{self.port}: {why}") from broken
        if response.will_close or len(raw) > LARGEST:
            connection.close()
        else:
            self._connection = connection
        self._trip = min(took, 0.5) if patience <= PATIENCE else 0.0
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = {"why": raw[:200].decode("utf-8", "replace")}
        return response.status, answer if isinstance(answer, dict) else {}

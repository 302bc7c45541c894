"""The agents' part of the control process: authority, admission and listener, and what a join command is made
of.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shlex
import socket
import ssl
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field

from pxeserver.boot.secret import Secret
from pxeserver.live import Hall
from pxeserver.postinstall import agentpack
from pxeserver.postinstall.admission import Admission
from pxeserver.postinstall.arming import Arming
from pxeserver.postinstall.authority import Authority, context
from pxeserver.postinstall.listener import AgentsListener
from pxeserver.postinstall.neighbours import mac_of, own_addresses
from pxeserver.postinstall.polls import Answer, ForAgents, Report
from pxeserver.postinstall.roll import Roll

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
"""How often the host's addresses are looked at: the certificate names each."""


class NoClusters:
    """A server without clusters: agents are there and have nothing to do."""

    async def poll(self, node: str, report: Report, now: float | None = None) -> Answer:
        """Nothing to do, after the time the poll may be held."""
        await asyncio.sleep(report.wait)
        return Answer()

    async def joined(self, node: str, *, fresh: bool) -> str | None:
        """It is in no cluster."""
        return None


@dataclass(slots=True)
class AgentsStage:
    """Everything that agents reach. `listening` is None where the listener is switched off."""

    hall: Hall
    authority: Authority
    roll: Roll
    admission: Admission
    arming: Arming
    listening: socket.socket | None
    port: int
    extra: frozenset[str]
    """Addresses that nodes are told and this host does not have, e.g. a router's."""
    clusters: ForAgents
    pack: bytes
    listener: AgentsListener | None = None
    _context: ssl.SSLContext | None = None
    _named: frozenset[str] = field(default_factory=frozenset)
    _renewed: float = -math.inf

    @classmethod
    def build(
        cls,
        authority: Authority,
        hall: Hall,
        listening: socket.socket | None,
        *,
        port: int,
        address: str | None = None,
        clusters: ForAgents | None = None,
    ) -> AgentsStage:
        """Make the parts; `address` is one that nodes are told besides the host's own."""
        served = clusters or NoClusters()
        extra = frozenset({address} if address else ())
        roll = Roll(hall)
        admission = Admission(roll, served, mac_of)
        pack = agentpack.pack()
        return cls(hall, authority, roll, admission, Arming(roll), listening, port, extra, served, pack)

    async def start(self) -> None:
        """Listen."""
        if self.listening is None:
            return
        await self._certify()
        if self._context is None:
            return
        self.listener = AgentsListener(
            self.roll, self.admission, self.clusters, pem=self.authority.pem, pack=self.pack
        )
        await self.listener.start(self.listening, self._context)

    async def stop(self) -> None:
        """Answer no more."""
        if self.listener is not None:
            await self.listener.stop()
            self.listener = None

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [self._certify_for_ever(), self.roll.keep()]

    async def _certify_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._certify()
            except (OSError, ValueError) as error:
                log.error("the agents' certificate is not renewed", extra={"error": error})

    async def _certify(self) -> None:
        """Have a certificate for the addresses of now; new connections get it."""
        named = await asyncio.to_thread(own_addresses) | self.extra
        if named == self._named and time.monotonic() < self._renewed + 86_400:
            return
        path = await asyncio.to_thread(self.authority.listener, named, {socket.gethostname()}, time.time())
        if self._context is None:
            self._context = context(path)
        else:
            self._context.load_cert_chain(path)
        self._named, self._renewed = named, time.monotonic()

    # ------------------------------------------------------------------------------------------ joining

    def addresses(self) -> list[str]:
        """The addresses under which nodes may reach the listener."""
        return sorted(self._named)

    def join_line(self, address: str, token: Secret) -> str:
        """The one line to paste into a root shell of a Debian machine. It holds the token: it is for one
        person's eyes, and of no use once it was used or half an hour has passed.
        """
        url = f"https://{address}:{self.port}/agent.pyz"
        get = (
            "import ssl,sys,urllib.request as r;"
            'open(sys.argv[2],"wb").write('
            "r.urlopen(sys.argv[1],context=ssl._create_unverified_context()).read())"
        )
        words = [
            "f=$(mktemp)",
            "{ command -v python3 >/dev/null || { apt-get update && apt-get install -y python3; }; }",
            f"{{ curl -fsSk -o $f {url} 2>/dev/null || python3 -c {shlex.quote(get)} {url} $f; }}",
            f'echo "{agentpack.sha256(self.pack)}  $f" | sha256sum -c --quiet',
            f"echo {token.reveal()} | python3 $f join"
            f" --server {address}:{self.port} --ca {self.authority.pin}",
        ]
        return " && ".join(words)

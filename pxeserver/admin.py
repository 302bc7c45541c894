"""The admin plane in the control process: two listeners, their certificate, and who may enter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import ipaddress
import logging
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pxeserver.api import application
from pxeserver.api.access.demo import Demo
from pxeserver.api.access.guard import Access
from pxeserver.api.access.hosts import Hosts
from pxeserver.api.access.login import Login
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.register import Register
from pxeserver.api.rooms import Certificate
from pxeserver.api.routing import Rooms
from pxeserver.config.admin import AdminSettings
from pxeserver.live import Hall, Refused
from pxeserver.postinstall.authority import Authority
from pxeserver.postinstall.neighbours import own_addresses

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
"""How often the host's addresses and the certificate's file are looked at."""
_HANDSHAKE_SECONDS = 10.0
_IDLE_SECONDS = 15.0
"""A connection that sends no (whole) request for so long is closed."""
_CONNECTIONS, _PER_ADDRESS = 1024, 256
"""Connections at once: in all, and of one address (a site behind one router, or a proxy)."""
_FILE = "admin.pem"


@dataclass(slots=True)
class AdminStage:
    """The listeners that browsers and programs reach, and what decides who enters."""

    settings: AdminSettings
    access: Access
    authority: Authority
    over_tls: socket.socket | None
    on_loopback: socket.socket | None
    address: str | None
    """An address that the server is reached by and does not have, e.g. a router's."""
    shown: Certificate | None = None
    _code: str = ""
    _context: ssl.SSLContext | None = None
    _state: tuple[Any, ...] = ()
    _renewed: float = -math.inf
    _runner: web.AppRunner | None = None
    _servers: list[asyncio.Server] = field(default_factory=list)

    @classmethod
    def build(
        cls,
        settings: AdminSettings,
        hall: Hall,
        authority: Authority,
        folder: Path,
        *,
        over_tls: socket.socket | None,
        on_loopback: socket.socket | None,
        address: str | None = None,
    ) -> AdminStage:
        """Make the parts; `folder` keeps the set-up code."""
        passwords = Passwords()
        register = Register(hall, Demo(folder), passwords, time.time)
        hosts = Hosts((*settings.hosts, *([address] if address else [])))
        access = Access(hall, register, Login(register, passwords), passwords, hosts)
        return cls(settings, access, authority, over_tls, on_loopback, address)

    async def start(self, rooms: Rooms) -> None:
        """Listen. What cannot be served is told in the log: the boot plane goes on."""
        if self.over_tls is None and self.on_loopback is None:
            return
        app = application.on_admin_plane(rooms, self.access, _pages())
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            handler_cancellation=False,
            shutdown_timeout=1,
            auto_decompress=False,
        )
        await self._runner.setup()
        await self._look()
        with contextlib.suppress(Refused):  # the database may come later
            await self.access.register.load()
        self._code = await asyncio.to_thread(self.access.register.code)
        protocol = _bounded(self._runner.server)
        loop = asyncio.get_running_loop()
        if self.on_loopback is not None:
            self._servers.append(await loop.create_server(protocol, sock=self.on_loopback.dup(), backlog=256))
        if self.over_tls is not None and self._context is not None:
            server = await loop.create_server(
                protocol,
                sock=self.over_tls.dup(),
                ssl=self._context,
                backlog=256,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=2.0,
            )
            self._servers.append(server)

    async def stop(self) -> None:
        """Take no new connections, end those that are there, write down what was used."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.access.passwords.close()

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [self._look_for_ever(), self.access.register.keep()]

    def told(self) -> dict[str, str]:
        """For the start-up lines: the certificate, and the set-up code until there is a password."""
        if self._runner is None:
            return {}
        shown = self.shown
        told = {"code": self._code}
        return told | ({"sha256": shown.sha256, "problem": shown.problem} if shown is not None else {})

    def certificate(self) -> Certificate | None:
        """What browsers are shown now."""
        return self.shown if self.over_tls is not None else None

    # ------------------------------------------------------------------------------------------ certificate

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self._look()
            except (OSError, ValueError) as error:
                log.error("the admin plane's certificate is not renewed", extra={"error": error})

    async def _look(self) -> None:
        """Know this host's addresses, and have a certificate for them; new connections get it."""
        own = await asyncio.to_thread(own_addresses)
        self.access.hosts.own = own
        if self.over_tls is None:
            return
        state = (own, await asyncio.to_thread(_stamps, self.settings))
        if state == self._state and time.monotonic() < self._renewed + 86_400:
            return
        self.shown, context = await asyncio.to_thread(self._certify, own)
        self._context = self._context or context
        self._state, self._renewed = state, time.monotonic()

    def _certify(self, own: frozenset[str]) -> tuple[Certificate, ssl.SSLContext]:
        context = self._context or _tls()
        problem = ""
        if self.settings.certificate is not None:
            try:
                _tls().load_cert_chain(self.settings.certificate, self.settings.key)
                context.load_cert_chain(self.settings.certificate, self.settings.key)
                return _shown(self.settings.certificate, None, ""), context
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                problem = f"{self.settings.certificate} cannot be used: {error}"
                log.error("the configured certificate is not used", extra={"error": problem})
        hosts = self.access.hosts
        names = {n for n in hosts.names | hosts.configured if not _is_address(n)} | {"localhost"}
        addresses = own | {n for n in hosts.configured if _is_address(n)} | {"127.0.0.1"}
        path = self.authority.listener(addresses, names, time.time(), _FILE)
        context.load_cert_chain(path)
        return _shown(path, self.authority, problem), context


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamps(settings: AdminSettings) -> tuple[int, ...]:
    stamps = []
    for path in (settings.certificate, settings.key):
        try:
            stamps.append(path.stat().st_mtime_ns if path is not None else 0)
        except OSError:
            stamps.append(-1)
    return tuple(stamps)


def _shown(path: Path, authority: Authority | None, problem: str) -> Certificate:
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(str(name.value) for name in found)
    except x509.ExtensionNotFound:
        names = ()
    return Certificate(
        sha256=_fingerprint(certificate),
        names=names,
        not_after=certificate.not_valid_after_utc.timestamp(),
        issuer=certificate.issuer.rfc4514_string(),
        authority=authority.pem if authority else "",
        authority_sha256=_fingerprint(authority.certificate) if authority else "",
        problem=problem,
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest().hex(":").upper()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _pages() -> Callable[[web.Application, Rooms], None] | None:
    """The web pages, where they are installed."""
    if importlib.util.find_spec("webadmin") is None:
        return None
    return importlib.import_module("webadmin.application").add_pages  # type: ignore[no-any-return]


def _bounded(server: Any) -> Callable[[], asyncio.Protocol]:
    """aiohttp's server, hanging up where an address, or all together, hold too many connections."""
    addresses: Counter[str] = Counter()
    held: dict[Any, str] = {}
    made, lost = server.connection_made, server.connection_lost

    def connection_made(handler: Any, transport: asyncio.Transport) -> None:
        made(handler, transport)
        peer = transport.get_extra_info("peername")
        held[handler] = address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        addresses[address] += 1
        if addresses[address] > _PER_ADDRESS or len(held) > _CONNECTIONS:
            transport.abort()

    def connection_lost(handler: Any, error: BaseException | None = None) -> None:
        lost(handler, error)
        address = held.pop(handler, None)
        if address is not None:
            addresses[address] -= 1
            if not addresses[address]:
                del addresses[address]

    # aiohttp has no limit of its own, and makes its server where no class of ours can take its place.
    server.connection_made, server.connection_lost = connection_made, connection_lost
    protocol: Callable[[], asyncio.Protocol] = server
    return protocol

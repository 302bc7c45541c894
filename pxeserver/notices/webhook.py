"""A webhook: one alarm as a signed POST.

The signature is HMAC-SHA256 (RFC 2104) with the target's secret over time stamp, full stop and body:

    X-Pxeserver-Timestamp: 1767225600
    X-Pxeserver-Signature: sha256=<hex of HMAC(secret, "1767225600." + body)>

Redirects are not followed, proxies of the environment are not asked, and of the answer the status alone is
read: nothing of what is behind an address comes back to whoever gave it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Callable

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from pxeserver import __version__
from pxeserver.notices.alarms import Alarm
from pxeserver.notices.result import Result
from pxeserver.notices.targets import Target, check_address

TIMESTAMP, SIGNATURE = "X-Pxeserver-Timestamp", "X-Pxeserver-Signature"
SECONDS = 10.0
"""For connecting, sending and the answer's head together."""
_AGAIN = frozenset({408, 425, 429})
"""Refusals that may pass; so may every 5xx."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The value of the header SIGNATURE."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


class _Resolver(AbstractResolver):
    """Names of hosts, without the addresses that nobody is told at: a name may lead to one of them."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for address in found:
            try:
                check_address(address["host"])
            except ValueError as error:
                raise _NotAskedError(str(error)) from None
        return found

    async def close(self) -> None:
        await self._inner.close()


class _NotAskedError(OSError):
    """A name leads to an address that is not asked."""


async def deliver(
    target: Target, alarm: Alarm, server: str, clock: Callable[[], float], seconds: float = SECONDS
) -> Result:
    """Tell one alarm, once; raises nothing. What it says of a failure holds nothing of the address."""
    body = msgspec.json.encode(alarm.body(server))
    timestamp = str(int(clock()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"pxeserver/{__version__}",
        "X-Pxeserver-Alarm": alarm.kind,
        "X-Pxeserver-Delivery": alarm.id,
        TIMESTAMP: timestamp,
        SIGNATURE: signature(target.secret, timestamp, body),
    }
    connector = aiohttp.TCPConnector(resolver=_Resolver(), force_close=True)
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            session.post(target.url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return _of_status(answer.status)
    except TimeoutError:
        return Result(ok=False, text=f"no answer in {seconds:g} s", again=True)
    except aiohttp.ClientConnectorCertificateError:
        return Result(ok=False, text="its certificate is not trusted", again=True)
    except aiohttp.ClientConnectorDNSError:
        return Result(
            ok=False, text="its name is not known, or leads to an address that is not asked", again=True
        )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The error's own words may hold the address.
        return Result(ok=False, text=f"it cannot be reached ({type(error).__name__})", again=True)


def _of_status(status: int) -> Result:
    if 200 <= status < 300:
        return Result(ok=True, text=f"taken with status {status}")
    if 300 <= status < 400:
        return Result(ok=False, text=f"it answered with status {status}: redirects are not followed")
    return Result(ok=False, text=f"it answered with status {status}", again=status >= 500 or status in _AGAIN)

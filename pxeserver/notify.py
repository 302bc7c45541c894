"""Telling whoever started us how we are: the datagrams of sd_notify(3), both ends.

systemd listens on NOTIFY_SOCKET in production; under `pxeserver run` the supervisor does, with the same
watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping

REPORT = "X_PXESERVER"
"""A field of our own (systemd ignores fields it does not know): JSON for the supervisor's start-up lines."""


def notify(**fields: str) -> None:
    """Send fields such as READY="1" or STATUS="..." to NOTIFY_SOCKET; silently nothing where there is
    none.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # One field a line: an error's text of several lines must not become fields.
    text = "\n".join(f"{key}={' '.join(value.splitlines())}" for key, value in fields.items())
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out,
    ):
        out.sendto(text.encode(), address)


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds between pings: a third of WATCHDOG_USEC, None where nobody watches."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 3e6 if microseconds > 0 else None


async def keep_watchdog_fed() -> None:
    """Ping from the event loop for ever: a loop that stalls pings no more, and the process is replaced."""
    interval = watchdog_interval(os.environ)
    while interval:
        notify(WATCHDOG="1")
        await asyncio.sleep(interval)


def parse(datagram: bytes) -> dict[str, str]:
    """The fields of one notification; what is not `KEY=value` is passed over."""
    pairs = (line.partition("=") for line in datagram.decode("utf-8", "replace").splitlines())
    return {key: value for key, found, value in pairs if found}


class NotifyReceiver(asyncio.DatagramProtocol):
    """The supervisor's end of one child's NOTIFY_SOCKET."""

    def __init__(self, heard: Callable[[Mapping[str, str]], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Hand the fields on."""
        self._heard(parse(data))

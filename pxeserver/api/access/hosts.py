"""Under which names this server is reached. A page from elsewhere that has its own name point to this
server's address (DNS rebinding) is recognised by the name that the browser asks for."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from aiohttp import web

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\.?)(?::([0-9]{1,5}))?")
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


class Hosts:
    """The names and addresses that are answered. `own` are this host's addresses of now."""

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self.configured = frozenset(_plain(name) for name in configured)
        self.own: frozenset[str] = frozenset()
        name = socket.gethostname().lower()
        short = name.partition(".")[0]
        self.names = frozenset({name, short, f"{short}.local"})

    def allows(self, request: web.BaseRequest) -> bool:
        """Whether the request is for this server."""
        given = request.headers.getall("Host", [])
        name = host_name(given[0]) if len(given) == 1 else None
        if name is None:
            return False
        if name in self.configured or name in self.own or name in self.names or name in _LOOPBACK_NAMES:
            return True
        return is_loopback_address(name)

    def is_configured(self, request: web.BaseRequest) -> bool:
        """Whether it is for a name that only the configuration knows: a proxy's, most likely."""
        name = host_name(request.headers.get("Host", ""))
        return name in self.configured and name not in self.own | self.names | _LOOPBACK_NAMES


def host_name(header: str) -> str | None:
    """The name or address of a Host header, in lower case, without its port; None where it is malformed."""
    found = _HOST.fullmatch(header.lower())
    if found is None or (found[2] and not 0 < int(found[2]) < 65_536):
        return None
    return _plain(found[1])


def _plain(name: str) -> str:
    name = name.lower().removesuffix(".")
    if name.startswith("["):
        try:
            return str(ipaddress.IPv6Address(name.strip("[]")))
        except ValueError:
            return "invalid"
    return name


def is_loopback_address(text: str) -> bool:
    """Whether it is an address of the loopback, such as 127.0.0.1."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)

"""Downloads into a draft: http and https only, bounded in size and time, taken up again where a connection
broke.

A URL is typed by an operator but the server that fetches it sits in a trusted place, so a URL (or a redirect,
or a name that resolves differently the second time) must not make it talk to itself or to a link-local
service: the address is looked up once, checked, and that very address is connected to.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from pxeserver.imagestore.blobs import Draft, ImportFailed

_BLOCK = 256 * 1024
_REDIRECTS = 5
_REDIRECT_CODES = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one download."""

    max_bytes: int = 64 * 1024**3
    max_seconds: float = 6 * 3600.0
    silence_seconds: float = 30.0
    """A connection without a byte for so long counts as broken."""
    attempts: int = 6
    """Connections in a row that may break without any progress."""
    pause_seconds: float = 1.0
    """Before the second attempt; doubled for each further one."""
    allow_local: bool = False
    """Allow loopback and link-local addresses (a mirror on this very host)."""


@dataclass(slots=True)
class _Source:
    """What is known of the file on the other side: enough to go on with the same one."""

    total: int | None = None
    validator: str | None = None


class _Broken(Exception):  # noqa: N818 - a state of the connection, not a fault
    """The connection ended early; worth another try."""


def download(
    url: str, draft: Draft, limits: Limits, progress: Callable[[int, int | None], None] | None = None
) -> None:
    """Fetch `url` into `draft`. ImportFailed with a text for a person where that is refused, impossible or
    too slow.
    """
    deadline = time.monotonic() + limits.max_seconds
    source = _Source()
    failures, before = 0, -1
    while True:
        try:
            _fetch_rest(url, draft, source, limits=limits, deadline=deadline, progress=progress)
            return
        except (
            _Broken,
            TimeoutError,
            http.client.HTTPException,
            ConnectionError,
            ssl.SSLError,
            socket.gaierror,
        ) as exc:
            failures = 1 if draft.size > before else failures + 1
            before = max(before, draft.size)
            if failures >= limits.attempts or time.monotonic() >= deadline:
                raise ImportFailed(f"{url}: the download broke off after {draft.size} bytes: {exc}") from exc
            time.sleep(min(limits.pause_seconds * 2 ** (failures - 1), max(0.0, deadline - time.monotonic())))


def _fetch_rest(
    url: str,
    draft: Draft,
    source: _Source,
    *,
    limits: Limits,
    deadline: float,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    connection, response = _ask(url, draft, source, limits)
    try:
        _take_up(url, response, draft, source)
        if source.total is not None and source.total > limits.max_bytes:
            raise ImportFailed(f"{url}: {source.total} bytes are more than the limit of {limits.max_bytes}")
        while data := response.read1(_BLOCK):
            if draft.size + len(data) > limits.max_bytes:
                raise ImportFailed(f"{url}: more than the limit of {limits.max_bytes} bytes came")
            draft.write(data)
            if progress is not None:
                progress(draft.size, source.total)
            if time.monotonic() > deadline:
                raise ImportFailed(
                    f"{url}: not finished after {limits.max_seconds:.0f} s ({draft.size} bytes came)"
                )
        if source.total is not None and draft.size != source.total:
            raise _Broken(f"{draft.size} of {source.total} bytes came")
    finally:
        connection.close()


def _ask(
    url: str, draft: Draft, source: _Source, limits: Limits
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """The response after redirects."""
    headers = {"User-Agent": "pxeserver", "Accept": "*/*", "Accept-Encoding": "identity"}
    if draft.size and source.validator:
        headers |= {"Range": f"bytes={draft.size}-", "If-Range": source.validator}
    for _ in range(_REDIRECTS + 1):
        connection, target = _connect(url, limits)
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if response.status not in _REDIRECT_CODES:
            return connection, response
        onward = urljoin(url, response.getheader("Location", ""))
        connection.close()
        if url.startswith("https:") and not onward.startswith("https:"):
            raise ImportFailed(f"{url}: redirects to {onward[:200]}, which is not encrypted")
        url = onward
    raise ImportFailed(f"{url}: more than {_REDIRECTS} redirects")


def _take_up(url: str, response: http.client.HTTPResponse, draft: Draft, source: _Source) -> None:
    """Decide from the status whether the body goes on where the draft ends, or starts anew."""
    if response.status in (408, 425, 429, 500, 502, 503, 504):
        raise _Broken(f"HTTP {response.status} {response.reason}")
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise ImportFailed(f"{url}: the server sends it compressed although it was asked not to")
    if response.status == 206 and draft.size:
        found = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", ""))
        if found is None or int(found[1]) != draft.size or (source.total not in (None, int(found[3]))):
            draft.restart()
            raise _Broken("the server went on at the wrong place")
        return
    if response.status != 200:
        raise ImportFailed(f"{url}: HTTP {response.status} {response.reason}")
    if draft.size:
        draft.restart()
    source.total = response.length
    # A weak validator does not promise the same bytes (RFC 9110 section 13.1.5); a date may, to the second.
    etag = response.getheader("ETag", "")
    source.validator = etag if etag.startswith('"') else response.getheader("Last-Modified")


def _connect(url: str, limits: Limits) -> tuple[http.client.HTTPConnection, str]:
    """A connection to a checked address, and the request target."""
    parts = _checked_parts(url)
    host, encrypted = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if encrypted else 80)
    sock = _connected(host, port, limits)
    connection: http.client.HTTPConnection
    try:
        if encrypted:
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        connection = http.client.HTTPConnection(host, port, timeout=limits.silence_seconds)
        connection.default_port = 443 if encrypted else 80  # what Host leaves out
    except BaseException:
        sock.close()
        raise
    connection.sock = sock
    return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _checked_parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ImportFailed(f"{url[:200]!r} is no URL: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ImportFailed(f"{url[:200]!r}: only http:// and https:// URLs with a host are fetched")
    if parts.username is not None or parts.password is not None:
        raise ImportFailed(
            "a URL with a user name or password in it would be shown in lists and logs: refused"
        )
    if not url.isascii() or any(c <= " " for c in url):
        raise ImportFailed(f"{url[:200]!r}: spaces and letters outside ASCII must be percent-encoded")
    return parts


def _connected(host: str, port: int, limits: Limits) -> socket.socket:
    """A TCP connection to the first address of the host that may be used and answers."""
    last: OSError | None = None
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        check_address(str(address[0]), host, limits)
        sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(limits.silence_seconds)
            sock.connect(address)
        except OSError as exc:
            sock.close()
            last = exc
        else:
            return sock
    raise _Broken(f"{host} port {port}: {last}")


def check_address(address: str, host: str, limits: Limits) -> None:
    """ImportFailed where the host is this machine itself, link-local, multicast or no host at all."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        raise ImportFailed(f"{host} is {address}, which is no host's address")
    if (ip.is_loopback or ip.is_link_local) and not limits.allow_local:
        raise ImportFailed(
            f"{address} is this host itself, or link-local: it is not fetched from. Give the file's path"
        )

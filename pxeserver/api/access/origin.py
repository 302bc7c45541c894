"""Where a request came from: this host or elsewhere, one of our pages or a stranger's."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

from aiohttp import web

from pxeserver.api.access.hosts import Hosts, is_loopback_address
from pxeserver.api.problems import Problem

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"
FORM_LIMIT = 4 << 20
"""Bytes of a form that is read for its token; longer bodies carry it in the header."""
FORM_SECONDS = 30.0
_FORWARDED = frozenset({"forwarded", "via", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def from_this_host(request: web.BaseRequest, hosts: Hosts) -> bool:
    """Whether whoever asks sits at this host, with no sign of a proxy between.

    Besides the headers that proxies add, two more are such signs: HTTP/1.0, which no browser speaks and
    nginx does towards what is behind it, and a name that only `admin.hosts` knows.
    """
    if not is_loopback_address(request.remote or ""):
        return False
    if request.version < (1, 1) or hosts.is_configured(request):
        return False
    names = {name.lower() for name in request.headers}
    return names.isdisjoint(_FORWARDED) and not any(name.startswith("x-forwarded-") for name in names)


def csrf_token(secret: str) -> str:
    """The token that forms of this session carry. It tells nothing about the session's own secret."""
    return hashlib.sha256(b"csrf\0" + secret.encode()).hexdigest()[:43]


def check_origin(request: web.BaseRequest) -> None:
    """403 for a change that a page from elsewhere had the browser send (Fetch: Origin, Sec-Fetch-Site)."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in ("same-origin", "none"):
        raise _forged(f"the browser says that it comes from {site.replace('-', ' ')}"[:120])
    origins = request.headers.getall("Origin", [])
    own = f"{request.scheme}://{request.headers.get('Host', '')}".lower()
    if origins and (len(origins) > 1 or origins[0].lower() != own):
        raise _forged("its Origin is another site")


async def read_form(request: web.Request) -> None:
    """Have a form's fields here, in time: aiohttp itself waits for ever. A long one, which comes with the
    token in its header, is left to its handler. 408, 413."""
    if request.content_type not in _FORMS or CSRF_HEADER in request.headers:
        return
    try:
        async with asyncio.timeout(FORM_SECONDS):
            await request.post()
    except TimeoutError:
        why = f"it did not come within {FORM_SECONDS:g} s"
        raise Problem(408, "the form is refused", why, "Send it again") from None
    except ValueError as error:  # a part of it is not what its header says
        raise Problem(400, "the form is refused", str(error)[:200], "Load the page again") from None


async def check_token(request: web.Request, wanted: str) -> None:
    """403 for a change without the session's token, in the header or in a form's field."""
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.content_type in _FORMS:
        field = (await request.post()).get(CSRF_FIELD, "")
        given = field if isinstance(field, str) else ""
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise _forged("it carries no token of this session" if not given else "its token is another one's")


def _forged(why: str) -> Problem:
    step = "Load the page again and repeat it; GET /api/v1/session tells programs the token"
    return Problem(403, "the change is refused", why, step)

"""The one door of the admin plane: every request passes here before its handler is called.

Host, then who asks, then what the handler needs, then whether one of our own pages sent the change. What is
declared nowhere is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from pxeserver.api.access import trail
from pxeserver.api.access.hosts import Hosts
from pxeserver.api.access.login import Login, Peer
from pxeserver.api.access.origin import SAFE, check_origin, check_token, csrf_token, from_this_host, read_form
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.register import Register
from pxeserver.api.access.who import CSRF, NOBODY, WHO, Need, Role, Who, need_of
from pxeserver.api.problems import Problem
from pxeserver.live import Hall
from pxeserver.storage.access import User

log = logging.getLogger(__name__)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]
COOKIE, COOKIE_ON_LOOPBACK = "__Host-pxeserver", "pxeserver-loopback"
"""The session's cookie over TLS (RFC 6265bis section 4.1.3.2), and over HTTP on this host."""
API = ("/api/", "/metrics")
"""What programs ask: they are told 401, and not sent to the login page."""


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that decides who may do what on the admin plane."""

    hall: Hall
    register: Register
    login: Login
    passwords: Passwords
    hosts: Hosts


@dataclass(frozen=True, slots=True)
class _Known:
    who: Who
    key: str = ""
    """sha256 of the session or token; "" for nobody."""
    secret: str = ""
    """Of the session's cookie; "" for tokens: no browser sends those by itself."""


def guard(access: Access) -> Middleware:
    """The middleware."""

    @web.middleware
    async def check(request: web.Request, handler: Next) -> web.StreamResponse:
        if not access.hosts.allows(request):
            step = "Ask for this server by an address of its own, or add the name to admin.hosts"
            raise Problem(421, "not this server's name", "no name of it is in the Host header", step)
        known = await _identify(access, request)
        need = need_of(request.match_info.handler)
        request[WHO] = known.who
        request[CSRF] = csrf_token(known.secret) if known.secret else ""
        changes = request.method not in SAFE
        if changes:
            check_origin(request)
        if known.who and request.match_info.http_exception is not None:
            return await handler(request)  # there is no such thing, or it cannot be asked so
        if (problem := refusal(known.who, need, changes=changes)) is not None:
            if problem.status == 401 and not request.path.startswith(API):
                return _to_login(request)
            raise problem
        if changes:
            await read_form(request)
        if changes and known.secret:
            await check_token(request, request[CSRF])
        with _while_allowed(access, request, known.key):
            if not changes:
                return await handler(request)
            return await trail.noted(access.hall, request, handler, known.who, need)

    return check


def peer_of(access: Access, request: web.BaseRequest) -> Peer:
    """Whoever is at the other end."""
    agent = request.headers.get("User-Agent", "")
    return Peer(request.remote or "", from_this_host(request, access.hosts), agent)


async def _identify(access: Access, request: web.Request) -> _Known:
    register = access.register
    if access.hall.trouble is None:
        await register.load()
    address, loopback = request.remote or "", from_this_host(request, access.hosts)
    given = request.headers.get("Authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        found = register.token_of(secret.strip(), address) if scheme.lower() == "bearer" else None
        if found is None:
            raise _unknown("the token is wrong, revoked, or has expired")
        token, user = found
        role = Role(min(user.role, token.role))
        who = _who(user, role, address, loopback=loopback, token=token.name, scopes=frozenset(token.scopes))
        return _Known(who, token.sha256)
    secret = request.cookies.get(COOKIE if request.secure else COOKIE_ON_LOOPBACK, "")
    session = register.session_of(secret) if secret else None
    if session is None:
        return _Known(Who("", Role.NOBODY, kind="nobody", loopback=loopback, address=address))
    user = session[1]
    return _Known(_who(user, Role(user.role), address, loopback=loopback), session[0].sha256, secret)


def _who(
    user: User,
    role: Role,
    address: str,
    *,
    loopback: bool,
    token: str = "",
    scopes: frozenset[str] | None = None,
) -> Who:
    if user.demo and not loopback:
        role = min(role, Role.VIEWER)
    kind = "demo" if user.demo else "token" if token else "session"
    labels = tuple(sorted(user.labels.items()))
    return Who(user.name, role, labels, kind, loopback, scopes, address, token)  # type: ignore[arg-type]


def who_of_user(access: Access, request: web.BaseRequest, user: User) -> Who:
    """A user who logs in with this request."""
    loopback = from_this_host(request, access.hosts)
    return _who(user, Role(user.role), request.remote or "", loopback=loopback)


def refusal(who: Who, need: Need, *, changes: bool) -> Problem | None:
    """Why this is not for them; None where it is."""
    if need.role == Role.NOBODY:
        return None
    if who.role == Role.NOBODY:
        return _unknown("it is for people who have logged in, and programs with a token")
    if need.local and who.kind != "local":
        return _forbidden("it is for the command line on the server's own host")
    if who.demo_only and changes and not need.own:
        step = "Set a password of your own first; that needs the set-up code. Or log in on the server's host"
        return _forbidden("from elsewhere the demo login looks, and changes nothing", step)
    if who.role < need.role:
        return _forbidden(f"{need.role.name.lower()}s may, {who.name} is {_an(who.role)} here")
    if who.scopes is not None and not (need.scope and who.has_scope(need.scope)):
        step = f"Make a token with the scope {need.scope}" if need.scope else "Log in instead"
        return _forbidden(f"the token does not have the scope {need.scope or 'for this'}", step)
    concerns = need.role >= (Role.OPERATOR if changes else Role.ADMIN)
    if who.labels and concerns and not need.within_labels:
        return _forbidden(f"{who.name} is limited to {_labels(who)}, and this concerns everything")
    return None


def _an(role: Role) -> str:
    return f"an {role.name.lower()}" if role.name[0] in "AO" else f"a {role.name.lower()}"


def _labels(who: Who) -> str:
    return ", ".join(f"{key}={value}" for key, value in who.labels)


def _unknown(why: str) -> Problem:
    step = "Log in, or send Authorization: Bearer TOKEN"
    headers = {"WWW-Authenticate": 'Bearer realm="pxeserver"'}
    return Problem(401, "who are you?", why, step, headers=headers)


def _forbidden(why: str, step: str = "Ask an administrator") -> Problem:
    return Problem(403, "you may not do this", why, step)


def _to_login(request: web.Request) -> web.Response:
    """The login page, and back again."""
    if request.headers.get("HX-Request") == "true":
        page = urlsplit(request.headers.get("HX-Current-URL", ""))
        back = page.path + (f"?{page.query}" if page.query else "")
        return web.Response(status=401, headers={"HX-Redirect": f"/login?next={quote(back, safe='')}"})
    back = request.raw_path if request.method in SAFE else "/"
    return web.Response(status=303, headers={"Location": f"/login?next={quote(back, safe='')}"})


def _while_allowed(access: Access, request: web.Request, key: str) -> AbstractContextManager[None]:
    """A stream that goes on when its session or token ends is cut off. The request that ends it is not."""
    if not key:
        return nullcontext()
    task, transport = asyncio.current_task(), request.transport

    def cut() -> None:
        if transport is not None and asyncio.current_task() is not task:
            transport.close()

    return access.register.streaming(key, cut)


__all__ = ["NOBODY", "Access", "guard", "peer_of", "refusal"]

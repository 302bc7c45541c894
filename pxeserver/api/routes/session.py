"""The caller's own session: log in, who am I, change the password, log out."""

from __future__ import annotations

from typing import cast, get_args

from aiohttp import web

from pxeserver.api.access import guard
from pxeserver.api.access.guard import COOKIE, COOKIE_ON_LOOPBACK, Access
from pxeserver.api.access.origin import csrf_token
from pxeserver.api.access.who import CSRF, PUBLIC, Need, Role, Who
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import LogIn, PasswordChange, RoleName, SessionView, SetupCodeView

_OWN = Need(Role.VIEWER, own=True)
"""About the caller's own session: for people, not for tokens."""


def access(call: Call) -> Access:
    """Users and sessions; 503 where the API runs without them."""
    if call.rooms.access is None:
        raise Problem(503, "there are no users here", "the API runs alone", "Start the server")
    return call.rooms.access


async def show(call: Call) -> SessionView:
    """Who asks, and what they may do."""
    return session_view(call.who, call.request.get(CSRF, ""))


def session_view(who: Who, csrf: str) -> SessionView:
    """Somebody as the API shows them."""
    return SessionView(
        name=who.name,
        role=role_name(who.role),
        labels=dict(who.labels),
        kind="session" if who.kind == "nobody" else who.kind,
        loopback=who.loopback,
        may_change=who.role >= Role.OPERATOR and not who.demo_only,
        csrf=csrf,
        scopes=None if who.scopes is None else tuple(sorted(who.scopes)),
    )


def role_name(role: int) -> RoleName:
    """A role as the API writes it."""
    return cast("RoleName", get_args(RoleName)[max(0, int(role) - 1)])


async def log_in(call: Call) -> web.StreamResponse:
    """Begin a session; its cookie comes with the answer."""
    body: LogIn = call.body
    return _with_cookie(call, await begin(call, body.name, body.password))


async def begin(call: Call, name: str, password: str) -> str:
    """Begin a session in place of the one that the browser has; its secret."""
    mine = access(call)
    old = call.request.cookies.get(cookie_name(call.request), "")
    return await mine.login.log_in(name, password, guard.peer_of(mine, call.request), old)


async def change_password(call: Call) -> web.StreamResponse:
    """Change the caller's password; a new session takes the place of all others."""
    body: PasswordChange = call.body
    return _with_cookie(call, await change(call, body))


async def change(call: Call, body: PasswordChange) -> str:
    """Change the caller's password; the secret of the new session."""
    mine = access(call)
    if call.who.kind not in ("session", "demo"):
        why = "it is for people who have logged in"
        raise Problem(403, "no password is changed", why, "`pxeserver user passwd NAME` on the server's host")
    return await mine.login.change_own(
        call.who, body.old, body.new, body.code, guard.peer_of(mine, call.request)
    )


async def log_out(call: Call) -> web.StreamResponse:
    """End the session."""
    response = web.Response(status=204)
    await end(call)
    forget_cookie(call.request, response)
    return response


async def end(call: Call) -> None:
    """End the caller's session, if there is one."""
    mine, secret = access(call), call.request.cookies.get(cookie_name(call.request), "")
    if secret and (found := mine.register.session_of(secret)) is not None:
        await mine.register.log_out(found[0], call.by, call.who.name)


async def setup_code(call: Call) -> SetupCodeView:
    """The set-up code, for whoever sits at the server's host."""
    register = access(call).register
    await register.load()
    return SetupCodeView(code=register.code())


def cookie_name(request: web.BaseRequest) -> str:
    """The name of the session's cookie on this connection."""
    return COOKIE if request.secure else COOKIE_ON_LOOPBACK


def set_cookie(request: web.BaseRequest, response: web.StreamResponse, secret: str) -> None:
    """Give the browser its session. No script reads it, and no other site's page sends it."""
    response.set_cookie(
        cookie_name(request), secret, path="/", httponly=True, secure=request.secure, samesite="Strict"
    )


def forget_cookie(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Take it away."""
    response.del_cookie(
        cookie_name(request), path="/", httponly=True, secure=request.secure, samesite="Strict"
    )


def _with_cookie(call: Call, secret: str) -> web.StreamResponse:
    mine = access(call)
    found = mine.register.session_of(secret)
    who = guard.who_of_user(mine, call.request, found[1]) if found else call.who
    view = session_view(who, csrf_token(secret))
    response = web.Response(body=view.model_dump_json().encode(), content_type="application/json")
    set_cookie(call.request, response, secret)
    return response


ROUTES = (
    Route("GET", "/session", show, "Who am I", "access", SessionView, need=Need(Role.VIEWER, "server:read")),
    Route("POST", "/session", log_in, "Log in", "access", SessionView, body=LogIn, need=PUBLIC),
    Route("DELETE", "/session", log_out, "Log out", "access", status=204, need=_OWN),
    Route(
        "PUT",
        "/session/password",
        change_password,
        "Change the own password",
        "access",
        SessionView,
        body=PasswordChange,
        need=_OWN,
    ),
    Route(
        "GET",
        "/setup-code",
        setup_code,
        "Show the set-up code",
        "access",
        SetupCodeView,
        need=Need(local=True),
    ),
)

"""Logging in and out, and the own password."""

from __future__ import annotations

from aiohttp import web

from pxeserver.api.access.who import PUBLIC, Need, Role, who_of
from pxeserver.api.problems import Problem, ProblemView
from pxeserver.api.routes import session
from pxeserver.api.schemas.access import LogIn, PasswordChange
from webadmin.render import language_of, local, redirect, render
from webadmin.routing import Page, call, checked

_OWN = Need(Role.VIEWER, own=True)


async def show(request: web.Request) -> web.Response:
    """The form; whoever has logged in already goes on."""
    if who_of(request).role > Role.NOBODY:
        return redirect(_next(request.query.get("next")))
    return await _form(request, None, _next(request.query.get("next")))


async def log_in(request: web.Request) -> web.StreamResponse:
    """Begin a session, then on to where they wanted to go."""
    fields = await request.post()
    wanted, name = _next(fields.get("next")), _text(fields.get("name"))
    try:
        body = checked(LogIn, {"name": name, "password": _text(fields.get("password"))})
        secret = await session.begin(call(request), body.name, body.password)
    except Problem as problem:
        if problem.status not in (401, 422, 429):
            raise
        page = await _form(request, problem.view, wanted, name, problem.status)
        page.headers.update({k: v for k, v in problem.headers.items() if k == "Retry-After"})
        return page
    response = redirect(wanted)
    session.set_cookie(request, response, secret)
    return response


async def _form(
    request: web.Request, problem: ProblemView | None, wanted: str, name: str = "", status: int = 200
) -> web.Response:
    register = session.access(call(request)).register
    fresh = any(user.demo for user in register.users.values()) and not register.demo.over
    return render(
        request, "login/page.html", status=status, problem=problem, next=wanted, name=name, fresh=fresh
    )


async def log_out(request: web.Request) -> web.StreamResponse:
    """End the session."""
    await session.end(call(request))
    response = redirect("/login")
    session.forget_cookie(request, response)
    return response


async def password(request: web.Request) -> web.Response:
    """The form for another password."""
    return render(request, "login/password.html", problem=None)


async def set_password(request: web.Request) -> web.StreamResponse:
    """Set it; all other sessions of this user end."""
    fields = await request.post()
    given = {name: _text(fields.get(name)) for name in ("old", "new", "code")}
    try:
        if given["new"] != _text(fields.get("again")):
            why = "the two are not the same"
            raise Problem(422, "the password stays as it is", why, "Type it again", fields={"again": why})
        secret = await session.change(call(request), checked(PasswordChange, given))
    except Problem as problem:
        if problem.status not in (401, 403, 422, 429):
            raise
        page = render(request, "login/password.html", status=problem.status, problem=problem.view)
        page.headers.update({k: v for k, v in problem.headers.items() if k == "Retry-After"})
        return page
    said = language_of(request).text(
        "The password is set; everybody else who had logged in with the old one is out"
    )
    response = redirect("/", said)
    session.set_cookie(request, response, secret)
    return response


def _text(field: object) -> str:
    return field if isinstance(field, str) else ""


def _next(field: object) -> str:
    """Where to go after the login: a page of ours, and never the login itself."""
    where = local(_text(field))
    return "/" if where.startswith(("/login", "/logout", "/api/", "/static/")) else where


PAGES = (
    Page("GET", "/login", show, need=PUBLIC),
    Page("POST", "/login", log_in, need=PUBLIC),
    Page("POST", "/logout", log_out, need=PUBLIC),
    Page("GET", "/password", password, need=_OWN),
    Page("POST", "/password", set_password, need=_OWN),
)

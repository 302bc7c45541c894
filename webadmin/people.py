"""Settings: users, and the tokens that programs log in with."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pxeserver.api.access.who import AREAS, Need, Role, administer, who_of
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import tokens, users
from pxeserver.api.schemas.access import TokenNew, TokenQuery, UserChange, UserNew
from webadmin.fields import Fields, form_of, labels_of
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked
from webadmin.settings import correctable

ROLES = {
    "viewer": "Looks at everything that holds no secret",
    "operator": "Also changes nodes, profiles, images and clusters, and orders boots",
    "admin": "Also policy, users, backups: everything",
}
_PEOPLE = Need(Role.VIEWER)


async def list_users(request: web.Request) -> web.Response:
    """Who may log in, and the form for one more."""
    return await _users(request, {"role": "viewer"})


async def _users(
    request: web.Request, fields: dict[str, str], problem: Problem | None = None
) -> web.Response:
    return render(
        request,
        "settings/users.html",
        status=problem.status if problem else 200,
        users=await users.list_users(call(request)),
        **_form(fields, problem),
    )


def _form(fields: dict[str, str], problem: Problem | None) -> dict[str, Any]:
    shown = {name: value for name, value in fields.items() if name != "password"}
    return {
        "fields": Fields(shown),
        "faults": Fields(problem.view.fields if problem else {}),
        "problem": problem.view if problem else None,
        "roles": ROLES,
    }


async def add_user(request: web.Request) -> web.Response:
    """Add a user."""
    fields = await form_of(request)
    given: dict[str, Any] = {"name": fields.get("name", ""), "role": fields.get("role", "viewer")}
    given |= {"password": fields["password"]} if fields.get("password") else {}
    try:
        given["labels"] = labels_of(fields.get("labels", ""))
        with as_problems():
            await users.add_user(call(request, body=checked(UserNew, given)))
    except Problem as problem:
        return await _users(request, fields, correctable(problem))
    said = language_of(request).text("{name} may log in now", name=given["name"])
    return redirect("/settings/users", said)


async def show_user(request: web.Request) -> web.Response:
    """The form for one user."""
    user = await users.show_user(call(request))
    labels = " ".join(f"{key}={value}" for key, value in user.labels.items())
    return render(
        request, "settings/user.html", user=user, **_form({"role": user.role, "labels": labels}, None)
    )


async def change_user(request: web.Request) -> web.Response:
    """Change a user, who has to log in again."""
    fields = await form_of(request)
    user = await users.show_user(call(request))
    given: dict[str, Any] = {"role": fields.get("role", user.role), "version": fields.get("version")}
    given |= {"password": fields["password"]} if fields.get("password") else {}
    try:
        given["labels"] = labels_of(fields.get("labels", ""))
        with as_problems():
            await users.change_user(call(request, body=checked(UserChange, given)))
    except Problem as problem:
        status = correctable(problem).status
        return render(request, "settings/user.html", status=status, user=user, **_form(fields, problem))
    said = language_of(request).text("{name} is changed, and has to log in again", name=user.name)
    own = user.name == who_of(request).name
    return redirect("/login" if own else "/settings/users", said)


async def remove_user(request: web.Request) -> web.Response:
    """Remove a user: asked for first."""
    user = await users.show_user(call(request))
    if request.method == "GET":
        return _ask_about_user(request, user, None)
    try:
        await users.remove_user(call(request))
    except Problem as problem:
        return _ask_about_user(request, user, correctable(problem))
    return redirect("/settings/users", language_of(request).text("{name} is removed", name=user.name))


def _ask_about_user(request: web.Request, user: Any, problem: Problem | None) -> web.Response:
    said = language_of(request).text
    return confirm(
        request,
        said("Remove {name}?", name=user.name),
        said("All sessions and tokens of this user end at once. What the user has changed stays."),
        said("Remove"),
        "/settings/users",
        problem,
    )


def confirm(  # noqa: PLR0917 - the parts of a question, in their order
    request: web.Request, what: str, text: str, button: str, back: str, problem: Problem | None = None
) -> web.Response:
    """The page that asks before something is done that cannot be taken back; its form posts to this path."""
    status = problem.status if problem else 200
    return render(
        request,
        "settings/confirm.html",
        status=status,
        what=what,
        text=text,
        button=button,
        back=back,
        problem=problem.view if problem else None,
    )


# ------------------------------------------------------------------------------------------------- tokens


async def list_tokens(request: web.Request) -> web.Response:
    """The tokens that whoever asks may see, and the form for one more."""
    return await _tokens(request, {"area": "*", "verb": "read", "days": "90"})


async def _tokens(
    request: web.Request, fields: dict[str, str], problem: Problem | None = None, made: Any = None
) -> web.Response:
    found = await tokens.list_tokens(call(request, query=TokenQuery()))
    return render(
        request,
        "settings/tokens.html",
        status=problem.status if problem else 200,
        tokens=found,
        made=made,
        areas=AREAS,
        **_form(fields, problem),
    )


async def make_token(request: web.Request) -> web.Response:
    """Make a token. Its secret is on the page that answers, and nowhere else."""
    form = await request.post()
    fields = await form_of(request)
    scopes = tuple(str(scope) for scope in form.getall("scope", []) if scope)
    days = fields.get("days", "").strip()
    given = {"name": fields.get("name", ""), "scopes": scopes, "days": days or None}
    given |= {"user": fields["user"]} if fields.get("user") else {}
    try:
        with as_problems():
            made = await tokens.make_token(call(request, body=checked(TokenNew, given)))
    except Problem as problem:
        return await _tokens(request, fields, correctable(problem))
    return await _tokens(request, {"days": "90"}, made=made)


async def revoke_token(request: web.Request) -> web.Response:
    """End a token: asked for first."""
    found = await tokens.list_tokens(call(request, query=TokenQuery()))
    token = next((t for t in found if str(t.id) == request.match_info["id"]), None)
    said = language_of(request).text
    if token is None:
        return redirect("/settings/tokens", said("There is no such token any more"), tone="wait")
    name = f"{token.user}/{token.name}"
    if request.method == "GET":
        text = said("Programs that use it are refused from then on.")
        return confirm(request, said("Revoke {name}?", name=name), text, said("Revoke"), "/settings/tokens")
    await tokens.revoke_token(call(request))
    return redirect("/settings/tokens", said("{name} is revoked", name=name))


_ADMIN = administer("access")
PAGES = (
    Page("GET", "/settings/users", list_users, _ADMIN),
    Page("POST", "/settings/users", add_user, _ADMIN),
    Page("GET", "/settings/users/{name}", show_user, _ADMIN),
    Page("POST", "/settings/users/{name}", change_user, _ADMIN),
    Page("GET", "/settings/users/{name}/remove", remove_user, _ADMIN),
    Page("POST", "/settings/users/{name}/remove", remove_user, _ADMIN),
    Page("GET", "/settings/tokens", list_tokens, _PEOPLE),
    Page("POST", "/settings/tokens", make_token, _PEOPLE),
    Page("GET", "/settings/tokens/{id}/revoke", revoke_token, _PEOPLE),
    Page("POST", "/settings/tokens/{id}/revoke", revoke_token, _PEOPLE),
)

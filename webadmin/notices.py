"""Settings: who is told of alarms."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pxeserver.api.access.who import administer
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import notifications
from pxeserver.api.schemas.notifications import NotificationChange, NotificationNew
from webadmin.fields import Fields, form_of
from webadmin.people import confirm
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked
from webadmin.settings import correctable

_SECRET = ("url", "secret")
"""Never shown again, not even in a form that is refused."""


async def page(request: web.Request) -> web.Response:
    """Who is told, and the form for one more."""
    return await _page(request, {})


async def _page(
    request: web.Request, fields: dict[str, str], problem: Problem | None = None, made: Any = None
) -> web.Response:
    return render(
        request,
        "settings/notifications.html",
        status=problem.status if problem else 200,
        targets=await notifications.list_targets(call(request)),
        made=made,
        **await _form(request, fields, problem),
    )


async def _form(request: web.Request, fields: dict[str, str], problem: Problem | None) -> dict[str, Any]:
    form = await request.post() if request.method == "POST" else None
    return {
        "kinds": await notifications.list_kinds(call(request)),
        "fields": Fields({name: value for name, value in fields.items() if name not in _SECRET}),
        "chosen": [str(kind) for kind in form.getall("alarm", [])] if form is not None else [],
        "faults": Fields({n.split(".")[0]: t for n, t in problem.view.fields.items()} if problem else {}),
        "problem": problem.view if problem else None,
    }


async def add(request: web.Request) -> web.Response:
    """Tell one more. The secret that was made is on the page that answers, and nowhere else."""
    fields = await form_of(request)
    alarms = tuple(str(kind) for kind in (await request.post()).getall("alarm", []))
    given: dict[str, Any] = {name: fields.get(name, "") for name in ("name", "kind", "url")}
    given |= {"alarms": alarms} | ({"secret": fields["secret"]} if fields.get("secret") else {})
    try:
        with as_problems():
            made = await notifications.add_target(call(request, body=checked(NotificationNew, given)))
    except Problem as problem:
        return await _page(request, fields, correctable(problem))
    return await _page(request, {}, made=made)


async def edit(request: web.Request) -> web.Response:
    """The form for one of them."""
    target = await notifications.show_target(call(request))
    about = await _form(request, {}, None) | {"chosen": list(target.alarms)}
    return render(request, "settings/notification.html", target=target, made=None, **about)


async def change(request: web.Request) -> web.Response:
    """Change one of them."""
    fields = await form_of(request)
    form = await request.post()
    given: dict[str, Any] = {"alarms": tuple(str(kind) for kind in form.getall("alarm", []))}
    given |= {"enabled": bool(fields.get("enabled")), "new_secret": bool(fields.get("new_secret"))}
    given |= {"version": fields["version"]} if fields.get("version") else {}
    given |= {"url": fields["url"]} if fields.get("url", "").strip() else {}
    try:
        with as_problems():
            made = await notifications.change_target(call(request, body=checked(NotificationChange, given)))
    except Problem as problem:
        about = await _form(request, fields, correctable(problem))
        target = await notifications.show_target(call(request))
        return render(
            request, "settings/notification.html", status=problem.status, target=target, made=None, **about
        )
    if made.secret:
        about = await _form(request, {}, None)
        return render(request, "settings/notification.html", target=made, made=made, **about)
    return redirect("/settings/notifications", language_of(request).text("{name} is changed", name=made.name))


async def test(request: web.Request) -> web.Response:
    """Send a test message, and say what came of it."""
    result = await notifications.test_target(call(request))
    name, said = request.match_info["name"], language_of(request).text
    if result.ok:
        return redirect(
            "/settings/notifications", said("{name} was told: {text}", name=name, text=result.text)
        )
    text = said("{name} was not told: {text}", name=name, text=result.text)
    return redirect("/settings/notifications", text, tone="fail")


async def remove(request: web.Request) -> web.Response:
    """Remove one of them: asked for first."""
    said, name = language_of(request).text, request.match_info["name"]
    if request.method == "GET":
        await notifications.show_target(call(request))
        text = said("It is told nothing any more; its address and its secret are forgotten.")
        back = "/settings/notifications"
        return confirm(request, said("Remove {name}?", name=name), text, said("Remove"), back)
    await notifications.remove_target(call(request))
    return redirect("/settings/notifications", said("{name} is removed", name=name))


_ADMIN = administer("server")
PAGES = (
    Page("GET", "/settings/notifications", page, _ADMIN),
    Page("POST", "/settings/notifications", add, _ADMIN),
    Page("GET", "/settings/notifications/{name}", edit, _ADMIN),
    Page("POST", "/settings/notifications/{name}", change, _ADMIN),
    Page("POST", "/settings/notifications/{name}/test", test, _ADMIN),
    Page("GET", "/settings/notifications/{name}/remove", remove, _ADMIN),
    Page("POST", "/settings/notifications/{name}/remove", remove, _ADMIN),
)

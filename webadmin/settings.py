"""Settings: what unknown machines get, the served networks, and all that the configuration file says."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem, as_problems
from pxeserver.api.routes import server, settings
from pxeserver.api.schemas.boots import PolicyChange
from pxeserver.api.schemas.settings import NetworkQuery, SubnetChange
from pxeserver.boot.values import KEYS
from webadmin.fields import Fields, form_of
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked

UNKNOWN = {
    "menu": "A menu; it falls through to the own disk",
    "discover": "The discovery system: it reports the machine and waits",
    "observe": "Nothing; the machine is noted",
    "ignore": "Nothing, and it is not noted",
}
"""What unknown machines may get, in words."""
MODES = {
    "proxy": "Boot information only, beside another DHCP server",
    "full": "Addresses from the pools, and boot information",
    "reserved": "Addresses for known nodes only",
    "off": "Silence",
}
"""What DHCP may do on a network."""
_TEXTS = ("network", "dhcp", "router", "domain", "server", "mtu", "lease_seconds")
_LISTS = ("pools", "dns", "ntp", "routes")


def correctable(problem: Problem) -> Problem:
    """The same, where a form can show it; raised on where it cannot."""
    if problem.status not in (409, 422):
        raise problem
    return problem


# ------------------------------------------------------------------------------------- unknown machines


async def page(request: web.Request) -> web.Response:
    """What unknown machines get."""
    return await _policy(request)


async def _policy(
    request: web.Request, fields: dict[str, str] | None = None, problem: Problem | None = None
) -> web.Response:
    asked = call(request)
    policy = await server.show_policy(asked)
    known = {setting.key: setting for setting in await settings.list_settings(asked) if setting.live}
    site = " ".join(f"{key}={value}" for key, value in policy.values.items())
    told = {"unknown": policy.unknown, "menu_timeout": str(policy.menu_timeout), "values": site}
    return render(
        request,
        "settings/policy.html",
        status=problem.status if problem else 200,
        policy=policy,
        known=known,
        fields=Fields(fields if fields is not None else told | {"dry_run": "1" if policy.dry_run else ""}),
        faults=Fields(problem.view.fields if problem else {}),
        problem=problem.view if problem else None,
        choices=UNKNOWN,
        profiles=sorted(asked.hall.catalog().profiles),
        status_=await server.status(asked),
        keys=list(KEYS),
    )


async def save(request: web.Request) -> web.Response:
    """Change the policy, or have a part of it as the file says."""
    fields, said = await form_of(request), language_of(request).text
    try:
        with as_problems():
            if fields.get("reset"):
                body = checked(PolicyChange, {"reset": (fields["reset"],)})
            else:
                body = checked(PolicyChange, _changes(request, fields))
            await server.change_policy(call(request, body=body))
    except Problem as problem:
        return await _policy(request, fields, correctable(problem))
    return redirect("/settings", said("Saved; machines get it from now on"))


def _changes(request: web.Request, fields: dict[str, str]) -> dict[str, Any]:
    """What of the form differs from the policy: what nobody touched keeps its origin."""
    policy = call(request).hall.catalog().policy
    given: dict[str, Any] = {
        "unknown": fields.get("unknown", policy.unknown),
        "dry_run": bool(fields.get("dry_run")),
        "menu_timeout": fields.get("menu_timeout", ""),
    }
    told = {name: value for name, value in given.items() if str(value) != str(getattr(policy, name))}
    values = _values(fields.get("values", ""))
    gone = {key: None for key in policy.values if key not in values}
    changed = {key: value for key, value in values.items() if policy.values.get(key) != value}
    return told | ({"values": {**gone, **changed}} if gone or changed else {})


def _values(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.replace("\r", "").split("\n"):
        key, equals, value = line.strip().partition("=")
        if not line.strip():
            continue
        if not equals:
            why = f"{key[:60]}: write key=value, one a line"
            raise Problem(422, "the values are refused", why, "Correct it", fields={"values": why})
        found[key.strip()] = value.strip()
    return found


# ----------------------------------------------------------------------------------------------- networks


async def networks(request: web.Request) -> web.Response:
    """The served networks; with `network` the form for one of them."""
    found = await settings.list_subnets(call(request))
    wanted = request.query.get("network", "")
    one = next((subnet for subnet in found if subnet.network == wanted), None)
    fields = {} if one is None else _fields(one)
    return await _networks(request, fields, editing=bool(wanted))


def _fields(subnet: Any) -> dict[str, str]:
    told = {name: str(value) if (value := getattr(subnet, name)) is not None else "" for name in _TEXTS}
    told |= {name: "\n".join(getattr(subnet, name)) for name in _LISTS}
    return told | {"force": "1" if subnet.force else ""}


async def _networks(
    request: web.Request, fields: dict[str, str], *, editing: bool = False, problem: Problem | None = None
) -> web.Response:
    faults = {name.split(".")[0]: text for name, text in (problem.view.fields if problem else {}).items()}
    return render(
        request,
        "settings/networks.html",
        status=problem.status if problem else 200,
        subnets=await settings.list_subnets(call(request)),
        fields=Fields(fields),
        faults=Fields(faults),
        problem=problem.view if problem else None,
        editing=editing,
        modes=MODES,
        status_=await server.status(call(request)),
    )


async def save_network(request: web.Request) -> web.Response:
    """Serve a network, or serve it otherwise."""
    fields = await form_of(request)
    given: dict[str, Any] = {name: fields[name].strip() for name in _TEXTS if fields.get(name, "").strip()}
    given |= {name: tuple(_lines(fields.get(name, ""))) for name in _LISTS}
    given["force"] = bool(fields.get("force"))
    try:
        with as_problems():
            await settings.put_subnet(call(request, body=checked(SubnetChange, given)))
    except Problem as problem:
        return await _networks(request, fields, editing=True, problem=correctable(problem))
    said = language_of(request).text("{network} is served so from now on", network=given["network"])
    return redirect("/settings/networks", said)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]


async def forget_network(request: web.Request) -> web.Response:
    """Have a network as the file says, or not at all."""
    fields = await form_of(request)
    query = checked(NetworkQuery, {"network": fields.get("network", "")})
    await settings.remove_subnet(call(request, query=query))
    said = language_of(request).text("{network}: what was set here is forgotten", network=query.network)
    return redirect("/settings/networks", said)


# ------------------------------------------------------------------------------------------------- limits


async def limits(request: web.Request) -> web.Response:
    """All settings by section, with what can be changed where."""
    found = await settings.list_settings(call(request))
    sections = [(name, list(rows)) for name, rows in groupby(found, lambda s: s.key.partition(".")[0])]
    return render(request, "settings/limits.html", sections=sections, problem=None)


PAGES = (
    Page(
        "GET", "/settings", page, look("policy"), Nav("Settings", "settings", 90, section="Server", key="s")
    ),
    Page("POST", "/settings", save, administer("policy")),
    Page("GET", "/settings/networks", networks, look("policy")),
    Page("POST", "/settings/networks", save_network, administer("policy")),
    Page("POST", "/settings/networks/forget", forget_network, administer("policy")),
    Page("GET", "/settings/limits", limits, look("policy")),
)

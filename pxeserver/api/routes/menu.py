"""Menus on the screens of machines: in which order their entries stand, and what starts by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import Field

from pxeserver.api import checks, versions
from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.fields import Body, Name, View
from pxeserver.api.versions import MOST, VersionView
from pxeserver.boot.compose import LOCAL_CHOICE, menu_order
from pxeserver.boot.model import Policy
from pxeserver.boot.plan import installs
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditFilter

_FIELDS = {"order": "menu_order", "default": "menu_default", "seconds": "menu_timeout"}
"""Of the menu, and of the policy that holds them."""


class MenuChange(Body):
    """What to change of the menus."""

    order: Annotated[tuple[Name, ...], Field(max_length=200)] | None = None
    """Profiles that stand first, in this order; the others follow by their texts."""
    default: Name | Literal["local"] | None = None
    """What starts by itself: a profile of the menu, or "local". Where a menu lacks it: the disk."""
    seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Until it starts; 0 waits for a key. Profiles, groups and nodes may set others (value menu_timeout)."""


class MenuEntry(View):
    """A line that a person at a machine may choose."""

    name: str
    title: str


class MenuView(View):
    """The menus."""

    order: tuple[str, ...]
    default: str
    seconds: int
    entries: tuple[MenuEntry, ...]
    """In their order. A machine's own menu leaves out what does not fit its architecture or lacks files."""


def _view(call: Call, policy: Policy) -> MenuView:
    catalog = replace(call.hall.catalog(), policy=policy)
    offered = [
        p
        for p in menu_order(catalog)
        if p.in_menu and not installs(p) and p.kind.value not in ("menu", "local")
    ]
    return MenuView(
        order=policy.menu_order,
        default=policy.menu_default,
        seconds=policy.menu_timeout,
        entries=tuple(MenuEntry(name=p.name, title=p.title or p.name) for p in offered),
    )


async def show_menu(call: Call) -> MenuView:
    """The menus as they are."""
    return _view(call, call.hall.catalog().policy)


def drafted(call: Call, body: MenuChange) -> Policy:
    """The policy with these changes; 422 for a default that no menu has."""
    told = body.model_dump(exclude_none=True)
    policy = replace(call.hall.catalog().policy, **{_FIELDS[key]: value for key, value in told.items()})
    default = policy.menu_default
    offered = {LOCAL_CHOICE, *(entry.name for entry in _view(call, policy).entries)}
    if body.default is not None and default not in offered:
        why = f"profile {default} is in no menu"
        step = "Choose one that `pxeserver profile list` shows in menus, or local"
        raise Problem(422, "the default is refused", why, step, fields={"default": why})
    return policy


async def change_menu(call: Call) -> MenuView:
    """Change what the body names. It outlives restarts and wins over the configuration file."""
    async with call.hall.edit(call.by) as edit:
        checks.unchanged(call, await show_menu(call))
        policy = drafted(call, call.body)
        await edit.set_policy(policy)
    return _view(call, policy)


async def _history(call: Call) -> list[VersionView]:
    """The menus' versions, newest first: the first one is what the configuration says."""
    async with call.hall.database.read() as connection:
        audit = Audit(connection)
        found = [
            e
            for r in _FIELDS.values()
            for e in await audit.search(AuditFilter(table="settings", record=r), MOST)
        ]
    base = call.rooms.settings.policy_model()
    first = {key: getattr(base, field) for key, field in _FIELDS.items()}
    keys = {field: key for key, field in _FIELDS.items()}
    body: dict[str, Any] = {**first, "order": list(first["order"])}
    told = [VersionView(version=1, at=0.0, by="configuration", source="", changed=(), body=body)]
    edits = groupby(sorted(found, key=lambda entry: entry.id or 0), key=lambda entry: (entry.at, entry.by))
    for number, ((at, by), entries) in enumerate(edits, 2):
        changed, source = [], ""
        for entry in entries:
            key, source = keys[entry.record], entry.source
            value = entry.changes["value"][1] if entry.changes else first[key]
            body = {**body, key: list(value) if isinstance(value, tuple) else value}
            changed.append(key)
        told.append(
            VersionView(
                version=number, at=at, by=by, source=source, changed=tuple(sorted(changed)), body=body
            )
        )
    return told[::-1]


async def _put_back(call: Call, body: Mapping[str, Any]) -> MenuView:
    call.body = MenuChange.model_validate(dict(body))
    return await change_menu(call)


VERSIONS = versions.Shelf("menu", _history, _put_back, "policy")
"""Former states of the menus."""
ROUTES = (
    Route("GET", "/menu", show_menu, "Show the menus", "policy", MenuView, need=look("policy")),
    Route(
        "PATCH",
        "/menu",
        change_menu,
        "Change the menus",
        "policy",
        MenuView,
        body=MenuChange,
        need=administer("policy"),
    ),
    *versions.routes("/menu", VERSIONS, MenuView, administer("policy")),
)

"""Groups: values for all machines that a selector matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import msgspec

from pxeserver.api import checks, versions
from pxeserver.api.access import limits
from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import GroupChange, GroupNew, GroupView, group_view
from pxeserver.api.schemas.fields import merged
from pxeserver.boot.architectures import ARCH_NAMES
from pxeserver.boot.model import Group, SelectorKind
from pxeserver.boot.values import sort_groups


def _groups(call: Call) -> dict[str, Group]:
    return {group.name: group for group in call.hall.catalog().groups}


def _find(call: Call) -> Group:
    return checks.named(call, "group", _groups(call))


def _check(call: Call, group: Group) -> None:
    limits.group(call, group)
    checks.values(call, group.values)
    fault = selector_fault(group)
    if fault:
        raise Problem(422, "the selector is refused", fault, "Correct it", fields={"match": fault})


def selector_fault(group: Group) -> str:
    """What is wrong with what a group selects by; "" where it is right."""
    match group.selector:
        case SelectorKind.SUBNET:
            try:
                IPv4Network(group.match)
            except ValueError:
                return f"{group.match!r} is not a network such as 10.77.0.0/24"
        case SelectorKind.LABEL:
            key, equals, _ = group.match.partition("=")
            if not (key and equals):
                return f"{group.match!r} is not key=value"
        case SelectorKind.MAC_PREFIX:
            parts = group.match.lower().replace("-", ":").rstrip(":").split(":")
            if len(parts) > 6 or not all(len(p) == 2 and set(p) <= set("0123456789abcdef") for p in parts):
                return f"{group.match!r} is not the beginning of a MAC address such as 52:54:00"
        case SelectorKind.ARCH:
            match = group.match
            if match not in ARCH_NAMES and not (match.isascii() and match.isdigit() and int(match) < 65536):
                return f"{group.match!r} is none of {', '.join(ARCH_NAMES)}, and no number of one"
        case SelectorKind.VENDOR:
            pass
    return ""


async def list_groups(call: Call) -> list[GroupView]:
    """All groups, in order of precedence: the last one that sets a value wins."""
    return [group_view(group) for group in sort_groups(call.hall.catalog().groups)]


async def show_group(call: Call) -> GroupView:
    """One group."""
    return group_view(_find(call))


async def add_group(call: Call) -> GroupView:
    """Add a group."""
    body: GroupNew = call.body
    group = Group(body.name, SelectorKind(body.selector), body.match, dict(body.values), dict(body.labels))
    async with call.hall.edit(call.by) as edit:
        checks.new("group", group.name, _groups(call))
        _check(call, group)
        await edit.put_group(group)
    return group_view(group)


async def change_group(call: Call) -> GroupView:
    """Change what the body names."""
    body: GroupChange = call.body

    def change(group: Group) -> Group:
        return replace(
            group,
            selector=SelectorKind(body.selector) if body.selector else group.selector,
            match=body.match or group.match,
            values=merged(group.values, body.values),
            labels=merged(group.labels, body.labels),
        )

    return await _changed(call, change)


async def _changed(call: Call, change: Callable[[Group], Group]) -> GroupView:
    async with call.hall.edit(call.by) as edit:
        group = _find(call)
        limits.group(call, group)
        checks.unchanged(call, group_view(group))
        changed = change(group)
        _check(call, changed)
        await edit.put_group(changed)
    return group_view(changed)


async def _put_back(call: Call, body: Mapping[str, Any]) -> GroupView:
    return await _changed(call, lambda _: msgspec.convert(body, Group))


VERSIONS = versions.Shelf("group", versions.of_record("groups", _find), _put_back)
"""Former states of groups."""


async def remove_group(call: Call) -> None:
    """Remove a group."""
    async with call.hall.edit(call.by) as edit:
        group = _find(call)
        limits.group(call, group)
        await edit.remove_group(group.name)


ROUTES = (
    Route("GET", "/groups", list_groups, "List groups", "group", GroupView, many=True, need=look("group")),
    Route(
        "POST",
        "/groups",
        add_group,
        "Add a group",
        "group",
        GroupView,
        body=GroupNew,
        status=201,
        need=operate("group", within_labels=True),
    ),
    Route("GET", "/groups/{name}", show_group, "Show a group", "group", GroupView, need=look("group")),
    Route(
        "PATCH",
        "/groups/{name}",
        change_group,
        "Change a group",
        "group",
        GroupView,
        body=GroupChange,
        need=operate("group", within_labels=True),
    ),
    Route(
        "DELETE",
        "/groups/{name}",
        remove_group,
        "Remove a group",
        "group",
        status=204,
        need=operate("group", within_labels=True),
    ),
    *versions.routes("/groups/{name}", VERSIONS, GroupView, operate("group", within_labels=True)),
)

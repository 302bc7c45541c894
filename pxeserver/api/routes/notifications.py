"""Who is told of alarms: add, list, change, remove, and try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pxeserver.api.access.who import administer
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.notifications import (
    AlarmKindView,
    DeliveryView,
    NotificationChange,
    NotificationMade,
    NotificationNew,
    NotificationView,
    noted,
)
from pxeserver.notices import KINDS, Post, Result, Target, Targets
from pxeserver.notices.targets import check_url, new_secret
from pxeserver.storage.records import Stamp


def post_of(call: Call) -> Post:
    """What tells; 503 where the API runs without it."""
    if call.rooms.notices is None:
        raise Problem(503, "nobody is told of alarms here", "the API runs alone", "Start the server")
    return call.rooms.notices


async def targets_of(call: Call) -> Targets:
    """Who is told, as the database has it now."""
    targets = post_of(call).targets
    await targets.load()
    return targets


async def list_kinds(_call: Call) -> list[AlarmKindView]:
    """What alarms there are."""
    return [AlarmKindView(kind=kind, title=title) for kind, title in KINDS.items()]


async def list_targets(call: Call) -> list[NotificationView]:
    """Who is told, by name."""
    return [NotificationView(**_fields(call, target)) for target in (await targets_of(call)).all()]


async def show_target(call: Call) -> NotificationView:
    """One of them."""
    return NotificationView(**_fields(call, (await targets_of(call)).find(call.part("name"))))


async def add_target(call: Call) -> NotificationMade:
    """Tell one more. Its secret, where one was made, is in this answer and nowhere else."""
    body: NotificationNew = call.body
    targets = await targets_of(call)
    if any(target.name == body.name for target in targets.all()):
        raise Problem(409, f"notification {body.name} exists", "names are unique", "Choose another name")
    hint, url = _checked(body.kind, body.url.get_secret_value())
    given = body.secret.get_secret_value() if body.secret is not None else ""
    made = new_secret() if body.kind == "webhook" and not given else ""
    stamp = Stamp("", "", 0, 0)
    target = Target(body.name, body.kind, hint, body.alarms, body.enabled, stamp, url, given or made)
    target = await targets.put(target, call.by, "add", noted(body, None))
    return NotificationMade(**_fields(call, target), secret=made)


async def change_target(call: Call) -> NotificationMade:
    """Change what the body names. A secret that is made anew is in this answer and nowhere else."""
    body: NotificationChange = call.body
    targets = await targets_of(call)
    target, seen = targets.find(call.part("name")), call.version(body.version)
    if seen is not None and seen != target.stamp.version:
        why = f"it is version {target.stamp.version} now, you saw {seen}"
        raise Problem(409, f"notification {target.name} has been changed meanwhile", why, "Look at it again")
    made = new_secret() if body.new_secret and target.kind == "webhook" else ""
    changes: dict[str, Any] = {
        name: value for name in ("alarms", "enabled") if (value := getattr(body, name)) is not None
    }
    if body.url is not None:
        changes["hint"], changes["url"] = _checked(target.kind, body.url.get_secret_value())
    if body.secret is not None or made:
        changes["secret"] = made or (body.secret.get_secret_value() if body.secret else "")
    target = await targets.put(replace(target, **changes), call.by, "change", noted(body, target))
    return NotificationMade(**_fields(call, target), secret=made)


async def remove_target(call: Call) -> None:
    """Tell it nothing any more."""
    await (await targets_of(call)).remove(call.part("name"), call.by)


async def test_target(call: Call) -> DeliveryView:
    """Send a test message now, once, and say what came of it."""
    targets = await targets_of(call)
    return delivery(await post_of(call).test(targets.find(call.part("name")).name))


def delivery(result: Result) -> DeliveryView:
    """What came of a message, as the API shows it."""
    return DeliveryView(ok=result.ok, text=result.text, at=result.at, seconds=round(result.seconds, 3))


def _checked(kind: str, url: str) -> tuple[str, str]:
    try:
        return check_url(kind, url.strip()), url.strip()
    except ValueError as error:
        why = str(error)
        raise Problem(422, "the address is refused", why, "Correct it", fields={"url": why}) from None


def _fields(call: Call, target: Target) -> dict[str, Any]:
    box, stamp = post_of(call).box(target.name), target.stamp
    return {
        **{name: getattr(target, name) for name in ("name", "kind", "hint", "alarms", "enabled")},
        "readable": bool(target.url),
        **{name: getattr(box, name) for name in ("sent", "failed", "dropped", "trying")},
        "waiting": box.queue.qsize(),
        "last": delivery(box.results[-1]) if box.results else None,
        **{n: getattr(stamp, n) for n in ("created_by", "created_at", "updated_by", "updated_at", "version")},
    }


_NEED = administer("server")
ROUTES = (
    Route(
        "GET", "/alarms", list_kinds, "List kinds of alarms", "server", AlarmKindView, many=True, need=_NEED
    ),
    Route(
        "GET",
        "/notifications",
        list_targets,
        "List who is told of alarms",
        "server",
        NotificationView,
        many=True,
        need=_NEED,
    ),
    Route(
        "POST",
        "/notifications",
        add_target,
        "Tell somebody of alarms",
        "server",
        NotificationMade,
        body=NotificationNew,
        status=201,
        need=_NEED,
    ),
    Route(
        "GET",
        "/notifications/{name}",
        show_target,
        "Show who is told",
        "server",
        NotificationView,
        need=_NEED,
    ),
    Route(
        "PATCH",
        "/notifications/{name}",
        change_target,
        "Change who is told",
        "server",
        NotificationMade,
        body=NotificationChange,
        need=_NEED,
    ),
    Route(
        "DELETE",
        "/notifications/{name}",
        remove_target,
        "Tell somebody nothing any more",
        "server",
        status=204,
        need=_NEED,
    ),
    Route(
        "POST",
        "/notifications/{name}/test",
        test_target,
        "Send a test message",
        "server",
        DeliveryView,
        need=_NEED,
    ),
)

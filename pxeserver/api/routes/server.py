"""The server itself: its state, its policy, backups."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from pxeserver import __version__
from pxeserver.api import checks
from pxeserver.api.access.who import administer, look
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.boots import Counts, PolicyChange, PolicyView, Restored, StatusView, SubnetView
from pxeserver.api.schemas.fields import merged
from pxeserver.api.streams import Feed, consume, file
from pxeserver.boot.model import Policy

BACKUP_LIMIT = 8 << 30
"""Bytes of a backup: it holds no image files."""


async def status(call: Call) -> StatusView:
    """Whether all is well, and how much there is."""
    hall = call.hall
    catalog, nodes = hall.catalog(), hall.nodes()
    seen = call.rooms.worker.seen()
    problems = []
    if hall.trouble is not None:
        problems.append(f"the database cannot be used: {hall.trouble.text}; {hall.trouble.next_step}")
    if not seen.connected:
        problems.append("the boot worker is away: no machine can boot until it is back; look at the log")
    if not catalog.loaders:
        problems.append(
            "there are no boot loaders: the server's log says whether it fetches them;"
            " `pxeserver loader import FILE` and `pxeserver loader add` take yours"
        )
    problems += seen.refused
    counts = Counts(
        nodes=len(nodes),
        armed=sum(1 for n in nodes if n.order > nodes.state(n.id).order),
        held=sum(1 for n in nodes if n.hold),
        unknown_machines=len(hall.machines()),
        profiles=len(catalog.profiles),
        groups=len(catalog.groups),
        images=len(catalog.images),
        loaders=len(catalog.loaders),
    )
    return StatusView(
        version=__version__,
        started=call.rooms.started,
        state="degraded" if problems else "ok",
        problems=tuple(problems),
        unknown=seen.unknown or catalog.policy.unknown,
        why=seen.why,
        others=seen.others,
        ignored=dict(seen.ignored),
        dry_run=catalog.policy.dry_run,
        interfaces=seen.interfaces,
        counts=counts,
    )


def _policy(policy: Policy) -> PolicyView:
    subnets = tuple(
        SubnetView(
            network=s.network,
            dhcp=s.mode.value,
            pools=tuple(f"{low}-{high}" for low, high in s.pools),
            router=s.router,
            dns=s.dns,
            server=s.server,
            lease_seconds=s.lease_seconds,
        )
        for s in policy.subnets
    )
    return PolicyView(
        unknown=policy.unknown,
        dry_run=policy.dry_run,
        menu_timeout=policy.menu_timeout,
        values=dict(policy.values),
        relays=policy.relays,
        subnets=subnets,
    )


async def show_policy(call: Call) -> PolicyView:
    """The policy in force: the configuration file's, with what people set over it."""
    return _policy(call.hall.catalog().policy)


async def change_policy(call: Call) -> PolicyView:
    """Change what the body names. It outlives restarts and wins over the configuration file."""
    body: PolicyChange = call.body
    if body.unknown is not None and body.unknown.startswith("profile:"):
        checks.profile(call, body.unknown.removeprefix("profile:"))
    checks.values(call, body.values or {})
    changes: dict[str, Any] = body.model_dump(exclude_none=True, exclude={"values", "reset"})
    if body.unknown is not None:
        changes["unknown_chosen"] = True
    async with call.hall.edit(call.by) as edit:
        policy = call.hall.catalog().policy
        changed = replace(policy, **changes, values=merged(policy.values, body.values))
        changed = replace(changed, **_from_file(call, body.reset))
        await edit.set_policy(changed)
    return _policy(changed)


def _from_file(call: Call, names: Sequence[str]) -> dict[str, Any]:
    """What the configuration file says of these."""
    base = call.rooms.settings.policy_model()
    known = {name: getattr(base, name) for name in names}
    return known | ({"unknown_chosen": base.unknown_chosen} if "unknown" in known else {})


async def backup(call: Call) -> web.StreamResponse:
    """A consistent copy of everything but the image files, as one file."""
    with tempfile.TemporaryDirectory(dir=backups_folder(call)) as folder:
        path = Path(folder) / "backup"
        await call.hall.backup(path)
        return await file(call.request, path, "pxeserver-backup")


async def restore(call: Call) -> Restored:
    """Replace everything by a backup's content."""
    with tempfile.TemporaryDirectory(dir=backups_folder(call)) as folder:
        path = Path(folder) / "backup"
        await consume(call.request, BACKUP_LIMIT, lambda feed: save(feed, path))
        await call.hall.restore(path)
    return restored(call)


async def start_empty(call: Call) -> Restored:
    """Begin with an empty database after the old one was found damaged."""
    await call.hall.start_empty()
    return restored(call)


def restored(call: Call) -> Restored:
    """What is there now, after a restore."""
    catalog = call.hall.catalog()
    missing = [
        f"{image.name}/{f.name}"
        for image in catalog.images.values()
        for f in image.files
        if not _there(call, f.sha256)
    ]
    return Restored(
        nodes=len(call.hall.nodes()), profiles=len(catalog.profiles), missing_files=tuple(missing)
    )


def _there(call: Call, sha256: str) -> bool:
    try:
        call.rooms.store.open(sha256).close()
    except OSError:
        return False
    return True


def backups_folder(call: Call) -> Path:
    """Where backups are, made where it is not there."""
    folder = call.rooms.settings.server.state_dir / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def save(feed: Feed, path: Path) -> None:
    """Write what is fed into a file. Blocks."""
    with path.open("wb") as target:
        for block in feed:
            target.write(block)


ROUTES = (
    Route("GET", "/status", status, "The server's state", "server", StatusView, need=look("server")),
    Route("GET", "/policy", show_policy, "Show the policy", "policy", PolicyView, need=look("policy")),
    Route(
        "PATCH",
        "/policy",
        change_policy,
        "Change the policy",
        "policy",
        PolicyView,
        body=PolicyChange,
        need=administer("policy"),
    ),
    Route(
        "GET",
        "/backup",
        backup,
        "Back up",
        "server",
        media="application/octet-stream",
        need=administer("server"),
    ),
    Route(
        "POST",
        "/restore/empty",
        start_empty,
        "Begin with an empty database",
        "server",
        Restored,
        need=administer("server"),
    ),
    Route(
        "POST",
        "/restore",
        restore,
        "Restore",
        "server",
        Restored,
        upload="application/octet-stream",
        need=administer("server"),
    ),
)

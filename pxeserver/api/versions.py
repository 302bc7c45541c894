"""Versions of what people edit: made of the audit trail, which keeps each change with its before and after.

There is no second copy: the newest state is the record itself, and each older one follows by taking changes
back one after the other. A roll-back is an edit like any other and makes a new version.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

from pxeserver.api.access.who import Need, look
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.fields import Body, Time, View
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditRecord

MOST = 500
"""Versions that are looked at; older ones stay in the audit trail."""
Number = Annotated[int, Field(ge=1, le=1_000_000_000)]


class VersionView(View):
    """One state that a record had."""

    version: int
    at: Time
    by: str
    source: str
    """Where the change came from: an IP address, "unix", or "" for the server itself."""
    changed: tuple[str, ...]
    """The fields that differ from the version before."""
    body: dict[str, Any]
    """The record as it was then."""


class DiffQuery(Body):
    """Which versions are compared."""

    old: Number | None = None
    """Left away: the one before `new`."""
    new: Number | None = None
    """Left away: the newest."""


class FieldChange(View):
    """One field in two versions."""

    old: Any
    new: Any


class DiffView(View):
    """What differs between two versions."""

    old: int
    new: int
    fields: dict[str, FieldChange]
    """Those that differ."""
    lines: tuple[str, ...]
    """The same as a unified diff."""


class RollBack(Body):
    """An order to make a record what it was."""

    version: Number


@dataclass(frozen=True, slots=True)
class Shelf:
    """A kind of record whose versions are kept."""

    noun: str
    history: Callable[[Call], Awaitable[list[VersionView]]]
    """The versions of the record that the path names, newest first; Problem 404 where there is none."""
    put: Callable[[Call, Mapping[str, Any]], Awaitable[BaseModel]]
    """Store a former body as an edit of the caller; raises what any edit of it raises."""
    area: str = ""
    """What scopes call it; its noun where this is empty."""


def of_record(table: str, record: Callable[[Call], Any]) -> Callable[[Call], Awaitable[list[VersionView]]]:
    """The history of records of this table of the trail; `record` finds the stored one that a path names."""

    async def history(call: Call) -> list[VersionView]:
        current = record(call)
        async with call.hall.database.read() as connection:
            trail = await Audit(connection).since(table, current.name, 0)
        begun = [at for at, entry in enumerate(trail) if entry.verb in ("add", "remove")]
        trail = trail[begun[-1] if begun else 0 :]
        return _taken_back(trail[-MOST:], msgspec.to_builtins(current))

    return history


def _taken_back(trail: list[AuditRecord], newest: dict[str, Any]) -> list[VersionView]:
    """The versions that these changes led to, newest first, by taking one change back after the other."""
    found: list[VersionView] = []
    body = newest
    for entry in reversed(trail):
        told = {name: getattr(entry, name) for name in ("version", "at", "by", "source")}
        found.append(VersionView(**told, changed=tuple(sorted(entry.changes)), body=body))
        body = {**body, **{field: before for field, (before, _) in entry.changes.items()}}
    return found


def _find(call: Call, shelf: Shelf, versions: list[VersionView], number: int | None) -> VersionView:
    """One of these versions, the newest without a number; 404 where there is none."""
    if number is None and versions:
        return versions[0]
    name = call.request.match_info.get("name", "")
    found = next((v for v in versions if v.version == number), None)
    if found is None:
        why = f"{shelf.noun} {name} has the versions {_spans(versions)}"
        step = f"`pxeserver {shelf.noun} versions {name}` shows them"
        raise Problem(404, f"no version {number}", why, step)
    return found


def _spans(versions: list[VersionView]) -> str:
    return f"{versions[-1].version} to {versions[0].version}" if versions else "none"


async def diff(call: Call, shelf: Shelf) -> DiffView:
    """What differs between two versions of the record."""
    query: DiffQuery = call.query
    versions = await shelf.history(call)
    new = _find(call, shelf, versions, query.new)
    before = next((version.version for version in versions if version.version < new.version), new.version)
    return compared(_find(call, shelf, versions, query.old or before), new)


def compared(old: VersionView, new: VersionView) -> DiffView:
    """The difference of two versions."""
    fields = [name for name in {**old.body, **new.body} if old.body.get(name) != new.body.get(name)]
    lines = difflib.unified_diff(
        written(old.body),
        written(new.body),
        f"version {old.version}",
        f"version {new.version}",
        lineterm="",
    )
    differs = {name: FieldChange(old=old.body.get(name), new=new.body.get(name)) for name in fields}
    return DiffView(old=old.version, new=new.version, fields=differs, lines=tuple(lines))


def written(body: Mapping[str, Any]) -> list[str]:
    """A record as lines that can be compared: texts of many lines and mappings take a line for each part."""
    lines: list[str] = []
    for name, value in body.items():
        if isinstance(value, Mapping):
            lines += [f"{name}.{key}: {_plain(value[key])}" for key in sorted(value)]
        elif isinstance(value, str) and "\n" in value:
            lines += [f"{name}:", *(f"  {line}" for line in value.splitlines())]
        elif value not in ("", None):
            lines.append(f"{name}: {_plain(value)}")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(part) for part in value) if isinstance(value, (list, tuple)) else str(value)


async def roll_back(call: Call, shelf: Shelf) -> BaseModel:
    """Make the record what it was in a version; this is an edit, and makes a new version."""
    body: RollBack = call.body
    former = _find(call, shelf, await shelf.history(call), body.version)
    return await shelf.put(call, former.body)


def routes(path: str, shelf: Shelf, view: type[BaseModel], change: Need) -> tuple[Route, ...]:
    """The operations on versions of this kind of record, below its own path, e.g. "/profiles/{name}"."""
    noun = shelf.noun

    async def versions(call: Call) -> list[VersionView]:
        return await shelf.history(call)

    async def difference(call: Call) -> DiffView:
        return await diff(call, shelf)

    async def back(call: Call) -> BaseModel:
        return await roll_back(call, shelf)

    see, tag = look(shelf.area or noun), shelf.area or noun
    return (
        Route(
            "GET",
            f"{path}/versions",
            versions,
            f"List a {noun}'s versions",
            tag,
            VersionView,
            many=True,
            need=see,
        ),
        Route(
            "GET",
            f"{path}/diff",
            difference,
            f"Compare versions of a {noun}",
            tag,
            DiffView,
            query=DiffQuery,
            need=see,
        ),
        Route("POST", f"{path}/rollback", back, f"Roll a {noun} back", tag, view, body=RollBack, need=change),
    )

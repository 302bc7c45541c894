"""The steps of boots, and the trail of changes, as lists and as files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pxeserver.api.exports import ExportRows, Format
from pxeserver.api.schemas.access import AuditQuery, Moment
from pxeserver.api.schemas.boots import EventView
from pxeserver.api.schemas.fields import Body, Text
from pxeserver.boot.model import EventKind


class EventQuery(Body):
    """Which steps of boots to list, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """Numbers below this one: the last of the page before."""
    node: Text | None = None
    """A node's name, or a MAC address."""
    attempt: Text | None = None
    """The id of one boot."""
    kind: EventKind | None = None
    reason: Text | None = None
    """Why nothing was answered, or the code of a boot's diagnosis."""
    since: Moment | None = None
    """A time in ISO 8601, inclusive."""
    until: Moment | None = None
    """A time in ISO 8601, exclusive."""


class EventExport(EventQuery):
    """Which steps of boots, and as what."""

    format: Format = "csv"
    limit: ExportRows = 100_000


class AuditExport(AuditQuery):
    """Which changes, and as what."""

    format: Format = "csv"
    limit: ExportRows = 100_000


class NumberedEvent(EventView):
    """One step of a boot with its number in the list."""

    id: int

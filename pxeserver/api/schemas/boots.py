"""Attempts, their timelines, leases, and the server's own state."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pxeserver.api.schemas.fields import Body, NodeName, Time, ValueChanges, View
from pxeserver.boot.model import Event, Lease


class AttemptQuery(Body):
    """Which attempts to list."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    node: NodeName | None = None


class WatchQuery(Body):
    """From where to watch."""

    since: Annotated[int, Field(ge=0)] | None = None
    """Number of the last event seen: those after it come first, as far as they are kept. Without: new ones
    only."""


class EventView(View):
    """One step of an attempt."""

    at: Time
    kind: str
    attempt: str
    mac: str
    node: str | None
    detail: dict[str, Any]


class AttemptView(View):
    """One boot of one machine."""

    id: str
    mac: str
    node: str | None
    address: str | None
    started: Time
    last: Time
    stage: str
    closed: Time | None
    diagnosis: str
    text: str
    next_step: str


class AttemptDetail(AttemptView):
    """One boot with its timeline, oldest step first."""

    timeline: tuple[EventView, ...]


class LeaseView(View):
    """An address promised to a client."""

    address: str
    mac: str
    hostname: str
    client_id: str
    state: str
    expires: Time


def _unknown(text: str) -> str:
    if not re.fullmatch(r"menu|discover|observe|ignore|profile:[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise ValueError(f"{text!r} is not one of menu, discover, observe, ignore, profile:NAME")
    return text


class PolicyChange(Body):
    """What to change of the policy; it holds over the configuration file."""

    unknown: Annotated[str, AfterValidator(_unknown)] | None = None
    """For unknown machines: menu, discover, observe, ignore, or profile:NAME."""
    dry_run: bool | None = None
    menu_timeout: Annotated[int, Field(ge=0, le=3600)] | None = None
    values: ValueChanges | None = None
    reset: Annotated[
        tuple[Literal["unknown", "dry_run", "menu_timeout", "values"], ...], Field(max_length=4)
    ] = ()
    """These are to be again as the configuration file says."""


class SubnetView(View):
    """A served network."""

    network: str
    dhcp: str
    pools: tuple[str, ...]
    router: str | None
    dns: tuple[str, ...]
    server: str | None
    lease_seconds: int


class PolicyView(View):
    """What unknown machines get, and the networks served."""

    unknown: str
    dry_run: bool
    menu_timeout: int
    values: dict[str, str]
    relays: tuple[str, ...]
    subnets: tuple[SubnetView, ...]


class Counts(View):
    """How many there are."""

    nodes: int
    armed: int
    held: int
    unknown_machines: int
    profiles: int
    groups: int
    images: int
    loaders: int


class StatusView(View):
    """The server's state."""

    version: str
    started: Time
    state: Literal["ok", "degraded"]
    problems: tuple[str, ...]
    unknown: str
    """What unknown machines get now; `why` where that is not the policy."""
    why: str
    dry_run: bool
    others: tuple[str, ...]
    """Other boot servers that were heard."""
    ignored: dict[str, int]
    """How often nothing was answered, by reason."""
    interfaces: tuple[str, ...]
    counts: Counts


class Restored(View):
    """What a restore did."""

    nodes: int
    profiles: int
    missing_files: tuple[str, ...]
    """Files that images name and the store has not: import those images again."""


def event_view(event: Event, node: str | None) -> EventView:
    """A step as the API shows it."""
    return EventView(
        at=event.at,
        kind=event.kind.value,
        attempt=event.attempt,
        mac=event.mac,
        node=node,
        detail=dict(event.detail),
    )


def lease_view(lease: Lease) -> LeaseView:
    """A lease as the API shows it."""
    return LeaseView(
        address=lease.address,
        mac=lease.mac,
        hostname=lease.hostname,
        client_id=lease.client_id,
        state=lease.state,
        expires=lease.expires,
    )

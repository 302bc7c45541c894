"""What goes on now and went on in the last hour."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pxeserver.api.schemas.fields import Body, Time, View
from pxeserver.live.figures import SPAN, SPANS, Point


class LiveBootView(View):
    """A boot on its way."""

    id: str
    mac: str
    node: str | None
    address: str | None
    started: Time
    last: Time
    stage: Literal["asked", "offered", "loader", "script", "kernel", "ramdisk", "system", "reported"]
    step: str
    """The newest step of its timeline."""
    what: str
    """The file on its way, or what its script does."""
    bytes: int
    total: int
    rate: int
    """Bytes per second of the transfer under way."""
    standing: Literal["stuck", "moving", "waiting", "quiet", "done"]
    """waiting: a person's turn; quiet: not answered, as the policy says."""
    diagnosis: str
    text: str
    next_step: str


class LiveTotals(View):
    """How many boots there are, and where they are."""

    boots: int
    drawn: int
    """Of them in `rows`."""
    stages: dict[str, int]
    """Those that move, by stage."""
    standings: dict[str, int]


class LiveBoots(View):
    """The boots on their way, those that are stuck first."""

    rows: tuple[LiveBootView, ...]
    gone: tuple[str, ...]
    """Ids that are no longer there; only in changes."""
    totals: LiveTotals


class NodeTally(View):
    """How many nodes are in which state."""

    idle: int
    """No install was ever started."""
    ordered: int
    """To be installed at the next boot."""
    installing: int
    installed: int
    failed: int
    """An install failed or was cut off; only a new order moves them."""
    held: int
    """By a person."""


class FiguresQuery(Body):
    """Of which time, and in which steps."""

    seconds: Annotated[int, Field(ge=60, le=int(SPAN * SPANS))] = int(SPAN * SPANS)
    step: Annotated[int, Field(ge=5, le=300)] = 15
    """Seconds of one point; rounded down to a multiple of five."""


class FiguresView(View):
    """The last hour: one number for each point of time in `at`, null where there was nothing to measure."""

    at: tuple[float, ...]
    """Ends of the spans, seconds since the epoch."""
    started: tuple[float, ...]
    """Boots a minute."""
    finished: tuple[float, ...]
    failed: tuple[float, ...]
    bytes: tuple[float, ...]
    """Bytes a second, to all machines."""
    offer: tuple[float | None, ...]
    """Median seconds from a machine's first request to our offer."""
    offer_95: tuple[float | None, ...]
    """What 95 of 100 stay below."""
    script: tuple[float | None, ...]
    """Median seconds to its script."""
    script_95: tuple[float | None, ...]
    end: tuple[float | None, ...]
    """Median seconds to the word of the started system."""
    end_95: tuple[float | None, ...]


def figures_view(points: list[Point]) -> FiguresView:
    """Points as columns."""

    def part(name: str, number: int) -> tuple[float | None, ...]:
        pairs = (getattr(point, name) for point in points)
        return tuple(None if pair is None else round(pair[number], 3) for pair in pairs)

    return FiguresView(
        at=tuple(p.at for p in points),
        started=tuple(p.started for p in points),
        finished=tuple(p.finished for p in points),
        failed=tuple(p.failed for p in points),
        bytes=tuple(round(p.bytes) for p in points),
        offer=part("offer", 0),
        offer_95=part("offer", 1),
        script=part("script", 0),
        script_95=part("script", 1),
        end=part("end", 0),
        end_95=part("end", 1),
    )

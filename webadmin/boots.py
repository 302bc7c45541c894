"""Live boots: every machine that boots now as a moving bar; and one boot step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from pxeserver.api.access.who import look
from pxeserver.api.routes import boots, live
from pxeserver.api.schemas.boots import EventView, WatchQuery
from pxeserver.api.schemas.live import LiveBootView
from webadmin import diagnoses
from webadmin.render import language_of, render
from webadmin.routing import Nav, Page, call, query

STAGES: Mapping[str, str] = {
    "asked": "Asked",
    "offered": "Offered",
    "loader": "Loader",
    "script": "Script",
    "kernel": "Kernel",
    "ramdisk": "RAM disk",
    "system": "System",
    "reported": "Runs",
}
"""Names of the stages, in order; looked up in the catalogues."""
LABELS: Mapping[str, str] = {
    "menu": "Menu on its screen",
    "hold": "Held",
    "held": "Held",
    "ignored": "Not answered",
    "boot-requested": "Boot requested",
    "install-started": "Installing",
    "install-progress": "Installing",
    "install-failed": "Install failed",
    "installed": "Installed",
    "booted": "Runs",
    "inventory": "Reported its hardware",
    "local-boot": "Starts its own disk",
}
"""Names of steps that say more than their stage."""
TONES: Mapping[str, str] = {
    "stuck": "fail",
    "moving": "work",
    "waiting": "wait",
    "quiet": "idle",
    "done": "ok",
}
_MOMENTS = {"asked": 0.5, "offered": 0.5, "script": 0.5, "system": 0.5, "reported": 1.0}
_PLUMBING = frozenset({"sha256", "uuid", "blksize", "windowsize"})


@dataclass(frozen=True, slots=True)
class Row:
    """A boot as its line shows it."""

    boot: LiveBootView
    share: float
    """Of the whole way, 0 to 1."""
    label: str
    """English."""
    tone: str

    @property
    def percent(self) -> int | None:
        """Of the file under way."""
        boot = self.boot
        return round(100 * boot.bytes / boot.total) if boot.total and boot.standing == "moving" else None


def row(boot: LiveBootView) -> Row:
    """The line of a boot. js/boots.js does the same."""
    part = _MOMENTS.get(boot.stage)
    if part is None:
        part = min(1.0, boot.bytes / boot.total) if boot.total else 0.5
    share = (list(STAGES).index(boot.stage) + part) / len(STAGES)
    label = LABELS.get(boot.what) if boot.standing == "waiting" else None
    label = label or LABELS.get(boot.step) or STAGES[boot.stage]
    return Row(boot, share, label, TONES[boot.standing])


async def page(request: web.Request) -> web.Response:
    """The machines that boot now, those that are stuck in front. `wall=1`: for a screen on the wall."""
    found = await live.show_boots(call(request))
    rows = [row(boot) for boot in found.rows]
    words = language_of(request).text
    return render(
        request,
        "boots/page.html",
        wall=bool(request.query.get("wall")),
        stuck=[r for r in rows if r.boot.standing == "stuck"],
        others=[r for r in rows if r.boot.standing != "stuck"],
        totals=found.totals,
        stages=STAGES,
        stage_words=[words(name) for name in STAGES.values()],
        label_words={step: words(name) for step, name in LABELS.items()},
        diagnoses=diagnoses.translated(language_of(request)),
        moment=time.time(),
    )


async def stream(request: web.Request) -> web.StreamResponse:
    """What changes on that page, as server-sent events."""
    return await live.stream_boots(call(request, query=query(request, WatchQuery)))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a boot's timeline."""

    event: EventView
    after: float
    """Seconds since the boot began."""
    begin: float
    """Of the bar of the time until the next step, 0 to 1 of the whole."""
    length: float
    detail: tuple[tuple[str, object], ...]


async def boot_page(request: web.Request) -> web.Response:
    """One boot step by step, and what stopped it."""
    boot = await boots.show_attempt(call(request))
    ends = [event.at for event in boot.timeline[1:]] + [boot.closed or time.time()]
    whole = max(ends[-1] - boot.started, 0.001) if boot.timeline else 1.0
    steps = []
    for event, end in zip(boot.timeline, ends, strict=False):
        after = event.at - boot.started
        length = max(0.0, end - event.at) / whole
        detail = tuple((k, v) for k, v in event.detail.items() if k not in _PLUMBING)
        steps.append(Step(event, after, max(0.0, after / whole), length, detail))
    return render(request, "boots/boot.html", boot=boot, steps=steps, labels=LABELS, whole=whole)


PAGES = (
    Page("GET", "/boots", page, look("boot"), Nav("Live boots", "boots", 20, key="b")),
    Page("GET", "/boots/stream", stream, look("boot")),
    Page("GET", "/boots/{id}", boot_page, look("boot")),
)

"""The first page: how the server and everything that it boots are doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import WHO, look
from pxeserver.api.routes import clusters, live, server
from pxeserver.api.schemas.live import FiguresQuery, FiguresView
from webadmin import words
from webadmin.alarms import alarms
from webadmin.clusters import TONES
from webadmin.render import language_of, render
from webadmin.routing import Nav, Page, call

STEP = 15
"""Seconds of one point of the charts."""
STATES = (
    ("installed", "Installed", "ok"),
    ("installing", "Installing", "work"),
    ("ordered", "To be installed", "wait"),
    ("failed", "Install failed", "fail"),
    ("held", "Held", "held"),
    ("idle", "Nothing ordered", "idle"),
)
"""States of nodes with their names and tones, as the bar shows them."""

_FORMS: Mapping[str, Callable[[float], str]] = {
    "count": lambda value: f"{value:g}",
    "size": words.rate,
    "seconds": words.duration,
}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: columns of FiguresView with their names and tones."""

    id: str
    title: str
    unit: str
    """count, size or seconds."""
    lines: tuple[tuple[str, str, str], ...]


CHARTS = (
    Chart(
        "boots",
        "Boots a minute",
        "count",
        (("started", "begun", "work"), ("finished", "arrived", "ok"), ("failed", "failed", "fail")),
    ),
    Chart("bytes", "Sent to machines", "size", (("bytes", "a second", "work"),)),
    Chart(
        "answers",
        "Time to the first answer and to the script",
        "seconds",
        (("offer", "answer", "ok"), ("script", "script", "work"), ("script_95", "script, 95 of 100", "wait")),
    ),
    Chart(
        "ends",
        "Time until the system has started",
        "seconds",
        (("end", "half of them", "work"), ("end_95", "95 of 100", "wait")),
    ),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart with what it shows now: numbers for people, lines for browsers without scripts."""

    chart: Chart
    now: tuple[tuple[str, str, str], ...]
    """Name, value, tone of the newest point that has one."""
    paths: tuple[tuple[str, str], ...]
    """Tone and path data in a box of 600 x 120."""
    top: str
    """The value of the upper edge."""


async def _shown(request: web.Request) -> dict[str, Any]:
    asked = call(request)
    boots = await live.show_boots(asked)
    known = await clusters.list_clusters(asked)
    about = await server.status(asked)
    found = alarms(request.get(WHO), about, boots, known, language_of(request))
    figures = await live.show_figures(call(request, query=FiguresQuery(step=STEP)))
    return {
        "server": about,
        "boots": boots.totals,
        "clusters": known,
        "alarms": found,
        "tally": await live.show_nodes(asked),
        "states": STATES,
        "cluster_tones": TONES,
        "charts": [drawn(chart, figures) for chart in CHARTS],
        "step": STEP,
    }


async def page(request: web.Request) -> web.Response:
    """The overview."""
    return render(request, "overview/page.html", **await _shown(request))


async def part(request: web.Request) -> web.Response:
    """What of it changes, for the page that is open."""
    return render(request, "overview/now.html", **await _shown(request))


async def figures(request: web.Request) -> web.Response:
    """The columns of the charts."""
    found = await live.show_figures(call(request, query=FiguresQuery(step=STEP)))
    response = web.Response(
        body=found.model_dump_json().encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
    response.enable_compression()
    return response


def drawn(chart: Chart, found: FiguresView) -> Drawn:
    """A chart as numbers and lines."""
    columns = [(name, tone, getattr(found, column)) for column, name, tone in chart.lines]
    highest = (
        max((value for _, _, column in columns for value in column if value is not None), default=0) or 1
    )
    form = _FORMS[chart.unit]
    now = []
    for name, tone, column in columns:
        recent = [value for value in column[-20:] if value is not None]
        now.append((name, form(recent[-1]) if recent else "–", tone))
    paths = tuple((tone, _path(column, highest)) for _, tone, column in columns)
    return Drawn(chart, tuple(now), paths, form(highest))


def _path(column: Sequence[float | None], highest: float) -> str:
    """The column as path data; where nothing was measured the line is broken."""
    parts, pen = [], "M"
    for number, value in enumerate(column):
        if value is None:
            pen = "M"
            continue
        x, y = number * 600 / max(len(column) - 1, 1), 118 - value / highest * 116
        parts.append(f"{pen}{x:.0f} {y:.1f}")
        pen = "L"
    return "".join(parts)


PAGES = (
    Page("GET", "/", page, look("server"), Nav("Overview", "overview", 10, key="o")),
    Page("GET", "/overview/now", part, look("server")),
    Page("GET", "/overview/figures", figures, look("server")),
)

"""For those who run the server: whether it lives, whether machines can boot, and figures for a monitoring
system. They lie beside the API, not under its prefix, where such programs look for them.

No label names a machine, a node or a person: the number of series is the same for ten nodes and for ten
thousand, and whoever may read figures learns no names.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from pxeserver import __version__
from pxeserver.api.access.who import PUBLIC, look
from pxeserver.api.exposition import MEDIA, Exposition
from pxeserver.api.routing import Call, Route
from pxeserver.boot.model import Reason
from pxeserver.live.totals import Counts
from pxeserver.ownprocess import own_usage
from pxeserver.protocols.tftp.outcome import End


async def healthz(_call: Call) -> web.Response:
    """The control process answers. Where it does not, start it anew."""
    return web.Response(text="ok\n")


async def readyz(call: Call) -> web.Response:
    """Whether machines can boot and people can change things; 503 names what is missing, a word a line."""
    seen = call.rooms.worker.seen()
    missing = [
        word
        for word, there in (
            ("database", call.hall.trouble is None),
            ("boot-worker", seen.connected),
            ("loaders", bool(call.hall.catalog().loaders)),
        )
        if not there
    ]
    return web.Response(text="\n".join((*(missing or ["ok"]), "")), status=503 if missing else 200)


async def metrics(call: Call) -> web.Response:
    """Figures of the server in Prometheus' text format."""
    page = Exposition("pxeserver")
    _server(page, call)
    _boots(page, call)
    _nodes(page, call)
    _worker(page, call)
    return web.Response(body=page.text().encode(), headers={"Content-Type": MEDIA})


def _server(page: Exposition, call: Call) -> None:
    hall, rooms = call.hall, call.rooms
    counters, seen = hall.counters, rooms.worker.seen()
    page.one("info", "gauge", "The version that runs.", 1, version=__version__)
    page.one("start_time_seconds", "gauge", "When the control process started.", rooms.started)
    page.one("database_up", "gauge", "1 while the database can be used.", hall.trouble is None)
    page.one("worker_up", "gauge", "1 while the boot worker is there.", seen.connected)
    page.one("loaders", "gauge", "Boot loaders; without any no firmware boots.", len(hall.catalog().loaders))
    page.one("watchers", "gauge", "Live streams of events that are open.", counters["watchers"])
    told = "Events that never came into the database because it was away for too long."
    page.one("events_lost_total", "counter", told, counters["events_lost"])
    told = "Other boot servers that answer on the served networks."
    page.one("other_servers", "gauge", told, len(seen.others))
    certificate = rooms.certificate()
    told = "When the certificate of the admin plane ends."
    until = None if certificate is None else certificate.not_after
    page.some("certificate_not_after_seconds", "gauge", told, until)
    usage = {"control": own_usage(), "worker": seen.counters}
    told = "Processor time of the control process and of the boot worker."
    page.many("cpu_seconds_total", "counter", told, "process", _of(usage, "cpu_seconds"))
    told = "Memory of the control process and of the boot worker."
    page.many("resident_bytes", "gauge", told, "process", _of(usage, "resident_bytes"))


def _of(usage: Mapping[str, Mapping[str, int | float]], name: str) -> list[tuple[str, float]]:
    return [(process, told[name]) for process, told in usage.items() if name in told]


def _boots(page: Exposition, call: Call) -> None:
    lookout = call.hall.lookout
    totals = lookout.totals
    stages, standings = lookout.board.counts()
    told = "Boots under way by the stage that they are at."
    page.many("boots_at_stage", "gauge", told, "stage", [(s.name.lower(), n) for s, n in stages.items()])
    told = "Boots on the board by how they are doing."
    page.many("boots", "gauge", told, "standing", [(s.name.lower(), n) for s, n in standings.items()])
    page.one("boots_started_total", "counter", "Machines that were answered.", totals.started)
    page.many("boots_ended_total", "counter", "Boots by how they ended.", "result", totals.ended.items())
    told = "What was found to be wrong with boots."
    page.many("diagnoses_total", "counter", told, "code", totals.diagnoses.items())
    page.many("events_total", "counter", "Steps of boots.", "kind", totals.events.items())
    page.one("boot_bytes_total", "counter", "Bytes of files that machines took.", totals.bytes)
    told = "How long boots stayed at a stage that they have left."
    page.histograms("stage_seconds", told, "stage", totals.stages)
    told = "Time from a machine's first request to our offer, to its script and to its system's word."
    page.histograms("boot_seconds", told, "until", totals.until)


def _nodes(page: Exposition, call: Call) -> None:
    hall = call.hall
    catalog = hall.catalog()
    page.many("nodes", "gauge", "Nodes by state.", "state", hall.lookout.tally().items())
    page.one("unknown_machines", "gauge", "Machines that wait for a person.", len(hall.machines()))
    told = "Records of the catalog."
    kinds = {"profile": catalog.profiles, "group": catalog.groups, "image": catalog.images}
    page.many("catalog_records", "gauge", told, "kind", [(kind, len(has)) for kind, has in kinds.items()])


def _worker(page: Exposition, call: Call) -> None:
    seen = call.rooms.worker.seen()
    told = seen.counters
    reasons = Counts(reason.value for reason in Reason)
    for reason, count in seen.ignored.items():
        reasons.add(reason, count)
    text = "Requests that the boot plane did not answer, or refused."
    page.many("ignored_total", "counter", text, "reason", reasons.items())
    ends = [(end.value, told.get(f"tftp_{end.value}", 0)) for end in End]
    page.many("tftp_transfers_total", "counter", "TFTP transfers by how they ended.", "result", ends)
    answers = [(result, told.get(f"http_{result}", 0)) for result in ("sent", "failed")]
    page.many(
        "http_files_total", "counter", "Answers of the boot HTTP server with a file.", "result", answers
    )
    for name, text, source in _WORKER_COUNTERS:
        page.one(name, "counter", text, told.get(source, 0))
    for name, text, source in _WORKER_GAUGES:
        page.one(name, "gauge", text, told.get(source, 0))


_WORKER_COUNTERS = (
    (
        "tftp_bytes_total",
        "Bytes that TFTP clients acknowledged, counted when their transfer ends.",
        "tftp_bytes",
    ),
    ("tftp_blocks_total", "TFTP data packets that were sent.", "tftp_blocks"),
    ("tftp_blocks_resent_total", "Those of them that were sent again.", "tftp_resent"),
    ("http_bytes_total", "Bytes of files that the boot HTTP server sent.", "http_bytes"),
    ("http_requests_total", "Requests to the boot HTTP server.", "http_requests"),
    ("worker_events_dropped_total", "Events lost while no control process took them.", "events_dropped"),
    ("worker_log_lines_lost_total", "Log lines lost because nobody took them.", "log_lines_lost"),
)
_WORKER_GAUGES = (
    ("tftp_active", "TFTP transfers that run.", "tftp_active"),
    ("http_connections", "Open connections of the boot HTTP server.", "http_connections"),
    ("attempts", "Boots that the boot worker keeps in memory.", "attempts"),
    ("leases", "Addresses that the boot worker has promised, or has not forgotten.", "leases"),
)

ROUTES = (
    Route("GET", "/healthz", healthz, "Whether it lives", "server", media="text/plain", need=PUBLIC),
    Route("GET", "/readyz", readyz, "Whether machines can boot", "server", media="text/plain", need=PUBLIC),
    Route("GET", "/metrics", metrics, "Figures", "server", media="text/plain", need=look("server")),
)
"""They have no part in the OpenAPI document: it is that of the API."""

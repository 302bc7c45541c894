"""The API as an aiohttp application, served on the unix socket that the process was given."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from functools import cache

from aiohttp import web

from pxeserver.api import openapi
from pxeserver.api.access.guard import Access, guard
from pxeserver.api.access.headers import harden
from pxeserver.api.access.local import local
from pxeserver.api.access.origin import FORM_LIMIT
from pxeserver.api.access.who import look
from pxeserver.api.problems import MEDIA, PROBLEM, Problem, of_refusal
from pxeserver.api.rooms import Builds, LoaderShelf, NoWorker, Store, Worker
from pxeserver.api.routes import (
    agents,
    audit,
    backups,
    boots,
    certificate,
    clusters,
    events,
    groups,
    images,
    leases,
    live,
    loaders,
    menu,
    node_many,
    node_orders,
    nodes,
    notifications,
    operations,
    profiles,
    resumable,
    server,
    session,
    settings,
    tokens,
    uploads,
    users,
)
from pxeserver.api.routing import Call, Rooms, Route, attach
from pxeserver.config import Settings
from pxeserver.live import Hall, Refused
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.orders import ClusterOrders

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
ROUTES: tuple[Route, ...] = (
    *server.ROUTES,
    *nodes.ROUTES,
    *node_orders.ROUTES,
    *node_many.ROUTES,
    *agents.ROUTES,
    *clusters.ROUTES,
    *groups.ROUTES,
    *profiles.ROUTES,
    *images.ROUTES,
    *uploads.ROUTES,
    *resumable.ROUTES,
    *loaders.ROUTES,
    *menu.ROUTES,
    *boots.ROUTES,
    *events.ROUTES,
    *live.ROUTES,
    *leases.ROUTES,
    *session.ROUTES,
    *users.ROUTES,
    *tokens.ROUTES,
    *audit.ROUTES,
    *certificate.ROUTES,
    *notifications.ROUTES,
    *settings.ROUTES,
    *backups.ROUTES,
)


def build(
    hall: Hall,
    store: Store,
    loaders: LoaderShelf,
    settings: Settings,
    worker: Worker | None = None,
    *,
    stage: AgentsStage | None = None,
    orders: ClusterOrders | None = None,
    builds: Builds | None = None,
) -> web.Application:
    """The application of the unix socket. Without `worker` there is none to be asked."""
    parts = Rooms(hall, store, loaders, worker or NoWorker(), settings, time.time(), stage, builds, orders)
    return on_socket(parts)


def on_socket(rooms: Rooms) -> web.Application:
    """The application of the unix socket; it keeps nothing of its own."""
    app = web.Application(middlewares=[problems, local(rooms.hall)], client_max_size=0)
    attach(app, (*ROUTES, DOCUMENT), rooms, PREFIX)
    attach(app, operations.ROUTES, rooms, "")
    return app


def on_admin_plane(
    rooms: Rooms, access: Access, add_pages: Callable[[web.Application, Rooms], None] | None = None
) -> web.Application:
    """The application of the admin plane: the same API behind the guard, and the pages beside it."""
    app = web.Application(middlewares=[problems, guard(access)], client_max_size=FORM_LIMIT)
    app.on_response_prepare.append(harden)
    attach(app, (*ROUTES, DOCUMENT), rooms, PREFIX)
    attach(app, operations.ROUTES, rooms, "")
    if add_pages is not None:
        add_pages(app, rooms)
    return app


async def _document(_call: Call) -> web.Response:
    body = await asyncio.to_thread(_document_text)
    return web.Response(body=body, content_type="application/json")


@cache
def _document_text() -> bytes:
    """Made once: it is half a second of work."""
    return json.dumps(openapi.document((*ROUTES, DOCUMENT), PREFIX)).encode()


DOCUMENT = Route("GET", "/openapi.json", _document, "This document", "server", need=look("server"))

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def problems(request: web.Request, handler: Next) -> web.StreamResponse:
    """Every failure becomes an answer that says what, why and the next step."""
    try:
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise Problem(415, "the body is refused", "it is compressed", "Send it as it is")
        return await handler(request)
    except Problem as problem:
        return _answer(request, problem)
    except Refused as refusal:
        return _answer(request, of_refusal(refusal))
    except web.HTTPException as error:
        return _answer(request, _of_http(request, error))
    except ConnectionError:
        raise
    except Exception:
        log.exception("api-failed method=%s path=%s", request.method, request.path)
        step = "The server's log has the details; please report it"
        return _answer(request, Problem(500, "the server failed", "an error inside it", step))


def _answer(request: web.Request, problem: Problem) -> web.Response:
    request[PROBLEM] = problem
    body = problem.view.model_dump_json().encode()
    return web.Response(body=body, status=problem.status, content_type=MEDIA, headers=problem.headers)


def _of_http(request: web.Request, error: web.HTTPException) -> Problem:
    if error.status == 404:
        return Problem(
            404, "no such operation", f"{request.path} is not part of the API", f"See {PREFIX}/openapi.json"
        )
    if error.status == 405:
        allowed = error.headers.get("Allow", "")
        return Problem(
            405, f"{request.method} is refused", f"{request.path} allows {allowed}", "Use one of those"
        )
    return Problem(error.status, error.reason, error.text or error.reason, f"See {PREFIX}/openapi.json")


async def serve(app: web.Application, sock: socket.socket) -> web.AppRunner:
    """Answer on this socket until the runner's cleanup()."""
    # An edit whose caller goes away is carried out all the same: cut off between its commit and what follows
    # from it, the memory would no longer be what the database is.
    runner = web.AppRunner(
        app, keepalive_timeout=10, access_log=None, handler_cancellation=False, shutdown_timeout=1
    )
    await runner.setup()
    await web.SockSite(runner, sock).start()
    return runner

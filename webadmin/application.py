"""All pages on one aiohttp application, beside the API's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from pxeserver.api.access.who import PUBLIC, needs
from pxeserver.api.problems import PROBLEM
from pxeserver.api.routing import Rooms
from webadmin import (
    apidocs,
    assets,
    boots,
    cluster_acts,
    cluster_new,
    cluster_stacks,
    clusters,
    events,
    groups,
    images,
    keeping,
    loaders,
    login,
    menus,
    node,
    node_acts,
    node_edit,
    node_files,
    nodes,
    notices,
    overview,
    people,
    preferences,
    profiles,
    search,
    settings,
    undo,
)
from webadmin.render import NAVIGATION, render
from webadmin.routing import ROOMS, Page
from webadmin.undo import UNDO, Undo

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *boots.PAGES,
    *login.PAGES,
    *apidocs.PAGES,
    *nodes.PAGES,
    *node_acts.PAGES,
    *node_files.PAGES,
    *node_edit.PAGES,
    *node.PAGES,
    *profiles.PAGES,
    *groups.PAGES,
    *images.PAGES,
    *menus.PAGES,
    *loaders.PAGES,
    *cluster_new.PAGES,
    *clusters.PAGES,
    *cluster_acts.PAGES,
    *cluster_stacks.PAGES,
    *events.PAGES,
    *settings.PAGES,
    *people.PAGES,
    *keeping.PAGES,
    *notices.PAGES,
    *search.PAGES,
    *preferences.PAGES,
    *undo.PAGES,
    Page("GET", "/static/{revision}/{name:.+}", assets.serve, need=PUBLIC),
)
Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_pages(app: web.Application, rooms: Rooms) -> None:
    """Add the pages to an application whose middlewares turn failures into problems and know who asks."""
    app[ROOMS] = rooms
    app[UNDO] = Undo()
    shown = [(page.path, page.nav) for page in PAGES if page.nav is not None]
    app[NAVIGATION] = tuple(sorted(shown, key=lambda entry: entry[1].order))
    app.middlewares.insert(0, page_failures)
    for page in PAGES:
        app.router.add_route(page.method, page.path, needs(page.need)(page.handler))


@web.middleware
async def page_failures(request: web.Request, handler: Next) -> web.StreamResponse:
    """A failure outside of the API becomes a page that says what, why and the next step."""
    response = await handler(request)
    problem = request.get(PROBLEM)
    if problem is None or request.path.startswith("/api/") or response.prepared:
        return response
    template = "failure-part.html" if request.headers.get("HX-Request") == "true" else "failure.html"
    page = render(request, template, status=problem.status, problem=problem.view)
    page.headers.update(problem.headers)
    return page

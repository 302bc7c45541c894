"""The route registry: one list of typed routes, from which the server, the OpenAPI document and the tests
are made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pxeserver.api.access.guard import Access
from pxeserver.api.access.who import DENY, Need, Who, needs, who_of
from pxeserver.api.problems import Problem, refused
from pxeserver.api.rooms import Builds, Certificate, LoaderShelf, Store, Worker
from pxeserver.config import Settings
from pxeserver.live import Hall
from pxeserver.notices import Post
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.orders import ClusterOrders

B = TypeVar("B", bound=BaseModel)

BODY_LIMIT = 4 << 20
"""Bytes of a JSON body: room for adding 4096 nodes at once."""
BODY_SECONDS = 30.0
"""A JSON body has to be here after this time; aiohttp itself waits for ever."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the handlers may use."""

    hall: Hall
    store: Store
    loaders: LoaderShelf
    worker: Worker
    settings: Settings
    started: float
    """Seconds since the epoch."""
    agents: AgentsStage | None = None
    """The agents of nodes; None where the API runs alone."""
    builds: Builds | None = None
    """Images that the server builds itself; None where the API runs alone."""
    clusters: ClusterOrders | None = None
    """The stage after boot; None where the API runs alone."""
    access: Access | None = None
    """Users and sessions; None where the API runs alone."""
    certificate: Callable[[], Certificate | None] = lambda: None
    """What browsers are shown now; None where nothing listens for them."""
    notices: Post | None = None
    """What tells people of alarms; None where the API runs alone."""


@dataclass(slots=True)
class Call:
    """One request, checked: the parts of its path, its query and its body."""

    request: web.Request
    rooms: Rooms
    by: str
    """Who asks, e.g. "cli:alice"; kept with every edit."""
    query: Any = None
    body: Any = None
    seen: str = ""
    """The revision that a form was made from; goes before If-Match, which forms cannot send."""

    @property
    def who(self) -> Who:
        """Who asks, and what they may do."""
        return who_of(self.request)

    @property
    def hall(self) -> Hall:
        """The control process's hall."""
        return self.rooms.hall

    def part(self, name: str) -> str:
        """A part of the path, e.g. the name of a node."""
        return self.request.match_info[name]

    def version(self, given: int | None) -> int | None:
        """The version that the caller saw: the body's field, else If-Match."""
        if given is not None:
            return given
        tag = self.request.headers.get("If-Match", "").strip().strip('"')
        if not tag or tag == "*":
            return None
        if not tag.isascii() or not tag.isdigit():
            raise Problem(400, "If-Match is refused", "it is not a version number", 'Send If-Match: "3"')
        return int(tag)


class Paged(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many at most; left away: all."""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Without so many from the beginning."""

    def of(self, items: Iterable[BaseModel]) -> tuple[list[BaseModel], bool]:
        """The page, and whether there is another one after it."""
        stop = None if self.limit is None else self.offset + self.limit + 1
        part = list(islice(items, self.offset, stop))
        return part[: self.limit], self.limit is not None and len(part) > self.limit

    def link(self, request: web.Request) -> str:
        """Where the next page is (RFC 8288)."""
        following = request.rel_url.update_query(
            limit=self.limit or 0, offset=self.offset + (self.limit or 0)
        )
        return f'<{following}>; rel="next"'


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a list that the handler has cut out itself."""

    items: Iterable[BaseModel]
    link: str
    """Where the next one is; "" after the last."""
    total: int
    """How many there are in all parts."""


_AT_ONCE = 200
"""Items of a list that are written before others have their turn: 100,000 nodes take seconds."""

Handler = Callable[[Call], Awaitable[BaseModel | Iterable[BaseModel] | Part | web.StreamResponse | None]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API. `answer` is the schema of its body; None: no body, or a stream of `media`."""

    method: str
    path: str
    """Under /api/v1, e.g. "/nodes/{name}"."""
    handler: Handler
    summary: str
    tag: str
    answer: type[BaseModel] | None = None
    many: bool = False
    """The answer is a list of `answer`."""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    media: str = "application/json"
    upload: str = ""
    """Media type of a body that the handler reads as a stream."""
    need: Need = DENY
    """What it needs of whoever asks; what says nothing of it is for administrators alone."""

    @property
    def pages(self) -> bool:
        """Whether it can be asked for page by page."""
        return self.many and self.method == "GET"


def attach(app: web.Application, routes: Sequence[Route], rooms: Rooms, prefix: str) -> None:
    """Add the routes to an application."""
    for route in routes:
        app.router.add_route(route.method, prefix + route.path, needs(route.need)(_adapter(route, rooms)))


def _adapter(route: Route, rooms: Rooms) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answered(request: web.Request) -> web.StreamResponse:
        call = Call(request, rooms, by=who_of(request).by)
        given = dict(request.query)
        page = _page(route, given)
        if route.query is not None:
            call.query = _query(request, route.query, given)
        elif given:
            raise Problem(400, "the query is refused", "this operation takes none", "Leave it away")
        if route.body is not None:
            call.body = await _body(request, route.body)
        result = await route.handler(call)
        if isinstance(result, web.StreamResponse):
            return result
        if isinstance(result, Part):
            answer = await _json(
                result.items, route.status, f'<{result.link}>; rel="next"' if result.link else ""
            )
            answer.headers["X-Total-Count"] = str(result.total)
            return _unchanged(request, answer)
        if page is not None and result is not None and not isinstance(result, BaseModel):
            result, more = page.of(result)
            return _unchanged(request, await _json(result, route.status, page.link(request) if more else ""))
        return _unchanged(request, await _json(result, route.status))

    return answered


def _page(route: Route, given: dict[str, str]) -> Paged | None:
    """The page that is asked for, taken out of the query; None where the operation has none, or its own."""
    if not route.pages:
        return None
    own = route.query.model_fields if route.query is not None else {}
    asked = {name: given.pop(name) for name in Paged.model_fields if name in given and name not in own}
    return _checked(Paged, asked) if asked else None


def _unchanged(request: web.Request, response: web.Response) -> web.Response:
    """304 where the caller has this already (RFC 9110 section 13.1.2).

    Not by a version: what is shown of a thing changes also while its version stays.
    """
    tag = response.headers.get("ETag", "")
    known = [t.strip() for t in request.headers.get("If-None-Match", "").split(",")]
    if request.method != "GET" or tag not in known or tag.strip('"').isdigit():
        return response
    return web.Response(status=304, headers={"ETag": tag})


async def _json(result: BaseModel | Iterable[BaseModel] | None, status: int, link: str = "") -> web.Response:
    if result is None:
        return web.Response(status=204)
    if isinstance(result, BaseModel):
        return web.Response(
            body=result.model_dump_json().encode(),
            status=status,
            content_type="application/json",
            headers={"ETag": f'"{revision(result)}"'},
        )
    parts = []
    for number, item in enumerate(result, 1):
        parts.append(item.model_dump_json().encode())
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    body = b"[" + b",".join(parts) + b"]"
    tag = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest()[:16])
    headers = {"ETag": f'"{tag}"'} | ({"Link": link} if link else {})
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def revision(view: BaseModel) -> str:
    """What changes whenever the thing does: its version where it has one, else a digest of its content."""
    version = getattr(view, "version", None)
    if isinstance(version, int):
        return str(version)
    return hashlib.sha256(view.model_dump_json().encode()).hexdigest()[:16]


def _query(request: web.Request, schema: type[B], given: Mapping[str, str]) -> B:
    repeated = [key for key in request.query if len(request.query.getall(key)) > 1]
    if repeated:
        raise Problem(400, "the query is refused", f"{repeated[0]} is given twice", "Give it once")
    return _checked(schema, given)


def _checked(schema: type[B], given: Mapping[str, str]) -> B:
    try:
        return schema.model_validate(dict(given))
    except ValidationError as error:
        raise refused(error, "query") from None


async def _body(request: web.Request, schema: type[B]) -> B:
    if request.content_type != "application/json":
        mend = "Send Content-Type: application/json"
        raise Problem(415, "the body is refused", f"it is {request.content_type}, not JSON", mend)
    chunks = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > BODY_LIMIT:
                    why = f"it is longer than {BODY_LIMIT >> 20} MiB"
                    raise Problem(413, "the body is refused", why, "Send less at once")
    except TimeoutError:
        why = f"it did not come within {BODY_SECONDS:g} s"
        raise Problem(408, "the body is refused", why, "Send it again") from None
    try:
        return schema.model_validate_json(bytes(chunks))
    except ValidationError as error:
        if any(detail["type"] == "json_invalid" for detail in error.errors()):
            why = error.errors()[0]["msg"]
            raise Problem(400, "the body is refused", why, "Send valid JSON") from None
        raise refused(error, "body") from None

"""What a page is, how it reaches the services, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from pxeserver.api.access.who import DENY, Need, who_of
from pxeserver.api.problems import refused
from pxeserver.api.routing import Call, Rooms

B = TypeVar("B", bound=BaseModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ROOMS = web.AppKey("rooms", Rooms)
"""The services behind the pages."""


@dataclass(frozen=True, slots=True)
class Nav:
    """A place in the navigation and in the palette."""

    title: str
    """English; looked up in the catalogues."""
    icon: str
    """A symbol of static/icons.svg."""
    order: int
    section: str = ""
    key: str = ""
    """Pressed after "g" it leads here."""


@dataclass(frozen=True, slots=True)
class Page:
    """One operation of the web admin."""

    method: str
    path: str
    handler: Handler
    need: Need = DENY
    """What it needs of whoever asks (pxeserver.api.access.who: look, operate, administer, PUBLIC); what says
    nothing of it is for administrators alone."""
    nav: Nav | None = None


def call(request: web.Request, *, query: Any = None, body: Any = None, seen: str = "") -> Call:
    """What the API's handlers take, for a page that asks one of them. `query` and `body` are instances of the
    schemas that the API's route declares; parts of the page's path go by the same names as the API's. `seen`
    is the revision a form was made from: the change is refused (409) where it is no longer the newest.
    """
    return Call(request, request.app[ROOMS], by=who_of(request).by, query=query, body=body, seen=seen)


def query(request: web.Request, schema: type[B], **more: object) -> B:
    """The request's query as a schema of the API. Empty fields, as forms without JavaScript send them,
    count as not given; Problem 422 names the faulty ones.
    """
    given = {
        name: value for name, value in request.query.items() if value != "" and name in schema.model_fields
    }
    return checked(schema, {**given, **more}, "query")


def checked(schema: type[B], fields: Mapping[str, object], where: str = "form") -> B:
    """These fields as a schema of the API; Problem 422 names the faulty ones."""
    try:
        return schema.model_validate(dict(fields))
    except ValidationError as error:
        raise refused(error, where) from None


def wants_fragment(request: web.Request) -> bool:
    """htmx asks for a part of the page, not for the whole."""
    return (
        request.headers.get("HX-Request") == "true"
        and request.headers.get("HX-History-Restore-Request") != "true"
    )

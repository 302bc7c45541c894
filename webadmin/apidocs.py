"""The API's document as a page, made here from the schemas that the server checks with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from aiohttp import web

from pxeserver.api import openapi
from pxeserver.api.access.who import look
from pxeserver.api.application import DOCUMENT, PREFIX, ROUTES
from webadmin.render import render
from webadmin.routing import Nav, Page

_USUAL = frozenset(
    {"400", "401", "403", "404", "408", "409", "413", "415", "421", "422", "429", "500", "503"}
)
"""Answers that every operation may give; the page explains them once."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body, an answer, or a query."""

    name: str
    kind: str
    required: bool
    said: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    said: str
    query: tuple[Field, ...]
    body: str
    """What the body is: the name of a schema, or a media type; "" where there is none."""
    fields: tuple[Field, ...]
    status: str
    answer: str
    shown: tuple[Field, ...]


async def page(request: web.Request) -> web.Response:
    """Every operation, by what it is about."""
    groups, problems = await asyncio.to_thread(described)
    return render(request, "apidocs/page.html", groups=groups, problems=problems, prefix=PREFIX)


@cache
def described() -> tuple[dict[str, list[Operation]], dict[str, str]]:
    """The operations by their tags, and what the answers mean that all of them may give."""
    document = openapi.document((*ROUTES, DOCUMENT), PREFIX)
    schemas = document["components"]["schemas"]
    groups: dict[str, list[Operation]] = {}
    problems: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for method, raw in operations.items():
            groups.setdefault(raw["tags"][0], []).append(_operation(path, method, raw, schemas))
            problems |= {s: r["description"] for s, r in raw["responses"].items() if s in _USUAL}
    return dict(sorted(groups.items())), dict(sorted(problems.items()))


def _operation(path: str, method: str, raw: Mapping[str, Any], schemas: Mapping[str, Any]) -> Operation:
    content = raw.get("requestBody", {}).get("content", {})
    body, fields = _content(content, schemas)
    status = next(s for s in raw["responses"] if s not in _USUAL)
    answer, shown = _content(raw["responses"][status].get("content", {}), schemas)
    query = tuple(
        Field(p["name"], _kind(p["schema"]), p["required"], p["schema"].get("description", ""))
        for p in raw.get("parameters", ())
        if p["in"] == "query"
    )
    said = raw.get("description", "")
    return Operation(
        raw["operationId"],
        method.upper(),
        path,
        raw["summary"],
        said,
        query,
        body,
        fields,
        status,
        answer,
        shown,
    )


def _content(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> tuple[str, tuple[Field, ...]]:
    for media, told in content.items():
        schema = told.get("schema")
        if schema is None:
            return media, ()
        inner = schema.get("items", schema)
        name = inner.get("$ref", "").rpartition("/")[2]
        listed = f"list of {name}" if "items" in schema else name
        return listed, tuple(_fields(schemas.get(name, {})))
    return "", ()


def _fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        yield Field(name, _kind(part), name in required, " ".join(part.get("description", "").split()))


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: "integer or null", "list of string"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))


PAGES = (Page("GET", "/docs/api", page, look("server"), Nav("API", "api", 95, section="Server")),)

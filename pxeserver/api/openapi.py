"""The OpenAPI 3.1 document, made from the route registry: what is documented is what is served."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from pxeserver import __version__
from pxeserver.api.access.guard import COOKIE, COOKIE_ON_LOOPBACK
from pxeserver.api.access.who import Role
from pxeserver.api.problems import MEDIA, ProblemView
from pxeserver.api.routing import Paged, Route

_PROBLEMS = {
    "400": "The request cannot be understood",
    "401": "Nobody has logged in, or the token is wrong, revoked or has expired",
    "403": "The role, the scope or the labels do not allow it, or no page of this server sent the change",
    "404": "There is no such thing",
    "409": "It exists already, has been changed meanwhile, or is in use",
    "408": "The body did not come in time",
    "413": "The body is too long",
    "415": "The body is of another kind, or compressed",
    "421": "The request is for another host's name",
    "422": "A field is refused; `fields` names it",
    "429": "Too many tries; Retry-After says when to come again",
    "500": "The server failed; its log says why",
    "503": "The database or the boot worker is away; try again",
}


_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token; `x-scope` names the scope that an operation needs.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "From POST /session, over TLS. Changes need X-CSRF-Token as well.",
    },
    "sessionOnLoopback": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE_ON_LOOPBACK,
        "description": "The same over plain HTTP on the server's own host.",
    },
}


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """The document for these routes."""
    inputs = [m for route in routes for m in (route.body, route.query) if m is not None]
    outputs: list[type[BaseModel]] = [route.answer for route in routes if route.answer is not None]
    outputs.append(ProblemView)
    kinds: list[tuple[type[BaseModel], JsonSchemaMode]] = [(m, "validation") for m in inputs]
    kinds += [(m, "serialization") for m in outputs]
    names, definitions = models_json_schema(kinds, ref_template="#/components/schemas/{model}")
    references = {model: schema for (model, _), schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(prefix + route.path, {})
        operations[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pxeserver",
            "version": __version__,
            "description": "Nodes, groups, profiles, images, loaders and boots of a PXE/iPXE boot server. "
            "Times are ISO 8601 in UTC. Errors say what, why and the next step.",
        },
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {}), "securitySchemes": _SCHEMES},
        "security": [{"token": []}, {"session": []}, {"sessionOnLoopback": []}],
    }


def _operation(route: Route, references: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {str(route.status): _answer(route, references)},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)", route.path)
    ]
    if route.query is not None:
        parameters += _query(route.query)
    if route.pages:
        known = {parameter["name"] for parameter in parameters}
        parameters += [p for p in _query(Paged) if p["name"] not in known]
    if parameters:
        operation["parameters"] = parameters
    operation |= _access(route)
    if route.body is not None:
        content = {"application/json": {"schema": references[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.upload:
        operation["requestBody"] = {"required": True, "content": {route.upload: {}}}
    problem = {MEDIA: {"schema": references[ProblemView]}}
    for status, text in _PROBLEMS.items():
        operation["responses"][status] = {"description": text, "content": problem}
    return operation


def _access(route: Route) -> dict[str, Any]:
    """Who may call it, in words and in fields of our own (OpenAPI 3.1, section 4.9)."""
    need = route.need
    if need.role == Role.NOBODY:
        return {"security": [], "description": f"{_said(route)}\n\nFor everybody."}
    words = [f"For {'an' if need.role != Role.VIEWER else 'a'} {need.role.name.lower()}"]
    words.append(f"scope `{need.scope}`" if need.scope else "with no token")
    if need.local:
        words = ["For the command line on the server's own host"]
    told: dict[str, Any] = {"description": f"{_said(route)}\n\n{', '.join(words)}."}
    told["x-role"] = need.role.name.lower()
    if need.scope:
        return told | {"x-scope": need.scope}
    return told | {"security": [{"session": []}, {"sessionOnLoopback": []}]}


def _said(route: Route) -> str:
    return " ".join((route.handler.__doc__ or route.summary).split())


def _answer(route: Route, references: dict[Any, Any]) -> dict[str, Any]:
    if route.answer is None:
        if route.media == "application/json":
            return {"description": "Done"}
        return {"description": "A stream", "content": {route.media: {}}}
    schema = references[route.answer]
    if route.many:
        schema = {"type": "array", "items": schema}
    headers: dict[str, Any] = {"ETag": {"schema": {"type": "string"}, "description": "What changes with it"}}
    if route.pages:
        words = "Where the next page is (RFC 8288), if there is one"
        headers["Link"] = {"schema": {"type": "string"}, "description": words}
    return {"description": "Done", "headers": headers, "content": {route.media: {"schema": schema}}}


def _query(schema: type[BaseModel]) -> list[dict[str, Any]]:
    described = schema.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": part}
        for name, part in described.get("properties", {}).items()
    ]


def _operation_id(route: Route) -> str:
    words = [w.strip("{}") for w in re.split(r"[/_.-]", route.path) if w]
    return "_".join([route.method.lower(), *words])

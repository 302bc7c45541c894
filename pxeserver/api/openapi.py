"""The OpenAPI 3.1 document, made from the route registry: what is documented is what is served."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from pxeserver import __version__
from pxeserver.api.problems import ProblemView
from pxeserver.api.routing import Route

_PROBLEMS = {
    "400": "The request cannot be understood",
    "404": "There is no such thing",
    "409": "It exists already, has been changed meanwhile, or is in use",
    "422": "A field is refused; `fields` names it",
    "503": "The database or the boot worker is away; try again",
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
        "components": {"schemas": definitions.get("$defs", {})},
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
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": references[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.upload:
        operation["requestBody"] = {"required": True, "content": {route.upload: {}}}
    problem = {"application/json": {"schema": references[ProblemView]}}
    for status, text in _PROBLEMS.items():
        operation["responses"][status] = {"description": text, "content": problem}
    return operation


def _answer(route: Route, references: dict[Any, Any]) -> dict[str, Any]:
    if route.answer is None:
        if route.media == "application/json":
            return {"description": "Done"}
        return {"description": "A stream", "content": {route.media: {}}}
    schema = references[route.answer]
    if route.many:
        schema = {"type": "array", "items": schema}
    return {"description": "Done", "content": {route.media: {"schema": schema}}}


def _query(schema: type[BaseModel]) -> list[dict[str, Any]]:
    described = schema.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in described.get("required", ()), "schema": part}
        for name, part in described.get("properties", {}).items()
    ]


def _operation_id(route: Route) -> str:
    words = [w.strip("{}") for w in re.split(r"[/_.-]", route.path) if w]
    return "_".join([route.method.lower(), *words])

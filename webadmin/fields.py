"""What forms send and show: fields, of which those that are missing are empty, labels as one text, faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pxeserver.api.problems import Problem, ProblemView


class Fields(dict[str, Any]):
    """A mapping whose missing keys are ""; so are those of the mappings in it."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        super().__init__({key: _deep(value) for key, value in (given or {}).items()})

    def __missing__(self, key: str) -> str:
        return ""


async def form_of(request: web.Request) -> dict[str, str]:
    """The text fields of a form, with line breaks as the server keeps them."""
    form = await request.post()
    return {name: text.replace("\r\n", "\n") for name, text in form.items() if isinstance(text, str)}


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as a form's one field shows them: "key=value" with blanks between."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def labels_of(text: str) -> dict[str, str]:
    """The labels of such a field; Problem 422 where a word is no key=value."""
    labels: dict[str, str] = {}
    for word in text.replace(",", " ").split():
        key, equals, value = word.partition("=")
        if not (key and equals):
            why = f"{word[:80]} is not key=value"
            raise Problem(422, "the labels are refused", why, "Correct it", fields={"labels": why})
        labels[key] = value
    return labels


def faults_of(problem: ProblemView | None) -> Fields:
    """Faults by the form's own fields: "labels.rack" is a fault of "labels", "values.console" of itself."""
    found: dict[str, str] = {}
    for where, text in (problem.fields if problem else {}).items():
        parts = where.split(".")
        if parts[0] == "nodes" and len(parts) > 2:  # one of many that are added at once
            parts = parts[2:]
        found.setdefault(".".join(parts[:2]) if parts[0] == "values" else parts[0], text)
    return Fields(found)


def _deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Fields(value)
    return [_deep(item) for item in value] if isinstance(value, list) else value

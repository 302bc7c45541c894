"""Errors of the API: what went wrong, why, and what to do next. Every answer that is not 2xx has this
shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from pxeserver.api.schemas.fields import FORMS
from pxeserver.live import Missing, Refused, Unavailable

MEDIA = "application/problem+json"
"""RFC 9457."""


class ProblemView(BaseModel):
    """The body of an error: problem details (RFC 9457), and what to do about it."""

    type: str = "about:blank"
    title: str = ""
    """The same as `what`."""
    status: int = 500
    detail: str = ""
    """The same as `why`."""
    what: str
    """What went wrong, in one sentence."""
    why: str
    """The reason."""
    next_step: str
    """What to do about it."""
    fields: dict[str, str] = Field(default_factory=dict)
    """The faults of the request's own fields, by name."""


class Problem(Exception):  # noqa: N818 - it is an answer, not an accident
    """An answer of status 4xx or 5xx, raised from anywhere in a handler."""

    def __init__(
        self,
        status: int,
        what: str,
        why: str,
        next_step: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{what}: {why}")
        self.status = status
        self.view = ProblemView(
            title=what,
            status=status,
            detail=why,
            what=what,
            why=why,
            next_step=next_step,
            fields=dict(fields or {}),
        )
        self.headers = dict(headers or {})


PROBLEM = web.RequestKey("problem", Problem)
"""Of a request: what it was answered with, for whoever shows that as a page."""


def not_found(noun: str, name: str) -> Problem:
    """404 for a thing that is asked for by name."""
    why, listing = f"there is no {noun} of this name", f"{noun} list"
    if noun == "machine":
        why, listing = "no unknown machine shows this code", "node list --unknown"
    return Problem(404, f"no {noun} {name}", why, f"`pxeserver {listing}` shows them")


def of_refusal(refusal: Refused) -> Problem:
    """What the hall's refusal is in HTTP: 404, 409 (it does not fit what is there), or 503 with
    Retry-After."""
    headers: dict[str, str] = {}
    match refusal:
        case Missing():
            status = 404
        case Unavailable():
            status, headers = 503, {"Retry-After": "3"}
        case _:
            status = 409
    return Problem(status, refusal.what, refusal.why, refusal.next_step, headers=headers)


@contextmanager
def as_problems() -> Iterator[None]:
    """The hall's refusals inside this block as Problem: for forms, which show both alike."""
    try:
        yield
    except Refused as refusal:
        raise of_refusal(refusal) from refusal


def refused(error: ValidationError, where: str) -> Problem:
    """422 for a body or a query that does not fit its schema, with every field at fault."""
    fields: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "too_short" and fields:
            continue  # what is left of a list without its faulty items
        name = ".".join(str(part) for part in detail["loc"]) or where
        text = detail["msg"]
        if detail["type"] == "extra_forbidden":
            text = "is no field of this request"
        elif detail["type"] == "string_pattern_mismatch":
            text = FORMS.get(detail["ctx"]["pattern"], text)
        fields[name] = text.removeprefix("Value error, ")
    why = "; ".join(f"{name}: {text}" for name, text in fields.items())
    return Problem(422, f"the {where} is refused", why, "Mend the fields that are named", fields=fields)

"""Where a page of a list ended: the sort key of its last item, as a text for URLs.

It is not signed: whoever makes one up gets a list that begins elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from pxeserver.api.problems import Problem

Order = tuple[Any, ...]
"""What the list is sorted by; a cursor fits no other order."""


def written(key: tuple[Any, ...], order: Order) -> str:
    """A sort key of strings, numbers and tuples of such, as a text."""
    return base64.urlsafe_b64encode(json.dumps([order, key]).encode()).decode().rstrip("=")


def read(text: str, order: Order) -> tuple[Any, ...]:
    """The sort key; Problem 422 for what is no cursor of a list in this order."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        told, key = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, UnicodeError, ValueError, TypeError, RecursionError):
        raise _refused("it is none that this server has given") from None
    if _tuples(told) != order or not isinstance(key, list):
        raise _refused("the list was sorted otherwise then")
    return tuple(_tuples(part) for part in key)


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """While keys are compared with one that was read: what cannot be compared is no cursor."""
    try:
        yield
    except TypeError:
        raise _refused("it is none that this server has given") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _refused(why: str) -> Problem:
    step = "Begin the list anew, without `after`"
    return Problem(422, "the place in the list is refused", why, step, fields={"after": why})

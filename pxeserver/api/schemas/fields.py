"""The field types that several schemas share: names, MAC addresses, UUIDs, labels, times."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

_MAC = re.compile(r"[0-9a-f]{12}")
_NOT_DISPLAYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Body(BaseModel):
    """What all request bodies and queries share."""

    # Built when they are first used: most servers never need most of them.
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


class View(BaseModel):
    """What all answers share."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, defer_build=True)


def mac(text: str) -> str:
    """A MAC address in any usual spelling, as lower case with colons. ValueError where it is none, or a
    group address."""
    digits = re.sub(r"[:.\-]", "", text).lower()
    if not _MAC.fullmatch(digits):
        raise ValueError(f"{text!r} is not a MAC address such as 52:54:00:12:34:56")
    if int(digits[:2], 16) & 1 or digits == "0" * 12:
        raise ValueError(f"{text!r} is not the MAC address of one network card")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a UUID") from None


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None


def displayed(text: str) -> str:
    """Text for people in one line: without control characters, line breaks or changes of direction."""
    if any(unicodedata.category(c) in _NOT_DISPLAYED for c in text):
        raise ValueError("control characters are refused")
    return text


def _unique(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) != len(items):
        raise ValueError("a value is given twice")
    return items


def iso(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


FORMS: dict[str, str] = {}
"""What a pattern wants, in words."""


def form(pattern: str, words: str) -> Any:
    """A field that fits a pattern; `words` are told where a text does not."""
    FORMS[pattern] = words
    return Field(pattern=pattern)


Name = Annotated[
    str,
    form(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        "a name is at most 63 letters, digits, '.', '_' and '-', beginning with a letter or digit",
    ),
]
"""A name of a group, profile or image."""
NodeName = Annotated[
    str,
    form(
        r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        "a node's name is its host name: at most 63 lower-case letters, digits, '.' and '-',"
        " with a letter or digit at both ends",
    ),
]
"""A name of a node: also its host name, hence lower case."""
Mac = Annotated[str, AfterValidator(mac)]
Macs = Annotated[tuple[Mac, ...], Field(max_length=64), AfterValidator(_unique)]
Uuid = Annotated[str, AfterValidator(_uuid)]
Address = Annotated[str, AfterValidator(_address)]
Text = Annotated[str, Field(max_length=1000), AfterValidator(displayed)]
Serial = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(displayed)]
LabelKey = Annotated[
    str,
    form(
        r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$",
        "a label's key is at most 63 letters, digits, '.', '_', '/' and '-',"
        " with a letter or digit at both ends",
    ),
]
LabelValue = Annotated[
    str,
    form(r"^[A-Za-z0-9._-]{0,63}$", "a label's value is at most 63 letters, digits, '.', '_' and '-'"),
]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
LabelChanges = Annotated[dict[LabelKey, LabelValue | None], Field(max_length=64)]
ValueKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Value = Annotated[str, Field(max_length=4096), AfterValidator(displayed)]
Values = Annotated[dict[ValueKey, Value], Field(max_length=64)]
ValueChanges = Annotated[dict[ValueKey, Value | None], Field(max_length=64)]
"""Null takes a value away."""
Sha256 = Annotated[str, form(r"^[0-9a-f]{64}$", "a SHA-256 is 64 digits 0-9 and a-f, as sha256sum prints it")]
Version = Annotated[int, Field(ge=1)]
"""The version that the caller has seen; the change is refused where it is no longer the newest."""
Time = Annotated[float, PlainSerializer(iso, return_type=str)]


def merged(old: Any, changes: dict[str, str | None] | None) -> dict[str, str]:
    """A mapping with changes applied; None takes a key away."""
    result = dict(old)
    for key, value in (changes or {}).items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result

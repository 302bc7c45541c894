"""What agents send, as JSON: checked, cut to size, and without control characters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from pxeserver.postinstall.polls import Drifted, Progress, Report
from pxeserver.postinstall.work import Result

_NONCE_BYTES = 32
_TEXT = 2000
"""Characters of one text."""
_LINES = 400
_ITEMS = 200
_DEPTH = 6
T = TypeVar("T")
_CONTROL = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ") | {9: "\t"}


@dataclass(frozen=True, slots=True)
class ClaimBody:
    """A claim: of a boot attempt, or with a join command's token."""

    key: str
    nonce: str
    """Random, 32 bytes, base64: it comes back in the sealed answer."""
    attempt: str | None = None
    token: str | None = field(default=None, repr=False)
    facts: dict[str, Any] = field(default_factory=dict)


def claim(raw: bytes) -> ClaimBody:
    """A claim from its JSON. msgspec.MsgspecError, ValueError."""
    body = _decoded(raw, ClaimBody)
    if bool(body.attempt) == bool(body.token):
        raise ValueError("either an attempt or a token")
    if len(base64.b64decode(body.nonce, validate=True)) != _NONCE_BYTES:
        raise ValueError("the nonce is not 32 bytes")
    return body


def report(raw: bytes) -> Report:
    """A poll from its JSON. msgspec.MsgspecError, ValueError."""
    told = _decoded(raw, Report)
    if not told.instance or len(told.instance) > 64:
        raise ValueError("the instance is empty or too long")
    progress = told.progress
    return replace(
        told,
        instance=clean(told.instance),
        boot=clean(told.boot, 64),
        done=tuple(_result(result) for result in told.done[:_ITEMS]),
        progress=Progress(progress.id, clean(progress.text), progress.fraction) if progress else None,
        drift=None
        if told.drift is None
        else tuple(
            Drifted(clean(d.step, 64), clean(d.what), clean(d.want), clean(d.have))
            for d in told.drift[:_ITEMS]
        ),
        facts=None if told.facts is None else clean_facts(told.facts),
    )


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _result(result: Result) -> Result:
    log = tuple(clean(line) for line in result.log[-_LINES:])
    return replace(
        result, reason=clean_lines(result.reason), log=log, facts=_clean_value(result.facts, _DEPTH)
    )


def clean(text: str, most: int = _TEXT) -> str:
    """One line of it, cut to size: a node's text is shown on terminals and in pages."""
    return text[:most].translate(_CONTROL)


def clean_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(clean(line) for line in text[: _TEXT * 4].splitlines())


def clean_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON facts with clean texts, cut to size; what lies too deep is left out."""
    cleaned = _clean_value(facts, _DEPTH)
    return cleaned if isinstance(cleaned, dict) else {}


def _clean_value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping) and depth:
        items = list(value.items())[:_ITEMS]
        return {clean(str(key), 100): _clean_value(item, depth - 1) for key, item in items}
    if isinstance(value, (list, tuple)) and depth:
        return [_clean_value(item, depth - 1) for item in value[:_ITEMS]]
    return value if isinstance(value, (bool, int, float)) else None

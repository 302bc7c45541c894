"""Mappings for templates in which what is not there is empty: forms not filled in, older reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Fields(dict[str, Any]):
    """A mapping whose missing keys are ""; so are those of the mappings in it."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        super().__init__({key: _deep(value) for key, value in (given or {}).items()})

    def __missing__(self, key: str) -> str:
        return ""


def _deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Fields(value)
    return [_deep(item) for item in value] if isinstance(value, list) else value

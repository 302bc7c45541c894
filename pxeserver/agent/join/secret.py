"""A text that cannot slip into a log line, a message or a progress report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

_SHORTEST = 5
"""Shorter texts are not looked for: they are too common to be blacked out."""


class Secret:
    """Holds a secret text. Turning it into text by accident raises TypeError; `reveal` is the one way out."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret, for the one place that has a right to it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __str__(self) -> NoReturn:
        raise TypeError("a secret does not become text by itself")

    def __format__(self, spec: str) -> NoReturn:
        raise TypeError("a secret does not become text by itself")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Blackout:
    """Blacks known secrets out of texts that leave this node: what a program says may hold one."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def learn(self, secrets: Any) -> None:
        """Every text in this JSON value is a secret."""
        if isinstance(secrets, str):
            if len(secrets) >= _SHORTEST:
                self._texts.add(secrets)
        elif isinstance(secrets, Mapping):
            for value in secrets.values():
                self.learn(value)
        elif isinstance(secrets, Iterable) and not isinstance(secrets, bytes):
            for value in secrets:
                self.learn(value)

    def __call__(self, text: str) -> str:
        """The text without them."""
        for secret in sorted(self._texts, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

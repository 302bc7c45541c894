"""A text that cannot slip into a script, a log line or a message."""

from __future__ import annotations

from typing import NoReturn


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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    __hash__ = None  # type: ignore[assignment]

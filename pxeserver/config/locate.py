"""Line numbers of the keys of a TOML text.

tomllib tells positions only for syntax errors, so faults of meaning ("pool outside the network") would have
no place to point at. The scanner below walks a text that tomllib has already accepted and notes the line of
every table, key, array element and inline-table key (TOML 1.0). On anything it does not expect it stops: a
missing line number is no error.
"""

from __future__ import annotations

import contextlib
import re
import tomllib

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_SPACE = re.compile(r"[ \t]+")
_SPACE_AND_COMMENTS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_SCALAR = re.compile(r"[^,\]}\n#]+")


class _Unexpected(Exception):  # noqa: N818 - never leaves this module
    """The text is not what the scanner knows; the lines found so far are kept."""


def locate(text: str) -> dict[Path, int]:
    """The line (from 1) of each key path, e.g. ("subnet", 1, "pools", 0) -> 12."""
    scanner = _Scanner(text)
    with contextlib.suppress(_Unexpected, tomllib.TOMLDecodeError):
        scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_SPACE_AND_COMMENTS)
            if self.at >= len(self.text):
                return
            if self._take("[["):
                table = self._array_table(self._key())
                self._expect("]]")
            elif self._take("["):
                table = self._resolve(self._key())
                self.lines.setdefault(table, self.line)
                self._expect("]")
            else:
                self._pair(table)

    def _array_table(self, key: tuple[str, ...]) -> Path:
        parent = (*self._resolve(key[:-1]), key[-1])
        index = self._counts.get(parent, 0)
        self._counts[parent] = index + 1
        self.lines.setdefault(parent, self.line)
        self.lines[(*parent, index)] = self.line
        return (*parent, index)

    def _resolve(self, key: tuple[str, ...]) -> Path:
        # Under an array of tables a header means the newest element of it.
        path: Path = ()
        for part in key:
            path = (*path, part)
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self.lines.setdefault(path, self.line)
        self._skip(_SPACE)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if word := _BARE_KEY.match(self.text, self.at):
                parts.append(word.group())
            elif word := _STRING.match(self.text, self.at):
                parts.append(str(tomllib.loads(f"v = {word.group()}")["v"]))
            else:
                raise _Unexpected
            self._advance(word.group())
            self._skip(_SPACE)
            if not self._take("."):
                return tuple(parts)

    def _value(self, path: Path) -> None:
        if self._take("["):
            self._elements(path)
        elif self._take("{"):
            self._inline_table(path)
        elif word := _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at):
            self._advance(word.group())
        else:
            raise _Unexpected

    def _elements(self, path: Path) -> None:
        index = 0
        while True:
            self._skip(_SPACE_AND_COMMENTS)
            if self._take("]"):
                return
            self.lines[(*path, index)] = self.line
            self._value((*path, index))
            index += 1
            self._skip(_SPACE_AND_COMMENTS)
            self._take(",")

    def _inline_table(self, path: Path) -> None:
        while True:
            self._skip(_SPACE_AND_COMMENTS)
            if self._take("}"):
                return
            self._pair(path)
            self._skip(_SPACE_AND_COMMENTS)
            self._take(",")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self.text, self.at):
            self._advance(found.group())

    def _advance(self, taken: str) -> None:
        self.at += len(taken)
        self.line += taken.count("\n")

    def _take(self, token: str) -> bool:
        if self.text.startswith(token, self.at):
            self._advance(token)
            return True
        return False

    def _expect(self, token: str) -> None:
        self._skip(_SPACE)
        if not self._take(token):
            raise _Unexpected

"""The words of the pages in several languages.

The key of a text is the English text itself. Each language is a folder of TOML files, one a page group, which
are read together: plain files that anybody can edit, and no build step.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "catalogues"
DEFAULT = "en"
NAMES = {"en": "English", "de": "Deutsch"}


@dataclass(frozen=True, slots=True)
class Language:
    """One language: `text` and `count` are `_` and `_n` in templates."""

    code: str
    words: Mapping[str, str] = field(default_factory=dict)

    def text(self, key: str, /, **parts: object) -> str:
        """A text with its {parts} filled in; the English one where it is not translated. What comes back is
        plain text: templates escape it.
        """
        found = self.words.get(key, key)
        return found.format_map(parts) if parts else found

    def count(self, one: str, many: str, number: int, /, **parts: object) -> str:
        """The text for one or for several, with {n} for the number."""
        return self.text(one if number == 1 else many, n=number, **parts)


@cache
def language(code: str) -> Language:
    """A language by its code; English for an unknown one. ValueError where a text is translated twice."""
    folder = FOLDER / code
    if code not in NAMES or not folder.is_dir():
        return Language(DEFAULT)
    words: dict[str, str] = {}
    for path in sorted(folder.glob("*.toml")):
        found = tomllib.loads(path.read_text("utf-8"))
        if twice := {key for key in found.keys() & words.keys() if found[key] != words[key]}:
            raise ValueError(f"{path.name}: translated in another file already: {', '.join(sorted(twice))}")
        words |= found
    return Language(code, words)


def chosen(cookie: str, accepted: str) -> Language:
    """The language of the cookie, else the first of the Accept-Language header (RFC 9110 section 12.5.4) that
    there is, else English.
    """
    if cookie in NAMES:
        return language(cookie)
    wishes: list[tuple[float, str]] = []
    for number, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            continue
        wishes.append((-quality + number * 1e-6, tag.lower().partition("-")[0]))
    return language(next((tag for _, tag in sorted(wishes) if tag in NAMES), DEFAULT))

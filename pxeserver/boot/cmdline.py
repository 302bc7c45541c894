"""Kernel command lines: parsed into words strictly, so that nothing in one can end its line or start
another statement.

The kernel splits at blanks and honours double quotes (lib/cmdline.c: next_arg); iPXE splits at blanks and
knows no quotes, and reads `||`, `&&`, `;` and a leading `#` as its own. A word that would mean something to
iPXE is refused.
"""

from __future__ import annotations

import re

MAX_LENGTH = 2048
"""COMMAND_LINE_SIZE of x86 and arm64; the kernel cuts longer ones without a word."""

_WORD = re.compile(r"[\x21-\x7e]+")


class BadCommandLine(ValueError):  # noqa: N818 - the text says what is wrong
    """The text cannot be a kernel command line; the message says why."""


def parse_words(text: str) -> tuple[str, ...]:
    """The words of a kernel command line.

    Raises BadCommandLine for control and non-ASCII characters, an open double quote, quoted blanks (iPXE
    would split them), iPXE's own words, and more than MAX_LENGTH characters.
    """
    if len(text) > MAX_LENGTH:
        raise BadCommandLine(f"is longer than the {MAX_LENGTH} characters the kernel takes")
    bad = next((c for c in text if not " " <= c <= "~"), None)
    if bad is not None:
        raise BadCommandLine(f"has the character U+{ord(bad):04X}, which a kernel command line cannot hold")
    words = tuple(word for word in text.split(" ") if word)
    for word in words:
        check_word(word)
    return words


def check_word(word: str) -> None:
    """Raise BadCommandLine where a single word cannot go into a script unchanged."""
    if not _WORD.fullmatch(word):
        raise BadCommandLine("has an empty word or a character that is not printable ASCII")
    if word in ("||", "&&", ";") or word.startswith("#"):
        raise BadCommandLine(f"has the word {word!r}, which boot scripts read as their own")
    if "${" in word:
        raise BadCommandLine("has ${, which boot scripts replace")
    if word.endswith("\\"):
        raise BadCommandLine(
            "has a word that ends with a backslash, which boot scripts read as a continued line"
        )
    if word.count('"') % 2:
        raise BadCommandLine("has a quoted blank or an open double quote, which boot loaders cannot pass on")

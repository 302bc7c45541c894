"""What is wrong with a boot, in the language of whoever looks.

Diagnoses are kept in English with their code. The sentence of a code is found again in the kept text, its
facts are taken out, and both are put together anew; a text of another release stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from pxeserver.boot.diagnosis_texts import IGNORED, TEXTS
from webadmin.catalogues import DEFAULT, Language

_NAME = re.compile(r"\{(\w+)\}")
SILENCE = "The server answered nothing: {reason}."
SEE_LOG = "See the server's log for this machine's MAC address: every silence is there with its reason."
LIKELY = " Likely: "
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    **TEXTS,
    "ignored": (SILENCE, *IGNORED.values(), SEE_LOG),
}
"""The sentences of each code: what was seen, and what to do."""


def told(speech: Language, code: str, text: str) -> str:
    """A diagnosis, or its next step."""
    if speech.code == DEFAULT:
        return text
    for template in TEMPLATES.get(code, ()):
        if (found := _pattern(template).fullmatch(text)) is not None:
            return speech.text(template, **found.groupdict())
    return text


def causes(speech: Language, code: str, text: str) -> tuple[str, str]:
    """What was seen, and what it likely comes from ("" where nothing is said of that)."""
    seen, _, likely = told(speech, code, text).partition(speech.text(LIKELY))
    return seen, likely


def translated(speech: Language) -> dict[str, list[tuple[str, str]]]:
    """For js/boots.js: the sentences of each code in English and in this language; nothing in English."""
    if speech.code == DEFAULT:
        return {}
    return {code: [(one, speech.text(one)) for one in sentences] for code, sentences in TEMPLATES.items()}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = _NAME.split(template)
    words = [re.escape(part) if at % 2 == 0 else f"(?P<{part}>.*?)" for at, part in enumerate(parts)]
    return re.compile("".join(words), re.DOTALL)

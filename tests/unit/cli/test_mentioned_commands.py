"""Whatever command a message or a document tells people to type exists."""

import re
from pathlib import Path

import pytest

from pxeserver.cli import build

ROOT = Path(__file__).parents[3]
MENTIONED = re.compile(r"`(?:sudo )?pxeserver ([a-z][a-z-]*)(?: +([a-z][a-z=-]*))?")
FILES = [*(ROOT / "pxeserver").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]


def mentioned():
    for file in FILES:
        text = " ".join(file.read_text().split("\n"))
        for found in MENTIONED.finditer(re.sub(r"\s+", " ", text)):
            yield found.group(1), found.group(2) or "", str(file.relative_to(ROOT))


@pytest.fixture(scope="module")
def app():
    return build()


@pytest.mark.parametrize(("noun", "verb", "file"), sorted(set(mentioned())))
def test_it_exists(app, noun, verb, file):
    assert noun in app, f"{file}: there is no `pxeserver {noun}`"
    verbs = {name for name in app[noun] if not name.startswith("-")}
    if verb:
        assert verb in verbs, f"{file}: there is no `pxeserver {noun} {verb}`"

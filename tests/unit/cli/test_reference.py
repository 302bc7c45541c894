"""docs/cli.md and docs/configuration.md say what the program says."""

from pathlib import Path

import pytest

from pxeserver.cli import NOUNS
from pxeserver.cli.reference import DOCUMENTS

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_are_up_to_date(name):
    assert (DOCS / name).read_text() == DOCUMENTS[name](), "run `python -m pxeserver.cli.reference docs`"


def test_every_noun_has_its_section():
    text = DOCUMENTS["cli.md"]()
    for noun in NOUNS:
        assert f"### pxeserver {noun}" in text

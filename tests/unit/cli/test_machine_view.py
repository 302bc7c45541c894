"""A machine as `node show` has it: readable, and without anything a terminal obeys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "inventory"))

from inventory_mutants import INJECTIONS, injected, inventory

from pxeserver.cli import machine_view

OBEYED = set("\x1b\x07\x00\x9b\x9d\x90\r\u202e\u2066\u2028\u200f")


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_texts_that_were_stored_unclean_are_shown_escaped(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    machine_view.show_machine(injected(text))
    shown = capsys.readouterr().out
    assert "Network cards" in shown and "Accelerators" in shown and "InfiniBand" in shown
    assert not OBEYED & set(shown)
    assert not any(line.startswith("fake: line") for line in shown.splitlines())


def test_a_person_reads_what_the_machine_is(capsys: pytest.CaptureFixture[str]) -> None:
    told = inventory()
    told["nics"][0] |= {
        "speed": 25000,
        "lldp": {"chassis": "02:00:00:00:00:01", "port": "swp1", "system": "leaf1"},
    }
    told["nics"][1] |= {"link": False}
    machine_view.show_machine(told)
    shown = capsys.readouterr().out
    for words in ("up, 25 Gbit/s", "leaf1 (02:00:00:00:00:01) port swp1", "down", "version 2, tpm_tis"):
        assert words in shown
    assert "10.0.0.9 52:54:00:00:00:02" in shown and "128.0 GiB" in shown and "secure boot" in shown


@pytest.mark.parametrize(
    ("bmc", "words"),
    [
        (None, None),
        ({"device": False}, "announced, but no driver reaches it"),
        ({"device": True, "address": None}, "there, it tells no address"),
    ],
)
def test_a_controller_that_tells_nothing(bmc: dict[str, object] | None, words: str | None) -> None:
    assert machine_view.bmc(bmc) == words


def test_an_inventory_of_almost_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    machine_view.show_machine({"format": 1})
    assert "memory" in capsys.readouterr().out

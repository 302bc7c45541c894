"""The control process yields to the worker, unless much is waiting."""

import os

import pytest

from pxeserver.precedence import Precedence


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "setpriority", lambda *_: None)
    path = tmp_path / "autogroup"
    path.touch()
    return path


def test_it_hurries_from_much_to_little(session):
    precedence = Precedence("control", session)
    told = []
    for waiting in (0, 9_000, 11_000, 9_000, 1_001, 900, 9_000, 20_000):
        precedence.look(waiting)
        told.append(session.read_text())
    # Each is what was written so far.
    assert told == ["8", "8", "80", "80", "80", "808", "808", "8080"]


def test_the_worker_comes_first(session):
    Precedence("worker", session)
    assert session.read_text() == "-2"


def test_without_sessions_niceness_it_goes_on(tmp_path):
    precedence = Precedence("control", tmp_path / "none" / "autogroup")
    precedence.look(20_000)
    precedence.look(0)


def test_a_refused_change_is_tried_again(session, monkeypatch):
    precedence = Precedence("control", session)
    refusing = [OSError(11, "again"), None]

    def tell(niceness):
        if error := refusing.pop(0):
            raise error
        monkeypatch.undo()
        precedence._tell(niceness)

    monkeypatch.setattr(precedence, "_tell", tell)
    precedence.look(20_000)
    assert session.read_text() == "8"
    precedence.look(20_000)
    assert session.read_text() == "80"

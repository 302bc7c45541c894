"""Nothing that came from the network reaches the terminal as anything but text."""

import io
import json
import sys

import pytest
import yaml
from rich.console import Console

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.watch import Board, _worth_a_line, line

HOSTILE = "\x1b]8;;http://evil\x1b\\x\x1b[31mred[/][bold]\r\nfake\x00\x07\x9b1m\u202eabc\u2028"


def printed(monkeypatch, act, *, terminal=False):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    if terminal:
        monkeypatch.setattr(
            screen,
            "_console",
            lambda *, stderr: Console(
                file=err if stderr else out,
                force_terminal=True,
                color_system="truecolor",
                markup=False,
                width=200,
            ),
        )
    act()
    return out.getvalue(), err.getvalue()


def clean(text):
    return not (set(text) - {"\n"}) & set("\x1b\r\x00\x07\x9b\u202e\u2028")


def test_safe_shows_control_characters_as_escapes():
    text = screen.safe(HOSTILE)
    assert clean(text) and "\n" not in text
    assert "\\x1b" in text and "[bold]" in text
    assert screen.safe("Grüße, 中文") == "Grüße, 中文"


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_rows_are_harmless_in_every_format(monkeypatch, output):
    data = [{"name": HOSTILE, "map": {HOSTILE: HOSTILE}, "list": [HOSTILE]}]
    columns = [screen.column("name"), screen.column("map"), screen.column("list")]
    out, _ = printed(monkeypatch, lambda: screen.rows(data, columns, output, "none"))
    assert out and clean(out)
    if output == "json":
        assert json.loads(out) == data
    if output == "yaml":
        assert yaml.safe_load(out) == data


def test_markup_is_not_obeyed_on_a_terminal(monkeypatch):
    out, _ = printed(
        monkeypatch,
        lambda: screen.rows([{"name": "[red]x[/red]"}], [screen.column("name")], "table", ""),
        terminal=True,
    )
    assert "[red]x[/red]" in out
    assert "\x1b[31m" not in out


def test_failures_are_harmless_and_have_three_parts(monkeypatch):
    _, err = printed(monkeypatch, lambda: screen.fail(Failure(f"what {HOSTILE}", HOSTILE, "do this")))
    assert clean(err)
    assert err.startswith("error: what ") and "  why:  " in err and "  next: do this" in err


def test_without_a_terminal_long_lines_are_not_cut(monkeypatch):
    out, _ = printed(
        monkeypatch, lambda: screen.rows([{"name": "x" * 500}], [screen.column("name")], "table", "")
    )
    assert "x" * 500 in out


def test_empty_lists_teach_on_stderr_only(monkeypatch):
    out, err = printed(
        monkeypatch, lambda: screen.rows([], [screen.column("name")], "table", "add one with X")
    )
    assert out == "" and "add one with X" in err


def event(kind, seq=1, **detail):
    return {
        "seq": seq,
        "at": "2030-01-01T00:00:00.000Z",
        "kind": kind,
        "attempt": "abc",
        "mac": "52:54:00:00:00:01",
        "node": None,
        "detail": detail,
    }


def test_watch_lines_and_board_are_harmless():
    assert clean(line(event("offered", address=HOSTILE)))
    board = Board()
    board.take(event("file-started", file=HOSTILE), 0.0)
    board.take(event("file-progress", file=HOSTILE, bytes=50, total=100), 2.0)
    out = io.StringIO()
    Console(file=out, width=150).print(board.table(2.0, 24))
    assert clean(out.getvalue())
    assert " 50%" in out.getvalue() and "25 B/s" in out.getvalue()


def test_the_board_forgets_machines_that_are_gone_and_fits_the_screen():
    board = Board()
    for number in range(50):
        board.take({**event("offered"), "attempt": f"a{number:02d}", "mac": f"m{number:02d}"}, float(number))
    assert board.table(50.0, 13).row_count == 10
    board.table(1000.0, 13)
    assert not board.rows


def test_without_a_person_yes_has_to_be_said(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Failure, match="needs your leave"):
        screen.confirm("Remove n1?", yes=False)
    screen.confirm("Remove n1?", yes=True)


def test_an_ignored_machine_is_told_once_for_each_reason_and_progress_is_left_out():
    events = [event("ignored", reason="no-loader"), event("file-progress"),
        event("ignored", reason="no-loader"),
              event("ignored", reason="dry-run"), event("offered")]  # fmt: skip
    assert [e["kind"] for e in _worth_a_line(iter(events))] == ["ignored", "ignored", "offered"]


def test_the_board_shows_why_a_machine_is_ignored_but_not_over_a_boot_that_goes_on():
    board = Board()
    board.take(event("discovered"), 0.0)
    board.take(event("ignored", reason="no-loader"), 0.0)
    assert (board.rows["abc"].stage, board.rows["abc"].text) == ("ignored", "no-loader")
    board.take(event("ignored", reason="no-loader", detail="no boot loader for architecture 27"), 0.5)
    assert board.rows["abc"].text == "no boot loader for architecture 27"
    board.take(event("offered"), 1.0)
    board.take(event("ignored", reason="other-server"), 2.0)
    assert board.rows["abc"].stage == "offered"

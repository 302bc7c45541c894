"""Machines booting, live: one line a machine with a bar for the file that is on its way; plain lines without
a terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure

RETRY_SECONDS = (0.5, 1, 2, 5)
GONE_SECONDS = 300
"""A machine that has ended or been silent for so long leaves the screen."""
_PROGRESS = frozenset({"file-progress", "install-progress"})
_REMEMBERED = 10_000
_ENDS = frozenset({"booted", "installed", "local-boot", "install-failed", "file-failed", "held", "closed"})
_BAD = frozenset({"install-failed", "file-failed", "held", "ignored"})


def events(client: Client, tries: int | None = None) -> Iterator[dict[str, Any]]:
    """Events as they come; a lost connection is taken up again after the last event seen.

    With `tries`, Failure after so many attempts in a row to reach the server; the first one must succeed at
    once.
    """
    since: int | None = None
    failed = 0
    reached = False
    while True:
        try:
            for event in client.lines("GET", "events", since=since):
                reached, failed = True, 0
                since = event.get("seq", since)
                yield event
            reached = True
        except ConnectionError as error:
            screen.warn(f"connection lost ({error}); trying again")
        except Failure as failure:
            if failure.exit_code != 3 or (not reached and failed == 0 and tries is None):
                raise
            if tries is not None and failed >= tries:
                raise
        pause = RETRY_SECONDS[min(failed, len(RETRY_SECONDS) - 1)]
        failed += 1
        time.sleep(pause)


def follow(client: Client, node: str | None, output: screen.Output) -> None:
    """Show events until Ctrl-C."""
    stream = (e for e in events(client) if node is None or e["node"] == node)
    console = screen.stdout()
    try:
        if output != "table":
            for event in stream:
                sys.stdout.write(json.dumps(event) + "\n")
                sys.stdout.flush()
        elif console.is_terminal:
            _live(stream, console)
        else:
            for event in _worth_a_line(stream):
                sys.stdout.write(line(event) + "\n")
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _worth_a_line(stream: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without progress; and a machine that is ignored again for the same reason is told once a boot."""
    told: dict[str, object] = {}
    for event in stream:
        if event["kind"] in _PROGRESS:
            continue
        if event["kind"] == "ignored":
            if told.get(event["attempt"]) == event["detail"].get("reason"):
                continue
            told[event["attempt"]] = event["detail"].get("reason")
            if len(told) > _REMEMBERED:
                told.clear()
        yield event


def line(event: dict[str, Any]) -> str:
    """An event as one line of text."""
    clock = screen.local_time(event["at"]).partition(" ")[2]
    detail = " ".join(f"{k}={screen.safe(v)}" for k, v in event["detail"].items())
    who = event["node"] or event["mac"] or "-"
    step = screen.safe(event["kind"])
    return f"{clock}  {screen.safe(who):<20} {event['attempt'] or '-':<10}  {step:<16} {detail}".rstrip()


@dataclass(slots=True)
class Row:
    """One machine on the screen."""

    who: str
    attempt: str
    stage: str = ""
    text: str = ""
    bytes: float = 0
    total: float = 0
    begun: float | None = None
    rate: float = 0
    seen: float = 0
    """Monotonic time of its last event."""

    def take(self, event: dict[str, Any], now: float) -> None:
        """Bring the row up to date."""
        detail = event["detail"]
        self.seen = now
        if event["kind"] == "ignored" and self.stage not in ("", "discovered", "ignored"):
            return  # a boot that goes on is not hidden by a packet that needed no answer
        self.stage = event["kind"]
        names = ("file", "text", "detail", "reason", "address")
        self.text = str(next((detail[name] for name in names if detail.get(name)), ""))
        if self.stage in ("file-started", "loader-started", "install-started"):
            self.begun = now
        total, done = detail.get("total"), detail.get("bytes")
        if isinstance(total, (int, float)) and isinstance(done, (int, float)) and total > 0:
            self.total, self.bytes = total, done
            self.rate = done / (now - self.begun) if self.begun is not None and now > self.begun else 0
        elif self.stage not in _PROGRESS:
            self.total = self.bytes = self.rate = 0


class Board:
    """The machines on the screen, by attempt."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def take(self, event: dict[str, Any], now: float) -> None:
        """Bring the board up to date with an event."""
        attempt = event["attempt"]
        if not attempt:
            return
        row = self.rows.get(attempt)
        if row is None:
            row = self.rows[attempt] = Row(event["node"] or event["mac"], attempt, begun=now)
        if event["node"]:
            row.who = event["node"]
        row.take(event, now)

    def table(self, now: float, height: int) -> Table:
        """What is to be seen: the newest machines that fit the screen."""
        self.rows = {k: r for k, r in self.rows.items() if now - r.seen < GONE_SECONDS}
        shown = sorted(self.rows.values(), key=lambda r: r.seen)[-max(height - 3, 1) :]
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        for title, width in (("MACHINE", 17), ("BOOT", 10), ("STEP", 14)):
            table.add_column(title, min_width=width, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True)
        table.add_column(no_wrap=True)
        for row in shown:
            style = "red" if row.stage in _BAD else "green" if row.stage in _ENDS else ""
            progress: ProgressBar | Text = Text(screen.safe(row.text))
            numbers = Text("")
            if row.total:
                progress = ProgressBar(total=row.total, completed=row.bytes)
                numbers = Text(
                    f"{row.bytes / row.total:4.0%} {screen.size(row.rate)}/s {screen.safe(row.text)}"
                )
            table.add_row(
                Text(screen.safe(row.who)),
                Text(row.attempt),
                Text(screen.safe(row.stage), style=style),
                progress,
                numbers,
            )
        if not shown:
            table.add_row(Text("waiting for a machine to boot", style="dim"))
        return table


def _live(stream: Iterator[dict[str, Any]], console: Console) -> None:
    board = Board()

    def render() -> Table:
        return board.table(time.monotonic(), console.size.height)

    with Live(get_renderable=render, console=console, refresh_per_second=8, screen=False):
        for event in stream:
            board.take(event, time.monotonic())

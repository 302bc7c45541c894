"""A cluster at work, live: every member's steps on a terminal; one line a change without one."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure
from pxeserver.cli.cluster_view import Json, head, healing, seconds, steps_table, styled, who
from pxeserver.cli.screen import Output, safe
from pxeserver.cli.watch import RETRY_SECONDS

ENDS = frozenset({"ready", "failed", "stopped"})
"""States in which a cluster goes no further by itself."""
_FAILURES = 8
_QUIET = frozenset({"done", "gone"})


def events(client: Client, name: str) -> Iterator[Json]:
    """What changes; a lost connection is taken up again, with the whole status first."""
    failed = 0
    while True:
        try:
            for event in client.lines("GET", "clusters", name, "watch"):
                failed = 0
                yield event
                if event["kind"] == "ended":
                    return
        except ConnectionError as error:
            screen.warn(f"connection lost ({error}); trying again")
        except Failure as failure:
            if failure.exit_code != 3 or failed == 0:
                raise
        time.sleep(RETRY_SECONDS[min(failed, len(RETRY_SECONDS) - 1)])
        failed += 1


class Board:
    """A cluster as it was told last."""

    def __init__(self) -> None:
        self.status: dict[str, Any] | None = None
        self.failures: deque[str] = deque(maxlen=_FAILURES)
        self.ended = False

    @property
    def settled(self) -> bool:
        """Whether it goes no further by itself."""
        if self.ended:
            return True
        status = self.status
        if status is None or status["state"] not in ENDS:
            return False
        return not any(s["status"] == "running" for n in status["nodes"] for s in n["steps"])

    def take(self, event: Json) -> list[str]:
        """Bring the board up to date; the changes as lines of text."""
        if event["kind"] == "ended":
            self.ended = True
            return [f"{_clock()}  cluster {safe(event['cluster'])} is no more"]
        before, first = self._by_key(), self.status is None
        healed_before = healing(self.status or {})
        if event["kind"] == "status":
            self.status = dict(event["status"])
        elif self.status is not None:
            self.status |= {k: event[k] for k in ("state", "done", "wanted", "leader", "healing")}
            if (new := event.get("node")) is not None:
                self.status["nodes"] = [new if n["name"] == new["name"] else n for n in self.status["nodes"]]
        news = [step for key, step in self._by_key().items() if _news(before.get(key), step)]
        # What was done before anybody watched is no news.
        lines = [line(step) for step in news if not (first and step["status"] in _QUIET)]
        heals = healing(self.status or {})
        if heals != healed_before:
            lines.append(f"{_clock()}  {heals or 'the volume has healed'}")
        self.failures.extend(text for text in lines if " failed " in text or " again in " in text)
        return lines

    def _by_key(self) -> dict[tuple[str, str], Json]:
        nodes = self.status["nodes"] if self.status else ()
        return {(s["node"], s["step"]): s for n in nodes for s in n["steps"]}

    def render(self, console: Console) -> RenderableType:
        """What is to be seen: members at work first, and as much of the others as fits the screen."""
        if self.status is None:
            return Text("waiting for the server", style="dim")
        parts: list[RenderableType] = [head(self.status)]
        parts += [Text(safe(text), style="yellow") for text in self.status["notes"]]
        room = console.size.height - len(self.failures) - 4 - len(parts)
        for node in sorted(self.status["nodes"], key=_urgency):
            shown = [s for s in node["steps"] if s["status"] not in _QUIET]
            whole = len(node["steps"]) + 2 <= room
            steps = node["steps"] if whole else shown
            if len(steps) + 1 > room:
                steps = []
            if room < 1:
                break
            room -= len(steps) + 1
            done = sum(s["status"] in _QUIET for s in node["steps"])
            parts.append(who(node).append(f"  {done}/{len(node['steps'])}", style="dim"))
            if steps:
                parts.append(steps_table([{"steps": steps}], datetime.now(UTC)))
        parts += [Text(text, style="red") for text in self.failures]
        return Group(*parts)


def _urgency(node: Json) -> tuple[int, str]:
    order = {"failed": 0, "frozen": 0, "away": 1, "working": 2, "undoing": 2, "waiting": 3}
    return order.get(node["state"], 4), node["name"]


def _news(before: Json | None, step: Json) -> bool:
    if step["status"] == "waiting":
        return before is not None and before["status"] == "running"
    return before is None or (before["status"], before["tries"]) != (step["status"], step["tries"])


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def line(step: Json) -> str:
    """A step that has changed, as one line of text."""
    verb = "" if step["verb"] == "apply" else f"{step['verb']} "
    name = f"{verb}{safe(step['step'])}"
    took = seconds(step) if step["status"] != "running" else ""
    why = safe(step["reason"]) if step["status"] in ("failed", "waiting") else ""
    text = f"{_clock()}  {safe(step['node']):<12} {name:<16} {step['status']:<8} {took:>8}  {why}"
    return text.rstrip()


def follow(client: Client, name: str, output: Output, *, until_settled: bool = False) -> str:
    """Show what changes until Ctrl-C, or with `until_settled` until the cluster goes no further by itself;
    the state it was in last.
    """
    board, console = Board(), screen.stdout()
    stream = events(client, name)
    if output == "table" and console.is_terminal:
        with Live(get_renderable=lambda: board.render(console), console=console, refresh_per_second=4):
            for event in stream:
                board.take(event)
                if until_settled and board.settled:
                    break
    else:
        for event in stream:
            told = board.take(event)
            texts = told if output == "table" else [json.dumps(event)]
            sys.stdout.write("".join(f"{text}\n" for text in texts))
            sys.stdout.flush()
            if until_settled and board.settled:
                break
    state = "gone" if board.ended else str(board.status["state"]) if board.status else ""
    if output == "table":
        console.print(Text.assemble(f"cluster {safe(name)}: ", styled(state)))
    return state

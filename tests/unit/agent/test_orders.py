"""What the agent does with answers: orders are carried out, words are shown once, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pxeserver.agent import __main__ as agent_main
from pxeserver.agent import power
from pxeserver.agent.__main__ import Agent
from pxeserver.agent.say import Consoles
from pxeserver.agent.server import Server, ServerAway

URL = "http://10.0.0.1:8080/a/abcdefgh22"


class Told(Server):
    """A server that answers from lists, and keeps what it was sent."""

    def __init__(self, say: Any, **answers: list[Any]) -> None:
        super().__init__(URL, say, sleep=lambda _: None)
        self.answers, self.sent = answers, []

    def ask(self, name: str, body: Any = None) -> dict[str, Any]:
        answer = self.answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.sent.append((name, body))
        return dict(answer)

    def fetch(self, url: str, start: int = 0, length: int | None = None) -> bytes:
        return url.encode()


@pytest.fixture
def screen(tmp_path: Path) -> tuple[Consoles, Path]:
    """A console that is a file, as it is after each line (each line is written to it anew)."""
    shown = tmp_path / "tty0"
    (tmp_path / "consoles").write_text("tty0")

    class Lines(Consoles):
        def __call__(self, text: str) -> None:
            super().__call__(text)
            with (tmp_path / "lines").open("ab") as out:
                out.write(shown.read_bytes())

    (tmp_path / "lines").touch()
    return Lines(tmp_path / "consoles", tmp_path), tmp_path / "lines"


def test_a_boot_order_names_the_server_as_the_machine_reached_it(
    screen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(power, "kexec", lambda kernel, initrds, line: started.append((initrds, line)))
    monkeypatch.setattr(agent_main, "RUN", tmp_path)
    order = {
        "order": "boot",
        "kernel": "/a/abcdefgh22/f/live/vmlinuz",
        "initrds": ["/a/abcdefgh22/f/live/initrd"],
        "args": "quiet url={origin}/a/abcdefgh22 log={origin} agent={host}:8444",
    }
    Agent(Told(screen[0], orders=[order]), screen[0]).step()
    ((initrds, line),) = started
    assert line == "quiet url=http://10.0.0.1:8080/a/abcdefgh22 log=http://10.0.0.1:8080 agent=10.0.0.1:8444"
    assert [path.read_bytes() for path in initrds] == [b"/a/abcdefgh22/f/live/initrd"]


def test_a_kernel_that_is_refused_is_reported_and_the_agent_goes_on(
    screen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise power.KexecFailed("Operation not permitted")

    monkeypatch.setattr(power, "kexec", refuse)
    monkeypatch.setattr(agent_main, "RUN", tmp_path)
    server = Told(screen[0], orders=[{"order": "boot", "kernel": "/k"}], report=[{}])
    Agent(server, screen[0]).step()
    assert server.sent[-1] == ("report", {"event": "not-loaded", "reason": "Operation not permitted"})
    assert "the kernel was not started: Operation not permitted" in screen[1].read_text()


def test_words_are_shown_once_and_again_when_they_change(screen: Any) -> None:
    waits = [{"order": "wait", "reason": "approve it"}] * 3
    waits += [{"order": "wait", "node": "n1"}] * 3 + [
        {"order": "wait", "node": "n1", "reason": "no disk"}
    ] * 2
    agent = Agent(Told(screen[0], orders=waits), screen[0])
    for _ in waits[:]:
        agent.step()
    lines = [line.split("] ")[1] for line in screen[1].read_text().splitlines()]
    assert lines == ["approve it", "this is node n1", "waiting for an order", "no disk"]


def test_a_server_that_is_away_is_said_once_and_so_is_its_return(screen: Any) -> None:
    answers = [{"order": "wait"}, ServerAway("no answer"), ServerAway("no answer"), {"order": "wait"}]
    agent = Agent(Told(screen[0], orders=answers), screen[0])
    for _ in range(4):
        agent.step()
    lines = [line.split("] ")[1] for line in screen[1].read_text().splitlines()]
    assert lines == ["waiting for an order", "no answer; asking again every 3 s", "the server answers again"]


def test_switch_ports_that_could_not_be_sent_are_sent_later(screen: Any) -> None:
    agent = Agent(Told(screen[0], inventory=[ServerAway("x"), {}], orders=[{"order": "wait"}] * 2), screen[0])
    heard = {"nics": [{"name": "eth0", "lldp": {"port": "swp1\x1b[2J", "chassis": "c", "system": "leaf1"}}]}
    agent._heard.put(heard)
    agent.step()
    agent.step()
    assert agent.server.sent[0] == ("inventory", heard)  # type: ignore[attr-defined]
    shown = screen[1].read_text()
    assert "eth0 is on port swp1?[2J of leaf1" in shown, (
        "nothing from the cable reaches the terminal as an order"
    )
    assert "\x1b" not in shown


def test_an_inventory_that_is_not_taken_is_not_called_sent(
    screen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {"vendor": "V", "product": "P", "serial": ""}
    monkeypatch.setattr(agent_main, "gather", lambda mac: {"machine": machine, "disks": [], "nics": []})
    agent = Agent(Told(screen[0], inventory=[{"ok": False, "why": "disks.0.size: too large"}]), screen[0])
    agent.discover()
    assert "the server did not take the inventory: disks.0.size: too large" in screen[1].read_text()
    assert "inventory sent" not in screen[1].read_text()

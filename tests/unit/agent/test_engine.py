"""The Docker engine's client and what is read out of its answers, without an engine."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps import stacks, swarm
from pxeserver.agent.join.steps.engine import Engine, EngineRefused, QuorumLost


class Fake:
    """An engine that answers each request with the next of `answers` (status, body)."""

    def __init__(self, path: Path) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str] = []
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                fake.asked.append(self.rfile.readline().decode().strip())
                while self.rfile.readline().strip():
                    pass
                status, body = fake.answers.pop(0)
                self.wfile.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )

        self._server = socketserver.UnixStreamServer(str(path), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """An engine at `tmp_path`/s."""
    made = Fake(tmp_path / "s")
    yield made
    made.close()


@pytest.fixture
def engine(tmp_path: Path, fake: Fake) -> Engine:
    """Its client."""
    return Engine(tmp_path / "s")


def test_requests_and_answers(engine: Engine, fake: Fake) -> None:
    fake.answers = [(200, b'{"a": 1}'), (200, b"[]"), (204, b""), (404, b'{"message": "no"}'), (404, b"")]
    assert engine.get("/x") == {"a": 1}
    assert engine.listed("/networks", {"all": True}, label="a=b") == []
    assert engine.post("/y", {}) is None
    assert engine.find("/z") is None
    assert engine.delete("/z") is False
    assert (
        fake.asked[1]
        == "GET /v1.41/networks?all=true&filters=%7B%22label%22%3A+%5B%22a%3Db%22%5D%7D HTTP/1.1"
    )


def test_refusals_have_the_engines_words(engine: Engine, fake: Fake) -> None:
    fake.answers = [
        (409, b'{"message": "in use"}'),
        (500, b"not json"),
        (503, b'{"message": "The swarm does not have a leader."}'),
    ]
    with pytest.raises(EngineRefused, match="in use") as refused:
        engine.get("/x")
    assert refused.value.status == 409
    with pytest.raises(EngineRefused, match="not json"):
        engine.get("/x")
    with pytest.raises(QuorumLost):
        engine.get("/x")


def test_an_error_at_the_end_of_a_stream_is_one(engine: Engine, fake: Fake, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"")
    fake.answers = [
        (200, b'{"stream": "x"}\n{"error": "unexpected EOF"}\n'),
        (200, b'{"stream": "x"}\n{"stream": "y"}\n'),
    ]
    with archive.open("rb") as file:
        with pytest.raises(EngineRefused, match="unexpected EOF"):
            engine.send("/images/load", file, 5)
        assert engine.send("/images/load", file, 5) == {"stream": "y"}


def test_an_engine_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="does not answer"):
        Engine(tmp_path / "none").get("/x")
    assert not Engine(tmp_path / "none").answers()


def test_the_swarm_in_a_certificate() -> None:
    name = b"0rks1234"
    assert (
        swarm.organisation(b"\x30..\x06\x03\x55\x04\x0a\x13" + bytes([len(name)]) + name + b"more")
        == "0rks1234"
    )
    assert swarm.organisation(b"nothing of it") == ""
    assert swarm.organisation(b"\x06\x03\x55\x04\x0a") == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("invalid join token", "no longer valid"),
        ("x509: certificate has expired or is not yet valid", "clocks differ"),
        ("dial tcp 10.0.0.1:2377: connect: connection refused", "no manager answers"),
        ("something else", "something else"),
    ],
)
def test_what_a_refused_join_comes_from(words: str, told: str) -> None:
    assert told in swarm.explained(words)


def test_a_stack_with_other_variables_is_another_version() -> None:
    stack: dict[str, Any] = {"version": "abc", "file": "", "name": "s"}
    assert stacks._version(stack) == stacks._version(stack | {"env": {}}) == "abc"
    one, two = (stacks._version(stack | {"env": {"A": value}}) for value in "12")
    assert one.startswith("abc+") and one != two

"""The builder's socket: one kind of request, strictly read; progress and result as lines of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pxeserver import builder, sockets
from pxeserver.boot.model import FileRef
from pxeserver.buildrequest import LARGEST_REQUEST, NoBuilder, Request, ask
from pxeserver.discovery import FILES, BuildFailed
from pxeserver.discoveryshelf import DiscoveryShelf
from pxeserver.imagestore.store import Store
from pxeserver.sockets import Want

GOOD = b'{"build": "discovery", "refresh": false}\n'


class Bench:
    """A builder whose build is `work`; everything it was told to build."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.built: list[tuple[str, bool]] = []
        self.work: Callable[[Callable[[str], None]], None] = lambda progress: progress("step=one")
        self.serving: asyncio.Task[None] | None = None

    def build(self, request: Request, progress: Callable[[str], None]) -> Mapping[str, str]:
        self.built.append((request.build, request.refresh))
        self.work(progress)
        return FILES

    async def tell(self, *parts: bytes, end: bool = False) -> list[dict[str, Any]]:
        """What is answered to these bytes."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        for part in parts:
            writer.write(part)
        if end:
            writer.write_eof()
        async with asyncio.timeout(5):
            answers = [json.loads(text) async for text in reader]
        writer.close()
        return answers

    async def ask(self, refresh: bool = False) -> list[str]:
        """The client's way; the progress told."""
        told: list[str] = []
        await asyncio.to_thread(ask, self.path, Request("discovery", refresh), told.append)
        return told


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(builder, "REQUEST_SECONDS", 0.3)
    made = Bench(tmp_path / "builder.sock")
    listening = sockets.bind(Want("builder", "unix", str(made.path)))
    monkeypatch.setenv(sockets.ENVIRONMENT, f"builder:{os.dup(listening.fileno())}")
    made.serving = asyncio.ensure_future(builder.serve(made.build))
    yield made
    made.serving.cancel()
    await asyncio.gather(made.serving, return_exceptions=True)
    listening.close()


async def test_a_build_tells_its_progress_and_its_result(bench: Bench) -> None:
    assert await bench.tell(GOOD) == [
        {"progress": "step=one"},
        {"done": {"kernel": "vmlinuz", "initrd": "initrd.img"}},
    ]
    assert await bench.ask(refresh=True) == ["step=one"]
    assert bench.built == [("discovery", False), ("discovery", True)]


@pytest.mark.parametrize(
    "hostile",
    [
        b"\n",
        b"nonsense\n",
        b"null\n",
        b"[]\n",
        b'"discovery"\n',
        b"{}\n",
        b'{"build": "kernel"}\n',
        b'{"build": ""}\n',
        b'{"build": "../discovery"}\n',
        b'{"build": "discovery", "path": "/etc"}\n',
        b'{"build": "discovery", "refresh": 1}\n',
        b'{"build": "discovery", "refresh": "yes"}\n',
        b'{"build": ["discovery"]}\n',
        b'{"build": "discovery"}{"build": "discovery"}\n',
        GOOD + GOOD,
        b'{"build": "discovery", "refresh": NaN}\n',
        b"\xff\xfe\n",
        b"\0" * 100 + b"\n",
        b"[" * (LARGEST_REQUEST - 1) + b"\n",
        b'{"build": "discovery"' + b" " * LARGEST_REQUEST + b"}\n",
        b"A" * 100_000,
    ],
    ids=lambda data: repr(data[:30]),
)
async def test_what_is_no_request_is_refused_and_builds_nothing(bench: Bench, hostile: bytes) -> None:
    (answer,) = await bench.tell(hostile)
    assert list(answer) == ["refused"]
    assert bench.built == []
    assert (await bench.tell(GOOD))[-1]["done"]


async def test_who_says_nothing_or_half_is_not_waited_for(bench: Bench) -> None:
    assert "no request" in (await bench.tell())[0]["refused"]
    assert "no request" in (await bench.tell(GOOD[:-1]))[0]["refused"]
    assert "one line" in (await bench.tell(GOOD[:-1], end=True))[0]["refused"]
    assert "one line" in (await bench.tell(end=True))[0]["refused"]
    assert bench.built == []
    assert await bench.ask() == ["step=one"], "in two parts it would do"


async def test_one_build_at_a_time_and_few_wait(bench: Bench) -> None:
    go, running = threading.Event(), []

    def work(progress: Callable[[str], None]) -> None:
        running.append(1)
        assert len(running) == 1
        go.wait(5)
        running.pop()

    bench.work = work
    first = asyncio.ensure_future(bench.tell(GOOD))
    waiting = [asyncio.ensure_future(bench.tell(GOOD)) for _ in range(builder.MOST_CLIENTS + 3)]
    refused = await asyncio.gather(*(await asyncio.wait(waiting, timeout=0.2))[0])
    assert len(refused) == 4
    assert all("too many" in answers[0]["refused"] for answers in refused)
    go.set()
    done = await asyncio.gather(first, *waiting)
    assert sum("done" in answers[-1] for answers in done) == builder.MOST_CLIENTS
    assert any("another build" in str(answers) for answers in done)


async def test_a_client_that_goes_away_does_not_stop_the_build(bench: Bench) -> None:
    go, ended = threading.Event(), threading.Event()

    def work(progress: Callable[[str], None]) -> None:
        progress("step=one")
        go.wait(5)
        for _ in range(1000):
            progress("x" * 1000)
        ended.set()

    bench.work = work
    with socket.socket(socket.AF_UNIX) as gone:
        gone.connect(str(bench.path))
        gone.sendall(GOOD)
        await asyncio.to_thread(gone.recv, 10)
    go.set()
    assert await asyncio.to_thread(ended.wait, 5)
    bench.work = lambda progress: None
    assert (await bench.tell(GOOD))[-1]["done"]


@pytest.mark.parametrize("error", [BuildFailed("discovery image: no mirror"), OSError(28, "No space left")])
async def test_a_build_that_fails_says_why(bench: Bench, error: Exception) -> None:
    def work(progress: Callable[[str], None]) -> None:
        raise error

    bench.work = work
    with pytest.raises(NoBuilder, match=r"no mirror|No space"):
        await bench.ask()


async def test_it_ends_when_nobody_needs_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.ask()
    monkeypatch.setattr(builder, "IDLE_SECONDS", 0.05)
    assert bench.serving is not None
    async with asyncio.timeout(5):
        await bench.serving


def test_without_a_builder_there_the_client_says_what_to_look_at(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(tmp_path / "builder.sock"))
    with pytest.raises(NoBuilder, match="systemctl status pxeserver-builder"):
        ask(tmp_path / "builder.sock", Request("discovery"), print)


# ---------------------------------------------------------------------- the control process's side


def shelf(bench: Bench, folder: Path, store: Store) -> DiscoveryShelf:
    return DiscoveryShelf(store, folder, builder=bench.path)


async def test_the_control_process_asks_where_there_is_a_builder(bench: Bench, tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "discovery"

    def work(progress: Callable[[str], None]) -> None:
        folder.mkdir()
        (folder / "vmlinuz").write_bytes(b"kernel")
        (folder / "initrd.img").write_bytes(b"initrd")

    bench.work = work
    image = await asyncio.to_thread(shelf(bench, folder, store).ensure, print)
    assert [(file.name, file.role, file.size) for file in image.files] == [
        ("vmlinuz", "kernel", 6),
        ("initrd.img", "initrd", 6),
    ]
    store.close()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
async def test_the_builder_cannot_have_other_files_published(bench: Bench, tmp_path: Path, kind: str) -> None:
    folder, secret = tmp_path / "discovery", tmp_path / "db.sqlite3"
    folder.mkdir()
    secret.write_bytes(b"secret")
    (folder / "initrd.img").write_bytes(b"initrd")
    if kind == "link":
        (folder / "vmlinuz").symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(folder / "vmlinuz")
    elif kind == "folder":
        (folder / "vmlinuz").mkdir()
    published: list[str] = []

    class Publishing:
        def add_fd(self, fd: int, name: str, role: str) -> FileRef:
            published.append(name)
            return FileRef(name, "a" * 64, 1, role)

    asking = DiscoveryShelf(Publishing(), folder, builder=bench.path)
    with pytest.raises(BuildFailed, match="vmlinuz"):
        await asyncio.to_thread(asking.ensure, print)
    assert published == []


async def test_a_refusal_reaches_the_control_process_as_a_failed_build(bench: Bench, tmp_path: Path) -> None:
    def work(progress: Callable[[str], None]) -> None:
        raise BuildFailed("no mirror")

    bench.work = work
    store = Store(tmp_path / "store")
    with pytest.raises(BuildFailed, match="no mirror"):
        await asyncio.to_thread(shelf(bench, tmp_path / "discovery", store).ensure, print)
    store.close()

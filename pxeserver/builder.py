"""The builder: the one service that may run package tools, behind a narrow socket (buildrequest.py).

systemd starts it when somebody connects, and it ends when nobody has for a while. It sees nothing of the
server's state but the folder that it builds into; what comes out is used like any file from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from pxeserver import clusternode, discovery, logs, sockets
from pxeserver.buildrequest import LARGEST_REQUEST, Answer, BadRequest, Request, line, read_request
from pxeserver.config import DEFAULT_FILE, ConfigErrors, Settings
from pxeserver.discovery import BuildFailed, Progress
from pxeserver.notify import notify

log = logging.getLogger("pxeserver.builder")  # not __main__, which is not ours alone

REQUEST_SECONDS = 5.0
"""Who connects has to ask by then, and to take what it is told."""
IDLE_SECONDS = 60.0
"""Without anybody for so long the process ends; the socket starts it again."""
MOST_CLIENTS = 8
_READ_ON, _PART = 64, 16 << 10
_CONFIGURATION = 2

Build = Callable[[Request, Progress], Mapping[str, str]]
"""Builds what is asked for and returns its files' names and roles. It blocks. BuildFailed, OSError."""


class Builder:
    """Answers on one listening socket; one build at a time, others wait for their turn."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._turn = asyncio.Lock()
        self._clients = 0
        self._last = asyncio.get_running_loop().time()

    @property
    def idle(self) -> float:
        """Seconds since the last client went; 0 while one is there."""
        return 0.0 if self._clients or self._turn.locked() else asyncio.get_running_loop().time() - self._last

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request, its answer, the end."""
        self._clients += 1
        try:
            await self._answer(reader, writer, too_many=self._clients > MOST_CLIENTS)
        except (ConnectionError, TimeoutError) as error:
            log.info("client went away", extra={"error": error or "silent"})
        except asyncio.CancelledError:
            # The process ends. asyncio.streams of Python 3.11 would log a cancelled handler as a bug.
            return
        finally:
            self._clients -= 1
            self._last = asyncio.get_running_loop().time()
            writer.close()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, too_many: bool
    ) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = read_request(await _line(reader))
            if too_many:
                raise BadRequest("too many are waiting already")
        except TimeoutError:
            await _refuse(reader, writer, f"no request within {REQUEST_SECONDS:.0f} s")
            return
        except BadRequest as why:
            await _refuse(reader, writer, str(why))
            return
        log.info("build", extra={"what": request.build, "refresh": request.refresh})
        if self._turn.locked():
            await _say(writer, Answer(progress="another build is under way; waiting for it"))
        async with self._turn:
            await self._run(request, writer)

    async def _run(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """Build in a thread and tell how it goes; a client that goes away does not stop the build."""
        loop = asyncio.get_running_loop()
        said: asyncio.Queue[Answer] = asyncio.Queue()

        def progress(text: str) -> None:
            if text:
                log.info("%s", text)
                loop.call_soon_threadsafe(said.put_nowait, Answer(progress=text))

        work = asyncio.ensure_future(asyncio.to_thread(self._build, request, progress))
        work.add_done_callback(lambda done: said.put_nowait(_end(done)))
        answer = Answer(progress="started")
        while answer.progress:
            answer = await said.get()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await _say(writer, answer)


def _end(work: asyncio.Future[Mapping[str, str]]) -> Answer:
    error = None if work.cancelled() else work.exception()
    if work.cancelled():
        return Answer(failed="the builder was stopped")
    if error is None:
        return Answer(done={role: name for name, role in work.result().items()})
    log.error(
        "build failed", extra={"error": error}, exc_info=None if isinstance(error, BuildFailed) else error
    )
    return Answer(failed=str(error) or type(error).__name__)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The first line, or as much of it as shows that it is none of ours."""
    data = b""
    while b"\n" not in data and len(data) <= LARGEST_REQUEST:
        part = await reader.read(LARGEST_REQUEST + 1 - len(data))
        if not part:
            break
        data += part
    return data


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, why: str) -> None:
    """Say why, and read on for a moment: closing over unread bytes would take the answer back."""
    log.warning("request refused", extra={"why": why})
    await _say(writer, Answer(refused=why))
    writer.write_eof()
    async with asyncio.timeout(REQUEST_SECONDS):
        for _ in range(_READ_ON):
            if not await reader.read(_PART):
                return


async def _say(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(line(answer))
    async with asyncio.timeout(REQUEST_SECONDS):
        await writer.drain()


async def serve(build: Build, *, stop: Awaitable[object] | None = None) -> None:
    """Serve the socket that we were started with until nobody needs us; OSError where there is none."""
    listening = sockets.inherited(os.environ).get("builder")
    if listening is None:
        raise OSError("started without its socket: this is systemd's to start")
    builder = Builder(build)
    stopping = asyncio.ensure_future(stop) if stop is not None else asyncio.get_running_loop().create_future()
    async with await asyncio.start_unix_server(builder.client, sock=listening):
        notify(READY="1", STATUS="waiting for a request")
        while builder.idle < IDLE_SECONDS and not stopping.done():
            await asyncio.wait([stopping], timeout=min(1.0, IDLE_SECONDS))


def main() -> int:
    """Run the service; returns its exit code."""
    try:
        settings = Settings.load(DEFAULT_FILE if DEFAULT_FILE.exists() else None, os.environ)
    except ConfigErrors as errors:
        print(f"pxeserver: {errors}", file=sys.stderr)
        return _CONFIGURATION
    logs.start("builder", settings.server.log_level)

    def build(request: Request, progress: Progress) -> Mapping[str, str]:
        folder: Path = settings.loaders_dir / request.build
        work = folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        refresh, loaders = request.refresh, settings.loaders
        if request.build == clusternode.NAME:
            wanted = clusternode.NodeSystem(**settings.node_image.model_dump(), mirror=loaders.mirror)
            clusternode.build_cluster_node(work, folder, wanted, progress, refresh=refresh)
            return clusternode.FILES
        discovery.build_discovery(
            work, folder, progress, refresh=refresh, firmware=loaders.firmware, mirror=loaders.mirror
        )
        return discovery.FILES

    async def until_told() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await serve(build, stop=stop.wait())

    try:
        asyncio.run(until_told())
    except OSError as error:
        print(f"pxeserver: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

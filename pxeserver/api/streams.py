"""Streams through the API: a body into a blocking consumer, progress lines out, and files out.

Each has a bound: a consumer that is slower than its source makes the source wait, and a peer that stands
still is let go.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from pxeserver.api.problems import Problem

T = TypeVar("T")

STALL_SECONDS = 60.0
"""A peer that neither sends nor takes a byte for so long is gone."""
BEAT_SECONDS = 10.0
"""On a quiet stream an empty line goes out so often, so that a lost peer is noticed."""
_BLOCK = 1 << 20
_AHEAD = 4


class Feed:
    """Blocks handed from the event loop to a thread, at most a few ahead of it."""

    def __init__(self) -> None:
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._loop = asyncio.get_running_loop()
        self._cut = False

    async def put(self, block: bytes) -> None:
        """Hand over a block; waits while the thread is behind."""
        await self._room.acquire()
        self._blocks.put(block)

    def end(self, *, cut: bool = False) -> None:
        """No more blocks; with `cut`, the reader is told that the body broke off."""
        self._cut = self._cut or cut
        self._blocks.put(None)

    def __iter__(self) -> Iterator[bytes]:
        while (block := self._blocks.get()) is not None:
            yield block
            self._loop.call_soon_threadsafe(self._room.release)
        if self._cut:
            raise ConnectionAbortedError("the upload broke off")


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread of its own: long uploads must not fill the pool that everything else
    uses."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only where T is None

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    threading.Thread(target=run, name="api-transfer", daemon=True).start()
    return await done


async def consume(request: web.Request, limit: int, work: Callable[[Feed], T]) -> T:
    """Feed a request's body to `work`, which runs in a thread; its result. Nothing of a broken body is kept
    by it. Raises what `work` does, and Problem for a body that is too large or stands still."""
    if request.content_length is not None and request.content_length > limit:
        raise Problem(
            413,
            "the file is too large",
            f"{request.content_length} bytes, allowed are {limit}",
            "See api.max_upload_bytes",
        )
    feed = Feed()
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(in_thread(lambda: work(feed)))
            pumping = group.create_task(_pump(request, feed, limit))
            # Where the consumer gives up (disk full, wrong checksum), nobody takes the rest of the body.
            working.add_done_callback(lambda _: pumping.cancel())
    except ExceptionGroup as errors:
        # The first is what happened, another comes of it. Not by except*: Python 3.11.2, that is Debian 12's,
        # wraps once more what is raised there.
        raise errors.exceptions[0] from None
    return working.result()


async def _pump(request: web.Request, feed: Feed, limit: int) -> None:
    size = 0
    whole = False
    try:
        while True:
            async with asyncio.timeout(STALL_SECONDS):
                block = await request.content.read(_BLOCK)
            if not block:
                break
            size += len(block)
            if size > limit:
                raise Problem(
                    413, "the file is too large", f"more than {limit} bytes", "See api.max_upload_bytes"
                )
            await feed.put(block)
        whole = True
    except TimeoutError:
        raise Problem(
            408, "the upload stood still", f"nothing came for {STALL_SECONDS:g} s", "Send it again"
        ) from None
    finally:
        feed.end(cut=not whole)


async def lines(request: web.Request, items: AsyncIterator[Any], *, sse: bool = False) -> web.StreamResponse:
    """Send each item as a line of JSON (NDJSON), or as a server-sent event with its "seq" as the id.

    The source is only asked for more when the peer has taken what was sent.
    """
    media = "text/event-stream" if sse else "application/x-ndjson"
    response = web.StreamResponse(headers={"Content-Type": media, "Cache-Control": "no-store"})
    await response.prepare(request)
    encode = msgspec.json.encode

    def lined(item: Any) -> bytes:
        data = encode(item)
        return _event(item, data) if sse else data + b"\n"

    await _pass_on(response, items, lined, b": beat\n\n" if sse else b"\n")
    return response


async def events(request: web.Request, items: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send server-sent events that are in their form already (see `event_bytes`)."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    with suppress(TimeoutError, ConnectionError):  # the peer is gone: what follows finds it out as well
        await send(response, b"retry: 1000\n\n")
    await _pass_on(response, items, lambda item: item, b": beat\n\n")
    return response


def event_bytes(kind: str, body: bytes, number: int | None = None) -> bytes:
    """A server-sent event; `body` has no line break, as JSON has none."""
    head = b"" if number is None else b"id: %d\n" % number
    return head + b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"


async def _pass_on(
    response: web.StreamResponse, items: AsyncIterator[T], form: Callable[[T], bytes], beat: bytes
) -> None:
    waiting: asyncio.Task[T | None] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(items, None))
            done, _ = await asyncio.wait({waiting}, timeout=BEAT_SECONDS)
            if not done:
                await send(response, beat)
                continue
            item, waiting = waiting.result(), None
            if item is None:
                break
            await send(response, form(item))
    except (TimeoutError, ConnectionError):
        pass  # the peer is gone; there is nobody to tell
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _event(item: Any, data: bytes) -> bytes:
    seq = item.get("seq") if isinstance(item, dict) else None
    head = b"" if seq is None else b"id: %d\n" % seq
    return head + b"data: " + data + b"\n\n"


async def send(response: web.StreamResponse, data: bytes) -> None:
    """Send bytes; TimeoutError for a peer that takes none, ConnectionError for one that is gone."""
    async with asyncio.timeout(STALL_SECONDS):
        await response.write(data)


async def file(request: web.Request, path: Path, name: str) -> web.StreamResponse:
    """Send a file as a download, reading it off the event loop."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Length": str((await asyncio.to_thread(path.stat)).st_size),
            "Content-Disposition": f'attachment; filename="{name}"',
        }
    )
    await response.prepare(request)
    with await asyncio.to_thread(path.open, "rb") as source:
        while block := await asyncio.to_thread(source.read, _BLOCK):
            await send(response, block)
    await response.write_eof()
    return response

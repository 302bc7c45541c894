"""One connection of the boot HTTP listener: its requests, one after the other, and their answers.

It works on the socket itself and needs no task: what can be answered at once is parsed, answered and sent in
one go, often within the turn that accepted the connection. Only an answer that has to wait (for the disk, for
the control process, for a body) is a coroutine and gets a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Awaitable
from enum import Enum
from typing import Protocol

from pxeserver.servers.http_body import Body, Refused
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_message import Request, Response, head_of, line
from pxeserver.servers.http_parse import Head, Malformed, find_head, hopeless, parse_head
from pxeserver.servers.http_poll import IN, Poller
from pxeserver.servers.http_writer import Writer
from pxeserver.servers.sendfile import reset_on_close

log = logging.getLogger(__name__)

_RECEIVE = 16 * 1024
_READS = 16
"""Reads of one turn."""
_REQUESTS = 32
"""Pipelined requests of one turn."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class State(Enum):
    """What a connection is about."""

    WAITING = "waiting"
    """For the next request's head."""
    ANSWERING = "answering"
    """The answer is made, or on its way; the request's body may still come."""
    LINGERING = "lingering"
    """The last answer is sent; the rest of what comes is thrown away, so that the client gets to read it."""
    CLOSED = "closed"


class Owner(Protocol):
    """What a connection asks of the listener."""

    limits: HttpLimits
    poller: Poller
    stopping: bool

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The answer. It raises nothing, and neither does what it returns."""

    def begin(self, connection: Connection) -> bool:
        """A request starts; False where the connection is one too many."""

    def idle(self, connection: Connection) -> None:
        """Its answer is sent; it waits for the next request."""

    def deadline(self, connection: Connection, seconds: float) -> None:
        """Call `close` in so many seconds, unless another request begins."""

    def forget(self, connection: Connection) -> None:
        """It is closed."""


class Connection:
    """One connection. `start` begins; `told` takes the socket's events."""

    __slots__ = (
        "_at", "_base", "_body", "_buffer", "_ended", "_head", "_keep", "_lingers", "_looping", "_owner",
        "_readable", "_reads_body", "_sock", "_task", "_watched", "_writer", "address", "state",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, address: str, owner: Owner) -> None:
        self.address = address
        self.state = State.WAITING
        self._sock, self._owner = sock, owner
        self._writer = Writer(sock, owner.poller, owner.limits, self._sent)
        self._base = ""
        self._buffer, self._at = b"", 0
        """What came and is not taken yet begins at `_at`."""
        self._readable, self._ended = True, False
        self._watched = self._looping = False
        self._head = _NO_HEAD
        self._body, self._reads_body = _NO_BODY, False
        self._keep = self._lingers = False
        self._task: asyncio.Future[Response] | None = None

    # ----------------------------------------------------------------------------------------- what comes in

    def start(self) -> None:
        """Look what there is already; wait for the rest."""
        self._read()
        if self.state is not State.CLOSED:
            self._watched = True
            self._owner.poller.add(self._sock.fileno(), self.told)

    def told(self, events: int) -> None:
        """The socket's events; they are hints, the kernel's answers count."""
        if self.state is State.ANSWERING:
            self._writer.writable()
        if events & IN and self.state is not State.CLOSED:
            self._readable = True
            self._ended = self._ended or bool(events & select.EPOLLRDHUP)
            self._read()

    def _waits(self) -> bool:
        return self.state is State.WAITING

    def _wants(self) -> bool:
        return self.state in (State.WAITING, State.LINGERING) or self._reads_body

    def _read(self) -> None:
        reads = 0
        while self._readable and self._wants():
            reads += 1
            if reads > _READS:
                self._owner.poller.again(self._read)
                return
            try:
                data = self._sock.recv(_RECEIVE)
            except (BlockingIOError, InterruptedError):
                self._readable = False
                return
            except OSError:
                self.close()
                return
            if not data:
                self._over()
                return
            # The end of the stream has no edge of its own where it came together with data.
            self._readable = len(data) == _RECEIVE or self._ended
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self.state is State.WAITING:
            self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
            self._at = 0
            self._requests()
        elif self.state is State.ANSWERING:
            used = self._body.feed(data)
            if used < len(data):
                self._buffer, self._at = data[used:], 0
            self._reads_body = not self._body.done

    def _over(self) -> None:
        """The client sends no more."""
        self._readable, self._ended = False, True
        if self.state is State.ANSWERING:
            self._reads_body = False
            self._body.fail(Refused(400, "the body ended early"))
        else:
            self.close()

    # ---------------------------------------------------------------------------------------------- requests

    def _requests(self) -> None:
        """Answer what has come, as far as that can be done at once."""
        if self._looping or not self._waits():
            return
        self._looping = True
        try:
            for _ in range(_REQUESTS):
                head = self._next()
                if head is None:
                    return
                self._request(head)
                if not self._waits():
                    return
        except Malformed as fault:
            self._refuse(fault)
            return
        finally:
            self._looping = False
        self._owner.poller.again(self._go_on)

    def _next(self) -> Head | None:
        data, at = self._buffer, self._at
        while data.startswith(b"\r\n", at):  # RFC 9112 section 2.2
            at += 2
        self._at = at
        if at >= len(data):
            return None
        end = find_head(data, at)
        if end < 0:
            if hopeless(data, at):
                raise Malformed("no request of HTTP/1.0 or HTTP/1.1")
            return None
        self._at = end
        return parse_head(data, at, end)

    def _request(self, head: Head) -> None:
        self.state = State.ANSWERING
        self._head, self._body = head, _NO_BODY
        if head.length != 0:
            self._body = Body(head.length, self._owner.limits, self._await_body)
            self._at += self._body.feed(self._buffer[self._at :])
        if not self._owner.begin(self):
            self._respond(line(503, "too many connections; come again", {"Retry-After": "3"}, close=True))
            return
        answer = self._owner.answer(
            Request(head.method, head.target, head.fields, self.address, self.base_url, self._body)
        )
        if isinstance(answer, Response):
            self._respond(answer)
        else:
            self._task = asyncio.ensure_future(answer)
            self._task.add_done_callback(self._answered)

    def _await_body(self) -> None:
        """A handler waits for more of the body."""
        if self._head.minor and self._head.fields.get("expect", "").lower() == "100-continue":
            with contextlib.suppress(OSError):
                self._sock.send(_CONTINUE)
        self._reads_body = True
        self._read()

    def _refuse(self, fault: Malformed) -> None:
        """No request: nothing that follows on this connection can be understood either."""
        log.debug("address=%s problem=malformed-request cause=%r", self.address, fault.text)
        self._owner.begin(self)
        self.state = State.ANSWERING
        self._head, self._body = _NO_HEAD, _NO_BODY
        self._respond(line(fault.status, fault.text, close=True))

    def base_url(self) -> str:
        """How the client reached us: the address and port of its connection."""
        if not self._base:
            host, port = self._sock.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._base = f"http://{shown}" if port == 80 else f"http://{shown}:{port}"
        return self._base

    # ----------------------------------------------------------------------------------------------- answers

    def _answered(self, task: asyncio.Future[Response]) -> None:
        self._task = None
        if task.cancelled():
            self.abort("stopped")
        elif self.state is State.CLOSED:
            part = task.result().file
            if part is not None:
                part.failed(0, "reset")
        else:
            self._respond(task.result())

    def _respond(self, response: Response) -> None:
        head, whole = self._head, self._body.done
        self._keep = head.keep and whole and not (response.close or self._ended or self._owner.stopping)
        self._lingers = response.close or not whole
        self._reads_body = False
        first = head_of(response, head.minor, keep=self._keep)
        if response.body and head.method != "HEAD":
            first += response.body
        self._writer.send(first, response.file)

    def _sent(self, why: str) -> None:
        """The answer is sent; with a reason it never will be."""
        if why:
            self.abort(why)
        elif self._keep:
            self.state = State.WAITING
            self._owner.idle(self)
            self._go_on()
        elif self._lingers and not self._ended:
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        self.state = State.LINGERING
        self._owner.deadline(self, self._owner.limits.lingering)
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._read()

    def _go_on(self) -> None:
        """With what is in the buffer, then with what is in the socket, unless the loop that runs does it."""
        if not self._looping:
            self._requests()
            self._read()

    # ----------------------------------------------------------------------------------------------- its end

    def tick(self, now: float) -> None:
        """Now and then."""
        self._writer.tick(now)

    def abort(self, why: str) -> None:
        """End it at once, and drop what it was sent."""
        if self.state is not State.CLOSED:
            reset_on_close(self._sock)
            self.close(why)

    def close(self, why: str = "reset") -> None:
        """End it; what is in the socket's buffer still goes out."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._body.fail(Refused(400, "the connection is gone"))
        self._reads_body = False
        self._writer.stop(why)
        self._writer.let_go()
        self._body = _NO_BODY
        if self._watched:
            self._owner.poller.remove(self._sock.fileno())
        self._sock.close()
        self._owner.forget(self)

    def cancel(self) -> asyncio.Future[Response] | None:
        """End it now, with the task that works on an answer; that task, to be waited for."""
        task = self._task
        if task is not None:
            task.cancel()
        self.abort("stopped")
        return task


_NO_HEAD = Head("GET", "", 1, {}, 0, keep=False)
_NO_BODY = Body(0, HttpLimits())

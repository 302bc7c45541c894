"""The parent of `pxeserver run`: keeps the bound sockets and the two children alive. In production
systemd does the same.

Each child gets its sockets by descriptor, tells how it is by sd_notify datagrams (notify.py), and is
replaced when it dies or when its event loop stalls for longer than the watchdog allows. The children are
sessions of their own, so that Ctrl-C reaches this process only and the order of the end is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pxeserver import handover, sockets
from pxeserver.forked import Forked, Running, fork
from pxeserver.notify import NotifyReceiver, notify

log = logging.getLogger(__name__)

EXIT_CONFIGURATION = 2
EXIT_HOPELESS = 3
"""A child's word that it cannot work on this host as it was started: ends the supervisor with exit code 1."""
PARENT = "PXESERVER__PARENT"
WATCHDOG_SECONDS = 10.0
"""A loop that has not turned for so long serves nobody."""
START_SECONDS = 60.0
"""How long a child may take until READY: a migration of a large database, the replay of a long journal."""
STOP_SECONDS = 1.2
"""From SIGTERM to SIGKILL: transfers finish or end with an error, and Ctrl-C is over within two seconds."""
_STEADY_SECONDS = 1.0
"""A child that was ready for so long counts as healthy: the next restart is immediate again."""


@dataclass(slots=True)
class Life:
    """One process of a child, with the supervisor's end of its notifications."""

    process: Running
    receiver: asyncio.DatagramTransport
    address: Path

    def close(self) -> None:
        """Let go of what is left when the process has ended."""
        self.receiver.close()
        self.address.unlink(missing_ok=True)


@dataclass(slots=True)
class Child:
    """One process to keep running. `longest_pause` bounds the back-off between two starts, in seconds."""

    name: str
    command: Sequence[str]
    socket_names: Sequence[str]
    longest_pause: float
    heard: Callable[[str, Mapping[str, str]], None]
    """Called with the child's name and the fields of each of its notifications."""
    entry: Callable[[], int] | None = None
    """What a child does that is forked instead of started by `command`: it has everything loaded that this
    process has, shares that memory, and serves in a tenth of a second where a start takes one.
    """
    life: Life | None = None
    starts: int = 0
    ready_at: float | None = None
    last_ping: float = field(default_factory=time.monotonic)

    def pause_after(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row: none after the first, then doubling up to
        the cap.
        """
        return 0.0 if failures <= 1 else min(self.longest_pause, 0.1 * 2.0 ** (failures - 2))


class Supervisor:
    """Runs the children until SIGINT or SIGTERM, or until one refuses its configuration."""

    def __init__(
        self,
        children: Sequence[Child],
        bound: Mapping[str, socket.socket],
        run_dir: Path,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._children = children
        self._bound = bound
        self._run_dir = run_dir
        self._owner = owner
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._lives = 0

    def stop(self, exit_code: int = 0) -> None:
        """End everything; `run` then returns the exit code."""
        self._exit_code = self._exit_code or exit_code
        self._stop.set()

    async def run(self, beside: Awaitable[None] | None = None) -> int:
        """Keep the children running; `beside` is run along with them. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(self._keep(child), name=child.name)
            company = group.create_task(_as_coroutine(beside)) if beside is not None else None
            await self._stop.wait()
            notify(STOPPING="1")
            if company is not None:
                company.cancel()
        return self._exit_code

    async def _keep(self, child: Child) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                code = await self._one_life(child)
            except OSError as error:
                # No memory or process to be had for a moment: the sockets and the other child stay.
                log.error("process cannot be started", extra={"child": child.name, "error": error})
                child.ready_at, code = None, 1
            if self._stop.is_set():
                return
            lived = time.monotonic() - child.ready_at if child.ready_at is not None else 0.0
            if code in (EXIT_CONFIGURATION, EXIT_HOPELESS) and child.starts == 1:
                self.stop(code if code == EXIT_CONFIGURATION else 1)
                return
            failures = 1 if lived >= _STEADY_SECONDS else failures + 1
            pause = child.pause_after(failures)
            log.warning(
                "process ended, starting it again",
                extra={"child": child.name, "ended": _ending(code), "pause": f"{pause:.1f}s"},
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _one_life(self, child: Child) -> int:
        """Start the child; wait until it ends or has to be ended; its return code."""
        life = await self._spawn(child)
        child.starts += 1
        child.ready_at = None
        child.last_ping = time.monotonic()
        child.life = life
        watch = asyncio.ensure_future(self._watch(child, life.process))
        try:
            return await life.process.wait()
        finally:
            watch.cancel()
            life.close()

    async def _spawn(self, child: Child) -> Life:
        """Start a process."""
        self._lives += 1
        listed, fds = sockets.hand_down(self._bound, child.socket_names)
        address = self._run_dir / f"notify-{child.name}-{self._lives}.sock"
        environ = {
            **handover.environment(
                {k: v for k, v in os.environ.items() if not k.startswith(("LISTEN_", "WATCHDOG_"))}
            ),
            sockets.ENVIRONMENT: listed,
            PARENT: str(os.getpid()),
            "NOTIFY_SOCKET": str(address),
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
        }
        receiver = await self._listen(child, address)
        try:
            process = await self._start(child, environ, fds)
        except BaseException:
            receiver.close()
            address.unlink(missing_ok=True)
            raise
        return Life(process, receiver, address)

    async def _start(self, child: Child, environ: Mapping[str, str], fds: tuple[int, ...]) -> Running:
        if child.entry is not None:
            return Forked(fork(child.entry, environ, fds))
        return await asyncio.create_subprocess_exec(
            *child.command,
            env=environ,
            pass_fds=fds,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    async def _listen(self, child: Child, address: Path) -> asyncio.DatagramTransport:
        sock = self._notify_socket(address)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: NotifyReceiver(lambda fields: self._heard(child, fields)), sock=sock
        )
        return transport

    def _notify_socket(self, address: Path) -> socket.socket:
        address.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(str(address))
        address.chmod(0o600)
        if self._owner is not None:
            os.chown(address, *self._owner)
        return sock

    def _heard(self, child: Child, fields: Mapping[str, str]) -> None:
        child.last_ping = time.monotonic()
        if fields.get("READY") == "1" and child.ready_at is None:
            child.ready_at = time.monotonic()
            if all(c.ready_at is not None for c in self._children):
                notify(READY="1")
        child.heard(child.name, fields)

    async def _watch(self, child: Child, process: Running) -> None:
        """End the process when we are to stop, or when it has been silent for too long."""
        while not self._stop.is_set():
            limit = WATCHDOG_SECONDS if child.ready_at is not None else START_SECONDS
            silent = time.monotonic() - child.last_ping
            if silent > limit:
                log.error(
                    "process does not answer its watchdog",
                    extra={"child": child.name, "seconds": f"{silent:.0f}"},
                )
                process.kill()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), min(1.0, limit - silent + 0.01))
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            await asyncio.sleep(STOP_SECONDS)
            process.kill()


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit-{code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal-{-code}"

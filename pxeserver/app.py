"""Wiring: builds every object of one process once, starts it, and stops it. A parts list, no logic.

    python -m pxeserver.app worker      the boot worker: DHCP, TFTP, HTTP, journal
    python -m pxeserver.app control     the control process: database, API

Both are started by the supervisor (`pxeserver run`) or by systemd, with their sockets open already
(sockets.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from pxeserver import descriptors, forked, handover, logs, mounts, privileges
from pxeserver.config import ConfigErrors, Settings
from pxeserver.notify import keep_watchdog_fed, notify
from pxeserver.precedence import Precedence
from pxeserver.supervisor import EXIT_CONFIGURATION, EXIT_HOPELESS, PARENT

log = logging.getLogger(__name__)

Body = Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]


class Missing(Exception):  # noqa: N818 - a process was started without what it needs; the text says what
    """This process cannot work as it was started."""


def main(arguments: list[str] | None = None) -> int:
    """Run one process until SIGTERM; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    name = words[0] if words else ""
    if name not in ("worker", "control"):
        print("pxeserver: this is started by `pxeserver run` or by systemd", file=sys.stderr)
        return EXIT_CONFIGURATION
    try:
        settings = handover.settings(os.environ)
    except ConfigErrors as errors:
        print(f"pxeserver: {errors}", file=sys.stderr)
        return EXIT_CONFIGURATION
    parent = os.environ.get(PARENT)
    precedence = Precedence(name)
    keep = frozenset({privileges.CAP_NET_BIND_SERVICE}) if name == "worker" else frozenset()
    try:
        server = settings.server
        if privileges.account(server.user) is not None:
            mounts.open_way(
                mounts.needed(server.state_dir, server.run_dir, settings.loaders_dir), server.user
            )
        privileges.settle(server.user, keep=keep, parent=int(parent) if parent else None)
    except (mounts.NoWay, OSError, LookupError) as error:
        print(f"pxeserver: {error}", file=sys.stderr)
        return EXIT_HOPELESS
    logs.start(name, settings.server.log_level)
    privileges.set_name(f"pxe-{name}")  # the command line may be our parent's
    body = _worker if name == "worker" else partial(_control, precedence=precedence)
    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings, name)) as runner:
            runner.run(_until_stopped(body, settings))
    except Exception as error:
        log.critical("process ends", extra={"error": error}, exc_info=None if _mendable(error) else error)
        notify(STATUS=f"failed: {error}")
        return 1
    return 0


def _mendable(error: Exception) -> bool:
    from pxeserver.storage.database_file import DatabaseUnavailable  # noqa: PLC0415 - the worker loads no SQLAlchemy

    return isinstance(error, Missing | OSError | DatabaseUnavailable)


def _loop_factory(settings: Settings, name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.server.event_loop == "uvloop" and name == "worker":
        import uvloop  # noqa: PLC0415 - only where it is asked for

        return uvloop.new_event_loop
    return None


async def _until_stopped(body: Body, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await body(settings, stop)
    notify(STOPPING="1")


async def run_all(*endless: Awaitable[None], stop: asyncio.Event) -> None:
    """Run these until `stop` is set; one that fails ends all, with its error."""
    tasks = [asyncio.ensure_future(work) for work in endless]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def _worker(settings: Settings, stop: asyncio.Event) -> None:
    from pxeserver.app_worker import WorkerParts  # noqa: PLC0415 - each process loads its own rooms only

    parts = await WorkerParts.build(settings, descriptors.raise_limit())
    try:
        await parts.start()
        forked.prepare()
        notify(READY="1")
        await run_all(*parts.endless(), keep_watchdog_fed(), stop=stop)
    finally:
        await parts.stop()


async def _control(settings: Settings, stop: asyncio.Event, *, precedence: Precedence) -> None:
    from pxeserver.app_control import ControlParts  # noqa: PLC0415 - each process loads its own rooms only

    descriptors.raise_limit()
    parts = await ControlParts.build(settings)
    try:
        await parts.start()
        forked.prepare()
        notify(READY="1")
        follow = precedence.follow(lambda: parts.hall.waiting)
        await run_all(*parts.endless(), follow, keep_watchdog_fed(), stop=stop)
    finally:
        with contextlib.suppress(Exception):
            await parts.stop()


if __name__ == "__main__":
    forked.leave(main())

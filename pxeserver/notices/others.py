"""Mail, chats and everything else that the library apprise knows.

It is loaded with the first message, and runs in a thread of its own: a server that tells nobody through it
has neither its code nor its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from pxeserver.notices.alarms import Alarm
from pxeserver.notices.result import Result
from pxeserver.notices.targets import Target

SECONDS = 60.0
"""The library's own time limits are a few seconds for each connection; mail takes several."""
_TALKATIVE = ("apprise", "urllib3", "requests", "oauthlib", "requests_oauthlib")
"""Loggers that would put addresses, and with them passwords, into the log."""
_one_at_a_time = threading.Lock()


async def deliver(
    target: Target, alarm: Alarm, server: str, _clock: Callable[[], float], seconds: float = SECONDS
) -> Result:
    """Tell one alarm, once; raises nothing. What it says of a failure holds nothing of the address."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result) -> None:
        if not done.done():
            done.set_result(result)

    def work() -> None:
        result = _tell(target.url, f"{server}: {alarm.title}", alarm.text)
        with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
            loop.call_soon_threadsafe(settle, result)

    # A daemon: a service that hangs must not keep the server from stopping.
    threading.Thread(target=work, name="notify-others", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError:
        return Result(ok=False, text=f"no answer in {seconds:g} s", again=True)


def _tell(url: str, title: str, text: str) -> Result:
    with _one_at_a_time:
        try:
            import apprise  # noqa: PLC0415 - 20 MB that few servers need
        except ImportError:
            return Result(ok=False, text="the Python package apprise is not installed")
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            room = apprise.Apprise()
            if not room.add(url):
                return Result(ok=False, text="apprise does not understand the address")
            taken = room.notify(body=text, title=title)
        except Exception as error:  # noqa: BLE001 - whatever a plugin of it raises
            return Result(ok=False, text=f"apprise failed ({type(error).__name__})", again=True)
    if taken:
        return Result(ok=True, text="taken")
    return Result(ok=False, text="the service did not take it, or cannot be reached", again=True)

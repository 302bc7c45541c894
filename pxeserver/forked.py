"""Children that are forked from the supervisor instead of started anew: what it has loaded they have as well,
in the same memory, and they begin in a hundredth of the time.

A page of memory that nobody writes to is there once for all of them. The interpreter writes to objects that
it only reads (their counts of references), so a part is copied all the same; `prepare` keeps the garbage
collection from adding to that.

The supervisor has one thread beside its loop, the log's, and that holds no lock a child needs (logs.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn, Protocol

from pxeserver import logs

_M_ARENA_MAX = -8
"""mallopt(3)."""


def leave(code: int) -> NoReturn:
    """End this process at once with an exit code, when everything of it is closed.

    Python would take its modules apart first: half a second of processor time in the control process, longer
    on a busy machine than Ctrl-C may take.
    """
    logs.stop()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class Running(Protocol):
    """A child process, forked or started; asyncio.subprocess.Process is one."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Wait until it has ended; its exit code."""

    def terminate(self) -> None:
        """Ask it to end. ProcessLookupError where it has ended."""

    def kill(self) -> None:
        """End it. ProcessLookupError where it has ended."""


class Forked:
    """A forked child, with what asyncio.subprocess.Process says of a started one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._fd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._fd, self._reap)

    async def wait(self) -> int:
        """Wait until it has ended; its exit code, negative for a signal."""
        await self._ended.wait()
        return self.returncode or 0

    def terminate(self) -> None:
        """SIGTERM. ProcessLookupError where it has ended."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL. ProcessLookupError where it has ended."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError(self.pid)
        signal.pidfd_send_signal(self._fd, number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        os.close(self._fd)
        self._ended.set()


def prepare() -> None:
    """Call once, when everything that children share is loaded."""
    gc.collect()
    gc.freeze()  # a collection in a child would write to every object there is
    give_back()


def give_back() -> None:
    """Hand memory that was freed back to the kernel, and keep threads from reserving heaps of their own."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # another C library
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.malloc_trim(0)


def fork(entry: Callable[[], int], environ: Mapping[str, str], keep: Iterable[int]) -> int:
    """Run `entry` in a new process with this environment and, beside the standard ones, the descriptors
    `keep`; its pid. What `entry` returns is the exit code. OSError where there is no process to be had.

    The child is a session of its own, reads nothing, and stands in the root folder.
    """
    sys.stdout.flush()
    before: set[int] = set(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))
    try:
        pid = os.fork()
        if pid == 0:
            _become(entry, environ, frozenset(keep), before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become(
    entry: Callable[[], int], environ: Mapping[str, str], keep: frozenset[int], mask: set[int]
) -> NoReturn:
    """The child's life. It never returns: what called `fork` belongs to the parent."""
    code = 1
    try:
        gc.freeze()  # the parent's loop and what it watches: never to be taken apart here
        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setsid()
        os.chdir("/")
        _cover(keep)
        os.environ.clear()
        os.environ.update(environ)
        code = entry()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may get back into the parent's frames
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        leave(code)


def _cover(keep: frozenset[int]) -> None:
    """Take every descriptor away that is not the child's.

    The numbers stay taken, by /dev/null: objects of the parent that still name them could otherwise close
    a descriptor that the child opened later.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are numbers here
        number = int(name)
        if (
            number > 2
            and number != null
            and number not in keep
            and Path(f"/proc/self/fd/{name}").is_symlink()
        ):
            os.dup2(null, number, inheritable=False)
    for number in keep:
        os.set_inheritable(number, False)
    os.close(null)

"""The supervisor's promises, with small children in the place of the real ones."""

import asyncio
import errno
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pxeserver import supervisor
from pxeserver.notify import notify
from pxeserver.supervisor import Child, Supervisor

pytestmark = pytest.mark.slow

READY = (
    "from pxeserver.notify import notify; import os, signal, time; notify(READY='1', PID=str(os.getpid()));"
)


class Heard:
    """Collects what children say; `until` waits for it."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, Mapping[str, str]]] = []
        self._news = asyncio.Event()

    def __call__(self, name: str, fields: Mapping[str, str]) -> None:
        self.fields.append((name, fields))
        self._news.set()

    def pids(self, name: str = "one") -> list[int]:
        return [int(f["PID"]) for n, f in self.fields if n == name and "PID" in f]

    async def pid(self, number: int, name: str = "one") -> int:
        """The pid of the child's n-th life."""
        async with asyncio.timeout(20):
            while len(self.pids(name)) <= number:
                self._news.clear()
                await self._news.wait()
        return self.pids(name)[number]


def child(program: str, heard: Heard, name: str = "one") -> Child:
    return Child(name, [sys.executable, "-c", program], (), 1.0, heard)


@asynccontextmanager
async def running(tmp_path: Path, *children: Child) -> AsyncIterator[tuple[Supervisor, "asyncio.Task[int]"]]:
    one = Supervisor(children, {}, tmp_path)
    task = asyncio.ensure_future(one.run())
    try:
        yield one, task
    finally:
        one.stop()
        await task


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_killed_child_is_back_at_once(tmp_path: Path) -> None:
    heard = Heard()
    async with running(tmp_path, child(READY + "time.sleep(60)", heard)):
        for life in range(3):
            began = time.monotonic()
            os.kill(await heard.pid(life), signal.SIGKILL)
            await heard.pid(life + 1)
            assert time.monotonic() - began < 2


async def test_a_forked_child_is_one_like_any_other(tmp_path: Path) -> None:
    def serve() -> int:
        stderr = Path("/proc/self/fd/2").readlink()
        kept = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink()]
        held = [link for link in kept if str(link).startswith(("socket:", "anon_inode:")) and link != stderr]
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        notify(
            READY="1",
            PID=str(os.getpid()),
            HELD=str(len(held)),
            SESSION=str(os.getsid(0)),
            CWD=str(Path.cwd()),
        )
        while True:
            signal.pause()

    heard = Heard()
    one = Child("one", (), (), 1.0, heard, entry=serve)
    async with running(tmp_path, one):
        for life in range(3):
            pid = await heard.pid(life)
            told = heard.fields[-1][1]
            assert (told["SESSION"], told["CWD"]) == (str(pid), "/")
            # Neither the loop's own sockets nor those of the supervisor's side of notifications.
            assert told["HELD"] == "0"
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await heard.pid(life + 1)
            assert time.monotonic() - began < 1
        assert one.life is not None
        last = one.life.process
    assert gone(last.pid)
    assert last.returncode == 7


async def test_a_forked_child_that_raises_ends_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise RuntimeError("no good")

    one = Child("one", (), (), 1.0, Heard(), entry=fail)
    async with running(tmp_path, one), asyncio.timeout(20):
        while one.starts < 3:
            await asyncio.sleep(0.02)
    assert "no good" in capfd.readouterr().err


async def test_one_child_that_cannot_start_leaves_the_other_alone(tmp_path: Path) -> None:
    heard = Heard()
    failing = child("raise SystemExit(1)", heard, "two")
    async with running(tmp_path, child(READY + "time.sleep(60)", heard), failing):
        pid = await heard.pid(0)
        async with asyncio.timeout(20):
            while failing.starts < 3:
                await asyncio.sleep(0.05)
        assert heard.pids() == [pid]
        assert not gone(pid)


async def test_a_child_that_cannot_be_started_for_a_moment_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, start, refused = Heard(), asyncio.create_subprocess_exec, []

    async def no_memory_twice(*words: str, **more: object) -> asyncio.subprocess.Process:
        if len(heard.pids()) == 1 and len(refused) < 2:
            refused.append(words)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return await start(*words, **more)

    monkeypatch.setattr("asyncio.create_subprocess_exec", no_memory_twice)
    async with running(tmp_path, child(READY + "time.sleep(60)", heard)) as (_, task):
        os.kill(await heard.pid(0), signal.SIGKILL)
        await heard.pid(1)
        assert len(refused) == 2
        assert not task.done()


async def test_a_child_that_stalls_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "WATCHDOG_SECONDS", 0.5)
    heard = Heard()
    async with running(tmp_path, child(READY + "signal.pause()", heard)):
        first = await heard.pid(0)
        await heard.pid(1)
        assert gone(first)


async def test_stopping_is_over_within_two_seconds_also_with_a_deaf_child(tmp_path: Path) -> None:
    heard = Heard()
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + READY + "time.sleep(60)"
    async with running(tmp_path, child(deaf, heard)) as (one, task):
        pid = await heard.pid(0)
        began = time.monotonic()
        one.stop()
        assert await task == 0
        assert time.monotonic() - began < 2
        assert gone(pid)


async def test_a_faulty_configuration_ends_everything_with_its_code(tmp_path: Path) -> None:
    heard = Heard()
    both = child("raise SystemExit(2)", heard), child(READY + "time.sleep(60)", heard, "two")
    async with running(tmp_path, *both) as (_, task):
        assert await asyncio.wait_for(task, 20) == 2


def test_the_pauses_grow_to_their_cap() -> None:
    one = Child("x", (), (), 1.0, lambda *_: None)
    assert [one.pause_after(n) for n in (0, 1, 2, 3, 4, 5, 6, 50)] == [0, 0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]

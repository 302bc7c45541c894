"""kill -9 of a process that writes the journal: what it was told is on disk is there afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pxeserver.storage.journal import Journal

pytestmark = pytest.mark.slow

WRITER = """
import asyncio, os, sys
from pxeserver.boot.model import Lease, NodeState, Phase, Promise, PromiseKind
from pxeserver.storage import journal_segments
from pxeserver.storage.journal import Journal
from pxeserver.storage.journal_files import OsFiles

journal_segments.SEGMENT_SIZE = 20_000
directory, start, crash_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
done = 0

class Counted(OsFiles):
    def __getattribute__(self, name):
        global done
        if name in ("create", "write", "fsync", "rename", "remove", "fsync_dir", "truncate", "cut"):
            done += 1
            if done == crash_at:
                if name == "write":
                    # Half of it reaches the file.
                    def torn(handle, data):
                        os.write(handle, data[: len(data) // 2])
                        os._exit(9)
                    return torn
                os._exit(9)
        return super().__getattribute__(name)

journal = Journal.open(directory, Counted())
journal.replay(1)

def told(line):
    os.write(1, (line + "\\n").encode())

async def client(number):
    value = start
    while True:
        value += 1
        state = Promise(PromiseKind.STATE, state=NodeState(number, Phase.INSTALLED, value))
        lease = Promise(PromiseKind.LEASE, lease=Lease(f"10.0.0.{number}", "m", "c", float(value)))
        seq = await journal.append(state, lease)
        told(f"{seq} {number} {value}")

async def checkpoints():
    while True:
        await asyncio.sleep(0.01)
        journal.acked(journal.last_seq - 50)
        await journal.checkpoint()

async def main():
    await asyncio.gather(*(client(i) for i in range(8)), checkpoints())

asyncio.run(main())
"""


class Writer:
    """A process that writes the journal and tells what was acknowledged."""

    def __init__(self, directory: Path, start: int, crash_at: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory), str(start), str(crash_at)], stdout=subprocess.PIPE
        )
        self._read = b""

    def wait_for_first(self) -> None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        assert ready, "the writer says nothing"
        self._read += self.process.stdout.read1(4096)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def acknowledged(self) -> list[tuple[int, int, int]]:
        """(sequence number, node, value) of everything it told before it ended."""
        assert self.process.stdout is not None
        text = self._read + self.process.stdout.read()
        self.process.stdout.close()
        self.process.wait()
        # The last line may be cut; what was not told in full was not told.
        whole = text[: text.rfind(b"\n") + 1].decode().splitlines()
        return [tuple(map(int, line.split())) for line in whole]  # type: ignore[misc]


def check(directory: Path, acknowledged: list[tuple[int, int, int]]) -> int:
    """Assert that all of it is there; returns the highest value found."""
    journal = Journal.open(directory)
    found = journal.replay(1)
    asyncio.run(journal.close())
    orders = {s.node_id: s.order for s in found.states}
    leases = {lease.address: int(lease.expires) for lease in found.leases}
    assert found.damaged == 0
    for seq, number, value in acknowledged:
        assert found.last_seq >= seq
        assert orders[number] >= value, f"node {number}: {orders[number]} of {value}"
        assert leases[f"10.0.0.{number}"] >= value
    return max(orders.values(), default=0)


def kill_often(directory: Path, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    start = total = 0
    for _ in range(kills):
        writer = Writer(directory, start)
        with contextlib.ExitStack() as stack:
            stack.callback(writer.kill)
            writer.wait_for_first()
            time.sleep(chance.uniform(0, 0.12))
        acknowledged = writer.acknowledged()
        total += len(acknowledged)
        start = check(directory, acknowledged)
    return total


def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    assert kill_often(tmp_path / "journal", 50, 1) > 500


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    assert kill_often(tmp_path / "journal", 200, 2) > 2000


def test_a_crash_at_each_of_the_numbered_file_operations_loses_nothing(tmp_path: Path) -> None:
    start = 0
    for point in range(1, 34):
        writer = Writer(tmp_path / "journal", start, crash_at=point)
        try:
            acknowledged = writer.acknowledged()
        finally:
            writer.kill()
        assert writer.process.returncode == 9
        start = check(tmp_path / "journal", acknowledged)
    assert start > 10

"""kill -9 of the control process at any moment, also while it makes its database: what it told is there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pxeserver.live import Hall
from pxeserver.storage.database_file import check_copy

pytestmark = pytest.mark.slow

CONTROL = """
import asyncio, os, sys
from pathlib import Path
from pxeserver.boot.model import Node, NodeState, Phase, Promise, PromiseKind
from pxeserver.live import Hall

def told(line):
    os.write(1, (line + "\\n").encode())

class Link:
    def send_catalog(self, catalog): pass
    async def send_nodes(self, nodes, states): pass
    def send_node(self, node): pass
    def remove_node(self, node_id): pass
    def ack(self, seq): told(f"acked {seq}")
    def resend(self): pass

async def main():
    start = int(sys.argv[2])
    hall = Hall(Path(sys.argv[1]))
    told("starting")
    await hall.start()
    assert hall.trouble is None, hall.trouble
    await hall.connected(Link(), 10**9)
    for number in range(start, start + 100_000):
        async with hall.edit(by="test") as edit:
            node = await edit.add_node(Node(0, f"n{number}"))
        told(f"added {node.name} {node.id}")
        state = NodeState(node.id, Phase.INSTALLED, number)
        hall.ingest_entry(number, Promise(PromiseKind.STATE, state=state))
        if number % 7 == 0:
            await hall.backup(Path(sys.argv[1]).with_name(f"backup-{number}"))

asyncio.run(main())
"""


async def kill_often(path: Path, kills: int, seed: int) -> int:
    chance = random.Random(seed)
    added: dict[str, int] = {}
    acked = 0
    for i in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", CONTROL, str(path), str(1 + i * 100_000)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"starting\n"
            # Migrations and reading take about 0.3 s: some of the kills fall into them.
            time.sleep(chance.uniform(0.0, 1.2))
        finally:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
        assert b"Traceback" not in err, err.decode()
        for line in out[: out.rfind(b"\n") + 1].decode().splitlines():
            match line.split():
                case ("added", name, number):
                    added[name] = int(number)
                case ("acked", seq):
                    acked = max(acked, int(seq))
        if path.exists() and path.stat().st_size:
            with sqlite3.connect(path) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()
    hall = Hall(path)
    await hall.start()
    assert hall.trouble is None
    assert added.items() <= {n.name: n.id for n in hall.nodes()}.items()
    assert hall.counters["journal_position"] >= acked
    have = {state.order for state in hall.nodes().states()}
    await hall.close()
    assert acked in have
    for backup in path.parent.glob("backup-*"):
        check_copy(backup)
    return len(added)


async def test_ten_kills_lose_no_committed_edit(tmp_path: Path) -> None:
    assert await kill_often(tmp_path / "db.sqlite3", 10, 3) > 50


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_two_hundred_kills_lose_no_committed_edit(tmp_path: Path) -> None:
    assert await kill_often(tmp_path / "db.sqlite3", 200, 4) > 1000

"""A machine's real iPXE waits for its turn: it shows its place, sleeps, asks again, and starts its kernel.

The boot HTTP listener is the real one; QEMU's own user-mode network leads to it. No root, no namespaces.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pxeserver.boot.attempts import Attempt
from pxeserver.boot.bandwidth import FIRST, Rules
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import hello_script
from pxeserver.boot.model import Event, EventKind, Image, Machine, Node, Policy, Profile, ProfileKind
from pxeserver.imagestore.store import Store
from pxeserver.servers.http import BootHttp
from pxeserver.servers.http_connection import Connection
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker

QEMU = "qemu-system-x86_64"
pytestmark = [
    pytest.mark.firmware,
    pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed"),
]
MAC, UUID = "52:54:00:12:34:56", "11223344-5566-7788-99aa-bbccddeeff00"
HOST = "127.0.0.1"
SECONDS = 200.0
"""20 on an idle machine; emulated on a busy one ten times that."""


async def until(what: Callable[[], bool], told: Callable[[], str]) -> None:
    """Wait for it; the screen's text where it does not come."""
    try:
        async with asyncio.timeout(SECONDS):
            while not what():
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"never seen\n{told()[-2000:]}")


def worker_with(store: Store, kernel: Path, folder: Path, events: list[Event]) -> BootWorker:
    """The boot worker's memory with one node that boots this kernel."""
    worker = BootWorker(Journal.open(folder), store, Policy())
    image = Image("live", (store.add_path(kernel, "vmlinuz", "kernel"),))
    profile = Profile("live", ProfileKind.KERNEL, "live", args="console=ttyS0 panic=-1")
    worker.take_catalog(Catalog(images={"live": image}, profiles={"live": profile}))
    worker.take_nodes(NodeTable([Node(1, "n1", uuid=UUID, values={"profile": "live"})]))
    worker.report = events.append  # type: ignore[method-assign]
    return worker


@asynccontextmanager
async def booting(
    http: BootHttp, worker: BootWorker, folder: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """A virtual machine that boots from the listener; its serial console's file."""
    sock = socket.create_server((HOST, 0))
    with sock:
        base = f"http://10.0.2.2:{sock.getsockname()[1]}"
        # QEMU changes the address on the way: the machine reaches us by another one than we see.
        patch.setattr(Connection, "base_url", lambda _: base)
        await http.start([sock])
    attempt = worker.attempts.begin(Machine(MAC), worker.now(), firmware=True)
    (folder / "hello.ipxe").write_text(hello_script(base, attempt.id))
    serial = folder / "serial"
    serial.touch()
    machine = subprocess.Popen([
        QEMU, "-accel", "tcg", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", "pc,graphics=off", "-serial", f"file:{serial}", "-uuid", UUID,
        "-netdev", f"user,id=n0,tftp={folder},bootfile=hello.ipxe",
        "-device", f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1",
    ], stdin=subprocess.DEVNULL)  # fmt: skip
    try:
        yield serial
    finally:
        machine.kill()
        machine.wait()
        await http.stop()


async def test_a_machine_waits_for_its_turn_then_boots(
    loaders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    store = Store(tmp_path / "images")
    worker = worker_with(store, loaders / "discovery" / "vmlinuz", tmp_path / "journal", events)
    http = BootHttp(worker, store.open_manifest, admission=Rules(small=1))
    gate = http.answers.gate
    others = [Attempt(f"other{i:05}", f"52:54:00:88:00:{i:02x}", Machine(""), 0, 0) for i in range(FIRST)]

    def still_load() -> None:
        for other in others:
            assert gate.ask(other, HOST, 12 << 20) is None

    def waits() -> list[Event]:
        return [event for event in events if event.kind is EventKind.WAITING]

    still_load()
    async with booting(http, worker, tmp_path, monkeypatch) as serial:

        def screen() -> str:
            return "".join(c for c in serial.read_text("latin-1") if " " <= c <= "~" or c == "\n")

        await until(lambda: len(waits()) >= 3, screen)
        assert "this machine is number 1 of 1" in screen()
        assert "Linux version" not in screen()
        assert waits()[-1].at - waits()[0].at > waits()[0].detail["seconds"] - 0.5  # type: ignore[operator]
        for other in others:
            gate.ended(other, HOST)
        await until(lambda: "Linux version" in screen(), screen)
    kinds = [event.kind for event in events]
    assert kinds.index(EventKind.SCRIPT_SENT) > kinds.index(EventKind.WAITING)
    assert EventKind.FILE_SENT in kinds
    await worker._journal.close()
    store.close()

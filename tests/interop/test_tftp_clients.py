"""Other people's TFTP clients read from the server: curl, tftp-hpa, atftp, busybox and tftpy, with the
options each knows."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Event, FileRef, Ignore, Interface, Reason, Site
from pxeserver.servers import tftp_socket
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_content import Served
from pxeserver.servers.tftp_requests import TftpOptions

pytestmark = pytest.mark.interop

MIB = 1 << 20
SMALL = {f"b{size}": size for size in (0, 1, 511, 512, 513, 1023, 1024, 1431, 1432, 1467, 1468, 2936)}
LARGE = {"m40": 40 * MIB, "m200": 200 * MIB}


class Opened:
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self.fd).st_size
        self.sha256, self.mtime = "", 0.0

    def close(self) -> None:
        os.close(self.fd)


@dataclass
class Shop:
    """A plane that serves a directory, and the server's port."""

    root: Path
    port: int = 0
    events: list[Event] = field(default_factory=list)
    silences: list[Ignore] = field(default_factory=list)

    def now(self) -> float:
        return time.time()

    def catalog(self) -> Catalog:
        return Catalog()

    def site(self) -> Site:
        return Site((Interface(1, "lo", ("127.0.0.1/8",), 65536),))

    def open(self, file: FileRef) -> Opened:
        return Opened(self.root / file.name)

    def report(self, event: Event) -> None:
        self.events.append(event)

    def ignored(self, ignore: Ignore) -> None:
        self.silences.append(ignore)

    def resolve(self, name, source, interface):
        path = self.root / name
        return (
            Served(FileRef(name, name, path.stat().st_size)) if path.is_file() else Ignore(Reason.NOT_FOUND)
        )


def _write(path: Path, size: int) -> None:
    """Random bytes, from one seed a file; the large ones repeat a piece of odd length."""
    piece = random.Random(path.name).randbytes(min(size, MIB + 7))
    with path.open("wb") as out:
        for start in range(0, size, len(piece) or 1):
            out.write(piece[: size - start])


@pytest.fixture(scope="module", params=[None, (42000, 42050)], ids=["one-port", "port-range"])
def shop(request, tmp_path_factory):
    """The server in a thread with its own event loop."""
    root = tmp_path_factory.mktemp("tftp")
    for name, size in (SMALL | LARGE).items():
        _write(root / name, size)
    (root / "text").write_bytes(b"one\ntwo\n\nthree\r\n")
    plane = Shop(root)
    loop, stopping, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        server = TftpServer(plane, plane.resolve, TftpOptions(port_range=request.param))
        sock = tftp_socket.bind("127.0.0.1", 0)
        plane.port = sock.port
        server.start(sock)
        ready.set()
        await stopping.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(10)
    yield plane
    loop.call_soon_threadsafe(stopping.set)
    thread.join(10)
    loop.close()
    shutil.rmtree(root)


def _need(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


def curl(port, name, out, *options):
    return [_need("curl"), "-sS", "-m", "60", *options, f"tftp://127.0.0.1:{port}/{name}", "-o", str(out)]


def hpa(port, name, out, mode="binary"):
    return [_need("tftp"), "-m", mode, "127.0.0.1", str(port), "-c", "get", name, str(out)]


def atftp(port, name, out, *options):
    flags = [word for option in options for word in ("--option", option)]
    return [_need("atftp"), "-g", *flags, "-r", name, "-l", str(out), "127.0.0.1", str(port)]


def busybox(port, name, out, *options):
    return [_need("busybox"), "tftp", "-g", *options, "-r", name, "-l", str(out), "127.0.0.1", str(port)]


def tftpy(port, name, out, blksize=512):
    code = """if True:
        import sys, tftpy
        port, name, out, blksize = sys.argv[1:]
        client = tftpy.TftpClient("127.0.0.1", int(port), {"blksize": int(blksize), "tsize": 0})
        client.download(name, out)
    """
    return [sys.executable, "-c", code, str(port), name, str(out), str(blksize)]


CLIENTS = {
    "curl": curl,
    "curl-no-options": lambda p, n, o: curl(p, n, o, "--tftp-no-options"),
    "curl-1468": lambda p, n, o: curl(p, n, o, "--tftp-blksize", "1468"),
    "tftp-hpa": hpa,
    "atftp": atftp,
    "atftp-1468": lambda p, n, o: atftp(p, n, o, "blksize 1468", "tsize 0", "timeout 2"),
    "atftp-window-4": lambda p, n, o: atftp(p, n, o, "blksize 1468", "windowsize 4"),
    "atftp-window-16": lambda p, n, o: atftp(p, n, o, "blksize 1432", "windowsize 16"),
    "busybox": busybox,
    "busybox-1468": lambda p, n, o: busybox(p, n, o, "-b", "1468"),
    "tftpy": tftpy,
    "tftpy-1468": lambda p, n, o: tftpy(p, n, o, 1468),
}


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as a, other.open("rb") as b:
        return hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest()


def _read(shop, client, name, tmp_path, seconds=60):
    out = tmp_path / "out"
    done = subprocess.run(
        CLIENTS[client](shop.port, name, out), capture_output=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    if not out.exists() and shop.root.joinpath(name).stat().st_size == 0:
        return  # curl and busybox make no file of nothing
    assert _same(out, shop.root / name)


@pytest.mark.parametrize("client", CLIENTS)
def test_small_files(shop, client, tmp_path):
    # tftpy needs half a second to start; the sizes around its block are enough.
    few = ("b0", "b1", "b511", "b512", "b513", "b1467", "b1468")
    for name in few if "tftpy" in client else SMALL:
        _read(shop, client, name, tmp_path)
        (tmp_path / "out").unlink(missing_ok=True)


# Above 65535 blocks: 81921 of 512 bytes, 142859 of 1468. The slow ones of these are in the long run.
LONG = [pytest.mark.long]


@pytest.mark.parametrize("shop", [None], indirect=True, ids=["one-port"])
@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("curl", "m40"),
        ("tftp-hpa", "m40"),
        ("curl-1468", "m200"),
        ("atftp", "m40"),
        ("atftp-1468", "m200"),
        ("atftp-window-4", "m200"),
        ("atftp-window-16", "m200"),
        pytest.param("busybox", "m40", marks=LONG),
        pytest.param("busybox-1468", "m200", marks=LONG),
        pytest.param("tftpy", "m40", marks=LONG),
        pytest.param("tftpy-1468", "m200", marks=LONG),
    ],
)
def test_large_files_pass_the_end_of_the_block_numbers(shop, client, name, tmp_path):
    _read(shop, client, name, tmp_path, seconds=240)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_missing_file_is_told_at_once(shop, client, tmp_path):
    began = time.monotonic()
    done = subprocess.run(
        CLIENTS[client](shop.port, "nope", tmp_path / "out"), capture_output=True, timeout=30, check=False
    )
    said = (done.stdout + done.stderr).decode(errors="replace").lower()
    assert done.returncode != 0 or "not found" in said
    assert time.monotonic() - began < 4


def test_netascii_is_translated_back(shop, tmp_path):
    out = tmp_path / "out"
    subprocess.run(hpa(shop.port, "text", out, "ascii"), check=True, timeout=30, capture_output=True)
    assert out.read_bytes() == (shop.root / "text").read_bytes()


@pytest.mark.parametrize("client", ["curl", "atftp", "tftp-hpa", "busybox", "tftpy"])
def test_writing_is_refused(shop, client, tmp_path):
    source = tmp_path / "mine"
    source.write_bytes(b"x" * 3000)
    port, target = str(shop.port), "uploaded"
    code = (
        "import sys, tftpy; tftpy.TftpClient('127.0.0.1', int(sys.argv[1])).upload(sys.argv[2], sys.argv[3])"
    )
    command = {
        "curl": ["curl", "-sS", "-T", str(source), f"tftp://127.0.0.1:{port}/{target}"],
        "atftp": ["atftp", "-p", "-l", str(source), "-r", target, "127.0.0.1", port],
        "tftp-hpa": ["tftp", "-m", "binary", "127.0.0.1", port, "-c", "put", str(source), target],
        "busybox": ["busybox", "tftp", "-p", "-l", str(source), "-r", target, "127.0.0.1", port],
        "tftpy": [sys.executable, "-c", code, port, target, str(source)],
    }[client]
    _need(command[0])
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    said = (done.stdout + done.stderr).decode(errors="replace").lower()
    assert done.returncode != 0 or "error" in said or "read-only" in said
    assert shop.silences[-1].reason is Reason.ACCESS_DENIED
    assert not (shop.root / target).exists()

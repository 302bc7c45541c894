"""TFTP over a cable between two namespaces: random loss, small frames, windows cut by the kernel."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import threading
import time

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import EventKind, Ignore, Interface, Site
from pxeserver.lab.netns import Namespace, connect, run_prefix
from pxeserver.servers.tftp import TftpServer
from pxeserver.servers.tftp_content import Served
from pxeserver.servers.tftp_socket import TftpSocket

pytestmark = pytest.mark.net

MIB = random.Random(5).randbytes(1 << 20)
SERVER, PORT = "10.99.0.1", 69


class Plane:
    """Serves one file, whatever is asked."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.events = []

    now = staticmethod(time.time)
    open = None

    def catalog(self):
        return Catalog()

    def site(self):
        return self._site

    def report(self, event):
        self.events.append(event)

    def ignored(self, ignore: Ignore) -> None: ...


class Cable:
    """The two ends, and the server on one of them."""

    def __init__(self, near: Namespace, far: Namespace, plane: Plane) -> None:
        self.near, self.far, self.plane = near, far, plane

    def lose(self, percent: int) -> None:
        """Drop this share of the datagrams in each direction."""
        rule = f"chain in {{ type filter hook input priority 0; numgen random mod 100 < {percent} drop; }}"
        for space in (self.near, self.far):
            space.run("nft", "-f", "-", stdin=f"table ip loss {{\n{rule}\n}}\n")

    def fetch(self, tmp_path, *command: str) -> tuple[bytes, float]:
        out = tmp_path / "out"
        began = time.monotonic()
        subprocess.run(
            self.near.argv(*(str(out) if c == "OUT" else c for c in command)),
            check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        return out.read_bytes(), time.monotonic() - began

    def sent(self) -> dict:
        """The detail of the completed transfer. Where the last ACK is lost the server learns of it a moment
        later."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for event in self.plane.events:
                if event.kind is EventKind.FILE_SENT:
                    return event.detail
            time.sleep(0.01)
        raise AssertionError(f"no transfer was completed: {self.plane.events}")


@pytest.fixture
def cable(request):
    """MTU by indirect parameter, 1500 otherwise."""
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    mtu = getattr(request, "param", 1500)
    name = run_prefix()
    with Namespace(f"{name}-near") as near, Namespace(f"{name}-far") as far:
        connect(near, "tftp0", far, "tftp1")
        for space, link, address in ((near, "tftp0", "10.99.0.9/24"), (far, "tftp1", f"{SERVER}/24")):
            space.ip("address", "add", address, "dev", link)
            space.ip("link", "set", "dev", link, "mtu", str(mtu))
        index = far.call(lambda: socket.if_nametoindex("tftp1"))
        plane = Plane(Site((Interface(index, "tftp1", (f"{SERVER}/24",), mtu),)))
        sock = far.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("0.0.0.0", PORT))
        loop, stopping = asyncio.new_event_loop(), asyncio.Event()
        faults: list = []
        loop.set_exception_handler(lambda _, context: faults.append(context))

        async def serve() -> None:
            server = TftpServer(plane, lambda name, source, interface: Served(MIB))
            server.start(TftpSocket(sock))
            await stopping.wait()
            await server.stop()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        try:
            yield Cable(near, far, plane)
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(10)
            loop.close()
        assert faults == []


CURL = ("curl", "-sS", "-m", "50", "--tftp-blksize", "1468", f"tftp://{SERVER}/f", "-o", "OUT")
WINDOWS = (
    "atftp", "-g", "--option", "blksize 1468", "--option", "windowsize 16", "-r", "f",
    "-l", "OUT", SERVER, str(PORT),
)  # fmt: skip


@pytest.mark.parametrize(("percent", "seconds"), [(1, 4.0), (5, 12.0)])
def test_one_mebibyte_despite_loss(cable, tmp_path, percent, seconds):
    """Servers with timers of a second need 26 s and more than a minute for this. Our aim is half of the
    bounds here; where the request itself is lost, curl waits for six seconds on its own.
    """
    cable.lose(percent)
    content, took = cable.fetch(tmp_path, *CURL)
    assert content == MIB
    assert cable.sent()["seconds"] < seconds / 2
    assert took < seconds + 7


@pytest.mark.parametrize("cable", [1500, 9000], indirect=True)
def test_windows_are_cut_into_frames(cable, tmp_path):
    content, _ = cable.fetch(tmp_path, *WINDOWS)
    assert content == MIB
    assert cable.sent()["windowsize"] == 16


@pytest.mark.parametrize("cable", [576], indirect=True)
@pytest.mark.parametrize("command", [CURL, WINDOWS], ids=["lock-step", "windows"])
def test_small_frames_are_not_fragmented(cable, tmp_path, command):
    content, _ = cable.fetch(tmp_path, *command)
    assert content == MIB
    assert cable.sent()["blksize"] == 576 - 20 - 8 - 4
    lines = [
        line.split() for line in cable.far.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Ip:")
    ]
    assert dict(zip(*lines, strict=True))["FragCreates"] == "0"


@pytest.mark.parametrize("kind", ["prot-unreachable", "admin-prohibited", "net-unreachable"])
def test_icmp_about_one_client_is_not_about_the_others(cable, tmp_path, kind):
    """A host that rejects our answers. All clients share one socket, which then has the error pending."""
    cable.near.ip("address", "add", "10.99.0.10/24", "dev", "tftp0")
    rule = f"chain in {{ type filter hook input priority 0; ip daddr 10.99.0.10 reject with icmp {kind}; }}"
    cable.near.run("nft", "-f", "-", stdin=f"table ip refuse {{\n{rule}\n}}\n")
    refusing = cable.near.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with refusing:
        refusing.bind(("10.99.0.10", 0))
        refusing.sendto(b"\0\1f\0octet\0blksize\x001468\0", (SERVER, PORT))
        content, _ = cable.fetch(tmp_path, *CURL)
    assert content == MIB
    assert cable.sent()["resent"] < 10
    assert all(event.kind is not EventKind.FILE_FAILED for event in cable.plane.events)


def test_windows_to_a_narrow_network(cable, tmp_path):
    """The way to the client has smaller frames than the link, so that the kernel cuts no window for us."""
    cable.far.ip("route", "add", "10.99.0.9/32", "dev", "tftp1", "mtu", "1000")
    content, _ = cable.fetch(tmp_path, *WINDOWS)
    assert content == MIB
    assert cable.sent()["blksize"] == 1468
    assert cable.sent()["resent"] < 50


@pytest.mark.long  # the client itself gives up in some of the runs
def test_after_losses_a_machine_gets_a_smaller_window(cable, tmp_path):
    cable.lose(5)
    assert cable.fetch(tmp_path, *WINDOWS)[0] == MIB
    first = cable.sent()
    cable.plane.events.clear()
    assert cable.fetch(tmp_path, *WINDOWS)[0] == MIB
    second = cable.sent()
    assert first["windowsize"] == 16
    assert "lowered" not in first
    assert second["windowsize"] in (4, 8)
    assert second["lowered"] == f"window {second['windowsize']} after losses"
    assert second["resent"] < first["resent"]


def test_where_large_blocks_never_arrive_smaller_ones_are_tried(cable, tmp_path):
    """A tunnel on the way that drops what it cannot carry. The client gives up and asks again."""
    rule = "chain in { type filter hook input priority 0; ip length > 1420 drop; }"
    cable.near.run("nft", "-f", "-", stdin=f"table ip narrow {{\n{rule}\n}}\n")
    patient = [word if word != "50" else "4" for word in CURL]
    with pytest.raises(subprocess.CalledProcessError):
        cable.fetch(tmp_path, *patient)
    assert cable.fetch(tmp_path, *CURL)[0] == MIB
    assert cable.sent()["blksize"] == 1360
    assert cable.sent()["lowered"] == "block 1360 after losses"


def test_windows_despite_loss(cable, tmp_path):
    cable.lose(1)
    content, _ = cable.fetch(tmp_path, *WINDOWS)
    assert content == MIB
    assert cable.sent()["seconds"] < 2

"""Scripts of the boot room in real iPXE (the ROM that QEMU's BIOS runs): they do what they say.

QEMU's own user-mode network hands out the first script by TFTP and leads HTTP to this test; no root, no
namespaces.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import ScriptChoice, boot_script, hello_script
from pxeserver.boot.model import FileRef, Image, Machine, Node, Policy, Profile, ProfileKind
from pxeserver.bootmenu import Menus
from pxeserver.servers.http_facts import fields_of, machine_of

QEMU = "qemu-system-x86_64"
pytestmark = [
    pytest.mark.firmware,
    pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed"),
]

MAC, UUID, ATTEMPT = "52:54:00:12:34:56", "11223344-5566-7788-99aa-bbccddeeff00", "abcdefghij"
HOSTILE = "Evil || echo INJECTED &uuid=x ${net0/mac}"
SECONDS = 120.0
"""The ROM needs 7 s on an idle machine; emulated on a busy one ten times that."""

CATALOG = Catalog(
    images={"live": Image("live", (FileRef("vmlinuz", "0" * 64, 1, "kernel"),))},
    profiles={
        "live": Profile("live", ProfileKind.KERNEL, "live", args="quiet"),
        "own": Profile("own", ProfileKind.SCRIPT, script="#!ipxe\necho OPERATOR ${net0/ip}\n"),
    },
    policy=Policy(values={"menu_timeout": "1"}),
)


@dataclass
class World:
    """What the machine asked for, what it said, and what its screen showed."""

    node: Node | None
    machines: list[Machine] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    base: str = ""
    serial: Path = Path()

    def screen(self) -> str:
        """The serial console's text without its control characters."""
        data = self.serial.read_bytes() if self.serial.exists() else b""
        return "".join(c if " " <= c <= "~" or c == "\n" else " " for c in data.decode("latin-1"))

    def wait_for(self, text: str) -> str:
        """The screen once it shows this text; it fails after SECONDS."""
        end = time.monotonic() + SECONDS
        while text not in (screen := self.screen()):
            assert time.monotonic() < end, f"never seen: {text!r}\n{screen[-2000:]}"
            time.sleep(0.2)
        return screen


def server_for(world: World) -> ThreadingHTTPServer:
    """An HTTP server that answers with the decision's scripts; every file is missing."""
    nodes = NodeTable([world.node] if world.node else [])
    menus = Menus()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            world.paths.append(path)
            if path != f"/a/{ATTEMPT}/boot.ipxe":
                self.send_error(404)
                return
            machine = machine_of(fields_of(query), "", "10.0.2.15")
            world.machines.append(machine)
            found = boot_script(machine, ATTEMPT, world.base, CATALOG, nodes, arrange=menus.arrange)
            assert isinstance(found, ScriptChoice)
            self.send_response(200)
            self.send_header("Content-Length", str(len(found.text)))
            self.end_headers()
            self.wfile.write(found.text.encode())

        def log_message(self, *args: object) -> None:
            """Nothing on the test's console."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def booted(tmp_path: Path, node: Node | None) -> Iterator[World]:
    """A virtual machine that boots from the scripts of `node`, or as an unknown machine."""
    world = World(node, serial=tmp_path / "serial")
    server = server_for(world)
    world.base = f"http://10.0.2.2:{server.server_port}"
    (tmp_path / "hello.ipxe").write_text(hello_script(world.base, ATTEMPT))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    arguments = [
        QEMU, "-accel", "tcg", "-m", "128", "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", "pc,graphics=off",
        "-serial", f"file:{world.serial}", "-uuid", UUID, "-smbios",
        f"type=1,manufacturer={HOSTILE},serial={HOSTILE}",
        "-netdev", f"user,id=n0,tftp={tmp_path},bootfile=hello.ipxe",
        "-device", f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1",
    ]  # fmt: skip
    machine = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        yield world
    finally:
        machine.kill()
        machine.wait()
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_unknown_machine_shows_its_menu_then_starts_its_disk(tmp_path: Path) -> None:
    with booted(tmp_path, None) as world:
        screen = world.wait_for("Booting from Hard Disk")
    assert "pxeserver node approve" in screen
    assert "Evil ?? echo INJECTED" in screen  # shown, not run
    assert "\nINJECTED" not in screen
    told = world.machines[0]
    assert (told.uuid, told.mac, told.platform, told.arch) == (UUID, MAC, "pcbios", 0)


def test_an_operators_script_runs_and_the_disk_follows(tmp_path: Path) -> None:
    node = Node(1, "n1", uuid=UUID, values={"profile": "own"})
    with booted(tmp_path, node) as world:
        screen = world.wait_for("Booting from Hard Disk")
    assert "OPERATOR 10.0.2.15" in screen


def test_a_missing_kernel_is_tried_three_times_then_told(tmp_path: Path) -> None:
    node = Node(1, "n1", uuid=UUID, values={"profile": "live"})
    with booted(tmp_path, node) as world:
        screen = world.wait_for("The machine starts again in 30 seconds")
        files = [path for path in world.paths if path.endswith("/vmlinuz")]
    assert len(files) == 3
    assert f"/a/{ATTEMPT}/report/not-loaded" in world.paths
    assert "pxeserver: could not load or start vmlinuz from 10.0.2.2" in screen


def test_a_held_node_shows_why(tmp_path: Path) -> None:
    node = Node(1, "n1", uuid=UUID, values={"profile": "live"}, hold="mainboard is swapped")
    with booted(tmp_path, node) as world:
        screen = world.wait_for("The local disk starts in 30 seconds")
    assert "mainboard is swapped" in screen
    assert not [path for path in world.paths if "vmlinuz" in path]

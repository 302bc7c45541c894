"""Machines that say hostile texts in everything a network lets them say, by the protocols themselves."""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "inventory"))

from inventory_mutants import inventory
from payloads import BROKEN, PAYLOADS
from server_under_test import ADDRESS, MAGIC, Machine, Server, boot_file

HEAD = struct.Struct("!BBBBIHH")


def raw(text: str) -> bytes:
    """The text as bytes; every other one behind some that are no UTF-8."""
    return BROKEN * (PAYLOADS.index(text) % 2 if text else 0) + text.encode()


def dhcp(machine: Machine, text: str, *, ipxe: bool) -> bytes:
    """A DISCOVER with the text as host name (12), in the vendor class (60) and as user class (77)."""
    machine.xid += 1
    said = raw(text)[:255]
    head = HEAD.pack(1, 1, 6, 0, machine.xid, 0, 0x8000) + bytes(16)
    head += bytes.fromhex(machine.mac.replace(":", "")).ljust(16, b"\0") + bytes(192)
    arch = struct.pack("!H", machine.arch)
    options = [(53, b"\x01"), (55, bytes((1, 3, 43, 60, 66, 67, 97))), (93, arch), (94, b"\x01\x03\x10")]
    options += [(97, b"\0" + machine.uuid.bytes_le), (12, said)]
    options.append((60, (b"PXEClient:Arch:00007:UNDI:003016" + said)[:255]))
    options += [(77, b"iPXE"), (175, b"\xb1\x01\x01")] if ipxe else [(77, said)]
    return head + MAGIC + b"".join(bytes((code, len(v))) + v for code, v in options) + b"\xff"


def sent(packets: Sequence[bytes], machine: Machine) -> list[str]:
    """Broadcast DHCP packets; the boot files of the answers."""

    def ask() -> list[str]:
        found = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            sock.bind(("0.0.0.0", 68))
            sock.settimeout(3)
            for packet in packets:
                sock.sendto(packet, ("255.255.255.255", 67))
                with suppress(TimeoutError):
                    while (data := sock.recv(2048))[4:8] != packet[4:8]:
                        pass
                    found.append(boot_file(data))
        return found

    return machine.space.call(ask)


def http(machine: Machine, requests: Sequence[bytes]) -> list[int]:
    """Send requests as they are, each over a connection of its own; their status, 0 for none."""

    def ask() -> list[int]:
        found = []
        for request in requests:
            answer = b""
            with socket.create_connection((ADDRESS, 80), timeout=10) as line:
                line.sendall(request)
                with suppress(OSError):
                    while part := line.recv(65536):
                        answer += part
            found.append(int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0)
        return found

    return machine.space.call(ask)


def request(path: bytes, body: object = None, agent: bytes = b"iPXE/1.21") -> bytes:
    """GET, or POST of a JSON body."""
    method, data = (b"GET", b"") if body is None else (b"POST", json.dumps(body).encode())
    head = b"%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nConnection: close\r\n"
    head %= (method, path, ADDRESS.encode(), agent)
    return head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def tftp(machine: Machine, texts: Sequence[str], folder: str) -> None:
    """Ask for files of these names, and end each transfer with an ERROR that says the same."""

    def ask() -> None:
        for text in texts:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(3)
                name = folder.encode() + raw(text)[:400].replace(b"\0", b"")
                sock.sendto(b"\0\1" + name + b"\0octet\0tsize\0" + b"0\0", (ADDRESS, 69))
                with suppress(OSError):
                    _, peer = sock.recvfrom(2048)
                    sock.sendto(b"\0\5\0\0" + raw(text)[:400] + b"\0", peer)

    machine.space.call(ask)


def wear(server: Server, machine: Machine) -> None:
    """Give the machines' card this machine's MAC address: the server compares it with the attempt's."""
    server.machines.ip("link", "set", "dev", "eth0", "address", machine.mac)
    server.space.ip("neighbour", "flush", "dev", "eth0")


def full_inventory(texts: Sequence[str]) -> dict[str, Any]:
    """One inventory in which disks, cards and the machine itself say all of the texts."""
    told = inventory()
    disk, nic = told["disks"][0], told["nics"][0]
    fields = ("serial", "wwn", "model", "transport", "error", "by_path")
    told["disks"] = [
        {
            **disk,
            "name": f"d{at}",
            **dict(zip(fields, [text[:200] for text in texts[at : at + 6]], strict=False)),
        }
        for at in range(0, len(texts), 6)
    ]
    told["nics"] = [
        {**nic, "name": text[:60], "driver": text[:200], "lldp": dict.fromkeys(nic["lldp"], text[:200])}
        for text in texts[:32]
    ]
    told["machine"] = {key: texts[at][:200] for at, key in enumerate(told["machine"])}
    return told


def boots(server: Server, machine: Machine, text: str) -> str:
    """Boot up to the script, saying the text wherever that is possible; returns the attempt."""
    wear(server, machine)
    found = sent([dhcp(machine, text, ipxe=False), dhcp(machine, text, ipxe=True)], machine)
    path = "/" + found[-1].split("/", 3)[3]
    said = quote_from_bytes(raw(text)[:900]).encode()
    facts = b"&".join(b"%s=%s" % (key, said) for key in (b"serial", b"vendor", b"product", b"platform"))
    query = b"?uuid=%s&mac=%s&%s&arch=x86_64" % (str(machine.uuid).encode(), machine.mac.encode(), facts)
    status = http(machine, [request(path.encode() + query, agent=raw(text)[:900].replace(b"\r\n", b" "))])
    assert status[0] in (200, 400), (status, text)
    return path.split("/")[2]


def says_everything(server: Server, machine: Machine, attempt: str) -> list[int]:
    """One machine of this attempt reports, asks for files and sends inventories with every text."""
    wear(server, machine)
    base = f"/a/{attempt}".encode()
    asked = []
    for text in PAYLOADS:
        said = quote_from_bytes(raw(text)[:900]).encode()
        agent = raw(text)[:900].replace(b"\r\n", b" ")
        told = {"event": "install-failed", "reason": text, "name": text, "text": text, "file": text}
        asked += [
            request(base + b"/report", told),
            request(base + b"/report/install-progress?reason=" + said + b"&file=" + said),
            request(base + b"/" + said, agent=agent),
            request(base + b"/f/" + said + b"/" + said, agent=agent),
            request(b"/" + said, agent=agent),
        ]
    asked.append(request(base + b"/inventory", full_inventory(PAYLOADS)))
    found = http(machine, asked)
    tftp(machine, PAYLOADS, f"a/{attempt}/")
    tftp(machine, PAYLOADS, "")
    tftp(machine, [""], "snponly.efi")
    return found

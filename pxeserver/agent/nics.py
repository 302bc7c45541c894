"""Network cards, InfiniBand, and the switch port at the other end of the cable where it says so (LLDP)."""

from __future__ import annotations

import select
import socket
import struct
import time
from pathlib import Path
from typing import Any

from pxeserver.agent import sysfs

ETH_P_LLDP = 0x88CC
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST = 263, 1, 0
# IEEE 802.1AB 7.1: the nearest bridge, the nearest non-TPMR bridge, the nearest customer bridge.
LLDP_GROUPS = (bytes.fromhex("0180c200000e"), bytes.fromhex("0180c2000003"), bytes.fromhex("0180c2000000"))
ARPHRD_ETHER, ARPHRD_INFINIBAND = 1, 32


def nics(sys: Path = Path("/sys"), boot_mac: str = "") -> list[dict[str, Any]]:
    """The cards that are hardware (have a device), with what the driver says. `speed` is in Mbit/s."""
    found = []
    for link in sysfs.entries(sys / "class/net"):
        if not (link / "device").exists() or sysfs.number(link / "type") not in {
            ARPHRD_ETHER,
            ARPHRD_INFINIBAND,
        }:
            continue
        speed = sysfs.number(link / "speed")
        device = link / "device"
        pci = (
            device
            if (device / "vendor").exists() and (device / "class").exists()
            else device.resolve().parent
        )
        mac = sysfs.text(link / "address").lower()
        found.append(
            {
                "name": link.name,
                "mac": mac,
                "driver": sysfs.link_name(device / "driver"),
                "link": sysfs.text(link / "carrier") == "1",
                "speed": speed if speed and 0 < speed < 4_000_000 else None,
                "mtu": sysfs.number(link / "mtu"),
                "pci": pci.resolve().name if (pci / "vendor").exists() else "",
                "vendor_id": sysfs.text(pci / "vendor"),
                "device_id": sysfs.text(pci / "device"),
                "boot": bool(boot_mac) and mac == boot_mac.lower(),
                "lldp": None,
            }
        )
    return found


def wait_for_links(seconds: float, sys: Path = Path("/sys")) -> None:
    """Return once every card has its link, or after `seconds`: a port without a cable never has one."""
    end = time.monotonic() + seconds
    while not all(card["link"] for card in nics(sys)) and time.monotonic() < end:
        time.sleep(0.1)


def infiniband(sys: Path = Path("/sys")) -> list[dict[str, Any]]:
    """InfiniBand and RoCE adapters, one entry a port."""
    found = []
    for adapter in sysfs.entries(sys / "class/infiniband"):
        found += [
            {
                "name": adapter.name,
                "port": port.name,
                "guid": sysfs.text(adapter / "node_guid"),
                "firmware": sysfs.text(adapter / "fw_ver"),
                "state": sysfs.text(port / "state").rpartition(": ")[2],
                "rate": sysfs.text(port / "rate"),
                "link_layer": sysfs.text(port / "link_layer"),
            }
            for port in sysfs.entries(adapter / "ports")
        ]
    return found


def hear_neighbours(names: list[str], seconds: float) -> dict[str, dict[str, str]]:
    """Listen on all cards at once for LLDP; card name -> neighbour. Switches send every 30 seconds, or at
    link-up.
    """
    sockets: dict[socket.socket, str] = {}
    heard: dict[str, dict[str, str]] = {}
    try:
        for name in names:
            try:
                sockets[_listen(name)] = name
            except OSError:
                continue  # a card that went down or has no Ethernet
        end = time.monotonic() + seconds
        while sockets and len(heard) < len(sockets) and (left := end - time.monotonic()) > 0:
            for ready in select.select(list(sockets), [], [], left)[0]:
                neighbour = decode_lldp(ready.recv(2048)[14:])
                if neighbour:
                    heard[sockets[ready]] = neighbour
    finally:
        for one in sockets:
            one.close()
    return heard


def _listen(name: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_LLDP))
    try:
        raw.bind((name, ETH_P_LLDP))
        for group in LLDP_GROUPS:
            request = struct.pack(
                "IHH8s", socket.if_nametoindex(name), PACKET_MR_MULTICAST, len(group), group
            )
            raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
    except OSError:
        raw.close()
        raise
    return raw


def decode_lldp(data: bytes) -> dict[str, str]:
    """Chassis, port and names of an LLDP data unit (IEEE 802.1AB 8.4); empty where it is none."""
    words: dict[str, str] = {}
    at = 0
    while at + 2 <= len(data):
        head = struct.unpack_from("!H", data, at)[0]
        kind, length = head >> 9, head & 0x1FF
        value = data[at + 2 : at + 2 + length]
        at += 2 + length
        if kind == 0 or len(value) < length:
            break
        if kind in {1, 2} and value:
            # Subtypes 4 (chassis) and 3 (port) are MAC addresses; the others are text or close to it.
            is_mac = len(value) == 7 and value[0] == (4 if kind == 1 else 3)
            words["chassis" if kind == 1 else "port"] = value[1:].hex(":") if is_mac else _text(value[1:])
        elif kind in {4, 5}:
            words["port_description" if kind == 4 else "system"] = _text(value)
    return words if "chassis" in words and "port" in words else {}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip("\0")[:255]

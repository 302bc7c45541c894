"""The kernel's neighbour table: which MAC address is behind an IPv4 address on a link."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGARP = 0x8954
_ARPREQ = struct.Struct("=H2x4s8x H14s i 16x 16s")  # struct arpreq, arp(7)
_COMPLETE = 0x02
_ETHERNET = 1


def neighbour_mac(interface: str, address: str) -> str | None:
    """The kernel's neighbour entry of an address on a link (arp(7)). Whoever talks TCP with us has one."""
    request = _ARPREQ.pack(socket.AF_INET, socket.inet_aton(address), 0, b"", 0, interface.encode()[:15])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            answer = fcntl.ioctl(sock, _SIOCGARP, request)
    except OSError:
        return None
    _, _, family, data, flags, _ = _ARPREQ.unpack(answer)
    return data[:6].hex(":") if flags & _COMPLETE and family == _ETHERNET else None

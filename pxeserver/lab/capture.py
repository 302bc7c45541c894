"""Packet captures without tcpdump: a packet socket in the lab's namespace, written as pcap (libpcap file
format 2.4).
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pxeserver.lab.netns import Namespace

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
LINKTYPE_ETHERNET = 1
# Classic BPF: IPv4 and UDP only, so that a 40 MB download over HTTP costs the capture nothing.
_UDP_ONLY = (
    (0x28, 0, 0, 12),  # ldh [12]
    (0x15, 0, 3, 0x0800),  # jeq #0x800
    (0x30, 0, 0, 23),  # ldb [23]
    (0x15, 0, 1, 17),  # jeq #17
    (0x06, 0, 0, 0x40000),  # accept
    (0x06, 0, 0, 0),  # drop
)


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram of a capture. `at` is in seconds since the epoch, addresses are dotted, MACs lower
    case.
    """

    at: float
    source_mac: str
    source: str
    source_port: int
    target: str
    target_port: int
    payload: bytes


class Capture:
    """Writes what passes a link into a pcap file until it is closed. `udp_only` leaves TCP out."""

    def __init__(self, space: Namespace, link: str, path: Path, *, udp_only: bool = True) -> None:
        self.path = path
        self._socket = space.call(lambda: _open(link, udp_only=udp_only))
        self._stop, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._write, name=f"capture-{link}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop capturing; the file is complete afterwards."""
        if self._thread.is_alive():
            self._wake.send(b"x")
            self._thread.join()
        for one in (self._socket, self._stop, self._wake):
            one.close()

    def datagrams(self) -> list[Datagram]:
        """The UDP datagrams captured so far."""
        return list(read_udp(self.path))

    def _write(self) -> None:
        with self.path.open("wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_ETHERNET))
            out.flush()
            while True:
                ready, _, _ = select.select([self._socket, self._stop], [], [])
                if self._stop in ready:
                    return
                frame = self._socket.recv(65535)
                now = time.time()
                out.write(struct.pack("<IIII", int(now), int(now % 1 * 1e6), len(frame), len(frame)) + frame)
                out.flush()

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(link: str, *, udp_only: bool) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    if udp_only:
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in _UDP_ONLY))
        program = struct.pack("HxxxxxxP", len(_UDP_ONLY), ctypes.addressof(code))
        raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    raw.bind((link, 0))
    return raw


def read_udp(path: Path) -> Iterator[Datagram]:
    """The IPv4 UDP datagrams of a pcap file (unfragmented ones), a torn last record left out."""
    data = path.read_bytes()
    at = 24
    while at + 16 <= len(data):
        seconds, micros, kept, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_UDP:
            continue
        start = 14 + (frame[14] & 15) * 4
        source_port, target_port, length = struct.unpack_from("!HHH", frame, start)
        yield Datagram(
            at=seconds + micros / 1e6,
            source_mac=frame[6:12].hex(":"),
            source=socket.inet_ntoa(frame[26:30]),
            source_port=source_port,
            target=socket.inet_ntoa(frame[30:34]),
            target_port=target_port,
            payload=frame[start + 8 : start + length],
        )

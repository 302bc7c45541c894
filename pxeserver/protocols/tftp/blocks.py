"""A content cut into numbered blocks, and what of it is to go out now."""

from __future__ import annotations

from pxeserver.protocols.tftp.negotiation import Agreement
from pxeserver.protocols.tftp.packet import DATA_HEADERS

Outgoing = tuple[bytes, bytes | memoryview]
"""Header and payload of one datagram."""


class Blocks:
    """Blocks are counted from 1 without rollover; only on the wire their numbers have 16 bits."""

    __slots__ = ("_modulus", "_outgoing", "blksize", "content", "first", "last", "size", "until")

    def __init__(self, content: bytes | memoryview, agreement: Agreement) -> None:
        self.content = content
        self.size = len(content)
        self.blksize = agreement.blksize
        # A content that fills its last block needs an empty one after it (RFC 1350 section 6).
        self.last = self.size // self.blksize + 1
        self._modulus = 65536 - agreement.rollover
        self._outgoing: list[Outgoing] = []
        self.first = self.until = 1
        """The blocks to send now: from `first` to the one before `until`. Who sends them sets both equal."""

    @property
    def words(self) -> bool:
        """There is something else to send than blocks: see packets_to_send()."""
        return bool(self._outgoing)

    def number(self, block: int) -> int:
        """A block's number on the wire."""
        return block & 0xFFFF if self._modulus == 65536 else (block - 1) % 65535 + 1

    def packets_to_send(self) -> list[Outgoing]:
        """What has to go out now, in order; the next call starts empty. To be taken after each call that may
        have sent something."""
        outgoing, self._outgoing = self._outgoing, []
        if self.first < self.until:
            outgoing += self.packets(self.first, self.until)
            self.first = self.until
        return outgoing

    def packets(self, first: int, until: int) -> list[Outgoing]:
        """The DATA packets from block `first` to the one before `until`."""
        size, content = self.blksize, self.content
        packets: list[Outgoing] = []
        offset, header = (first - 1) * size, 4 * self.number(first)
        for _ in range(first, until):
            packets.append((DATA_HEADERS[header : header + 4], content[offset : offset + size]))
            offset += size
            header = header + 4 if header < 4 * 65535 else 4 * (65536 - self._modulus)
        return packets

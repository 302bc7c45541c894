"""Vectors of datagrams for the kernel, in memory that is laid out once (recvmmsg(2), sendmmsg(2)).

A block to send is three words to write: where its header is in the table of all headers, where its bytes are
in the mapped file, and whom it is for. A window is one message that the kernel cuts (UDP_SEGMENT).
"""

from __future__ import annotations

import errno
import socket
import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from pxeserver.protocols.tftp.packet import DATA_HEADERS
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.protocols.tftp.transfers import Entry
from pxeserver.servers.tftp_memory import Calls, address_of
from pxeserver.servers.tftp_report import Delivery
from pxeserver.servers.tftp_socket import (
    LARGEST_BATCH,
    LARGEST_DATAGRAM,
    LOST,
    MOST_SEGMENTS,
    PENDING,
    Ancillary,
    Peer,
    TftpSocket,
    leave_from,
)

AT_ONCE = 64
"""Datagrams a call. More of them would keep the answers to the first waiting."""

# Words of 64 bits. struct mmsghdr: name, its length, iovec, their number, control, its length, flags, taken.
_MESSAGE = 8
_NAME, _NAME_LENGTH, _PIECES, _PIECES_COUNT, _CONTROL, _CONTROL_LENGTH, _TAKEN = 0, 1, 2, 3, 4, 5, 7
_ADDRESS = 2  # struct sockaddr_in is as long as two words; the first holds family, port and address
_PIECE = 2  # struct iovec: address, length
_BLOCK = 2 * _PIECE  # header and payload
_PKTINFO_ROOM = socket.CMSG_SPACE(12) // 8
_SEGMENT_ROOM = socket.CMSG_SPACE(2) // 8
_ADDRESS_LENGTH = 16

_PKTINFO = struct.Struct("@QII12s4x")
_SEGMENT = struct.Struct("@QIIH6x")
_SOCKADDR = struct.Struct("=H2s4s8x")
_IP_PKTINFO, _UDP_SEGMENT = 8, 103

_HEADERS = address_of(DATA_HEADERS)
_HEADER_POINTERS = array("Q", range(_HEADERS, _HEADERS + 4 * 65536, 4))


class Line(NamedTuple):
    """A transfer as the batch finds it: by its client's address."""

    key: int
    transfer: Transfer
    entry: Entry[Delivery]
    content: int
    """Address of the content."""
    outbox: Outbox


class Inbox:
    """The vector that datagrams are received into."""

    def __init__(self) -> None:
        self._addresses = array("Q", bytes(8 * _ADDRESS * AT_ONCE))
        self._step = LARGEST_DATAGRAM // 4
        self._words = array("I", bytes(LARGEST_DATAGRAM * AT_ONCE))
        self._bytes = memoryview(self._words).cast("B")
        self._control = array("Q", bytes(8 * _PKTINFO_ROOM * AT_ONCE))
        self._room = array("Q", [8 * _PKTINFO_ROOM]) * AT_ONCE
        pieces = [
            word
            for i in range(AT_ONCE)
            for word in (_where(self._words) + LARGEST_DATAGRAM * i, LARGEST_DATAGRAM)
        ]
        self._pieces = array("Q", pieces)
        self._messages = array("Q", bytes(8 * _MESSAGE * AT_ONCE))
        for i in range(AT_ONCE):
            message = _MESSAGE * i
            self._messages[message + _NAME] = _where(self._addresses) + 8 * _ADDRESS * i
            self._messages[message + _NAME_LENGTH] = _ADDRESS_LENGTH
            self._messages[message + _PIECES] = _where(self._pieces) + 8 * _PIECE * i
            self._messages[message + _PIECES_COUNT] = 1
            self._messages[message + _CONTROL] = _where(self._control) + 8 * _PKTINFO_ROOM * i
        self.vector = _where(self._messages)
        self.used = True
        """It is to be prepared before the next call."""

    def prepare(self) -> None:
        """The kernel has written into the vector what it filled; make all of the room available again."""
        self._messages[_CONTROL_LENGTH::_MESSAGE] = self._room
        self.used = False

    def summary(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Of the first datagrams: the sender's key, the first four bytes as one number, the length."""
        if count == 1:
            return iter(((self._addresses[0], self._words[0], self._messages[_TAKEN]),))
        return zip(
            self._addresses[: _ADDRESS * count : _ADDRESS],
            self._words[: self._step * count : self._step],
            self._messages[_TAKEN : _MESSAGE * count : _MESSAGE],
            strict=True,
        )

    def datagram(self, index: int) -> tuple[bytes, Ancillary, Peer]:
        """One of them as TftpSocket.receive() gives it."""
        start = LARGEST_DATAGRAM * index
        taken = self._messages[_MESSAGE * index + _TAKEN]
        _, port, host = _SOCKADDR.unpack(self._addresses[_ADDRESS * index : _ADDRESS * (index + 1)])
        ancillary: Ancillary = []
        if self._messages[_MESSAGE * index + _CONTROL_LENGTH] == 8 * _PKTINFO_ROOM:
            control = self._control[_PKTINFO_ROOM * index : _PKTINFO_ROOM * (index + 1)]
            _, level, kind, value = _PKTINFO.unpack(control)
            ancillary.append((level, kind, value))
        peer = (socket.inet_ntoa(host), int.from_bytes(port, "big"))
        return bytes(self._bytes[start : start + taken]), ancillary, peer


class Outbox:
    """The vectors of what leaves from one of our addresses: single blocks, and windows."""

    def __init__(self, sock: TftpSocket, calls: Calls, local: str) -> None:
        self._sock, self._send, self._ancillary = sock, calls.send, leave_from(local)
        value = struct.pack("@i4s4x", 0, socket.inet_aton(local))
        pktinfo = _PKTINFO.pack(socket.CMSG_LEN(12), socket.IPPROTO_IP, _IP_PKTINFO, value)
        segment = _SEGMENT.pack(socket.CMSG_LEN(2), socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
        self._singles = _Vector(pktinfo, 1, shared=True)
        self._windows = _Vector(pktinfo + segment, MOST_SEGMENTS, shared=False)
        self.faults: list[tuple[Entry[Delivery], int]] = []
        """Whose content could not be sent, and the error number; the owner empties it."""

    def put(self, line: Line) -> None:
        """Send what the transfer has to send now, at the next flush."""
        _, transfer, _, _, _ = line
        first, until = transfer.first, transfer.until
        transfer.first = until
        if until - first == 1:
            self._put_one(line, first)
            return
        step = min(MOST_SEGMENTS, LARGEST_BATCH // (4 + transfer.blksize)) if self._sock.segmenting else 1
        if step > 1:
            for start in range(first, until, step):
                self._put_window(line, start, min(start + step, until))
        else:
            for block in range(first, until):
                self._put_one(line, block)

    def _put_one(self, line: Line, block: int) -> None:
        vector = self._singles
        waiting = vector.waiting
        slot = len(waiting)
        if slot == AT_ONCE:
            self._flush(vector)
            slot, waiting = 0, vector.waiting
        waiting.append((line, block, block + 1))
        key, transfer, _, content, _ = line
        blksize = transfer.blksize
        offset = (block - 1) * blksize
        pieces, piece = vector.pieces, _BLOCK * slot
        pieces[piece] = _HEADERS + 4 * (block if block <= 65535 else transfer.number(block))
        pieces[piece + 2] = content + offset
        pieces[piece + 3] = blksize if block != transfer.last else transfer.size - offset
        vector.addresses[_ADDRESS * slot] = key

    def _put_window(self, line: Line, first: int, until: int) -> None:
        vector, transfer = self._windows, line.transfer
        slot = len(vector.waiting)
        if slot == AT_ONCE:
            self._flush(vector)
            slot = 0
        count, blksize = until - first, transfer.blksize
        pieces, piece = vector.pieces, _BLOCK * MOST_SEGMENTS * slot
        end = piece + _BLOCK * count
        if vector.lengths[slot] != blksize:
            pieces[piece + 3 : piece + _BLOCK * MOST_SEGMENTS : _BLOCK] = (
                array("Q", [blksize]) * MOST_SEGMENTS
            )
            vector.lengths[slot] = blksize
        number = transfer.number(first)
        if number + count <= 65536:
            pieces[piece:end:_BLOCK] = _HEADER_POINTERS[number : number + count]
        else:
            numbers = [transfer.number(block) for block in range(first, until)]
            pieces[piece:end:_BLOCK] = array("Q", [_HEADER_POINTERS[n] for n in numbers])
        start = line.content + (first - 1) * blksize
        pieces[piece + 2 : end : _BLOCK] = array("Q", range(start, start + blksize * count, blksize))
        if until > transfer.last:
            pieces[end - 1] = transfer.size - (transfer.last - 1) * blksize
            vector.lengths[slot] = 0  # not as all the others
        vector.messages[_MESSAGE * slot + _PIECES_COUNT] = 2 * count
        vector.control[vector.control_words * (slot + 1) - 1] = 4 + blksize
        vector.addresses[_ADDRESS * slot] = line.key
        vector.waiting.append((line, first, until))

    def flush(self) -> None:
        """Send everything that was put. What the kernel does not take counts as lost on the wire."""
        for vector in (self._singles, self._windows):
            if vector.waiting:
                self._flush(vector)

    def _flush(self, vector: _Vector) -> None:
        waiting, sock = vector.waiting, self._sock
        start, count, tries = 0, len(waiting), 0
        while start < count:
            taken = self._send(sock.descriptor, vector.where + 8 * _MESSAGE * start, count - start)
            if taken > 0:
                start += taken
                # Of an error after the first message the kernel tells nothing, and forgets it.
                sock.troubled |= start < count
                continue
            if -taken in PENDING and tries < 3:
                sock.troubled = True  # the error of an earlier packet, told once instead of sending this one
                tries += 1
                continue
            self._not_taken(*waiting[start], -taken)
            start, tries = start + 1, 0
        vector.waiting = []

    def _not_taken(self, line: Line, first: int, until: int, error: int) -> None:
        """One message was refused."""
        if error in LOST or error in PENDING:
            self._sock.blocked += 1
        elif until - first > 1 and error in (errno.EIO, errno.EINVAL, errno.EMSGSIZE):
            # The device does not cut for us, or the frames of the way to this client are too small.
            try:
                self._sock.send(line.transfer.packets(first, until), line.entry.peer, self._ancillary)
            except OSError as fault:
                self.faults.append((line.entry, fault.errno or error))
        else:
            self.faults.append((line.entry, error))


class _Vector:
    """Memory for AT_ONCE messages of up to `blocks` blocks each; what never changes is written once."""

    def __init__(self, control: bytes, blocks: int, *, shared: bool) -> None:
        self.waiting: list[tuple[Line, int, int]] = []
        """What is in the slots; it also keeps the memory alive that they point at."""
        self.lengths = [0] * AT_ONCE
        """The block size that a slot's pieces have their lengths for."""
        self.control_words = len(control) // 8
        self.control = array("Q", control * (1 if shared else AT_ONCE))
        self.addresses = array("Q", bytes(8 * _ADDRESS * AT_ONCE))
        self.pieces = array("Q", [0, 4, 0, 0]) * (blocks * AT_ONCE)
        self.messages = array("Q", bytes(8 * _MESSAGE * AT_ONCE))
        for slot in range(AT_ONCE):
            message = _MESSAGE * slot
            self.messages[message + _NAME] = _where(self.addresses) + 8 * _ADDRESS * slot
            self.messages[message + _NAME_LENGTH] = _ADDRESS_LENGTH
            self.messages[message + _PIECES] = _where(self.pieces) + 8 * _BLOCK * blocks * slot
            self.messages[message + _PIECES_COUNT] = 2
            own = 0 if shared else len(control) * slot
            self.messages[message + _CONTROL] = _where(self.control) + own
            self.messages[message + _CONTROL_LENGTH] = len(control)
        self.where = _where(self.messages)


def _where(words: array[int]) -> int:
    return words.buffer_info()[0]

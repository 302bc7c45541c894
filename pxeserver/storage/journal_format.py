"""The bytes of the journal: frames in a segment, and the frames of a checkpoint. Pure: bytes in, values out.

A frame is u32 length, u32 CRC-32 of the payload (both big-endian), payload. A segment's payloads are JSON
objects {"s": sequence number, "p": promise}; a checkpoint's are a header, lists of nodes, states and leases,
and an end mark.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import msgspec

from pxeserver.boot.model import Lease, Node, NodeState, Promise, PromiseKind

HEADER = struct.Struct(">II")
MAX_PAYLOAD = 64 * 1024 * 1024
"""A length above this is damage: the largest real payload is a chunk of nodes in a checkpoint, near 1 MiB."""
CHUNK = 1000
"""Nodes, states or leases in one frame of a checkpoint: encoding one takes a few milliseconds, so that the
event loop gets its turns in between."""
FORMAT = 1
_START = b'{"s":'
"""How every entry's payload begins; after damage the next entry is searched by it."""

T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True):
    """One promise with its sequence number."""

    s: int
    p: Promise


class CheckpointHead(msgspec.Struct, frozen=True):
    """The first frame: everything up to `seq` is folded in, control has taken over up to `acked`."""

    format: int
    seq: int
    acked: int


class _Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    nodes: list[Node] = []
    states: list[NodeState] = []
    leases: list[Lease] = []
    end: bool = False


_encode = msgspec.json.Encoder().encode
_entry_decoder = msgspec.json.Decoder(Entry)
_head_decoder = msgspec.json.Decoder(CheckpointHead)
_chunk_decoder = msgspec.json.Decoder(_Chunk)


def frame(payload: bytes) -> bytes:
    """The payload with its length and checksum in front."""
    return HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def encode_entry(seq: int, promise: Promise) -> bytes:
    """One entry as a frame."""
    return frame(_encode(Entry(seq, promise)))


def payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the frame at `offset`, or None where it is cut off or damaged."""
    if offset + HEADER.size > len(data):
        return None
    length, checksum = HEADER.unpack_from(data, offset)
    start = offset + HEADER.size
    if length > MAX_PAYLOAD or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if zlib.crc32(payload) == checksum else None


@dataclass(slots=True)
class Scan:
    """What was read from a segment: the entries, where its good part ends, and what was skipped inside it."""

    entries: list[tuple[int, Promise]] = field(default_factory=list)
    good_end: int = 0
    damaged: int = 0
    """Damaged places with good entries behind them. A crash does not make these; a failing disk does."""


def scan_segment(data: bytes) -> Scan:
    """Read a segment up to its last good entry; what follows that is a torn tail."""
    scan = Scan()
    offset = 0
    while offset < len(data):
        payload = payload_at(data, offset)
        entry = _decode_entry(payload) if payload is not None else None
        if payload is None or entry is None:
            following = _next_entry(data, offset + 1)
            if following is None:
                break
            scan.damaged += 1
            offset = following
            continue
        scan.entries.append((entry.s, entry.p))
        offset += HEADER.size + len(payload)
        scan.good_end = offset
    return scan


def _decode_entry(payload: bytes) -> Entry | None:
    try:
        return _entry_decoder.decode(payload)
    except msgspec.MsgspecError:
        return None


def _next_entry(data: bytes, offset: int) -> int | None:
    """Where the next whole entry begins, at or after `offset`."""
    found = data.find(_START, offset + HEADER.size)
    while found >= 0:
        payload = payload_at(data, found - HEADER.size)
        if payload is not None and _decode_entry(payload) is not None:
            return found - HEADER.size
        found = data.find(_START, found + 1)
    return None


@dataclass(slots=True)
class Tables:
    """What the promises add up to."""

    nodes: dict[int, Node] = field(default_factory=dict)
    states: dict[int, NodeState] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)

    def copy(self) -> Tables:
        """Tables that no longer change; the values in them never do."""
        return Tables(dict(self.nodes), dict(self.states), dict(self.leases))

    def apply(self, promise: Promise) -> None:
        """Add one promise: the field that its kind names counts, whatever else is set."""
        match promise.kind:
            case PromiseKind.STATE if promise.state is not None:
                self.states[promise.state.node_id] = promise.state
            case PromiseKind.LEASE if promise.lease is not None:
                self.leases[promise.lease.address] = promise.lease
            case PromiseKind.NODE if promise.node is not None:
                self.nodes[promise.node.id] = promise.node
            case PromiseKind.NODE_REMOVED if promise.node_id is not None:
                self.nodes.pop(promise.node_id, None)
                self.states.pop(promise.node_id, None)
            case _:
                pass


@dataclass(slots=True)
class Checkpoint:
    """A checkpoint as read. `whole` is False where it is damaged: the tables then hold what was readable."""

    seq: int = 0
    acked: int = 0
    tables: Tables = field(default_factory=Tables)
    whole: bool = True


def encode_checkpoint(seq: int, acked: int, tables: Tables) -> Iterator[bytes]:
    """The frames of a checkpoint, one at a time, so that a large table never stands in memory twice."""
    yield frame(_encode(CheckpointHead(FORMAT, seq, acked)))
    for nodes in _chunks(tables.nodes.values()):
        yield frame(_encode(_Chunk(nodes=nodes)))
    for states in _chunks(tables.states.values()):
        yield frame(_encode(_Chunk(states=states)))
    for leases in _chunks(tables.leases.values()):
        yield frame(_encode(_Chunk(leases=leases)))
    yield frame(_encode(_Chunk(end=True)))


def decode_checkpoint(data: bytes) -> Checkpoint:
    """Read a checkpoint; damage ends the reading and shows in `whole`."""
    payload = payload_at(data, 0)
    checkpoint = Checkpoint(whole=False)
    if payload is None:
        return checkpoint
    try:
        head = _head_decoder.decode(payload)
        checkpoint.seq, checkpoint.acked = head.seq, head.acked
        offset = HEADER.size + len(payload)
        while (payload := payload_at(data, offset)) is not None:
            chunk = _chunk_decoder.decode(payload)
            if chunk.end:
                checkpoint.whole = True
                break
            _add(checkpoint.tables, chunk)
            offset += HEADER.size + len(payload)
    except msgspec.MsgspecError:
        checkpoint.whole = False
    return checkpoint


def _add(tables: Tables, chunk: _Chunk) -> None:
    tables.nodes.update((node.id, node) for node in chunk.nodes)
    tables.states.update((state.node_id, state) for state in chunk.states)
    tables.leases.update((lease.address, lease) for lease in chunk.leases)


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def framed_json(values: Sequence[object]) -> bytes:
    """Values as frames of JSON, for the small files beside the segments."""
    return b"".join(frame(_encode(value)) for value in values)

"""The channel between control process and boot worker: frames over a unix stream socket, both ends alike.

A frame is a 32-bit big-endian length and JSON {"k": kind, "b": body}; bodies are the values of
boot/model.py as they are. The worker listens, the control process connects and comes again with a
back-off, so that either may be replaced while the other goes on. What may be lost (progress) is queued
with a bound by the sender; what may not is in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any, TypeVar

import msgspec

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Event, Lease, Node, NodeState, Promise, Site

VERSION = 3
MAX_FRAME = 8 << 20
"""8 MiB: a chunk of a table is far below it, so a larger length can only be a foreign or broken peer."""
CHUNK = 1000
"""Nodes in one frame of a whole table: about 0.5 MB, some milliseconds of encoding."""
_HEAD = struct.Struct(">I")
_HIGH_WATER = 4 << 20

T = TypeVar("T")


class ChannelError(Exception):
    """The peer sent what is no frame, or a body that does not fit its kind."""


class Envelope(msgspec.Struct):
    """A frame as it travels; the body is decoded when its kind is known."""

    k: str
    b: msgspec.Raw


# --------------------------------------------------------------------------------- bodies, control -> worker


class Hello(msgspec.Struct):
    """The control process introduces itself."""

    version: int = VERSION


class CatalogBody(msgspec.Struct):
    """A whole new snapshot."""

    catalog: Catalog


class Nodes(msgspec.Struct):
    """A part of the whole table of nodes; between `first` and `last` the old table stays in use.

    `states` are those the control process has taken over; the worker's own are newer and win.
    """

    nodes: tuple[Node, ...] = ()
    states: tuple[NodeState, ...] = ()
    first: bool = False
    last: bool = False


class NodeBody(msgspec.Struct):
    """One node was added or edited."""

    node: Node


class NodeRemoved(msgspec.Struct):
    """One node was removed."""

    id: int


class Acked(msgspec.Struct):
    """The journal up to and with `seq` is in the database."""

    seq: int


class WantTables(msgspec.Struct):
    """The database lacks what was taken over before: send all states and leases, then the journal's rest."""


class ReleaseLease(msgspec.Struct):
    """A person frees an address: the worker, which alone writes leases, does it."""

    address: str
    by: str = ""


class Answer(msgspec.Struct):
    """The answer to a question: a body, or why there is none."""

    id: int
    body: dict[str, Any] | None = None
    error: str = ""


# --------------------------------------------------------------------------------- bodies, worker -> control


class WorkerHello(msgspec.Struct):
    """The worker introduces itself: the newest number in its journal, and the snapshot it works from."""

    pid: int
    last_seq: int
    catalog_version: int
    version: int = VERSION
    acked: int = 0
    """The newest journal entry that a control process has taken over."""
    nodes: int = 0
    """How many nodes its table has, and the highest of their numbers."""
    highest_node: int = 0
    profiles: tuple[str, ...] = ()
    """Names of the profiles of its snapshot."""


class Tables(msgspec.Struct):
    """A part of all states and leases; what the journal has after the last acknowledged entry follows."""

    states: tuple[NodeState, ...] = ()
    leases: tuple[Lease, ...] = ()
    last: bool = False


class Entries(msgspec.Struct):
    """Promises of the journal with their numbers. Entries come in order; after a new connection, again from
    the last acknowledged one.
    """

    entries: list[tuple[int, Promise]]


class Events(msgspec.Struct):
    """Progress of attempts, in order."""

    events: list[Event]


class Ignored(msgspec.Struct):
    """How often the boot plane kept silent for `reason` (a Reason's value) since the last such frame."""

    reason: str
    count: int


class Question(msgspec.Struct):
    """Something only the control process may decide."""

    id: int
    kind: str
    body: dict[str, Any]


class SiteBody(msgspec.Struct):
    """The links that are served, and what the probe for other boot servers found."""

    site: Site = Site()
    others: tuple[str, ...] = ()
    unknown: str = ""
    """What unknown machines get now; differs from the policy where another boot server was found."""
    why: str = ""
    refused: tuple[str, ...] = ()
    """Subnets that get no addresses from us because another DHCP server gives them, each with what to do."""


class Stats(msgspec.Struct):
    """Counters of the worker since its start."""

    counters: dict[str, int | float] = {}


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(Envelope)
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def encode(kind: str, body: object) -> bytes:
    """A frame; ChannelError where it would be larger than MAX_FRAME."""
    data = _encoder.encode({"k": kind, "b": body})
    if len(data) > MAX_FRAME:
        raise ChannelError(f"a {kind} frame of {len(data)} bytes is over the limit of {MAX_FRAME}")
    return _HEAD.pack(len(data)) + data


def decode(frame: Envelope, body: type[T]) -> T:
    """The body of a frame as a `body`; ChannelError where it does not fit."""
    decoder = _decoders.get(body)
    if decoder is None:
        decoder = _decoders[body] = msgspec.json.Decoder(body)
    try:
        return decoder.decode(frame.b)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise ChannelError(f"{frame.k}: {error}") from error


class Channel:
    """One connection, either end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER)

    def send(self, kind: str, body: object) -> None:
        """Queue one frame; follow bulk with `drain`."""
        self.send_frame(encode(kind, body))

    def send_frame(self, frame: bytes) -> None:
        """Queue a frame that is encoded already; lost where the connection is closing."""
        if not self._writer.is_closing():
            self._writer.write(frame)

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was sent; ConnectionError where it is gone."""
        await self._writer.drain()

    async def receive(self) -> Envelope | None:
        """The next frame; None when the peer has closed. ChannelError for what is no frame."""
        try:
            (length,) = _HEAD.unpack(await self._reader.readexactly(_HEAD.size))
            if length > MAX_FRAME:
                raise ChannelError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
            return _envelope.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except msgspec.DecodeError as error:
            raise ChannelError(str(error)) from error

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close; harmless when it is closed already."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await self._writer.wait_closed()

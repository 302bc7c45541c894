"""Frames arrive as they were sent, whatever the peer's mood."""

import asyncio
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import (
    BootOnce,
    Consent,
    Event,
    EventKind,
    FileRef,
    Group,
    Image,
    Loader,
    Node,
    NodeState,
    Phase,
    Policy,
    Profile,
    ProfileKind,
    Promise,
    PromiseKind,
    SelectorKind,
    Subnet,
)
from pxeserver.channel import (
    MAX_FRAME,
    CatalogBody,
    Channel,
    ChannelError,
    Entries,
    Envelope,
    Nodes,
    decode,
    encode,
)

FILE = FileRef("vmlinuz", "ab" * 32, 12, "kernel")
CATALOG = Catalog(
    version=7,
    policy=Policy(
        unknown="discover",
        subnets=(Subnet("10.0.0.0/24", pools=(("10.0.0.5", "10.0.0.9"),)),),
        values={"a": "b"},
    ),
    profiles={"p": Profile("p", ProfileKind.DISK, "i", values={"console": "ttyS0"})},
    groups=(Group("g", SelectorKind.VENDOR, "QEMU", {"profile": "p"}),),
    images={"i": Image("i", (FILE,))},
    loaders={0: Loader(0, FILE), 7: Loader(7, FILE, "debian", "1", "GPL-2")},
)
NODE = Node(
    3,
    "n",
    uuid="u",
    macs=("52:54:00:00:00:01",),
    boot_once=BootOnce(2, "p"),
    consents=(Consent(1, "s", ("gpt",)),),
)
STATE = NodeState(3, Phase.INSTALLED, order=4)
PROMISE = Promise(
    PromiseKind.STATE,
    state=STATE,
    event=Event(1.5, EventKind.INSTALLED, "a", "m", 3, {"bytes": 1, "s": "x", "f": 0.5}),
)


async def pipe() -> tuple[Channel, Channel, socket.socket]:
    left, right = socket.socketpair()
    raw = left.dup()
    one = Channel(*await asyncio.open_unix_connection(sock=left))
    two = Channel(*await asyncio.open_unix_connection(sock=right))
    return one, two, raw


def unframed(data: bytes) -> Envelope:
    import msgspec

    return msgspec.json.decode(data[4:], type=Envelope)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("catalog", CatalogBody(CATALOG)),
        ("nodes", Nodes((NODE,), (STATE,), first=True, last=True)),
        ("entries", Entries([(9, PROMISE)])),
    ],
)
def test_every_value_comes_back_equal(kind: str, body: object) -> None:
    frame = unframed(encode(kind, body))
    assert frame.k == kind
    assert decode(frame, type(body)) == body


async def test_frames_keep_their_order_and_the_end_is_none() -> None:
    one, two, raw = await pipe()
    raw.close()
    for seq in range(100):
        one.send("entries", Entries([(seq, PROMISE)]))
    await one.drain()
    await one.close()
    seen = [
        decode(frame, Entries).entries[0][0] for frame in [await two.receive() for _ in range(100)] if frame
    ]
    assert seen == list(range(100))
    assert await two.receive() is None
    await two.close()


async def test_a_frame_cut_off_is_the_end_and_not_half_a_frame() -> None:
    one, two, raw = await pipe()
    raw.sendall(encode("entries", Entries([(1, PROMISE)]))[:-3])
    raw.close()
    await one.close()
    assert await two.receive() is None
    await two.close()


@given(st.binary(max_size=200))
def test_foreign_bytes_raise_channel_error_only(data: bytes) -> None:
    async def feed() -> None:
        one, two, raw = await pipe()
        raw.sendall(struct.pack(">I", len(data)) + data)
        raw.close()
        await one.close()
        try:
            while (frame := await two.receive()) is not None:
                decode(frame, Entries)
        except ChannelError:
            pass
        finally:
            await two.close()

    asyncio.run(feed())


async def test_a_length_over_the_limit_is_refused_before_it_is_read() -> None:
    one, two, raw = await pipe()
    raw.sendall(struct.pack(">I", MAX_FRAME + 1))
    with pytest.raises(ChannelError, match="over the limit"):
        await two.receive()
    raw.close()
    await one.close()
    await two.close()


def test_too_large_a_body_is_refused_by_its_sender() -> None:
    with pytest.raises(ChannelError, match="over the limit"):
        encode("x", "a" * (MAX_FRAME + 1))

"""Floods, strays and forged sources: who gets an answer, how much, and what it costs the others."""

from __future__ import annotations

import pytest

from pxeserver.boot.model import Interface, Policy, Site, Subnet
from pxeserver.protocols.tftp.transfers import Limits
from pxeserver.servers.tftp_requests import TftpOptions

RRQ = b"\0\1f\0octet\0blksize\x001468\0"
PLAIN = b"\0\1f\0octet\0"
ACK0 = b"\0\4\0\0"
ACK1 = b"\0\4\0\1"


@pytest.fixture
def shop(make_world):
    def make(content=bytes(10_000), policy=None, site=None, **limits):
        plane = {k: v for k, v in (("policy", policy), ("site", site)) if v}
        world = make_world(options=TftpOptions(limits=Limits(**limits)), **plane)
        world.plane.files["f"] = content
        return world

    return make


def test_a_hundred_repeated_requests_are_one_transfer(shop):
    world = shop()
    for _ in range(100):
        world.exchange(RRQ)
    assert world.server.active == 1
    world.exchange(ACK0)
    assert len(world.exchange(RRQ)) == 0
    assert world.server.active == 1
    assert world.plane.kinds() == ["file-started"]


def test_the_copy_of_a_served_request_is_not_served_again(shop):
    world = shop(content=b"tiny")
    world.exchange(PLAIN)
    world.exchange(ACK1)
    assert world.exchange(PLAIN) == []
    world.loop.run(1.0)
    assert len(world.exchange(PLAIN)) == 1


def test_a_port_that_was_closed_has_a_new_owner_when_it_asks(shop):
    world = shop()
    world.exchange(PLAIN)
    world.wire.closed_ports = [("10.0.0.9", 1234)]
    world.wire.wake()
    assert world.server.active == 0
    assert len(world.exchange(PLAIN)) == 1


def test_half_open_transfers_of_one_source_are_few(shop):
    world = shop(half_open_per_source=8)
    answered = [bool(world.exchange(RRQ, port=p)) for p in range(1000, 1020)]
    assert answered == [True] * 8 + [False] * 12
    assert world.plane.reasons() == ["too-many-transfers"] * 12
    assert world.exchange(RRQ, address="10.0.0.10")
    world.exchange(ACK0, port=1000)
    assert world.exchange(RRQ, port=3000)


def test_transfers_of_one_source_leave_room_for_others(shop):
    world = shop(per_source=3)
    for port in range(5):
        world.exchange(RRQ, port=1000 + port)
        world.exchange(ACK0, port=1000 + port)
    assert world.server.active == 3
    assert world.exchange(RRQ, address="10.0.0.10")


def test_a_full_table_drops_its_oldest_half_open_transfer(shop):
    world = shop(transfers=10)
    for n in range(10):
        world.exchange(RRQ, address=f"10.0.0.{10 + n}")
    world.exchange(ACK0, address="10.0.0.10")
    # Younger than a second: an honest client may be about to answer.
    assert world.exchange(RRQ, address="10.0.0.99") == []
    world.loop.run(1.5)
    assert world.exchange(RRQ, address="10.0.0.99")
    assert world.server.active == 10
    assert world.server.counters["dropped"] == 1
    # The one that had answered goes on, the oldest of the others is gone.
    assert world.exchange(ACK1, address="10.0.0.10")[0][1] == 3
    assert world.exchange(ACK0, address="10.0.0.12")[0][1] == 3


def test_open_transfers_are_never_dropped_for_new_ones(shop):
    world = shop(transfers=3)
    for n in range(3):
        world.exchange(RRQ, address=f"10.0.0.{10 + n}")
        world.exchange(ACK0, address=f"10.0.0.{10 + n}")
    world.loop.run(2.0)
    assert world.exchange(RRQ, address="10.0.0.99") == []
    assert world.server.active == 3


@pytest.mark.parametrize("request_", [RRQ, PLAIN, b"\0\1nope\0octet\0", b"\0\2f\0octet\0", ACK1])
def test_a_forged_source_gets_little(shop, request_):
    """Bytes out for bytes in, on the wire with Ethernet, IP and UDP headers, until the server is silent."""
    world = shop(content=bytes(1_000_000))
    world.exchange(request_)
    world.loop.run(120.0)
    came = max(60, len(request_) + 42)
    went = sum(max(60, len(d) + 42) for _, _, d in world.wire.sent)
    assert went <= 24 * came
    assert world.server.active == 0


def test_ten_thousand_forged_requests_leave_the_honest_client_alone(shop):
    world = shop(content=bytes(100_000), transfers=200)
    for n in range(10_000):
        world.wire.deliver(RRQ, (f"10.0.0.{20 + n % 200}", 1024 + n // 200))
    assert world.server.active <= 200
    reader = world.client("f", options=[("blksize", 1468)])
    reader.start()
    world.loop.run(10.0, stop=lambda: reader.over)
    assert reader.done
    assert len(reader.content) == 100_000


def test_strays_are_answered_within_a_bound(shop):
    world = shop()
    answers = [world.exchange(ACK1, port=port) for port in range(1000, 1500)]
    assert [a[0][:4] for a in answers[:100]] == [b"\0\5\0\5"] * 100
    assert answers[100:] == [[]] * 400
    world.loop.run(1.0)
    assert world.exchange(ACK1, port=1000)


def test_a_foreign_port_gets_error_5_and_the_transfer_goes_on(shop):
    world = shop()
    world.exchange(RRQ)
    world.exchange(ACK0)
    assert world.exchange(ACK1, port=4321)[0][:4] == b"\0\5\0\5"
    assert world.exchange(b"\0\5\0\0stop\0", port=4321) == []
    assert world.exchange(ACK1)[0][:4] == b"\0\3\0\2"


def test_the_tail_of_an_ended_transfer_is_not_answered(shop):
    world = shop(content=b"tiny")
    world.exchange(PLAIN)
    world.exchange(ACK1)
    assert world.exchange(ACK1) == []
    world.loop.run(10.0)
    assert world.exchange(ACK1)[0][:4] == b"\0\5\0\5"


def test_another_request_from_the_same_port_replaces_the_transfer(shop):
    """Firmware probes, resets in the middle, and clients with a fixed port."""
    world = shop()
    world.plane.files["g"] = b"other"
    world.exchange(RRQ)
    world.exchange(ACK0)
    (answer,) = world.exchange(b"\0\1g\0octet\0")
    assert answer == b"\0\3\0\1other"
    assert world.server.active == 1
    assert world.server.counters["replaced"] == 1


def test_the_same_request_after_a_reset_starts_again(shop):
    world = shop()
    world.exchange(RRQ)
    world.exchange(ACK0)
    world.loop.run(5.0)
    assert world.exchange(RRQ)[0][1] == 6


@pytest.mark.parametrize(
    ("source", "interface", "served"),
    [("10.0.0.9", 7, True), ("10.0.1.9", 7, False), ("8.8.8.8", 7, False), ("10.0.0.9", 8, False),
     ("192.168.5.9", 7, True), ("10.0.0.1", 1, True), ("127.0.0.1", 1, False)],
)  # fmt: skip
def test_only_served_links_are_answered(shop, source, interface, served):
    site = Site((Interface(7, "lan0", ("10.0.0.1/24", "fd00::1/64"), 1500),))
    world = shop(policy=Policy(subnets=(Subnet("192.168.5.0/24"),)), site=site)
    for port, request in enumerate((RRQ, b"\0\1nope\0octet\0", ACK1, b"\0\1broken"), 1000):
        assert bool(world.exchange(request, port, source, interface=interface)) is served
    if not served:
        assert set(world.plane.reasons()) == {"not-served-here"}


@pytest.mark.parametrize("datagram", [RRQ, PLAIN, b"\0\1nope\0octet\0", b"\0\1broken", ACK1])
def test_a_sender_without_a_port_is_left_alone(shop, datagram):
    world = shop()
    assert world.exchange(datagram, port=0) == []
    assert world.server.active == 0
    assert world.plane.reasons() == ["malformed"]


def test_an_answer_that_cannot_be_sent_is_nobody_elses_trouble(shop):
    """Our address on the link has just gone, say."""
    world = shop()
    world.wire.unsendable = 1
    assert world.exchange(b"\0\1nope\0octet\0") == []
    assert world.exchange(b"\0\1nope\0octet\0")[0][:4] == b"\0\5\0\1"


def test_a_client_whose_file_cannot_be_read_any_more_is_told(shop):
    world = shop()
    world.exchange(RRQ)
    world.exchange(ACK0)
    world.wire.unsendable = 1
    (answer,) = world.exchange(ACK1)
    assert answer[:4] == b"\0\5\0\0"
    assert world.server.active == 0
    assert world.plane.kinds() == ["file-started", "file-failed"]
    assert world.plane.events[-1].detail["reason"] == "fault"


def test_requests_to_a_broadcast_address_are_not_answered(shop):
    world = shop()
    assert world.exchange(RRQ, to="10.0.0.255") == []
    assert world.exchange(RRQ, to="255.255.255.255") == []


@pytest.mark.parametrize(("mtu", "blksize"), [(1500, 1468), (1492, 1460), (576, 544), (9000, 8968)])
def test_blocks_fit_the_link(shop, mtu, blksize):
    world = shop(site=Site((Interface(7, "lan0", ("10.0.0.1/24",), mtu),)))
    (answer,) = world.exchange(b"\0\1f\0octet\0blksize\x0065464\0")
    assert answer == b"\0\6blksize\0%d\0" % blksize

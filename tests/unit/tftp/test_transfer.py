"""The transfer machine alone: what it sends when, and what it does not."""

from __future__ import annotations

import contextlib
import itertools
import random

import pytest

from pxeserver.protocols.tftp.negotiation import Agreement
from pxeserver.protocols.tftp.outcome import End
from pxeserver.protocols.tftp.packet import MalformedPacket
from pxeserver.protocols.tftp.transfer import Transfer

RTT = 0.0002


def ack(number: int) -> bytes:
    return b"\0\4" + number.to_bytes(2, "big")


class Bench:
    """A transfer with a hand on the clock."""

    def __init__(self, size: int = 5120, **agreed) -> None:
        self.now = 10.0
        agreed.setdefault("answer", (("blksize", "512"),))
        self.transfer = Transfer(bytes(size), Agreement(**agreed), self.now)

    def sent(self) -> list[int | str]:
        """Block numbers, or the opcode's name."""
        out = []
        for header, payload in self.transfer.packets_to_send():
            whole = header + bytes(payload)
            out.append(
                int.from_bytes(whole[2:4], "big") if whole[1] == 3 else {5: "ERROR", 6: "OACK"}[whole[1]]
            )
        return out

    def after(self, seconds: float, datagram: bytes) -> list[int | str]:
        self.now += seconds
        self.transfer.receive(datagram, self.now)
        return self.sent()

    def wait(self, seconds: float) -> list[int | str]:
        """Let time pass, with timers as they come."""
        until, out = self.now + seconds, []
        while (due := self.transfer.next_timer()) is not None and due <= until:
            self.now = due
            self.transfer.handle_timer(due)
            out += self.sent()
        self.now = until
        return out

    def opened(self) -> Bench:
        assert self.sent() == ["OACK"]
        self.after(RTT, ack(0))
        return self


def test_data_only_after_ack_zero():
    bench = Bench()
    assert bench.sent() == ["OACK"]
    assert bench.after(RTT, ack(1)) == []
    assert not bench.transfer.proven
    assert bench.after(RTT, ack(0)) == [1]
    assert bench.transfer.proven


def test_without_options_data_comes_at_once():
    bench = Bench(answer=None)
    assert bench.sent() == [1]
    assert bench.after(RTT, ack(1)) == [2]


def test_an_unproven_address_gets_two_blocks_and_then_silence():
    bench = Bench(answer=None)
    assert bench.sent() + bench.wait(60) == [1, 1]
    assert bench.transfer.end is End.UNANSWERED


def test_an_unproven_address_gets_few_oacks_and_no_error():
    bench = Bench()
    assert bench.sent() + bench.wait(60) == ["OACK"] * 6
    assert bench.transfer.end is End.UNANSWERED


@pytest.mark.parametrize("code", [0, 8])
def test_error_after_the_oack_is_a_probe(code):
    bench = Bench()
    bench.sent()
    assert bench.after(RTT, b"\0\5\0" + bytes([code]) + b"User aborted the transfer\0") == []
    assert bench.transfer.end is End.PROBE


def test_error_in_the_middle_is_an_abort():
    bench = Bench().opened()
    bench.after(RTT, ack(1))
    bench.after(RTT, b"\0\5\0\3disk full\0")
    assert bench.transfer.end is End.ABORTED
    assert bench.transfer.error == "3 disk full"


def test_duplicate_acks_cause_no_resend():
    """The Sorcerer's Apprentice: each duplicate answered would double the traffic for good."""
    bench = Bench().opened()
    bench.after(RTT, ack(1))
    for _ in range(50):
        assert bench.after(RTT / 10, ack(1)) == []
    assert bench.after(RTT, ack(2)) == [3]
    assert bench.after(RTT, ack(1)) == []
    assert bench.after(RTT, ack(0)) == []
    assert bench.transfer.progress.blocks_resent == 0


def test_a_duplicate_ack_long_after_the_block_is_a_reminder():
    bench = Bench().opened()
    bench.after(RTT, ack(1))
    bench.wait(3.0)
    due = bench.transfer.next_timer()
    assert due - bench.now > 0.05
    assert bench.after(0.05, ack(1)) == [2]


def test_acks_of_what_was_never_sent_are_ignored():
    bench = Bench().opened()
    assert bench.after(RTT, ack(2)) == []
    assert bench.after(RTT, ack(40000)) == []
    assert bench.after(RTT, ack(1)) == [2]


def test_waits_grow_from_the_floor_to_the_cap():
    bench = Bench().opened()
    times = []
    while len(times) < 8:
        due = bench.transfer.next_timer()
        times.append(round(due - bench.now, 4))
        bench.now = due
        bench.transfer.handle_timer(due)
    assert times == [0.02, 0.04, 0.08, 0.16, 0.32, 0.4, 0.4, 0.4]


def test_a_path_that_loses_packets_is_waited_for_less_long_until_one_was_only_late():
    bench = Bench(size=100_000).opened()
    waits = []

    def lost() -> None:
        waits.append(round(bench.transfer.next_timer() - bench.now, 4))
        bench.wait(bench.transfer.next_timer() - bench.now)

    for block in range(1, 8):
        lost()
        bench.after(RTT, ack(block))
    lost()
    bench.after(RTT / 10, ack(8))  # sooner than anything can answer the second send
    lost()
    assert waits == [0.02, 0.02, 0.02, 0.005, 0.005, 0.005, 0.005, 0.005, 2 * 0.02]


def test_a_dead_client_is_given_up():
    bench = Bench().opened()
    sent = bench.wait(60)
    assert sent[-1] == "ERROR"
    assert bench.transfer.end is End.TIMED_OUT
    assert len(sent) < 40
    assert bench.transfer.next_timer() is None


def test_the_wait_follows_the_measured_round_trip():
    bench = Bench(size=100_000)
    bench.sent()
    bench.after(0.1, ack(0))
    for n in range(1, 20):
        bench.after(0.1, ack(n))
    assert 0.1 < bench.transfer.next_timer() - bench.now < 0.15


def test_a_window_goes_out_as_a_whole():
    bench = Bench(windowsize=4).opened()
    assert bench.after(RTT, ack(4)) == [5, 6, 7, 8]
    assert bench.after(RTT, ack(8)) == [9, 10, 11]
    assert bench.after(RTT, ack(11)) == []
    assert bench.transfer.end is End.SENT


def test_an_ack_inside_the_window_goes_on_from_there():
    bench = Bench(windowsize=4).opened()
    assert bench.after(RTT, ack(2)) == [3, 4, 5, 6]


def test_a_missing_first_block_is_resent_once():
    bench = Bench(windowsize=4).opened()
    bench.after(RTT, ack(4))
    assert bench.after(RTT, ack(4)) == [5, 6, 7, 8]
    for _ in range(5):
        assert bench.after(RTT / 10, ack(4)) == []


def test_the_echo_of_a_repeated_window_is_not_answered():
    """The client had the window, its ACK was lost: it acknowledges each block of the repetition."""
    bench = Bench(size=51200, windowsize=4).opened()
    assert bench.wait(0.02) == [1, 2, 3, 4]
    assert bench.after(RTT, ack(4)) == [5, 6, 7, 8]
    for _ in range(3):
        assert bench.after(RTT * 0.6, ack(4)) == []
    assert bench.after(RTT, ack(8)) == [9, 10, 11, 12]


def test_after_a_lost_tail_only_what_is_new_is_sent():
    bench = Bench(size=51200, windowsize=4).opened()
    assert bench.wait(0.02) == [1, 2, 3, 4]
    assert bench.after(RTT, ack(3)) == [5, 6, 7]


def test_the_echo_of_a_short_way_back_is_not_answered():
    """Block 2 was late rather than lost: the client has it when the repetition comes, and says so."""
    bench = Bench(size=51200, windowsize=4).opened()
    assert bench.after(RTT, ack(1)) == [2, 3, 4, 5]
    assert bench.after(RTT, ack(2)) == [6]
    assert bench.after(RTT, ack(6)) == [7, 8, 9, 10]
    assert bench.transfer.progress.blocks_resent == 3


def test_a_second_gap_in_a_repetition_waits_for_two_round_trips_and_no_longer():
    bench = Bench(size=51200, windowsize=4).opened()
    assert bench.after(RTT, ack(1)) == [2, 3, 4, 5]
    assert bench.after(RTT, ack(2)) == [6]
    assert bench.wait(2 * RTT) == []
    assert bench.wait(0.002) == [3, 4, 5, 6]
    # It was a guess, and not an expired wait: the next one is as long as ever.
    assert bench.transfer.next_timer() - bench.now < 0.02


def test_the_clients_timeout_is_the_longest_wait():
    bench = Bench(timeout=1).opened()
    times = [bench.now]
    while not bench.transfer.done:
        times.append(bench.now)
        bench.now = bench.transfer.next_timer()
        bench.transfer.handle_timer(bench.now)
    waits = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert max(waits) == pytest.approx(1.0)


def test_unreachable_ends_at_once():
    bench = Bench().opened()
    bench.transfer.unreachable()
    assert bench.transfer.end is End.UNREACHABLE
    assert bench.sent() == []
    assert bench.transfer.next_timer() is None


def test_unreachable_after_the_last_block_was_a_client_that_has_everything():
    bench = Bench(size=10).opened()
    bench.transfer.unreachable()
    assert bench.transfer.end is End.SENT


def test_a_repeated_request_gets_the_oack_again():
    bench = Bench()
    bench.sent()
    bench.now += 0.1
    assert bench.transfer.request_repeated(bench.now)
    assert bench.sent() == ["OACK"]


def test_a_late_copy_of_the_request_changes_nothing():
    bench = Bench().opened()
    assert bench.transfer.request_repeated(bench.now + 0.1)
    assert bench.sent() == []


def test_a_client_that_began_anew_is_believed():
    bench = Bench().opened()
    assert not bench.transfer.request_repeated(bench.now + 1.5)


def test_nothing_is_said_after_the_end():
    bench = Bench(size=1).opened()
    bench.after(RTT, ack(1))
    assert bench.transfer.done
    assert bench.after(RTT, ack(0)) == []
    bench.transfer.stop(End.STOPPED, "too late")
    assert bench.sent() == []


def test_blocks_are_not_copied():
    content = memoryview(bytes(2000))
    transfer = Transfer(content, Agreement(), 0.0)
    ((_, payload),) = transfer.packets_to_send()
    assert isinstance(payload, memoryview)
    assert payload.obj is content.obj


def test_garbage_raises_malformed_and_nothing_else():
    """Live transfers, half a window in, fed with mutated datagrams of the client."""
    chance = random.Random(7)
    seeds = [
        ack(0),
        ack(3),
        b"\0\3\0\1xx",
        b"\0\6tsize\x001\0",
        b"\0\1f\0octet\0blksize\x00512\0",
        b"\0\7\0\0",
    ]
    for round_ in range(3000):
        bench = Bench(windowsize=chance.choice([1, 4]), rollover=chance.choice([0, 1]))
        for _ in range(10):
            datagram = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(3)):
                datagram[chance.randrange(len(datagram))] = chance.randrange(256)
            if chance.random() < 0.2:
                datagram = datagram[: chance.randrange(len(datagram) + 1)]
            with contextlib.suppress(MalformedPacket):
                bench.after(chance.random() / 10, bytes(datagram))
            bench.wait(0.01)
        bench.wait(120)
        assert bench.transfer.done, round_

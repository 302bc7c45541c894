"""One read transfer, without socket and clock: datagrams and times in, datagrams out (RFC 1350, 2347, 7440).

    transfer = Transfer(content, agreement, now)
    send(transfer.packets_to_send())
    ... transfer.receive(datagram, now) / transfer.handle_timer(now) at transfer.next_timer(), then send again
    ... until transfer.done

A packet to send is a
header and a piece of the content, so that a block goes from the mapped file to the kernel without being
copied here. An owner that can point the kernel at both itself takes the blocks by their numbers instead:

    if acknowledgement == transfer.awaited: transfer.go_on(now)     # nearly always, and cheap
    send blocks transfer.first to transfer.until - 1; transfer.first = transfer.until
"""

from __future__ import annotations

import sys

from pxeserver.protocols.tftp import packet
from pxeserver.protocols.tftp.blocks import Blocks
from pxeserver.protocols.tftp.negotiation import Agreement
from pxeserver.protocols.tftp.outcome import End, Progress
from pxeserver.protocols.tftp.packet import ACKS, ErrorCode
from pxeserver.protocols.tftp.retransmission import Retransmission, Timing

_NOTHING = b""

NO_ACK = -1
"""Not any datagram's value."""

NEVER = float("inf")
"""The deadline of who waits for nothing."""


class Transfer(Blocks):
    """The sending side of one RRQ. `content` must stay unchanged; `agreement` is what negotiate()
    returned."""

    __slots__ = (
        "_acked",
        "_blocks_resent",
        "_blocks_sent",
        "_fresh",
        "_gap_answered",
        "_half_open_tries",
        "_high",
        "_losses",
        "_lost_at",
        "_next",
        "_offer",
        "_progressed",
        "_repeated",
        "_retransmission",
        "_sent_at",
        "_suspicious",
        "_timing",
        "_window",
        "awaited",
        "deadline",
        "end",
        "error",
        "proven",
    )  # fmt: skip

    def __init__(
        self, content: bytes | memoryview, agreement: Agreement, now: float, timing: Timing | None = None
    ) -> None:
        super().__init__(content, agreement)
        self._window = agreement.windowsize
        self._timing = timing or Timing()
        self._retransmission = Retransmission(self._timing, agreement.timeout)
        self._offer = agreement.answer
        self._acked = 0
        self._next = 1
        self._high = 0
        self._repeated = 0
        self._fresh = 0
        self._gap_answered = False
        self._suspicious = False
        self._half_open_tries = 0
        self._blocks_sent = self._blocks_resent = self._losses = 0
        self._lost_at = -1
        self.awaited = NO_ACK
        """The datagram, as the machine reads its four bytes as one number, that acknowledges everything in
        flight where nothing is amiss: go_on() is what to do then. NO_ACK where receive() has to judge."""
        self._sent_at = self._progressed = now
        self.deadline = NEVER
        self.proven = False
        """The client has answered, so its address is no invention."""
        self.end: End | None = None
        self.error = ""
        """The text of the ERROR that ended it, in whichever direction it went."""
        self._send_first(now)

    # -------------------------------------------------------------------------------------------- the machine

    @property
    def done(self) -> bool:
        """Nothing will happen any more (a last ERROR may still be in packets_to_send)."""
        return self.end is not None

    @property
    def confirmed(self) -> bool:
        """The client has acknowledged every block."""
        return self._acked == self.last

    def age(self, now: float) -> float:
        """Seconds since anything new was acknowledged, or since the request."""
        return now - self._progressed

    def receive(self, datagram: bytes, now: float) -> None:
        """A datagram from the client's address and port. Raises MalformedPacket where it is not TFTP; the
        transfer goes on."""
        if self.end is not None:
            return
        if len(datagram) == 4 and int.from_bytes(datagram, sys.byteorder) == self.awaited:
            self.go_on(now)
            return
        received = packet.decode(datagram)
        if isinstance(received, packet.Ack):
            self._on_ack(received.block, now)
        elif isinstance(received, packet.Error):
            self._on_error(received)
        # DATA, OACK and requests make no sense from a reader. RFC 1350 would end the transfer with ERROR 4;
        # ignoring them keeps a stray or forged datagram from stopping a boot (deviation 10). A repeated RRQ
        # is the caller's to judge.

    def go_on(self, now: float) -> None:
        """The ACK in `awaited` has come: all that was sent has arrived, each block sent once. The shortest
        way through receive(), which nearly every block of every boot goes.
        """
        self._progressed = now
        retransmission = self._retransmission
        retransmission.measured(now - self._sent_at)
        first = self._next
        self._acked = first - 1
        if first > self.last:
            self._finish(End.SENT)
            return
        until = first + self._window
        if until > self.last:
            until = self.last + 1
        self._blocks_sent += until - first
        self._fresh = self.first = first
        self._next = self.until = until
        self._high = until - 1
        self._sent_at = now
        self._gap_answered = self._suspicious = False
        self.deadline = now + retransmission.base
        self.awaited = ACKS[until - 1] if until <= 65536 else ACKS[self.number(until - 1)]

    @property
    def progress(self) -> Progress:
        """What it did so far."""
        acked = self._acked
        bytes_acked = self.size if acked == self.last else acked * self.blksize
        return Progress(self._blocks_sent, self._blocks_resent, acked, bytes_acked, self._losses)

    def next_timer(self) -> float | None:
        """When handle_timer wants to be called, on the caller's clock; None once done."""
        return None if self.deadline == NEVER else self.deadline

    def handle_timer(self, now: float) -> None:
        """The time given by next_timer has come."""
        if self.end is not None or now < self.deadline:
            return
        patience = self._timing.give_up if self.proven else self._timing.half_open
        if now - self._progressed >= patience:
            # Who never answered gets no ERROR (deviation 11).
            self.stop(End.TIMED_OUT if self.proven else End.UNANSWERED, "timeout")
            return
        if not self._suspicious:
            self._retransmission.expired()
        self._gap_answered = False
        if self.proven:
            self._repeat_window(now)
        else:
            self._resend_first(now)

    # --------------------------------------------------------------------------- what the owner tells or asks

    def request_repeated(self, now: float) -> bool:
        """The same RRQ came again from the same port. False where the client means a new transfer.

        While the first packet is unanswered it was lost or is on its way: send it again, for each request
        once. Later a copy may have been late on the wire; but when nothing was acknowledged for a second, the
        client began anew.
        """
        if not self.proven:
            self._half_open_tries = min(self._half_open_tries, self._half_open_limit() - 1)
            if now - self._sent_at >= self._timing.floor:
                self._resend_first(now)
            return True
        return now - self._progressed < 1.0

    def unreachable(self) -> None:
        """ICMP says that nobody listens on the client's port.

        After the last block that is a client that has everything, whose final ACK was lost, and which is
        gone (deviation 12).
        """
        if self.end is None:
            self._finish(End.SENT if self._high == self.last and self.proven else End.UNREACHABLE)

    def stop(self, end: End, message: str) -> None:
        """End it from this side, with an ERROR 0 to the client unless it is one that never answered."""
        if self.end is not None:
            return
        self.error = message
        self._finish(end)
        if self.proven:
            error = packet.encode(packet.Error(ErrorCode.NOT_DEFINED, message))
            self._outgoing.append((error, _NOTHING))

    # ------------------------------------------------------------------------------------------------- inside

    def _on_ack(self, block: int, now: float) -> None:
        acked = self._acked
        if self._offer is not None and not self.proven:
            # DATA follows the ACK 0 of the OACK and nothing else: that ACK proves the address.
            if block == 0:
                self._advance(0, now)
            return
        distance = (block - acked) % self._modulus
        if self._modulus == 65535 and block == 0 and acked:
            return
        if distance == 0:
            self._on_duplicate_ack(now)
        elif distance < self._next - acked:
            self._advance(distance, now)
        # Everything else is older than what is acknowledged already, or was never sent.

    def _advance(self, distance: int, now: float) -> None:
        """`distance` more blocks have arrived; after the OACK's ACK it is 0."""
        self.proven = True
        self._progressed = now
        since = now - self._sent_at
        newest = self._acked + distance
        # Karn's rule, block by block: the last send had blocks that were never sent before, and one of them
        # is acknowledged. Inside the window it may be an ACK of the client's own timer, long after the last
        # block.
        if self._fresh <= newest and (newest == self._next - 1 or self._retransmission.plausible(since)):
            self._retransmission.measured(since)
        else:
            self._retransmission.answered(since)
        self._acked = acked = newest
        if acked == self.last:
            self._finish(End.SENT)
            return
        self._gap_answered = False
        if acked < self._repeated:
            # The client may have had the first blocks of a repeated window already, and acknowledges each of
            # them: what is in flight will still arrive, and sending it once more would go on for ever. Or
            # there is a new gap: then nothing comes for a while.
            self._send_blocks(self._next, now)
            if self._window > 1 and acked < self._next - 1:
                self._suspicious = True
                self.deadline = now + self._retransmission.suspicion()
        elif acked < self._next - 1:
            # An ACK inside the window tells of a gap after it: go on from there (RFC 7440 section 4).
            self._repeat_window(now)
        else:
            self._send_blocks(acked + 1, now)

    def _on_duplicate_ack(self, now: float) -> None:
        """Answering each duplicate ACK doubles every packet from then on (RFC 1123 section 4.2.3.1, SAS).

        A duplicate counts after the time in which a lost block would have been resent without back-off. With
        windows it is also how the client tells that the first block of the window is missing (RFC 7440):
        believed once for each position, not sooner than a round trip can be, and not where it may be the echo
        of our own repetition.
        """
        round_trip = self._retransmission.smoothed
        if not self.proven or round_trip is None:
            return
        since = now - self._sent_at
        if since >= self._retransmission.base:
            self._repeat_window(now)
        elif (
            self._window > 1
            and not self._gap_answered
            and self._acked > self._repeated
            and since >= round_trip / 2
        ):
            self._gap_answered = True
            self._repeat_window(now)

    def _on_error(self, error: packet.Error) -> None:
        self.error = f"{error.code} {error.message}".strip()
        asked_only = self._offer is not None and self._acked == 0 and error.code in (
            ErrorCode.NOT_DEFINED, ErrorCode.OPTIONS_REFUSED,
        )  # fmt: skip
        self._finish(End.PROBE if asked_only else End.ABORTED)

    def _send_first(self, now: float) -> None:
        self._half_open_tries += 1
        if self._offer is None:
            self._send_blocks(1, now)
            return
        self._sent_at = now
        self.deadline = now + self._retransmission.wait()
        self._outgoing.append((packet.encode(packet.OptionAck(self._offer)), _NOTHING))

    def _resend_first(self, now: float) -> None:
        self._fresh = 1
        if self._half_open_tries < self._half_open_limit():
            self._send_first(now)
        else:
            self.deadline = self._progressed + self._timing.half_open

    def _half_open_limit(self) -> int:
        return self._timing.plain_tries if self._offer is None else self._timing.offer_tries

    def _repeat_window(self, now: float) -> None:
        """Send what is not acknowledged again, not knowing what of it the client has."""
        repeated = self._high
        self._send_blocks(self._acked + 1, now)
        self._repeated = repeated

    def _send_blocks(self, first: int, now: float) -> None:
        """Send from block `first` to the end of the window, and wait for an ACK from now on."""
        until = min(self._acked + 1 + self._window, self.last + 1)
        sent, known = max(0, until - first), max(0, min(until, self._high + 1) - first)
        self._blocks_sent += sent
        self._blocks_resent += known
        if known and self._lost_at != self._acked:
            self._losses += 1
            self._lost_at = self._acked
        self._fresh = max(first, self._high + 1)
        self._high = max(self._high, until - 1)
        self.first, self.until = first, until
        self._next = until
        # What is in flight was sent once, its last block for the first time now: its ACK needs no judging.
        plain = self.proven and self._fresh <= until - 1 and self._repeated <= until - 1
        self.awaited = ACKS[self.number(until - 1)] if plain else NO_ACK
        self._sent_at = now
        self._suspicious = False
        self.deadline = now + self._retransmission.wait()

    def _finish(self, end: End) -> None:
        self.end = end
        self.deadline = NEVER
        self.awaited = NO_ACK
        self._outgoing = []
        self.first = self.until

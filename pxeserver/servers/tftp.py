"""The TFTP server: the socket and the clock around protocols.tftp. It only reads.

One socket serves all transfers from the well-known port, so that one hole in a firewall is enough and a
transfer costs no descriptor. With a port range each transfer has its own port instead, as RFC 1350 describes
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from dataclasses import dataclass

from pxeserver.boot.model import Ignore, Interface, Reason
from pxeserver.protocols.tftp import packet
from pxeserver.protocols.tftp.outcome import End
from pxeserver.protocols.tftp.packet import ErrorCode, MalformedPacket, Request
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.protocols.tftp.transfers import Admission, Entry, Peer, Transfers
from pxeserver.servers.plane import Plane
from pxeserver.servers.tftp_access import ServedLinks
from pxeserver.servers.tftp_batch import Batch, open_batch
from pxeserver.servers.tftp_clock import Alarm, Ration
from pxeserver.servers.tftp_content import Resolve
from pxeserver.servers.tftp_ports import bind_within
from pxeserver.servers.tftp_report import Delivery, Reporter
from pxeserver.servers.tftp_requests import Granted, Requests, TftpOptions
from pxeserver.servers.tftp_socket import Ancillary, Destination, TftpSocket, destination, leave_from
from pxeserver.servers.tftp_vectors import AT_ONCE

log = logging.getLogger(__name__)

DATAGRAMS_A_TURN = 128
"""Read at most this many before other work of the event loop has its turn."""

LONGEST_TURN = 0.001
"""The same in seconds, where few transfers run and each batch is waited for."""

FEW = 2
"""So many transfers are waited for by looking again and again: more keep the server busy by themselves."""

LIVELY_SECONDS = 0.25
"""Those count that got on within this time: a transfer whose client is gone is there for longer."""

STRAY_ERRORS_A_SECOND = 100
"""ERROR 5 answers to packets of no transfer; more of them are a flood, and get nothing."""

PROGRESS_SECONDS = 2.0
"""Between progress reports of a long transfer."""

MOST_POSTPONEMENTS = 20
"""Times a millisecond that timers wait for the socket to be read empty: the ACK they miss may be in it."""

_REQUESTS = (b"\0\1", b"\0\2")


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A datagram outside of a transfer, and how it came."""

    sock: TftpSocket
    datagram: bytes
    peer: Peer
    where: Destination
    now: float


class TftpServer:
    """Answers read requests on one bound socket. Made once; `start` on the running loop, then `stop`."""

    def __init__(self, plane: Plane, resolve: Resolve, options: TftpOptions | None = None) -> None:
        self._plane = plane
        self._options = options or TftpOptions()
        self._requests = Requests(plane, resolve, self._options)
        self._links = ServedLinks()
        self._transfers: Transfers[Delivery] = Transfers(self._options.limits)
        self._reporter = Reporter(plane)
        self._main: TftpSocket | None = None
        self._batch: Batch | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._unread = False
        self._lively, self._counted = 0, 0.0
        self._postponed = 0
        self._idle = asyncio.Event()
        self._stopping = False
        self._stray_errors = Ration(STRAY_ERRORS_A_SECOND)

    @property
    def active(self) -> int:
        """Running transfers."""
        return len(self._transfers)

    @property
    def counters(self) -> dict[str, int]:
        """Ended transfers by how they ended, and what was sent; for metrics and tests."""
        return self._reporter.counters

    def start(self, sock: TftpSocket, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Serve on this socket, which is the server's from now on; `loop` is the running one by default."""
        self._loop = loop or asyncio.get_running_loop()
        self._main = sock
        self._alarm = Alarm(self._loop, self._transfers.next_timer, self._on_timer)
        if self._options.port_range is None:
            self._batch = open_batch(sock, self._transfers.schedule)
        if self._batch is None:
            self._loop.add_reader(sock.fileno(), self._readable, sock)
        else:
            self._loop.add_reader(sock.fileno(), self._readable_in_batches, sock, self._batch)
        self._idle.set()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no new requests, give running transfers `grace` seconds, end the rest with an ERROR, close."""
        self._stopping = True
        if grace > 0 and self.active:
            try:
                await asyncio.wait_for(self._idle.wait(), grace)
            except TimeoutError:
                log.info("tftp stopping with transfers=%d", self.active)
        now = self._loop.time()
        for entry in self._transfers.end_all(End.STOPPED, "server is stopping"):
            self._after(entry, now)
        self._flush(now)
        self._alarm.cancel()
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        if self._main is not None:
            self._close(self._main)

    # ---------------------------------------------------------------------------------------- datagrams in

    def _readable_in_batches(self, sock: TftpSocket, batch: Batch) -> None:
        now = self._loop.time()
        until = now + LONGEST_TURN
        received = count = batch.receive()
        sock.troubled |= not count  # woken up for something else
        while received:
            now = self._loop.time()
            left, ended = batch.go_on(received, now)
            for entry in ended:
                self._after(entry, now)
            for index in left:
                self._take(sock, batch.datagram(index), now)
            self._flush(now)
            received = batch.linger(self._loop.time, until) if self._few(now) else 0
        self._unread = count == AT_ONCE
        self._unreachable(sock, now)
        self._alarm.set()

    def _few(self, now: float) -> bool:
        """Whether so few transfers get on that it pays to wait for their next ACKs."""
        if self.active <= FEW:
            return self.active > 0
        if now - self._counted >= LIVELY_SECONDS:
            self._counted = now
            self._lively = sum(entry.transfer.age(now) < LIVELY_SECONDS for entry in self._transfers)
        return 0 < self._lively <= FEW

    def _readable(self, sock: TftpSocket) -> None:
        now = self._loop.time()
        seen = 0
        while seen < DATAGRAMS_A_TURN and sock.fileno() >= 0:
            received = sock.receive()
            if received is None:
                break
            seen += 1
            self._take(sock, received, now)
        self._unreachable(sock, now)
        if sock is self._main:
            self._unread = seen == DATAGRAMS_A_TURN
        self._alarm.set()

    def _take(self, sock: TftpSocket, received: tuple[bytes, Ancillary, Peer], now: float) -> None:
        """One datagram: for the transfer of its sender, or a new request."""
        datagram, ancillary, peer = received
        entry = self._transfers.find(peer)
        if entry is None or entry.owner.sock is not sock or datagram[:2] in _REQUESTS:
            self._not_of_a_transfer(sock, datagram, ancillary, peer)
            return
        try:
            entry.transfer.receive(datagram, now)
        except MalformedPacket:
            self._plane.ignored(Ignore(Reason.MALFORMED, peer[0]))
        self._after(entry, now)

    def _not_of_a_transfer(self, sock: TftpSocket, datagram: bytes, ancillary: Ancillary, peer: Peer) -> None:
        """A request, or a packet that belongs to no transfer of its sender on this port."""
        where = destination(ancillary)
        if where is None or where.broadcast:
            # RFC 1123 section 4.2.3.5: a request to a broadcast address is not answered.
            self._plane.ignored(Ignore(Reason.NOT_A_REQUEST, peer[0]))
            return
        if peer[1] == 0:
            # Nobody can be answered there (RFC 768: zero is a port that is not used); the kernel refuses to.
            self._plane.ignored(Ignore(Reason.MALFORMED, peer[0]))
            return
        site, policy = self._plane.site(), self._plane.catalog().policy
        interface = self._links.of(site, policy).interface(peer[0], where.interface, where.local)
        if interface is None:
            self._plane.ignored(Ignore(Reason.NOT_SERVED_HERE, peer[0]))
            return
        arrival = _Arrival(sock, datagram, peer, where, self._loop.time())
        try:
            received = packet.decode(datagram)
        except MalformedPacket as fault:
            self._plane.ignored(Ignore(Reason.MALFORMED, peer[0]))
            if datagram[:2] in _REQUESTS:
                self._refuse(arrival, ErrorCode.ILLEGAL_OPERATION, str(fault))
            return
        if not isinstance(received, Request) or sock is not self._main:
            self._on_stray(received, arrival)
        elif not self._stopping:
            self._on_request(received, arrival, interface)

    def _on_stray(self, received: packet.Packet, arrival: _Arrival) -> None:
        """RFC 1350 section 4: the sender of a foreign packet is told, the transfer it disturbs goes on."""
        # An ERROR is never answered, or two servers could send errors to each other for ever.
        if isinstance(received, packet.Error) or self._transfers.ended_lately(arrival.peer, arrival.now):
            return
        self._plane.ignored(Ignore(Reason.UNKNOWN_TRANSFER, arrival.peer[0]))
        if self._stray_errors.take(arrival.now):
            self._refuse(arrival, ErrorCode.UNKNOWN_TRANSFER_ID, "unknown transfer")

    def _on_request(self, request: Request, arrival: _Arrival, interface: Interface) -> None:
        peer, now = arrival.peer, arrival.now
        admission, entry = self._transfers.admit(peer, arrival.datagram, now)
        if admission is Admission.REPEATED and entry is not None:
            self._after(entry, now)
            return
        if admission is not Admission.NEW:
            if admission is Admission.TOO_MANY:
                self._plane.ignored(Ignore(Reason.TOO_MANY_TRANSFERS, peer[0]))
            return
        judged = self._requests.judge(request, peer, interface, now)
        if entry is not None and (entry.peer == peer or isinstance(judged, Granted)):
            entry.transfer.stop(End.REPLACED if entry.peer == peer else End.DROPPED, "another request came")
            # To the same port an ERROR would end the new transfer.
            self._after(entry, now, quietly=entry.peer == peer)
        if isinstance(judged, Granted):
            self._begin(judged, arrival)
            return
        self._plane.ignored(Ignore(judged.reason, peer[0]))
        log.debug("tftp refused address=%s file=%r reason=%s", peer[0], judged.name, judged.reason.name)
        if judged.served is not None:
            self._reporter.refused(judged.served, judged.name, peer, judged.reason, judged.message)
        if judged.code is not None:
            self._refuse(arrival, judged.code, judged.message)

    def _begin(self, granted: Granted, arrival: _Arrival) -> None:
        peer, now, local = arrival.peer, arrival.now, arrival.where.local
        sock = self._socket_for(arrival)
        if sock is None:
            reason = Reason.TOO_MANY_TRANSFERS
            self._plane.ignored(Ignore(reason, peer[0]))
            self._reporter.refused(granted.served, granted.name, peer, reason, "no free port")
            self._refuse(arrival, ErrorCode.NOT_DEFINED, "no free port")
            return
        transfer = Transfer(granted.mapping.view, granted.agreement, now, self._options.timing)
        delivery = Delivery(granted, sock, leave_from(local), self._plane.now())
        self._idle.clear()
        entry = self._transfers.add(peer, transfer, arrival.datagram, delivery)
        if self._batch is not None:
            self._batch.add(entry, local)
        self._after(entry, now)
        if self._progress_timer is None:
            self._progress_timer = self._loop.call_later(PROGRESS_SECONDS, self._report_progress)

    def _socket_for(self, arrival: _Arrival) -> TftpSocket | None:
        """The socket of a new transfer: the common one, or its own from the port range; None with no port
        or descriptor free."""
        if self._options.port_range is None:
            return arrival.sock
        sock = bind_within(self._options.port_range, arrival.where.local, arrival.peer[0])
        if sock is not None:
            self._loop.add_reader(sock.fileno(), self._readable, sock)
        return sock

    def _unreachable(self, sock: TftpSocket, now: float) -> None:
        """End the transfers of clients that ICMP says are gone."""
        for peer in sock.unreachable_peers():
            entry = self._transfers.find(peer)
            if entry is not None and entry.owner.sock is sock:
                entry.transfer.unreachable()
                self._after(entry, now)

    # --------------------------------------------------------------------------------------- datagrams out

    def _after(self, entry: Entry[Delivery], now: float, *, quietly: bool = False) -> None:
        """Something happened to a transfer: send what it wants to send, and see whether it began or ended."""
        transfer, delivery = entry.transfer, entry.owner
        if quietly:
            transfer.packets_to_send()
        elif transfer.words or self._batch is None or not self._batch.put(entry):
            try:
                delivery.sock.send(transfer.packets_to_send(), entry.peer, delivery.ancillary)
            except OSError as fault:
                self._fault(entry, fault)
        if entry.half_open and transfer.proven:
            self._reporter.started(entry)
        self._transfers.touched(entry)
        if transfer.done:
            self._transfers.remove(entry, now)
            self._requests.learn(entry.owner.granted, transfer, entry.peer, now)
            if self._batch is not None:
                self._batch.remove(entry)
            self._reporter.ended(entry)
            if delivery.sock is not self._main:
                self._close(delivery.sock)
            if not self.active:
                self._idle.set()

    def _flush(self, now: float) -> None:
        """Let go what was put together for one call."""
        for entry, error in self._batch.flush() if self._batch is not None else ():
            if not entry.transfer.done:
                self._fault(entry, OSError(error, os.strerror(error)))
                self._after(entry, now)

    def _fault(self, entry: Entry[Delivery], fault: OSError) -> None:
        """The kernel refuses this transfer's packets. Where the content is at fault (a disk error under the
        mapping) the client can still be told."""
        delivery = entry.owner
        log.error("tftp cannot send address=%s file=%r error=%s", entry.peer[0], delivery.name, fault)
        entry.transfer.stop(End.FAULT, "the server cannot send the file")
        with contextlib.suppress(OSError):
            delivery.sock.send(entry.transfer.packets_to_send(), entry.peer, delivery.ancillary)

    def _refuse(self, arrival: _Arrival, code: ErrorCode, message: str) -> None:
        error = packet.encode(packet.Error(code, message))
        try:
            arrival.sock.send([(error, b"")], arrival.peer, leave_from(arrival.where.local))
        except OSError as fault:
            # Our address on that link may have gone between the request and this.
            log.warning("tftp cannot refuse address=%s error=%s", arrival.peer[0], fault)

    def _close(self, sock: TftpSocket) -> None:
        if sock.fileno() >= 0:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    # ---------------------------------------------------------------------------------------------- timers

    def _on_timer(self) -> None:
        now = self._loop.time()
        if self._unread and self._postponed < MOST_POSTPONEMENTS:
            # Resending to all whose ACKs we have not read yet would make a busy moment a storm.
            self._postponed += 1
            self._alarm.ring_at(now + 0.001)
            return
        self._postponed = 0
        for entry in self._transfers.due(now):
            entry.transfer.handle_timer(now)
            self._requests.learn(entry.owner.granted, entry.transfer, entry.peer, now)
            self._after(entry, now)
        self._flush(now)
        self._alarm.set()

    def _report_progress(self) -> None:
        self._progress_timer = None
        if self.active:
            self._reporter.progressed(self._transfers)
            self._progress_timer = self._loop.call_later(PROGRESS_SECONDS, self._report_progress)

"""What a TFTP transfer tells the timeline of its attempt, the log and the counters."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from pxeserver.boot.model import Event, EventKind, FileRef, Ignore, Reason
from pxeserver.protocols.tftp.outcome import End
from pxeserver.protocols.tftp.transfers import Entry, Peer
from pxeserver.servers.plane import Plane
from pxeserver.servers.tftp_content import Served
from pxeserver.servers.tftp_requests import Granted
from pxeserver.servers.tftp_socket import Ancillary, TftpSocket

log = logging.getLogger(__name__)

Detail = dict[str, str | int | float]


@dataclass(slots=True)
class Delivery:
    """What the server keeps beside a transfer."""

    granted: Granted
    sock: TftpSocket
    ancillary: Ancillary
    began: float
    """Seconds since the epoch."""

    @property
    def served(self) -> Served:
        """Whose content it is."""
        return self.granted.served

    @property
    def name(self) -> str:
        """The file name that was asked for."""
        return self.granted.name

    @property
    def total(self) -> int:
        """Bytes of the content as it is sent."""
        return len(self.granted.mapping.view)


class Reporter:
    """Turns what happens to transfers into events of their attempts."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.counters: dict[str, int] = {end.value: 0 for end in End} | {"bytes": 0, "blocks": 0, "resent": 0}

    def started(self, entry: Entry[Delivery]) -> None:
        """The client's first answer: not sooner, or every size probe would look like a start."""
        delivery = entry.owner
        detail = self._detail(delivery, entry.peer)
        detail |= {"total": delivery.total}
        self._report(delivery.served, delivery.served.started, detail)

    def progressed(self, entries: Iterable[Entry[Delivery]]) -> None:
        """Where the running transfers are; those that began a moment ago are left out."""
        now = self._plane.now()
        for entry in entries:
            delivery = entry.owner
            if entry.transfer.proven and now - delivery.began >= 1.0:
                detail = self._detail(delivery, entry.peer)
                detail |= {"bytes": entry.transfer.progress.bytes_acked, "total": delivery.total}
                self._report(delivery.served, EventKind.FILE_PROGRESS, detail)

    def ended(self, entry: Entry[Delivery]) -> None:
        """The transfer is done. A probe is counted and logged, and is no event: the real request follows
        it."""
        transfer, delivery, end = entry.transfer, entry.owner, entry.transfer.end
        if end is None:
            return
        progress = transfer.progress
        self.counters[end.value] += 1
        self.counters["bytes"] += progress.bytes_acked
        self.counters["blocks"] += progress.blocks_sent
        self.counters["resent"] += progress.blocks_resent
        seconds = round(max(0.0, self._plane.now() - delivery.began), 4)
        detail = self._detail(delivery, entry.peer)
        detail |= {"bytes": progress.bytes_acked, "total": delivery.total, "seconds": seconds}
        detail |= {
            "blksize": delivery.granted.agreement.blksize,
            "windowsize": delivery.granted.agreement.windowsize,
        }
        detail |= {"resent": progress.blocks_resent}
        if delivery.granted.lowered:
            detail["lowered"] = delivery.granted.lowered
        served = delivery.served
        log.log(
            logging.DEBUG if end in (End.PROBE, End.REPLACED) else logging.INFO,
            "tftp ended mac=%s attempt=%s address=%s file=%r end=%s "
            "bytes=%d seconds=%.3f blksize=%d windowsize=%d resent=%d lowered=%r",
            served.mac, served.attempt, entry.peer[0], delivery.name, end.name, progress.bytes_acked, seconds,
            delivery.granted.agreement.blksize, delivery.granted.agreement.windowsize, progress.blocks_resent,
            delivery.granted.lowered,
        )  # fmt: skip
        if end is End.SENT:
            # A client that went away with the last block in flight has everything, as far as can be known.
            detail["bytes"] = delivery.total
            self._report(served, served.sent, detail)
        elif end is End.DROPPED:
            self._plane.ignored(Ignore(Reason.TOO_MANY_TRANSFERS, entry.peer[0]))
        elif end is End.REPLACED and not transfer.proven:
            return
        elif end is not End.PROBE:
            detail["reason"] = end.value
            if transfer.error:
                detail["text"] = printable(transfer.error)
            self._report(served, served.failed, detail)

    def refused(self, served: Served, name: str, peer: Peer, reason: Reason, text: str) -> None:
        """A file that the decision granted could not be sent at all."""
        detail: Detail = {
            "file": name,
            "protocol": "tftp",
            "address": peer[0],
            "reason": reason.value,
            "text": text,
        }
        log.warning(
            "tftp failed mac=%s attempt=%s file=%r reason=%s", served.mac, served.attempt, name, reason
        )
        self._report(served, served.failed, detail)

    def _detail(self, delivery: Delivery, peer: Peer) -> Detail:
        detail: Detail = {"file": delivery.name, "protocol": "tftp", "address": peer[0]}
        if isinstance(delivery.served.content, FileRef):
            detail["sha256"] = delivery.served.content.sha256
        return detail

    def _report(self, served: Served, kind: EventKind | None, detail: Detail) -> None:
        if kind is not None:
            self._plane.report(
                Event(self._plane.now(), kind, served.attempt, served.mac, served.node_id, detail)
            )


def printable(text: str) -> str:
    """A client's text without control characters, bounded: it goes to terminals and pages."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])

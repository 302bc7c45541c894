"""What a read request gets: content and agreed options, or a refusal. No socket in here."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pxeserver.boot.model import Ignore, Interface, Reason
from pxeserver.protocols.tftp.experience import UNKNOWN, Experience, Way
from pxeserver.protocols.tftp.filename import ForbiddenName, decode_name
from pxeserver.protocols.tftp.negotiation import LARGEST_WINDOWSIZE, Agreement, largest_blksize, negotiate
from pxeserver.protocols.tftp.packet import ErrorCode, Opcode, Request
from pxeserver.protocols.tftp.retransmission import Timing
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.protocols.tftp.transfers import Limits, Peer
from pxeserver.servers.plane import Plane
from pxeserver.servers.tftp_content import LARGEST_NETASCII, Mapping, Mappings, Resolve, Served

log = logging.getLogger(__name__)

SILENT = {Reason.DRY_RUN, Reason.POLICY_IGNORE, Reason.POLICY_OBSERVE, Reason.NOT_SERVED_HERE, Reason.NOT_PXE}
"""Refusals that must not even show that there is a server."""

DENIED = {Reason.ACCESS_DENIED, Reason.NODE_HELD, Reason.IDENTITY_CONFLICT}
"""Refusals that are told as ERROR 2; all others as ERROR 1, at once: clients try the next name then."""


@dataclass(frozen=True, slots=True)
class TftpOptions:
    """What an operator may set."""

    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    port_range: tuple[int, int] | None = None
    """Inclusive; None for everything from the listening port."""
    rollover: int = 0
    """Block number after 65535 for clients that do not ask: 0, or 1."""
    windowsize: int = LARGEST_WINDOWSIZE
    """The largest window agreed to."""
    blksize: int | None = None
    """The largest block size agreed to; None for what the link's MTU takes."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A request that is served."""

    served: Served
    name: str
    mapping: Mapping
    agreement: Agreement
    lowered: str = ""
    """In words, what was agreed on less than the client and we could, because of losses before."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not. The ERROR to send; no code for silence."""

    code: ErrorCode | None
    message: str
    reason: Reason
    name: str = ""
    served: Served | None = None
    """Set where the decision granted the file and we could not read it: a failure of the attempt."""


class Requests:
    """Judges requests."""

    def __init__(self, plane: Plane, resolve: Resolve, options: TftpOptions) -> None:
        self.experience = Experience()
        self._resolve = resolve
        self._options = options
        self._mappings = Mappings(plane.open)

    def judge(self, request: Request, peer: Peer, interface: Interface, now: float) -> Granted | Refusal:
        """Decide on one request that came over `interface`. `now` is the clock of the experience."""
        if request.opcode is Opcode.WRQ:
            return Refusal(ErrorCode.ACCESS_VIOLATION, "this server is read-only", Reason.ACCESS_DENIED)
        if request.mode not in ("octet", "netascii"):
            return Refusal(ErrorCode.ILLEGAL_OPERATION, "unknown mode, use octet", Reason.MALFORMED)
        try:
            name = decode_name(request.name)
        except ForbiddenName as fault:
            return Refusal(ErrorCode.ACCESS_VIOLATION, str(fault), Reason.ACCESS_DENIED)
        served = self._resolve(name, peer, interface) if name else Ignore(Reason.NOT_FOUND)
        if isinstance(served, Ignore):
            return _refusal(served, name)
        mapping = self._content(served, name, request.mode)
        if isinstance(mapping, Refusal):
            return mapping
        way = self.experience.way_to(machine(served, peer), now)
        agreement, lowered = self._agree(request, len(mapping.view), interface, way)
        return Granted(served, name, mapping, agreement, lowered)

    def learn(self, granted: Granted, transfer: Transfer, peer: Peer, now: float) -> None:
        """What a transfer's losses tell about the way to its machine is for that machine's next request,
        which may come while this transfer still waits for a client that has given up."""
        if not transfer.proven:
            return  # nothing but the answer to a request was sent, and perhaps to nobody
        who, agreement, progress = machine(granted.served, peer), granted.agreement, transfer.progress
        if transfer.confirmed:
            self.experience.succeeded(who, agreement, progress, now)
        else:
            self.experience.suffers(who, agreement, progress, transfer.age(now), now)

    def _content(self, served: Served, name: str, mode: str) -> Mapping | Refusal:
        content, netascii = served.content, mode == "netascii"
        size = len(content) if isinstance(content, bytes) else content.size
        if netascii and size > LARGEST_NETASCII:
            text = "too large for netascii, use octet"
            return Refusal(ErrorCode.NOT_DEFINED, text, Reason.TOO_LARGE, name, served)
        try:
            return self._mappings.get(content, netascii=netascii)
        except FileNotFoundError:
            code, text = ErrorCode.FILE_NOT_FOUND, "file is not in the store"
            return Refusal(code, text, Reason.NOT_FOUND, name, served)
        except OSError as fault:
            # A broken store is our fault and must not look like a missing file, which clients take for an
            # answer.
            log.error("tftp store unavailable file=%r error=%s", name, fault)
            code, text = ErrorCode.NOT_DEFINED, "file store unavailable"
            return Refusal(code, text, Reason.STORE_UNAVAILABLE, name, served)

    def _agree(self, request: Request, size: int, interface: Interface, way: Way) -> tuple[Agreement, str]:
        fitting = largest_blksize(interface.mtu)
        blksize, windowsize = min(fitting, self._options.blksize or fitting), self._options.windowsize

        def agree(way: Way) -> Agreement:
            return negotiate(
                request.options,
                size,
                blksize_limit=min(blksize, way.blksize),
                windowsize_limit=min(windowsize, way.windowsize),
                rollover=self._options.rollover,
            )

        agreement = agree(way)
        if way is UNKNOWN:
            return agreement, ""
        possible = agree(UNKNOWN)
        words = []
        if agreement.windowsize < possible.windowsize:
            words.append(f"window {agreement.windowsize}")
        if agreement.blksize < possible.blksize:
            words.append(f"block {agreement.blksize}")
        return agreement, f"{' and '.join(words)} after losses" if words else ""


def machine(served: Served, peer: Peer) -> str:
    """By what a machine is remembered: its MAC address, or its IP address where that is unknown."""
    return served.mac or peer[0]


def _refusal(ignore: Ignore, name: str) -> Refusal:
    """The decision's silence as TFTP says it."""
    if ignore.reason in SILENT:
        return Refusal(None, "", ignore.reason, name)
    if ignore.reason in DENIED:
        return Refusal(ErrorCode.ACCESS_VIOLATION, "access denied", ignore.reason, name)
    return Refusal(ErrorCode.FILE_NOT_FOUND, "file not found", ignore.reason, name)

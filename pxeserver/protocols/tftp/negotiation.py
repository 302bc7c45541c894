"""Which options of a request are agreed to, and with which values (RFC 2347, 2348, 2349, 7440).

The answer lists only what was asked for, in the order and spelling it was asked: some UEFI clients end the
transfer at an option they did not send.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_BLKSIZE = 512
"""RFC 1350 section 2: what a transfer without options uses."""

SMALLEST_BLKSIZE = 8
"""RFC 2348."""

LARGEST_BLKSIZE = 65464
"""RFC 2348."""

LARGEST_WINDOWSIZE = 64
"""Blocks. RFC 7440 allows 65535; TFTP clients are known to break above 64, and none gains from more on a
LAN."""

LARGEST_WINDOW_BYTES = 256 * 1024
"""Bytes in flight to one client: what an ordinary client's socket buffer takes."""

_UDP_AND_TFTP_HEADER = 8 + 4
_IP_HEADER = {4: 20, 6: 40}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides use. `answer` is the content of the OACK; None where the request had no option we
    know."""

    blksize: int = DEFAULT_BLKSIZE
    windowsize: int = 1
    timeout: int | None = None
    """Seconds (RFC 2349): a block is sent again after this long at the latest."""
    rollover: int = 0
    """The block number after 65535: 0, or 1."""
    answer: tuple[tuple[str, str], ...] | None = None


def largest_blksize(mtu: int, ip_version: int = 4) -> int:
    """The most bytes of a block that fit into one frame of `mtu` bytes without fragments.

    `mtu` counts from the IP header on: 20 bytes of it (version 4) or 40 (version 6), 8 of UDP and 4 of TFTP.
    """
    room = mtu - _IP_HEADER[ip_version] - _UDP_AND_TFTP_HEADER
    return max(SMALLEST_BLKSIZE, min(room, LARGEST_BLKSIZE))


def negotiate(
    options: tuple[tuple[str, str], ...],
    size: int,
    *,
    blksize_limit: int,
    windowsize_limit: int = LARGEST_WINDOWSIZE,
    rollover: int = 0,
) -> Agreement:
    """Agree on the options of a read request for `size` bytes.

    Values above a limit are lowered to it, which RFC 2348 and 7440 let a server do. Values below the least
    one, values that are not decimal numbers, unknown options and all but the first good one of a repeated
    option are left out of the answer, so that the client uses its default (RFC 2347).
    """
    agreed: dict[str, int] = {}
    answer: list[tuple[str, str]] = []
    for spelling, text in options:
        name = spelling.lower()
        if name in agreed or (asked := _number(text)) is None:
            continue
        value = _accept(name, asked, size, blksize_limit, windowsize_limit)
        if value is not None:
            agreed[name] = value
            answer.append((spelling, str(value)))
    blksize = agreed.get("blksize", DEFAULT_BLKSIZE)
    windowsize = agreed.get("windowsize", 1)
    fitting = max(1, min(windowsize, LARGEST_WINDOW_BYTES // blksize))
    if fitting < windowsize:
        # The window depends on the block size, which may come later in the list: put the smaller value in its
        # place.
        answer = [(n, str(fitting) if n.lower() == "windowsize" else v) for n, v in answer]
    return Agreement(
        blksize,
        fitting,
        agreed.get("timeout"),
        agreed.get("rollover", rollover),
        tuple(answer) if answer else None,
    )


def _accept(name: str, asked: int, size: int, blksize_limit: int, windowsize_limit: int) -> int | None:
    """The value to answer for one option, None to leave it out."""
    if name == "blksize":
        return min(asked, blksize_limit, LARGEST_BLKSIZE) if asked >= SMALLEST_BLKSIZE else None
    if name == "windowsize":
        return min(asked, windowsize_limit) if asked >= 1 else None
    if name == "tsize":
        # RFC 2349: a reader sends 0. Clients that send something else still mean "how big is it".
        # Of an empty file nothing is said: curl takes a size of 0 for an invalid answer (deviation 9).
        return size or None
    if name == "timeout":
        # The longest wait; the measured round trip resends sooner (deviation 8).
        return asked if 1 <= asked <= 255 else None
    if name == "rollover":
        # Not in an RFC; the option tftp-hpa's server knows (deviation 13).
        return asked if asked in (0, 1) else None
    return None


def _number(text: str) -> int | None:
    """RFC 2348, 2349, 7440: the value in ASCII decimal digits. None for signs, spaces, hexadecimal and
    nothing at all."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    return int(text)

"""A bad line: a bridge between two links that delays every frame and drops some, from a seeded generator.

The host's kernel may have no netem, so this is a program of its own: `python -m pxeserver.lab.badline A B
--delay 15 --loss 1 --seed 7`. The delay is one-way, in milliseconds; the loss is in percent and for each
direction.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import random
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
QUEUE_LIMIT = 20_000
"""Frames on their way in one direction; more are dropped, as a router's queue would."""


@dataclass(frozen=True, slots=True)
class Line:
    """How bad a line is: one-way delay in milliseconds, loss in percent of each direction."""

    delay: float = 15.0
    loss: float = 1.0
    seed: int = 7

    def words(self, left: str, right: str) -> list[str]:
        """The command line of the bridge between two links."""
        options = ["--delay", str(self.delay), "--loss", str(self.loss), "--seed", str(self.seed)]
        return [sys.executable, "-m", "pxeserver.lab.badline", left, right, *options]


def _open(link: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # else each frame we send comes back to us
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    raw.bind((link, 0))
    raw.setblocking(False)
    return raw


def bridge(left: str, right: str, line: Line) -> None:
    """Carry frames between the links until killed."""
    ends = (_open(left), _open(right))
    dice = random.Random(line.seed)
    # A heap, although one delay for all keeps the order: jitter needs no second structure then.
    waiting: list[tuple[float, int, int, bytes]] = []
    count = 0
    print("line=up", flush=True)
    while True:
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select(ends, [], [], patience)
        now = time.monotonic()
        for end in ready:
            side = ends.index(end)
            for frame in _frames(end):
                count += 1
                if dice.random() * 100 >= line.loss and len(waiting) < QUEUE_LIMIT:
                    heapq.heappush(waiting, (now + line.delay / 1000, count, 1 - side, frame))
        while waiting and waiting[0][0] <= now:
            _, _, side, frame = heapq.heappop(waiting)
            _send(ends[side], frame)


def _frames(end: socket.socket) -> list[bytes]:
    frames: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(frames) < 64:
            frames += [end.recv(65535)]
    return frames


def _send(end: socket.socket, frame: bytes) -> None:
    try:
        end.send(frame)
    except OSError:  # a full queue or a link that is down loses frames, as it does on a wire
        return


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    usual = Line()
    parser = argparse.ArgumentParser(prog="badline", description="bridge two links with delay and loss")
    parser.add_argument("left")
    parser.add_argument("right")
    parser.add_argument("--delay", type=float, default=usual.delay, help="one-way, milliseconds")
    parser.add_argument("--loss", type=float, default=usual.loss, help="percent of each direction")
    parser.add_argument("--seed", type=int, default=usual.seed)
    given = parser.parse_args(arguments)
    bridge(given.left, given.right, Line(given.delay, given.loss, given.seed))


if __name__ == "__main__":
    main()

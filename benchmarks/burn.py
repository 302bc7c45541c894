"""A process of nobody's that takes a share of a core: `python -m benchmarks.burn 0.4 10`."""

from __future__ import annotations

import sys
import time

TURN = 0.01
"""Seconds: it works for its share of each turn, then sleeps."""


def main() -> int:
    """Burn `share` of a core for `seconds`; what it did not get in one turn it takes in the next ones."""
    share, seconds = float(sys.argv[1]), float(sys.argv[2])
    begun = time.monotonic()
    while (gone := time.monotonic() - begun) < seconds:
        while time.process_time() < share * (gone + TURN) and time.monotonic() - begun < seconds:
            pass
        time.sleep(max(0.0, begun + gone + TURN - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

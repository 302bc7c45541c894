"""A fast seeded mutator of messages: the same seed gives the same packets on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_TELLING = (0, 1, 2, 3, 4, 43, 52, 53, 60, 77, 82, 93, 97, 127, 128, 175, 254, 255)


def mutants(seeds: Sequence[bytes], count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` packets, each a seed with one to four damages."""
    dice = random.Random(seed)
    pick, below, chance = dice.choice, dice.randrange, dice.random
    for _ in range(count):
        data = bytearray(pick(seeds))
        for _ in range(1 + int(chance() * 4)):
            if not data:
                break
            # Most damage goes where the structure is: behind the fixed header.
            at = below(236, len(data)) if chance() < 0.8 and len(data) > 236 else below(len(data))
            kind = int(chance() * 7)
            if kind == 0:
                data[at] = below(256)
            elif kind == 1:
                data[at] = pick(_TELLING)
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                del data[at : at + 1 + below(8)]
            elif kind == 4:
                data[at:at] = dice.randbytes(1 + below(8))
            elif kind == 5:
                data[at:at] = data[at : at + below(64)]
            else:
                data[at : at + 1] = bytes((pick(_TELLING), pick(_TELLING)))
        yield bytes(data)

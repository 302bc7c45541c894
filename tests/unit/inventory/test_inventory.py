"""An inventory comes from the network: what is taken is bounded, typed and printable."""

from __future__ import annotations

import json
import random
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from inventory_mutants import inventory, mutant

from pxeserver.inventory import LARGEST, LONGEST, MOST_DISKS, BadInventory, parse_inventory


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in (key, *leaves(part))]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, list) else [value]


def harmless(taken: dict[str, Any]) -> bool:
    """All texts are short, one line, without control, direction and unassigned characters."""
    texts = [leaf for leaf in leaves(taken) if isinstance(leaf, str)]
    return all(
        len(text) <= LONGEST and not any(unicodedata.category(c)[0] == "C" for c in text) for text in texts
    )


def test_what_the_agent_sends_is_taken_as_it_is() -> None:
    told = inventory()
    taken = parse_inventory(json.dumps(told).encode()).as_dict()
    assert taken == told


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_mutants_are_taken_harmless_or_refused_by_name(seed: int) -> None:
    rng = random.Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(150):
        data = mutant(rng)
        try:
            taken = parse_inventory(data).as_dict()
        except BadInventory as why:
            assert why.where and len(str(why)) < 1000 and str(why).isprintable()
            outcomes[False] += 1
        else:
            assert harmless(taken)
            assert len(taken["disks"]) <= MOST_DISKS
            outcomes[True] += 1
    assert all(outcomes.values()), outcomes


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"[" * 200_000, "inventory"),
        (b'{"format":1,"machine":' + b'{"x":' * 50_000 + b"}" * 50_001, "inventory"),
        (b" " * (LARGEST + 1), "inventory"),
        (b"\xff\xfe", "inventory"),
        (b"null", "inventory"),
        (b'{"format":2}', "format"),
        (json.dumps({"format": 1, "disks": [{"name": "sda"}]}).encode(), "disks.0.signatures"),
        (json.dumps({"format": 1, "disks": [{"name": "a", "signatures": []}] * 513}).encode(), "disks"),
        (json.dumps({"format": 1, "memory": {"bytes": True}}).encode(), "memory.bytes"),
        (json.dumps({"format": 1, "memory": {"bytes": 2**70}}).encode(), "memory.bytes"),
        (json.dumps({"format": 1, "nics": [{"name": "e", "mac": "; rm -rf /"}]}).encode(), "nics.0.mac"),
    ],
)
def test_what_is_refused(data: bytes, where: str) -> None:
    with pytest.raises(BadInventory) as refused:
        parse_inventory(data)
    assert refused.value.where.startswith(where)

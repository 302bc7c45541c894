"""What a node takes in memory: a million of them have to fit."""

import tracemalloc

import pytest

from pxeserver.boot import catalog
from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import Node


def node(number: int, **values: str) -> Node:
    mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return Node(
        number,
        f"node{number:07d}",
        uuid=f"be000000-0000-0000-0000-{number:012x}",
        serial=f"SN{number:09d}",
        macs=(mac,),
        values=values or {"profile": "compute"},
        labels={"rack": "r1"},
    )


def test_a_node_takes_less_than_a_kilobyte() -> None:
    NodeTable(node(n) for n in range(1, 100))
    tracemalloc.start()
    try:
        table = NodeTable(node(n) for n in range(1, 5001))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 5000
    assert taken / 5000 < 1000


def test_nodes_that_are_alike_have_one_mapping_and_others_their_own() -> None:
    first, second, other = node(1), node(2), node(3, profile="storage")
    table = NodeTable((first, second, other))
    assert first.values is second.values
    assert (first, second, other) == (node(1), node(2), node(3, profile="storage"))
    assert table.get(3) == node(3, profile="storage")


def test_where_every_node_differs_nothing_is_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_ALIKE_KEPT", 10)
    table = NodeTable(node(n, profile=f"p{n}") for n in range(1, 200))
    assert len(table._alike) <= 10
    assert all(table.get(n) == node(n, profile=f"p{n}") for n in range(1, 200))


def test_a_key_that_two_nodes_claim_leads_to_both_and_back() -> None:
    one, two = node(1), Node(2, "two", uuid=node(1).uuid)
    table = NodeTable((one, two))
    assert table.with_uuid(str(one.uuid)) == (one, two)
    table.remove(1)
    assert table.with_uuid(str(one.uuid)) == (two,)
    assert table.with_mac(one.macs[0]) == ()

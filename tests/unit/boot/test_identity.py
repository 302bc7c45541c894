"""Which node a machine is: evidence in order, placeholders, docks, several cards, conflicts."""

from __future__ import annotations

import pytest

from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.identity import (
    Conflict,
    Known,
    Unknown,
    approve_code,
    identify,
    normal_code,
    valid_mac,
    valid_serial,
    valid_uuid,
)
from pxeserver.boot.model import Machine, Node

U1 = "4c4c4544-0035-3010-8042-b7c04f343231"
U2 = "4c4c4544-0035-3010-8042-b7c04f343232"
M1, M2, M3 = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
DOCK = "00:e0:4c:68:00:01"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "4C4C4544-0000-2010-8020-80C04F202020",
        "11111111-1111-1111-1111-111111111111",
        "not a uuid",
        U1 + "0",
        U1.replace("-", ""),
    ],
)
def test_placeholder_uuids_do_not_count(text: str | None) -> None:
    assert valid_uuid(text) is None


@pytest.mark.parametrize(
    "text",
    [
        None, "", "  ", "0", "None", "N/A", "To be filled by O.E.M.", "TO BE FILLED BY O.E.M.",
        "Default string",
        "System Serial Number", "Not Specified", "00000000", "XXXXXXX", "0123456789", "...",
    ],
)  # fmt: skip
def test_placeholder_serials_do_not_count(text: str | None) -> None:
    assert valid_serial(text) is None


def test_real_values_count() -> None:
    assert valid_uuid(U1.upper()) == U1
    assert valid_serial(" 5B02XY1 ") == "5B02XY1"
    assert valid_mac("52-54-00-AB-CD-EF") == "52:54:00:ab:cd:ef"
    assert valid_mac("01:00:5e:00:00:01") is None  # a group address
    assert valid_mac("00:00:00:00:00:00") is None


A = Node(1, "a", uuid=U1, serial="SN-A", macs=(M1, M2))
B = Node(2, "b", uuid=U2, serial="SN-B", macs=(M3,))
MAC_ONLY = Node(3, "c", macs=("52:54:00:00:00:09",))
SERIAL_ONLY = Node(4, "d", serial="SN-D")
BAD_UUID = Node(5, "e", uuid="03000200-0400-0500-0006-000700080009", macs=("52:54:00:00:00:0e",))
NODES = NodeTable([A, B, MAC_ONLY, SERIAL_ONLY, BAD_UUID])


@pytest.mark.parametrize(
    ("machine", "name", "by"),
    [
        (Machine(M1, uuid=U1), "a", "uuid"),
        (Machine("52:54:00:ff:ff:ff", uuid=U1), "a", "uuid"),  # a card nobody knew: the same machine
        (Machine(M3, uuid=U1), "a", "uuid"),  # b's adapter plugged into a
        (Machine(M2), "a", "mac"),  # the first request may carry no UUID
        (Machine(M1, uuid="03000200-0400-0500-0006-000700080009"), "a", "mac"),
        (Machine("52:54:00:ff:ff:ff", serial="SN-A"), "a", "serial"),
        (Machine("52:54:00:00:00:09", uuid="aa4c4544-0035-3010-8042-b7c04f343232"), "c", "mac"),
        (
            Machine("52:54:00:ff:ff:ff", uuid="aa4c4544-0035-3010-8042-b7c04f343232", serial="SN-D"),
            "d",
            "serial",
        ),
        (Machine("52:54:00:00:00:0e", uuid="03000200-0400-0500-0006-000700080009"), "e", "mac"),
        (Machine("52:54:00:ff:ff:ff", macs=(M2,)), "a", "mac"),
    ],
)
def test_known(machine: Machine, name: str, by: str) -> None:
    found = identify(machine, NODES)
    assert isinstance(found, Known)
    assert (found.node.name, found.by) == (name, by)


def test_a_shared_dock_does_not_merge_two_machines() -> None:
    nodes = NodeTable([Node(1, "laptop1", uuid=U1, macs=(DOCK,))])
    assert isinstance(identify(Machine(DOCK, uuid=U1), nodes), Known)
    assert isinstance(identify(Machine(DOCK, uuid=U2), nodes), Unknown)
    nodes.put(Node(2, "laptop2", uuid=U2, macs=(DOCK,)))
    found = identify(Machine(DOCK, uuid=U2), nodes)
    assert isinstance(found, Known)
    assert found.node.name == "laptop2"


@pytest.mark.parametrize(
    ("machine", "nodes", "names"),
    [
        (Machine(M1, uuid=U1), [A, Node(9, "z", uuid=U1)], {"a", "z"}),
        (Machine(M1, uuid=U1, serial="SN-B"), [A, B], {"a", "b"}),
        (Machine(M1, uuid=U1, serial="SN-OTHER"), [A], {"a"}),  # two boards with one UUID
        (Machine(M1, uuid=U2, serial="SN-A"), [A], {"a"}),  # a's serial number, another board's UUID
        (
            Machine(DOCK),
            [Node(1, "x", uuid=U1, macs=(DOCK,)), Node(2, "y", uuid=U2, macs=(DOCK,))],
            {"x", "y"},
        ),
        (Machine(M1, serial="S1"), [Node(1, "x", serial="S1"), Node(2, "y", serial="S1")], {"x", "y"}),
    ],
)
def test_conflicts_hold(machine: Machine, nodes: list[Node], names: set[str]) -> None:
    found = identify(machine, NodeTable(nodes))
    assert isinstance(found, Conflict)
    assert {node.name for node in found.nodes} == names
    assert found.why


def test_the_code_stays_with_the_machine() -> None:
    code = approve_code(Machine(M1, uuid=U1))
    assert code == approve_code(Machine(M2, uuid=U1, serial="later"))  # another card of the same machine
    assert code != approve_code(Machine(M1, uuid=U2))
    assert len(code) == 6
    assert normal_code(f" {code[:3].lower()}-{code[3:]} ") == code
    assert normal_code("oil") == "011"

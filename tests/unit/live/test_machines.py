"""Unknown machines: recorded, approved, and bound to the places that await one, in order of appearance."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pxeserver.boot.identity import approve_code
from pxeserver.boot.model import EventKind, Machine, Node
from pxeserver.live import Hall, Missing, Refused

UUID = "11111111-2222-4333-8444-0000000000%02x"


def mac(number: int) -> str:
    return f"52:54:00:00:01:{number:02x}"


def appear(hall: Hall, event, number: int, **detail: str | int) -> None:
    told = {"uuid": UUID % number, "arch": 7, "kind": "firmware-pxe", **detail}
    hall.ingest_event(event(EventKind.DISCOVERED, f"a{number}", mac(number), **told))


async def test_unknown_machines_are_listed_with_what_they_told(
    hall: Hall, event, clock, tmp_path: Path
) -> None:
    appear(hall, event, 1)
    await hall.settled()
    clock.now += 10
    hall.ingest_event(event(EventKind.DISCOVERED, "b1", mac(1), arch=7))
    hall.ingest_event(
        event(EventKind.SCRIPT_SENT, "b1", mac(1), uuid=UUID % 1, vendor="QEMU", serial="S-77-1")
    )
    await hall.settled()
    ((code, machine, last),) = hall.machines()
    assert code == approve_code(machine)
    assert (machine.uuid, machine.serial, machine.vendor, machine.arch) == (UUID % 1, "S-77-1", "QEMU", 7)
    assert last == clock.now
    await hall.close()
    again = Hall(tmp_path / "db.sqlite3", clock=clock)
    await again.start()
    assert again.machines() == [(code, machine, last)]
    await again.close()


async def test_repetitions_told_together_count_as_many(hall: Hall, event) -> None:
    appear(hall, event, 1)
    appear(hall, event, 1, times=40)
    appear(hall, event, 1, times="many")
    await hall.settled()
    assert [machine.count for machine in hall._memory.machines.values()] == [41]


async def test_an_approved_machine_is_a_node(hall: Hall, event, link) -> None:
    appear(hall, event, 1)
    appear(hall, event, 2)
    await hall.settled()
    code = next(code for code, m, _ in hall.machines() if m.mac == mac(1))
    typed = code.lower().replace("0", "o")
    async with hall.edit(by="cli") as edit:
        node = await edit.approve(typed, "web1")
    assert (node.uuid, node.macs, node.hardware) == (UUID % 1, (mac(1),), {"arch": "7"})
    assert link.table.get(node.id) == node
    assert [m.mac for _, m, _ in hall.machines()] == [mac(2)]
    async with hall.edit(by="cli") as edit:
        with pytest.raises(Missing):
            await edit.approve(code, "web2")
    appear(hall, event, 1)
    await hall.settled()
    assert [m.mac for _, m, _ in hall.machines()] == [mac(2)]


async def test_a_dry_run_gives_no_place_away(hall: Hall, event) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, "n1")])
        await edit.set_policy(replace(hall.catalog().policy, dry_run=True))
    appear(hall, event, 1)
    await hall.settled()
    assert [m.mac for _, m, _ in hall.machines()] == [mac(1)]
    async with hall.edit(by="cli") as edit:
        await edit.set_policy(replace(hall.catalog().policy, dry_run=False))
    appear(hall, event, 1)
    await hall.settled()
    assert hall.node("n1").macs == (mac(1),)  # type: ignore[union-attr]


async def test_the_second_card_of_a_bound_machine_takes_no_place_also_when_it_is_ignored(
    hall: Hall, event
) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, "n1"), Node(0, "n2")])
    appear(hall, event, 1)
    await hall.settled()
    told = {"uuid": UUID % 1, "arch": 33, "kind": "firmware-pxe"}
    hall.ingest_event(event(EventKind.DISCOVERED, "b1", mac(2), **told))
    hall.ingest_event(event(EventKind.IGNORED, "b1", mac(2), reason="no-loader", detail="arch-33"))
    await hall.settled()
    assert {n.name: n.macs for n in hall.nodes()} == {"n1": (mac(1),), "n2": ()}
    assert hall.machines() == []


async def test_places_take_machines_in_order_of_appearance(hall: Hall, event, link) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, f"n{i:03d}", labels={"rack": "r1"}) for i in range(1, 5)])
        await edit.hold("n002")
    for number in (9, 3, 9, 7):
        appear(hall, event, number)
    await hall.settled()
    bound = {n.name: n.macs for n in hall.nodes()}
    assert bound == {"n001": (mac(9),), "n002": (), "n003": (mac(3),), "n004": (mac(7),)}
    assert link.table.with_mac(mac(3))[0].labels == {"rack": "r1"}
    assert hall.machines() == []
    appear(hall, event, 8)
    await hall.settled()
    assert [m.mac for _, m, _ in hall.machines()] == [mac(8)], "a held place takes none"
    async with hall.edit(by="cli") as edit:
        await edit.release("n002")
    appear(hall, event, 8)
    await hall.settled()
    assert hall.node("n002").macs == (mac(8),)  # type: ignore[union-attr]


async def test_a_machine_takes_one_place_also_over_restarts(hall: Hall, event, tmp_path: Path, clock) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, f"n{i}") for i in range(3)])
    appear(hall, event, 1)
    await hall.close()
    for _ in range(2):
        again = Hall(tmp_path / "db.sqlite3", clock=clock)
        await again.start()
        appear(again, event, 1)
        again.ingest_event(event(EventKind.DISCOVERED, "c1", mac(1), arch=7))
        await again.settled()
        assert [n.macs for n in again.nodes()] == [(mac(1),), (), ()]
        await again.close()


async def test_a_rack_of_256_is_bound_quickly_and_completely(hall: Hall, event) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, f"n{i:03d}") for i in range(256)])
    for i in range(256):
        hall.ingest_event(event(EventKind.DISCOVERED, f"a{i}", f"52:54:00:00:02:{i:02x}", arch=7))
    async with asyncio.timeout(20):
        await hall.settled()
    assert [n.macs[0] for n in sorted(hall.nodes(), key=lambda n: n.name)] == [
        f"52:54:00:00:02:{i:02x}" for i in range(256)
    ]


async def test_a_place_can_be_chosen_by_hand(hall: Hall, event) -> None:
    appear(hall, event, 1)
    await hall.settled()
    code = hall.machines()[0][0]
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, "n1"), Node(0, "n2")])
        await edit.approve(code, "n2")
    assert hall.node("n2").macs == (mac(1),)  # type: ignore[union-attr]
    appear(hall, event, 2)
    await hall.settled()
    assert hall.node("n1").macs == (mac(2),)  # type: ignore[union-attr]
    appear(hall, event, 3)
    await hall.settled()
    async with hall.edit(by="cli") as edit:
        with pytest.raises(Refused, match="has a machine already"):
            await edit.approve(hall.machines()[0][0], "n2")


async def test_hardware_that_a_known_machine_tells_is_kept(hall: Hall, event, link, clock) -> None:
    async with hall.edit(by="cli") as edit:
        node = await edit.add_node(Node(0, "n1", uuid=UUID % 1))
    hall.ingest_event(
        event(EventKind.DISCOVERED, "a1", mac(1), node_id=node.id, uuid=UUID % 1, arch=11, vendor="ACME")
    )
    await hall.settled()
    assert hall.node("n1").hardware == {"arch": "11", "vendor": "ACME"} == link.table.get(1).hardware  # type: ignore[union-attr]
    assert hall.node("n1").version == 1, "seen, not decided"  # type: ignore[union-attr]


async def test_a_machine_that_tells_more_is_listed_once(hall: Hall, event) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_nodes([Node(0, "n1"), Node(0, "n2")])
        await edit.hold("n1")
        await edit.hold("n2")
    for detail in ({}, {"uuid": UUID % 1}, {}):
        hall.ingest_event(event(EventKind.DISCOVERED, "a1", mac(1), **detail))
    hall.ingest_event(event(EventKind.DISCOVERED, "a2", mac(2)))
    await hall.settled()
    hall.ingest_event(event(EventKind.SCRIPT_SENT, "a2", mac(2), serial="S-22-2"))
    await hall.settled()
    listed = {m.mac: (code, m) for code, m, _ in hall.machines()}
    assert sorted(listed) == [mac(1), mac(2)]
    assert len(hall.machines()) == 2
    for code, machine in listed.values():
        assert code == approve_code(machine)
    async with hall.edit(by="cli") as edit:
        await edit.release("n1")
        await edit.release("n2")
    for detail in ({}, {"uuid": UUID % 3}):
        hall.ingest_event(event(EventKind.DISCOVERED, "a3", mac(3), **detail))
    await hall.settled()
    nodes = sorted(hall.nodes(), key=lambda n: n.name)
    assert [(n.macs, n.uuid) for n in nodes] == [((mac(3),), UUID % 3), ((), None)]


async def test_a_machine_whose_node_was_given_to_another_is_unknown_again(hall: Hall, event) -> None:
    appear(hall, event, 1)
    await hall.settled()
    code = hall.machines()[0][0]
    async with hall.edit(by="cli") as edit:
        node = await edit.approve(code, "n1")
        await edit.change_node(replace(node, uuid=UUID % 9, macs=(mac(9),)))
    appear(hall, event, 1)
    await hall.settled()
    async with hall.edit(by="cli") as edit:
        assert (await edit.approve(code, "n2")).macs == (mac(1),)


def test_the_code_of_a_machine_is_that_of_its_best_evidence() -> None:
    assert approve_code(Machine(mac(1), uuid=UUID % 1)) != approve_code(Machine(mac(1)))


async def test_the_boots_of_a_machine_become_its_node_s(hall: Hall, event) -> None:
    appear(hall, event, 1)
    appear(hall, event, 2)
    await hall.settled()
    code = next(code for code, m, _ in hall.machines() if m.mac == mac(1))
    async with hall.edit(by="cli") as edit:
        await edit.approve(code, "web1")
        await edit.add_node(Node(0, "n1"))
    appear(hall, event, 3)  # takes the place with its first packet
    await hall.settled()
    assert [a["id"] for a in await hall.attempts(node="web1")] == ["a1"]
    assert [a["id"] for a in await hall.attempts(node="n1")] == ["a3"]


async def test_forged_machines_fill_neither_memory_nor_database(
    hall: Hall, event, clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("live.memory", "storage.machines"):
        monkeypatch.setattr(f"pxeserver.{module}.MACHINES_KEPT", 20)
    for number in range(200):
        clock.now += 1
        appear(hall, event, number)
        await hall.settled()
    newest = [machine.mac for _, machine, _ in hall.machines()]
    assert newest == [mac(199 - i) for i in range(len(newest))]
    assert 20 <= len(newest) <= 24
    await hall.close()
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM machines").fetchone()[0] <= 24


async def test_one_machine_with_many_addresses_is_bounded_too(
    hall: Hall, event, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.live.memory.MACHINES_KEPT", 20)
    for number in range(200):
        clock.now += 1
        hall.ingest_event(event(EventKind.DISCOVERED, f"a{number}", mac(number), uuid=UUID % 1))
        await hall.settled()
    ((_, machine, _),) = hall.machines()
    assert machine.mac == mac(199)
    assert len(hall._memory._code_by_mac) <= 24

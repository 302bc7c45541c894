"""What machines ask through the worker: inventories are stored, orders handed out once, disks guarded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pxeserver.boot.model import (
    FileRef,
    Image,
    Node,
    NodeState,
    Phase,
    Profile,
    ProfileKind,
    Promise,
    PromiseKind,
)
from pxeserver.live import Hall, Refused

MAC = "52:54:00:00:00:01"
EMPTY = {"path": "/dev/vda", "serial": "D1", "size": 10_000_000, "signatures": []}
FULL = {"path": "/dev/vdb", "serial": "D2", "size": 20_000_000, "signatures": ["ext4", "gpt"]}


async def prepared(hall: Hall, image: Image, *, order: bool = True) -> Node:
    async with hall.edit(by="cli") as edit:
        await edit.put_image(image)
        await edit.put_profile(Profile("debian", ProfileKind.DISK, image="debian"))
        await edit.put_profile(Profile("discovery", ProfileKind.DISCOVERY, image="debian"))
        await edit.put_profile(Profile("rescue", ProfileKind.KERNEL, image="debian", args="quiet url={url}"))
        node = await edit.add_node(Node(0, "n1", macs=(MAC,), values={"profile": "debian"}))
        return await edit.order_install("n1") if order else node


async def report(hall: Hall, *disks: dict[str, object], attempt: str = "a1") -> None:
    body = {
        "attempt": attempt,
        "machine": {"mac": MAC, "vendor": "QEMU"},
        "node_id": 1,
        "inventory": {"disks": disks},
    }
    assert (await hall.answer("inventory", body))["ok"]


async def orders(hall: Hall, attempt: str = "a1", node_id: int | None = 1) -> dict[str, object]:
    body = {"attempt": attempt, "mac": MAC, "node_id": node_id, "inventory_seen": True}
    return dict(await hall.answer("orders", body))


async def test_an_empty_disk_is_written(hall: Hall, image: Image) -> None:
    await prepared(hall, image)
    assert (await orders(hall))["order"] == "wait", "no inventory of this boot yet"
    await report(hall, EMPTY, FULL)
    answer = await orders(hall)
    assert (answer["order"], answer["disk"]) == ("write-disk", {"path": "/dev/vda", "serial": "D1"})
    assert answer["url"] == "/a/a1/f/debian/disk.raw"
    assert answer["manifest"] == "/a/a1/f/debian/disk.raw.manifest"
    assert (answer["size"], answer["sha256"]) == (1_000_000, "c" * 64)
    assert (await orders(hall, attempt="a2"))["order"] == "wait", (
        "an inventory of another boot does not count"
    )


async def test_a_disk_with_content_needs_consent_to_exactly_that(hall: Hall, image: Image) -> None:
    await prepared(hall, image)
    await report(hall, FULL)
    answer = await orders(hall)
    assert answer["order"] == "wait"
    assert "consent" in str(answer["reason"])
    async with hall.edit(by="ann") as edit:
        await edit.consent("n1", "D2", ["gpt", "ext4"])
    assert (await orders(hall))["order"] == "write-disk"
    await report(hall, {**FULL, "signatures": ["ext4", "gpt", "LVM2_member"]})
    assert "changed" in str((await orders(hall))["reason"])
    await report(hall, FULL)
    async with hall.edit(by="ann") as edit:
        await edit.order_install("n1")
    assert (await orders(hall))["order"] == "wait", "the consent ended with its order"


async def test_without_an_install_order_nothing_is_written(hall: Hall, image: Image) -> None:
    await prepared(hall, image, order=False)
    await report(hall, EMPTY)
    assert (await orders(hall))["order"] == "wait"


async def test_after_its_install_the_machine_restarts_once(hall: Hall, image: Image) -> None:
    await prepared(hall, image)
    await report(hall, EMPTY)
    hall.ingest_entry(1, Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, 1, attempt="a1")))
    assert await orders(hall) == {"order": "reboot"}
    assert (await orders(hall, attempt="a2"))["order"] == "wait"


async def test_a_failed_install_says_why_and_waits(hall: Hall, image: Image) -> None:
    await prepared(hall, image)
    await report(hall, EMPTY)
    state = NodeState(1, Phase.HELD, 1, reason="disk died", attempt="a1")
    hall.ingest_entry(1, Promise(PromiseKind.STATE, state=state))
    answer = await orders(hall)
    assert answer["order"] == "wait"
    assert "disk died" in str(answer["reason"])


@pytest.mark.parametrize("order", ["reboot", "poweroff"])
async def test_an_operator_s_order_is_handed_out_once(hall: Hall, image: Image, order: str) -> None:
    await prepared(hall, image, order=False)
    async with hall.edit(by="ann") as edit:
        await edit.live_order("n1", "poweroff")
        await edit.live_order("n1", order)
    assert await orders(hall) == {"order": order}
    assert (await orders(hall))["order"] == "wait"


async def test_a_profile_is_booted_from_the_running_system(hall: Hall, image: Image) -> None:
    await prepared(hall, image, order=False)
    async with hall.edit(by="ann") as edit:
        await edit.live_order("n1", "boot", "rescue")
        with pytest.raises(Refused):
            await edit.live_order("n1", "boot", "ghost")
        with pytest.raises(Refused):
            await edit.live_order("n1", "dance")
    assert await orders(hall) == {
        "order": "boot",
        "kernel": "/a/a1/f/debian/vmlinuz",
        "initrds": ["/a/a1/f/debian/initrd.img"],
        "args": "quiet url={origin}/a/a1",
    }


async def test_the_node_system_is_started_from_the_discovery_system_with_all_its_agent_needs(
    hall: Hall, image: Image
) -> None:
    await prepared(hall, image, order=False)
    async with hall.edit(by="ann") as edit:
        root = FileRef("root.squashfs", "cd" * 32, 7, "root")
        await edit.put_image(replace(image, name="live", files=(*image.files, root)))
        await edit.put_profile(Profile("live", ProfileKind.KERNEL, "live"))
        await edit.live_order("n1", "boot", "live")
    policy = replace(hall.catalog().policy, agents_ca="ab" * 32, agents_port=8444)
    hall._memory.catalog = replace(hall.catalog(), policy=policy)
    answer = await orders(hall)
    assert answer["kernel"] == "/a/a1/f/live/vmlinuz"
    words = str(answer["args"]).split()
    assert "pxeserver.url={origin}/a/a1" in words
    assert "pxeserver.root={origin}/a/a1/f/live/root.squashfs" in words
    assert "pxeserver.agent={host}:8444" in words
    assert f"pxeserver.ca={'ab' * 32}" in words


async def test_a_running_system_is_never_told_to_start_an_installer(hall: Hall, image: Image) -> None:
    """It would run without an install order and past the wipe guard."""
    await prepared(hall, image, order=False)
    async with hall.edit(by="ann") as edit:
        rescue = hall.catalog().profiles["rescue"]
        await edit.put_profile(replace(rescue, name="installer", install=True))
        with pytest.raises(Refused, match="installs"):
            await edit.live_order("n1", "boot", "installer")
    assert (await orders(hall))["order"] == "wait"


async def test_an_unknown_machine_s_inventory_is_kept_and_goes_with_it(hall: Hall) -> None:
    body = {"attempt": "a1", "machine": {"mac": MAC}, "node_id": None, "inventory": {"disks": [EMPTY]}}
    answer = await hall.answer("inventory", body)
    assert answer == {"ok": True, "node": None, "code": hall.machines()[0][0]}
    assert (await orders(hall, node_id=None))["order"] == "wait"
    async with hall.edit(by="ann") as edit:
        await edit.approve(hall.machines()[0][0], "n1")
    assert await hall.inventory("n1") == {"disks": [EMPTY]}
    assert (await hall.answer("inventory", body))["node"] == "n1", "the worker knew it as nobody still"


async def test_the_newest_inventory_counts_and_few_are_kept(hall: Hall, image: Image) -> None:
    await prepared(hall, image)
    for i in range(15):
        await report(hall, {**EMPTY, "serial": f"S{i}"})
    assert (await hall.inventory("n1")) == {"disks": [{**EMPTY, "serial": "S14"}]}
    assert hall.node("n1").hardware["vendor"] == "QEMU"  # type: ignore[union-attr]


async def test_a_question_that_is_not_known(hall: Hall) -> None:
    with pytest.raises(Refused):
        await hall.answer("weather", {})


async def test_a_machine_seen_first_by_its_inventory_takes_a_place(hall: Hall, link) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_node(Node(0, "n1"))
    body = {"attempt": "a1", "machine": {"mac": MAC}, "node_id": None, "inventory": {}}
    assert (await hall.answer("inventory", body))["node"] == "n1"
    assert link.table.with_mac(MAC)[0].name == "n1"


async def test_reports_of_machines_that_are_no_nodes_are_bounded(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.storage.machines.UNKNOWN_INVENTORIES_KEPT", 3)
    for number in range(1, 7):
        machine = {"mac": f"52:54:00:00:09:{number:02x}"}
        inventory = {"disks": [{**EMPTY, "serial": f"S{number}"}]}
        await hall.answer(
            "inventory", {"attempt": "a1", "machine": machine, "node_id": None, "inventory": inventory}
        )
    kept = []
    async with hall.edit(by="ann") as edit:
        for code, machine, _ in hall.machines():
            await edit.approve(code, f"n{machine.mac[-1]}")
    for number in range(1, 7):
        told = await hall.inventory(f"n{number}")
        kept += [disk["serial"] for disk in told["disks"]] if told else []
    assert kept == ["S4", "S5", "S6"]


async def test_reports_of_a_node_are_bounded_whatever_address_they_name(
    hall: Hall, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.storage.machines.INVENTORIES_KEPT", 3)
    await prepared(hall, image, order=False)
    for number in range(1, 7):
        machine = {"mac": f"52:54:00:00:09:{number:02x}"}
        body = {"attempt": "a1", "machine": machine, "node_id": 1, "inventory": {}}
        await hall.answer("inventory", body)
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection:
        assert connection.execute("SELECT count(*) FROM inventories").fetchone() == (3,)


async def test_a_waiting_machine_is_told_which_node_it_is(hall: Hall, image: Image) -> None:
    await prepared(hall, image, order=False)
    assert await orders(hall) == {"order": "wait", "node": "n1"}

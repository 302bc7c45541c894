"""Edits: committed whole, refused with a reason, sent to the worker as little as is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from pxeserver.boot.model import (
    BootOnce,
    Consent,
    FileRef,
    Group,
    Image,
    Loader,
    Node,
    NodeState,
    Phase,
    Policy,
    Profile,
    ProfileKind,
    Promise,
    PromiseKind,
    SelectorKind,
    Subnet,
)
from pxeserver.live import SERVER, Conflict, Hall, Missing, Refused

N1 = Node(0, "n1", uuid="11111111-2222-4333-8444-000000000001", macs=("52:54:00:00:00:01",))


async def test_a_node_is_stored_and_sent_alone(hall: Hall, link) -> None:
    async with hall.edit(by="cli") as edit:
        node = await edit.add_node(
            replace(N1, macs=("52-54-00-00-00-01".upper(),), labels={"line": "production"})
        )
    assert (node.id, node.version, node.macs) == (1, 1, ("52:54:00:00:00:01",))
    assert hall.node("n1") == node == link.table.get(1)
    assert link.sent == ["node n1"], "one node is a delta, never a snapshot"
    record = await hall.node_record("n1")
    assert (record.stamp.created_by, record.stamp.updated_by, record.awaits_machine) == ("cli", "cli", False)


async def test_it_all_comes_back_at_the_next_start(hall: Hall, link, tmp_path: Path, image, profile) -> None:
    async with hall.edit(by="a") as edit:
        await edit.put_image(image)
        await edit.put_profile(profile)
        await edit.put_group(Group("rack", SelectorKind.LABEL, "rack=r1", {"profile": "debian"}, {"x": "y"}))
        await edit.put_loader(
            Loader(7, FileRef("snponly.efi", "d" * 64, 5, "loader"), "debian", "1.21", "GPL-2")
        )
        await edit.set_policy(Policy(unknown="discover", subnets=(Subnet("10.0.0.0/24", router="10.0.0.1"),)))
        await edit.add_node(replace(N1, values={"console": "ttyS0"}, address="10.0.0.9"))
        await edit.order_install("n1")
        await edit.consent("n1", "SER1", ["gpt", "ext4"])
        await edit.boot_once("n1", "debian")
        await edit.describe_node("n1", role="storage", cluster="c1", bmc_address="10.9.0.1")
    catalog, node = hall.catalog(), hall.node("n1")
    assert node is not None
    assert node.boot_once == BootOnce(1, "debian")
    assert node.consents == (Consent(1, "SER1", ("ext4", "gpt"), "a"),)
    assert link.catalogs[-1] == catalog
    await hall.close()
    again = Hall(tmp_path / "db.sqlite3")
    await again.start()
    assert again.node("n1") == node
    assert replace(again.catalog(), version=0) == replace(catalog, version=0)
    record = await again.node_record("n1")
    assert (record.role, record.cluster, record.bmc_address) == ("storage", "c1", "10.9.0.1")
    await again.close()


async def test_a_block_that_fails_changes_nothing(hall: Hall, link) -> None:
    with pytest.raises(ZeroDivisionError):
        async with hall.edit(by="cli") as edit:
            await edit.add_node(N1)
            raise ZeroDivisionError
    assert hall.node("n1") is None
    assert link.sent == []
    assert await hall.audit() == []


async def test_an_outdated_version_is_a_conflict_that_tells_what_changed(hall: Hall) -> None:
    async with hall.edit(by="cli") as edit:
        seen = await edit.add_node(N1)
    async with hall.edit(by="bob") as edit:
        await edit.change_node(replace(seen, values={"console": "ttyS1"}))
    with pytest.raises(Conflict) as caught:
        async with hall.edit(by="cli") as edit:
            await edit.change_node(replace(seen, values={"console": "ttyS0"}))
    assert (caught.value.seen, caught.value.stored) == (1, 2)
    assert [(c.by, dict(c.changes)) for c in caught.value.changed] == [
        ("bob", {"values": [{}, {"console": "ttyS1"}]})
    ]
    assert hall.node("n1").values == {"console": "ttyS1"}  # type: ignore[union-attr]


async def test_profiles_have_versions_too(hall: Hall, image, profile) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.put_image(image)
        await edit.put_profile(profile)
        await edit.put_profile(replace(profile, title="two"), version=1)
    with pytest.raises(Conflict):
        async with hall.edit(by="cli") as edit:
            await edit.put_profile(replace(profile, title="three"), version=1)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (Node(0, "n2", uuid=N1.uuid), "n1"),
        (Node(0, "n2", macs=N1.macs), "n1"),
        (Node(0, "n1"), "one of this name"),
        (Node(0, "bad name"), "name"),
        (Node(0, "n2", macs=("01:00:5e:00:00:01",)), "MAC"),
        (Node(0, "n2", uuid="00000000-0000-0000-0000-000000000000"), "UUID"),
        (Node(0, "n2", values={"colour": "red"}), "colour"),
        (Node(0, "n2", values={"menu_timeout": "soon"}), "menu_timeout"),
        (Node(0, "n2", labels={"a b": "x"}), "label"),
        (Node(0, "n2", labels={"a": "x\ny"}), "label"),
        (Node(0, "n2", address="10.0.0.300"), "address"),
        (Node(0, "n2", address="10.0.0.9"), "reserved for node n1"),
    ],
)
async def test_bad_nodes_are_refused_with_a_reason(hall: Hall, bad: Node, word: str) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_node(replace(N1, address="10.0.0.9"))
    with pytest.raises(Refused) as caught:
        async with hall.edit(by="cli") as edit:
            await edit.add_node(bad)
    assert word in str(caught.value)
    assert caught.value.next_step
    assert len(hall.nodes()) == 1


async def test_names_that_are_not_there(hall: Hall) -> None:
    async with hall.edit(by="cli") as edit:
        for verb in (edit.order_install, edit.hold, edit.release, edit.remove_node):
            with pytest.raises(Missing, match="ghost"):
                await verb("ghost")
        for remove in (edit.remove_profile, edit.remove_group, edit.remove_image, edit.remove_subnet):
            with pytest.raises(Missing, match="ghost"):
                await remove("ghost")
        with pytest.raises(Missing):
            await edit.approve("ABCDEF")


async def test_what_is_used_is_not_removed(hall: Hall, image, profile) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.put_image(image)
        await edit.put_profile(profile)
        await edit.add_node(replace(N1, values={"profile": "debian"}))
        await edit.put_group(Group("g", SelectorKind.VENDOR, "QEMU", {"profile": "debian"}))
        await edit.set_policy(Policy(unknown="profile:debian"))
    async with hall.edit(by="cli") as edit:
        with pytest.raises(Refused, match="node n1, group g, the policy"):
            await edit.remove_profile("debian")
        with pytest.raises(Refused, match="profile debian"):
            await edit.remove_image("debian")
        with pytest.raises(Refused, match="no image ghost"):
            await edit.put_profile(replace(profile, image="ghost"))
        await edit.put_group(Group("g", SelectorKind.VENDOR, "QEMU", {}))
        await edit.remove_node("n1")
        await edit.set_policy(Policy())
        await edit.remove_profile("debian")
        await edit.remove_image("debian")
    assert not hall.catalog().profiles


async def test_orders_only_grow(hall: Hall) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.put_profile(Profile("local", ProfileKind.LOCAL))
        await edit.add_node(N1)
        assert (await edit.order_install("n1")).order == 1
        await edit.consent("n1", "S", [])
        again = await edit.order_install("n1")
        assert (again.order, again.consents) == (2, ()), "a consent ends with its order"
        assert (await edit.boot_once("n1", "local")).boot_once == BootOnce(1, "local")
        assert (await edit.boot_once("n1", None)).boot_once is None
        assert (await edit.boot_once("n1", "local")).boot_once == BootOnce(2, "local")


async def test_a_new_order_is_above_what_the_worker_has_done(hall: Hall) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_node(N1)
    hall.ingest_entry(
        5, Promise(PromiseKind.STATE, state=NodeState(1, Phase.INSTALLED, order=9, boot_once=4))
    )
    async with hall.edit(by="cli") as edit:
        await edit.put_profile(Profile("local", ProfileKind.LOCAL))
        assert (await edit.order_install("n1")).order == 10
        assert (await edit.boot_once("n1", "local")).boot_once == BootOnce(5, "local")


async def test_hold_and_release(hall: Hall) -> None:
    async with hall.edit(by="eve") as edit:
        await edit.add_node(N1)
        assert (await edit.hold("n1", "disk\nswap")).hold == "disk swap"
        assert (await edit.release("n1")).hold == ""
        assert (await edit.hold("n1")).hold == "held by eve"
        await edit.release("n1")
        with pytest.raises(Refused, match="not held"):
            await edit.release("n1")
    hall.ingest_entry(1, Promise(PromiseKind.STATE, state=NodeState(1, Phase.HELD, 1, reason="no disk")))
    with pytest.raises(Refused, match="no disk") as caught:
        async with hall.edit(by="cli") as edit:
            await edit.release("n1")
    assert "node install n1" in caught.value.next_step


async def test_a_consent_for_an_older_order_is_refused(hall: Hall) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_node(N1)
        await edit.order_install("n1")
        await edit.order_install("n1")
        with pytest.raises(Refused, match="newest is 2"):
            await edit.consent("n1", "S", [], order=1)
        with pytest.raises(Refused, match="no serial"):
            await edit.consent("n1", "", [])


async def test_a_removed_node_s_number_is_never_used_again(hall: Hall, link) -> None:
    async with hall.edit(by="cli") as edit:
        await edit.add_node(N1)
    async with hall.edit(by="cli") as edit:
        await edit.remove_node("n1")
    assert len(link.table) == 0
    async with hall.edit(by="cli") as edit:
        assert (await edit.add_node(N1)).id == 2


async def test_the_policy_of_the_file_holds_where_nobody_set_another(tmp_path: Path) -> None:
    base = Policy(menu_timeout=20, subnets=(Subnet("10.0.0.0/24"), Subnet("10.1.0.0/24")))
    hall = Hall(tmp_path / "db.sqlite3", policy=base)
    await hall.start()
    async with hall.edit(by="cli") as edit:
        await edit.set_policy(
            replace(base, unknown="ignore", subnets=(*base.subnets[:1], Subnet("10.1.0.0/24", mtu=9000)))
        )
    await hall.close()
    hall = Hall(tmp_path / "db.sqlite3", policy=replace(base, menu_timeout=5))
    await hall.start()
    policy = hall.catalog().policy
    assert (policy.unknown, policy.menu_timeout, policy.subnets[1].mtu) == ("ignore", 5, 9000)
    async with hall.edit(by="cli") as edit:
        with pytest.raises(Refused, match="configuration file has it"):
            await edit.set_policy(replace(policy, subnets=()))
    async with hall.edit(by="cli") as edit:
        await edit.set_policy(replace(base, menu_timeout=5))
    assert hall.catalog().policy == replace(base, menu_timeout=5)
    await hall.close()


async def test_an_unchanged_loader_makes_no_new_snapshot(hall: Hall, link) -> None:
    loader = Loader(7, FileRef("snponly.efi", "d" * 64, 5, "loader"), "debian", "1.21", "GPL-2")
    for _ in range(2):
        async with hall.edit(by="start") as edit:
            await edit.put_loader(loader)
    assert link.sent == ["catalog"]


async def test_a_start_leaves_the_loader_that_a_person_has_put_there(hall: Hall) -> None:
    debian = Loader(7, FileRef("snponly.efi", "d" * 64, 5, "loader"), "debian", "1.21", "GPL-2")
    newer, own = replace(debian, version="1.22"), replace(debian, source="added by cli")

    async def start(loader: Loader) -> Loader:
        async with hall.edit(by=SERVER) as edit:
            await edit.put_loader(loader, standard=True)
        return hall.catalog().loaders[7]

    assert await start(debian) == debian
    assert await start(newer) == newer
    async with hall.edit(by="cli") as edit:
        await edit.put_loader(own)
    assert await start(newer) == own
    async with hall.edit(by="cli") as edit:
        await edit.remove_loader(7)
    assert 7 not in hall.catalog().loaders
    assert await start(newer) == newer


async def test_many_nodes_at_once_are_sent_as_a_table(hall: Hall, link) -> None:
    nodes = [Node(0, f"n{i}", macs=(f"52:54:00:00:{i >> 8:02x}:{i & 255:02x}",)) for i in range(6000)]
    async with hall.edit(by="import") as edit:
        added = await edit.add_nodes(nodes)
    assert [n.name for n in added[:2]] == ["n0", "n1"]
    assert [n.id for n in added] == list(range(1, 6001))
    assert link.sent == ["nodes"]
    assert len(link.table) == 6000


async def test_every_change_is_in_the_audit_trail(hall: Hall, image) -> None:
    async with hall.edit(by="ann") as edit:
        await edit.put_image(image)
        await edit.put_image(Image("debian", image.files, "new words"))
        await edit.add_node(N1)
        await edit.hold("n1", "why")
        await edit.remove_node("n1")
    trail = [(a.by, a.verb, a.table, a.record, a.version) for a in reversed(await hall.audit())]
    assert trail == [
        ("ann", "add", "images", "debian", 1),
        ("ann", "change", "images", "debian", 2),
        ("ann", "add", "nodes", "n1", 1),
        ("ann", "hold", "nodes", "n1", 2),
        ("ann", "remove", "nodes", "n1", 3),
    ]


async def test_two_tables_are_never_under_way_together(
    hall: Hall, link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large table goes in parts, and the parts of one would be taken for another's."""
    monkeypatch.setattr("pxeserver.live.hall.WHOLE_TABLE_ABOVE", 2)
    monkeypatch.setattr("pxeserver.live.memory.WHOLE_TABLE_ABOVE", 2)
    go_on, under_way, send = asyncio.Event(), [0, 0], link.send_nodes

    async def slowly(nodes: Iterable[Node], states: Iterable[NodeState]) -> None:
        under_way[0] += 1
        under_way[1] = max(under_way)
        await go_on.wait()
        under_way[0] -= 1
        await send(nodes, states)

    async def add(*names: str) -> None:
        async with hall.edit(by="cli") as edit:
            await edit.add_nodes([Node(0, name, serial=f"serial {name}") for name in names])

    monkeypatch.setattr(link, "send_nodes", slowly)
    connecting = asyncio.ensure_future(hall.connected(link, 0))
    await asyncio.sleep(0)
    many = asyncio.ensure_future(add("a1", "a2", "a3"))
    async with asyncio.timeout(5):
        while hall.node("a3") is None:
            await asyncio.sleep(0.01)
        await add("later")
        go_on.set()
        await asyncio.gather(connecting, many)
    assert under_way == [0, 1]
    assert sorted(node.name for node in link.table) == ["a1", "a2", "a3", "later"]

"""Members of a cluster: what they tell of themselves, who is waited for, who may not speak."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from fleet import THREE, Fleet

from pxeserver.config.faults import ConfigErrors
from pxeserver.postinstall import newcomers, views
from pxeserver.postinstall.healing import Healing
from pxeserver.postinstall.polls import Drifted, Report
from pxeserver.postinstall.work import Result, StepKey
from pxeserver.storage.claims import Agents
from pxeserver.storage.secretbox import SecretBox

pytestmark = pytest.mark.slow

FOUR = THREE.replace('nodes = ["n1", "n2", "n3"]', "next = 4")


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    made = await Fleet.start(tmp_path / "db.sqlite3")
    yield made
    await made.close()


async def stand(fleet: Fleet, text: str = THREE) -> None:
    """Three nodes that are a cluster."""
    await fleet.add("n1", "n2", "n3")
    await fleet.apply(text)
    fleet.work()
    await fleet.until(fleet.ready)


async def tell(fleet: Fleet, name: str, **facts: object) -> None:
    """An agent that has started anew tells its facts."""
    node = fleet.hall.node(name)
    assert node is not None
    async with fleet.hall.database.read() as connection:
        agent = next(a for a in await Agents(connection).all() if a.node_id == node.id)
    told = {**agent.facts, **facts}
    await fleet.clusters.poll(name, Report(fleet.agents[name].instance, "boot-1", facts=told))


async def test_the_mtu_of_a_switch_is_not_taken_for_the_cards(fleet: Fleet) -> None:
    await stand(fleet)
    uplink = {"address": "10.77.0.2/16", "mac": "52:54:00:00:00:02", "mtu": 1442}
    await tell(fleet, "n2", uplink=uplink)
    planned = await fleet.orders.plan_file(THREE, {})
    assert planned.plan.changes == ()


async def test_one_machine_joined_as_two_nodes_is_refused(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    twin = {"uplink": {"address": "10.77.0.1/16", "mac": "52:54:00:00:00:01"}, "machine_id": f"{1:032x}"}
    await tell(fleet, "n3", **twin)
    with pytest.raises(ConfigErrors) as refused:
        await fleet.orders.plan_file(THREE, {})
    assert "members.nodes[3]: n3 is the same machine as n1" in str(refused.value)
    assert "take one of them out" in str(refused.value)


async def test_a_copy_of_a_members_disk_gets_another_machine_id_and_the_member_keeps_its_own(
    fleet: Fleet,
) -> None:
    await stand(fleet)
    await fleet.add("n4", machine_id=f"{2:032x}")
    planned = await fleet.orders.plan_file(THREE.replace('"n3"]', '"n3", "n4"]'), {})
    assert planned.layout.places["n2"].machine_id == ""
    assert len(planned.layout.places["n4"].machine_id) == 32
    changed = {line.node for line in planned.plan.changes if line.step == "identity" and line.node == "n2"}
    details = [d for line in planned.plan.changes if line.node in changed for d in line.details]
    assert not any("machine_id" in detail for detail in details)


async def test_who_is_waited_for_is_waited_for_after_a_restart_too(tmp_path: Path) -> None:
    box = SecretBox()
    fleet = await Fleet.start(tmp_path / "db.sqlite3", box)
    await stand_short(fleet)
    await fleet.close()
    second = await Fleet.start(tmp_path / "db.sqlite3", box)
    await second.clusters.ready()
    assert second.clusters.running["lab"].notes == ("waiting for 1 more node to appear",)
    second.agents = {n: replace(a, clusters=second.clusters, wait=0.2) for n, a in fleet.agents.items()}
    second.work()
    await second.add("n4")
    second.work("n4")
    await second.until(lambda: "n4" in second.clusters.running["lab"].layout.places)
    await second.until(second.ready)
    await second.close()


async def stand_short(fleet: Fleet) -> None:
    """Three of four."""
    await fleet.add("n1", "n2", "n3")
    await fleet.apply(FOUR)
    fleet.work()
    await fleet.until(lambda: fleet.clusters.running["lab"].coordinator.finished)


async def test_a_frozen_node_is_told_in_the_status(fleet: Fleet) -> None:
    await stand(fleet)
    fleet.clusters.frozen = lambda name: "claimed twice" if name == "n2" else ""
    status = views.status(fleet.clusters.running["lab"], fleet.clusters.clock())
    assert [(n.name, n.state, n.frozen) for n in status.nodes] == [
        ("n1", "ready", ""),
        ("n2", "frozen", "claimed twice"),
        ("n3", "ready", ""),
    ]


async def test_drift_of_what_nobody_wants_of_a_node_is_none(fleet: Fleet) -> None:
    await stand(fleet)
    lines = (Drifted("pool", "bricks", "3", "4"), Drifted("mount", "volume", "mounted", "away"))
    await fleet.clusters.poll("n2", Report("other", "boot-1", drift=lines))
    drift = fleet.clusters.running["lab"].members["n2"].drift
    assert [line["step"] for line in drift] == ["mount"]


async def test_a_cluster_is_taken_down_whose_only_manager_has_gone_before_a_worker(fleet: Fleet) -> None:
    one = THREE.replace("managers = 3", "managers = 1").replace("replicas = 3", "replicas = 2")
    await stand(fleet, one)
    cluster = fleet.clusters.running["lab"]
    assert cluster.layout.managers == ("n1",)
    await fleet.rest()
    fleet.agents["n3"].fails["identity"] = "not yet"
    planned = await fleet.orders.plan_change("lab", cluster.adjusted.destroyed())
    await fleet.orders.apply(planned, "test")
    fleet.work()
    await fleet.until(lambda: list(cluster.layout.everyone) == ["n3"])
    fleet.agents["n3"].fails.clear()
    cluster.coordinator.retry()
    await fleet.until(lambda: "lab" not in fleet.clusters.running)


async def test_what_is_applied_again_has_not_drifted_any_more(fleet: Fleet) -> None:
    await stand(fleet)
    await fleet.rest()
    cluster, agent = fleet.clusters.running["lab"], fleet.agents["n2"]
    cluster.coordinator.again([StepKey("n2", "mount")], "it is wanted")
    agent.drift, agent.wait = (Drifted("mount", "volume", "mounted", "away"),), 0
    work = await agent.once()
    assert work is not None
    assert work.step == "mount"
    assert [line["step"] for line in cluster.members["n2"].drift] == ["mount"]
    await agent.once()
    assert cluster.members["n2"].drift == ()
    assert cluster.condition(fleet.clusters.clock()) in ("ready", "working")


async def test_a_brick_that_has_not_healed_is_told_by_a_look_and_guards_the_others(fleet: Fleet) -> None:
    await stand(fleet)
    await fleet.rest()
    cluster = fleet.clusters.running["lab"]
    leader = cluster.leader or ""
    cluster.coordinator.check([leader])
    for behind in (["n3"], []):
        await look(fleet, leader, {"behind": behind})
        around = await fleet.orders._around(cluster.wanted)
        assert (set(around.healing), around.facts) == (set(behind), cluster.facts)
        cluster.coordinator.check([leader])


async def test_healing_is_looked_at_again_and_again_until_it_is_over(fleet: Fleet) -> None:
    await stand(fleet)
    await fleet.rest()
    cluster, box = fleet.clusters.running["lab"], {"now": fleet.clusters.clock()}
    fleet.clusters.clock = lambda: box["now"]

    async def passes(seconds: float, **told: object) -> Healing | None:
        """Time passes; what the leader tells where it is asked to look, and what is shown then."""
        box["now"] += seconds
        names = list(cluster.layout.everyone)
        for name in names:
            await fleet.clusters.poll(name, Report("looking", "boot-1"))
        await fleet.clusters.tick()
        answer = await fleet.clusters.poll(cluster.leader or "", Report("looking", "boot-1"))
        asked.append(answer.work is not None)
        if answer.work is not None:
            assert (answer.work.verb, answer.work.step) == ("check", "pool")
            result = Result(answer.work.id, True, facts={"drift": [], "facts": told})
            await fleet.clusters.poll(cluster.leader or "", Report("looking", "boot-1", (result,)))
        return views.status(cluster, box["now"]).healing

    asked: list[bool] = []
    assert await passes(61, healing=12, behind=["n3"]) == Healing("shared", 12, ("n3",))
    assert await passes(2) == Healing("shared", 12, ("n3",))
    assert await passes(4, healing=3, behind=["n3"]) == Healing("shared", 3, ("n3",))
    assert await passes(6, healing=0, behind=[]) == Healing("shared", 0, ())
    assert await passes(6) == Healing("shared", 0, ())
    assert await passes(55, healing=0, behind=[]) == Healing("shared", 0, ())
    assert await passes(6, healing=0, behind=[]) == Healing("shared", 0, ())
    assert asked == [True, False, True, True, False, True, False]


async def look(fleet: Fleet, node: str, told: dict[str, object]) -> None:
    """Let a node look at every step; its look at the pool tells this."""
    report = Report("looking", "boot-1")
    while (answer := await fleet.clusters.poll(node, report)).work is not None:
        facts = {"drift": [], **({"facts": told} if answer.work.step == "pool" else {})}
        report = Report("looking", "boot-1", (Result(answer.work.id, True, facts=facts),))
    state = fleet.clusters.running["lab"].coordinator.states[StepKey(node, "pool")]
    assert state.facts["volume_id"] == "v1"


@pytest.mark.parametrize("slow", ["n1", "n3", "n4"])
async def test_a_cluster_is_not_ready_while_somebody_is_leaving(fleet: Fleet, slow: str) -> None:
    await stand(fleet)
    await fleet.add("n4")
    fleet.work("n4")
    cluster = fleet.clusters.running["lab"]
    fleet.agents[slow].pause = lambda: 0.05
    planned = await fleet.orders.plan_change("lab", cluster.adjusted.replaced("n3", "n4", lost=False))
    await fleet.orders.apply(planned, "test")
    seen = []

    def over() -> bool:
        seen.append((fleet.ready(), "n3" in cluster.layout.everyone))
        return fleet.ready()

    await fleet.until(over)
    assert (False, True) in seen
    assert (True, True) not in seen


ONE = (
    THREE.replace('nodes = ["n1", "n2", "n3"]', "next = 3")
    .replace("managers = 3", "managers = 1")
    .replace('name = "lab"\n', 'name = "lab"\nephemeral = true\n', 1)
)


async def appear(fleet: Fleet, *names: str, **facts: object) -> None:
    await fleet.add(*names, **facts)
    for name in names:
        await fleet.clusters.joined(name, fresh=True)


async def test_a_manager_that_keeps_nothing_waits_for_those_that_do(fleet: Fleet) -> None:
    await fleet.apply(ONE)
    fleet.work()
    await appear(fleet, "n1", diskless=True)
    cluster = fleet.clusters.running["lab"]
    await fleet.until(lambda: any("n1 would be a manager" in note for note in cluster.notes))
    assert not cluster.layout.places
    await appear(fleet, "n2")
    await fleet.until(lambda: cluster.layout.managers == ("n2",))
    await appear(fleet, "n3")
    fleet.work("n1", "n2", "n3")
    await fleet.until(fleet.ready)
    assert cluster.layout.managers == ("n2",)


async def test_it_does_not_wait_for_ever(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "STATE_PATIENCE", 0.5)
    await fleet.apply(ONE)
    fleet.work()
    await appear(fleet, "n1", diskless=True)
    cluster = fleet.clusters.running["lab"]
    await fleet.until(lambda: cluster.layout.managers == ("n1",))


async def test_where_nobody_keeps_anything_all_of_them_begin(fleet: Fleet) -> None:
    await fleet.apply(ONE)
    fleet.work()
    await appear(fleet, "n1", "n2", "n3", diskless=True)
    fleet.work("n1", "n2", "n3")
    await fleet.until(fleet.ready)

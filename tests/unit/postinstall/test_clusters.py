"""The service: a cluster comes to stand, survives restarts and an absent database, and is taken down."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fleet import THREE, FakeAgent, Fleet

from pxeserver.config.faults import ConfigErrors
from pxeserver.live import Refused, Unavailable
from pxeserver.postinstall.adjustments import Adjustments
from pxeserver.postinstall.plan import Action
from pxeserver.postinstall.polls import Drifted, Report
from pxeserver.postinstall.work import Result, Status, StepKey
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.secretbox import SecretBox

pytestmark = pytest.mark.slow


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr("pxeserver.live.hall.RECOVER_SECONDS", 0.02)
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    monkeypatch.setattr("pxeserver.storage.database.BUSY_TIMEOUT_MS", 50)
    made = await Fleet.start(tmp_path / "db.sqlite3")
    yield made
    await made.close()


async def test_three_nodes_become_a_cluster_and_a_second_apply_changes_nothing(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    planned = await fleet.orders.plan_file(THREE, {})
    assert {line.action for line in planned.plan.changes} == {Action.CREATE}
    applied = await fleet.orders.apply(planned, "test", seen=planned.token)
    assert applied.changed
    fleet.work()
    await fleet.until(fleet.ready)
    cluster = fleet.clusters.running["lab"]
    members = fleet.agents[cluster.leader or ""].there["swarm-members"]["members"]
    assert {(m["name"], m["role"], m["availability"]) for m in members} == {
        (name, "manager", "active") for name in ("n1", "n2", "n3")
    }
    async with fleet.hall.database.read() as connection:
        record = await Nodes(connection).find("n2")
    assert record is not None
    assert (record.cluster, record.role) == ("lab", "manager")
    given = sum(len(agent.given) for agent in fleet.agents.values())
    again = await fleet.apply()
    assert not (again.changed or again.retried or again.mended)
    assert again.version == applied.version
    await fleet.clusters.tick()
    assert sum(len(agent.given) for agent in fleet.agents.values()) == given


async def test_a_restarted_server_goes_on_and_hands_out_nothing_twice(tmp_path: Path) -> None:
    box = SecretBox()
    fleet = await Fleet.start(tmp_path / "db.sqlite3", box)
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    for _ in range(4):
        for agent in fleet.agents.values():
            agent.wait = 0
            await agent.once()
    old = fleet.clusters.running["lab"].coordinator.states
    await fleet.close()
    second = await Fleet.start(tmp_path / "db.sqlite3", box)
    await second.clusters.ready()
    assert second.clusters.running["lab"].coordinator.states == old
    for name, agent in fleet.agents.items():
        agent.clusters, agent.wait = second.clusters, 0.2
        second.agents[name] = agent
    second.work()
    await second.until(second.ready)
    for agent in second.agents.values():
        ids = [work.id for work in agent.given]
        assert len(ids) == len(set(ids))
    assert second.clusters.running["lab"].facts.secrets[StepKey("n1", "swarm-init")]
    await second.close()


async def test_secrets_are_in_the_database_as_ciphertext_only(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    await fleet.rest()
    await fleet.hall.backup(tmp_path / "copy")
    raw = (tmp_path / "copy").read_bytes()
    assert b"swarm-members" in raw
    assert b"token-1" not in raw


async def test_nothing_is_answered_before_it_is_on_disk(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    other = sqlite3.connect(tmp_path / "db.sqlite3")
    agent = fleet.agents["n1"]
    agent.wait = 0
    first = await agent.once()
    assert first is not None
    work = other.execute("SELECT work_id, status FROM cluster_steps WHERE node = 'n1' AND status = 'running'")
    assert work.fetchall() == [(first.id, "running")]
    await agent.once()
    done = other.execute("SELECT status FROM cluster_steps WHERE node = 'n1' AND step = 'identity'")
    assert done.fetchall() == [("done",)]
    other.close()


async def test_without_the_database_an_agent_is_sent_away_and_its_results_count_once_it_is_back(
    fleet: Fleet, tmp_path: Path
) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    agent = fleet.agents["n1"]
    agent.wait = 0
    await agent.once()
    result = agent.results[0]
    holder = sqlite3.connect(tmp_path / "db.sqlite3", timeout=10)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable):
        await fleet.clusters.poll("n1", Report(agent.instance, agent.boot, (result,)))
    holder.rollback()
    holder.close()
    await fleet.until(lambda: fleet.hall.trouble is None)
    answer = await fleet.clusters.poll("n1", Report(agent.instance, agent.boot, (result,)))
    rows = sqlite3.connect(tmp_path / "db.sqlite3").execute(
        "SELECT status FROM cluster_steps WHERE node = 'n1' AND step = 'identity'"
    )
    assert rows.fetchall() == [("done",)]
    assert answer.work is None or answer.work.step != "identity"


async def test_a_step_that_fails_for_good_says_why_and_the_next_apply_tries_it_again(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    fleet.agents["n2"].fails["docker"] = "the disk is full"
    await fleet.apply()
    fleet.work()
    key = StepKey("n2", "docker")
    states = fleet.clusters.running["lab"].coordinator
    await fleet.until(lambda: states.states.get(key, None) is not None)
    await fleet.until(lambda: states.states[key].status is Status.FAILED)
    assert states.states[key].reason == "the disk is full"
    assert states.states[key].log == ("tried it", "the disk is full")
    fleet.agents["n2"].fails.clear()
    again = await fleet.apply()
    assert key in again.retried
    await fleet.until(fleet.ready)


async def test_destroying_undoes_everything_and_the_nodes_are_free_again(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    planned = await fleet.orders.plan_change("lab", Adjustments().destroyed())
    assert {line.action for line in planned.plan.changes} == {Action.REMOVE}
    await fleet.orders.apply(planned, "test")
    await fleet.until(lambda: "lab" not in fleet.clusters.running)
    assert {a.name: sorted(a.there) for a in fleet.agents.values()} == {"n1": [], "n2": [], "n3": []}
    async with fleet.hall.database.read() as connection:
        found = await Nodes(connection).find("n1")
    assert found is not None
    assert (found.cluster, found.role) == ("", "")
    await fleet.apply()
    await fleet.until(fleet.ready)


async def test_a_drained_member_gets_no_containers_and_may_have_them_again(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)

    def availability() -> str:
        leader = fleet.agents[fleet.clusters.running["lab"].leader or ""]
        return next(m["availability"] for m in leader.there["swarm-members"]["members"] if m["name"] == "n2")

    cluster = fleet.clusters.running["lab"]
    drained = cluster.adjusted.drained(["n2"], back=False)
    await fleet.orders.apply(await fleet.orders.plan_change("lab", drained), "test")
    await fleet.until(lambda: availability() == "drain")
    assert not (await fleet.apply()).changed, "applying the file again brings nobody back"
    back = cluster.adjusted.drained(["n2"], back=True)
    await fleet.orders.apply(await fleet.orders.plan_change("lab", back), "test")
    await fleet.until(lambda: availability() == "active")


async def test_a_member_is_replaced_and_its_place_is_free(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3", "n4")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    change = fleet.clusters.running["lab"].adjusted.replaced("n3", "n4", lost=False)
    await fleet.orders.apply(await fleet.orders.plan_change("lab", change), "test")
    await fleet.until(lambda: fleet.ready() and not fleet.clusters.running["lab"].layout.leaving)
    assert set(fleet.clusters.running["lab"].layout.places) == {"n1", "n2", "n4"}
    assert fleet.agents["n3"].there == {}
    assert fleet.clusters.of_node("n3") == ""


async def test_removing_a_manager_that_is_needed_is_refused_before_anything_is_touched(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    change = fleet.clusters.running["lab"].adjusted.removed(["n3"], lost=False)
    with pytest.raises(ConfigErrors, match="3 managers"):
        await fleet.orders.plan_change("lab", change)


async def test_the_next_nodes_that_appear_become_members(fleet: Fleet) -> None:
    text = THREE.replace('nodes = ["n1", "n2", "n3"]', "next = 3")
    await fleet.add("n1")
    applied = await fleet.orders.plan_file(text, {})
    assert "2 more nodes" in " ".join(applied.plan.waiting)
    await fleet.orders.apply(applied, "test")
    fleet.work()
    await fleet.add("n2", "n3", "n4")
    for name in ("n2", "n3", "n4"):
        assert await fleet.clusters.joined(name, fresh=True) is None
    fleet.work("n2", "n3", "n4")
    await fleet.until(fleet.ready)
    assert set(fleet.clusters.running["lab"].layout.places) == {"n1", "n2", "n3"}


async def test_a_node_that_comes_with_a_new_key_is_set_up_anew_and_its_old_self_is_evicted(
    fleet: Fleet,
) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    await fleet.rest()
    new = FakeAgent("n3", fleet.clusters, boot="boot-2")
    fleet.agents["n3"] = new
    assert await fleet.clusters.joined("n3", fresh=True) == "lab"
    fleet.work()
    await fleet.until(lambda: fleet.ready() and "gate" in new.there)
    assert "id-n3" in fleet.clusters.running["lab"].gone


async def test_drift_is_kept_shown_and_mended_on_order(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    agent = fleet.agents["n2"]
    agent.drift = (Drifted("network", "address of web", "10.10.0.3/24", ""),)
    await fleet.until(lambda: bool(fleet.clusters.running["lab"].members["n2"].drift))
    assert fleet.clusters.running["lab"].condition(fleet.clusters.clock()) == "drifted"
    before = len(agent.given)
    applied = await fleet.apply(mend=True)
    assert applied.mended == (StepKey("n2", "network"),)
    await fleet.until(fleet.ready)
    assert [w.step for w in agent.given[before:]] == ["network"]


async def test_checking_hands_every_done_step_to_be_looked_at(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    agent = fleet.agents["n3"]
    before = len(agent.given)
    count = await fleet.orders.check("lab", ["n3"])
    await fleet.until(lambda: len(agent.given) - before == count)
    assert {w.verb for w in agent.given[before:]} == {"check"}


async def test_a_stopped_cluster_hands_out_nothing_until_it_is_applied(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    agent = fleet.agents["n1"]
    agent.wait = 0
    work = await agent.once()
    assert work is not None
    await fleet.orders.stop("lab", "test")
    agent.results = []
    report = Report(agent.instance, agent.boot)
    assert (await fleet.clusters.poll("n1", report)).work is None
    applied = await fleet.apply()
    assert applied.version > 1
    assert (await fleet.clusters.poll("n1", report)).work is not None


async def test_a_plan_that_is_out_of_date_is_not_carried_out(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    first = await fleet.orders.plan_file(THREE, {})
    await fleet.orders.apply(first, "test")
    with pytest.raises(Refused, match="changed since"):
        await fleet.orders.apply(first, "test")


async def test_results_of_a_stranger_and_of_unknown_work_change_nothing(fleet: Fleet) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    before = dict(fleet.clusters.running["lab"].coordinator.states)
    done = (Result("nobody", True),)
    assert (await fleet.clusters.poll("nobody", Report("i", done=done))).work is None
    await fleet.clusters.poll("n1", Report("i", done=done))
    after = fleet.clusters.running["lab"].coordinator.states
    changed = {k for k, s in after.items() if before.get(k) != s}
    assert changed == {StepKey("n1", "identity")}


async def test_a_copy_of_the_database_restored_is_read_again(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.hall.backup(tmp_path / "before")
    await fleet.apply()
    assert "lab" in fleet.clusters.running
    await fleet.hall.restore(tmp_path / "before")
    await fleet.clusters.ready()
    assert fleet.clusters.running == {}

"""The service under what should not happen: a fault in one cluster, files that take long, a lost key."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fleet import THREE, Fleet

from pxeserver.postinstall import checks
from pxeserver.postinstall.running import RunningCluster
from pxeserver.storage.secretbox import SecretBox


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr("pxeserver.live.hall.RECOVER_SECONDS", 0.02)
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    monkeypatch.setattr("pxeserver.storage.database.BUSY_TIMEOUT_MS", 50)
    made = await Fleet.start(tmp_path / "db.sqlite3")
    yield made
    await made.close()


async def test_what_the_nodes_of_one_cluster_tell_holds_up_no_other(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    lab = fleet.clusters.running["lab"]
    broken = SimpleNamespace(name="a", dirty=False)  # whatever is asked of it fails
    fleet.clusters.running = {"a": cast("RunningCluster", broken), "lab": lab}
    looked: list[float] = []
    monkeypatch.setattr(lab.coordinator, "tick", looked.append)
    await fleet.clusters.tick()
    assert looked
    fleet.clusters.running = {"lab": lab}


async def test_reading_a_large_stack_file_holds_up_nobody(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YAML's reader takes ten seconds for a mebibyte; agents poll meanwhile."""
    threads: list[threading.Thread] = []
    read = checks.yaml.safe_load

    def watched(text: str) -> object:
        threads.append(threading.current_thread())
        return read(text)

    monkeypatch.setattr(checks.yaml, "safe_load", watched)
    await fleet.add("n1", "n2", "n3")
    text = THREE + '[[stack]]\nname = "shop"\nfile = "shop.yml"\n'
    planned = await fleet.orders.plan_file(text, {"shop.yml": "services: {a: {image: b}}"})
    await fleet.orders.apply(planned, "test")
    await fleet.orders.plan_change("lab", fleet.clusters.running["lab"].adjusted)
    assert threads
    assert threading.current_thread() not in threads


async def test_a_server_that_lost_its_key_asks_the_leader_for_the_token_again(tmp_path: Path) -> None:
    """As after a restore from a backup, which holds no key: nobody new could join."""
    fleet = await Fleet.start(tmp_path / "db.sqlite3")
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    fleet.work()
    await fleet.until(fleet.ready)
    await fleet.close()
    second = await Fleet.start(tmp_path / "db.sqlite3", SecretBox())
    for name, agent in fleet.agents.items():
        agent.clusters = second.clusters
        second.agents[name] = agent
    await second.add("n4")
    second.work()
    await second.apply(THREE.replace('"n3"]', '"n3", "n4"]'))
    await second.until(second.ready)
    assert "swarm-join" in second.agents["n4"].there
    await second.close()

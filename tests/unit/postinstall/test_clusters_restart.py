"""After a start of the server nobody is taken to be there before something was heard of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fleet import Fleet

from pxeserver.postinstall import views
from pxeserver.postinstall.coordinator import AWAY_SECONDS
from pxeserver.storage.secretbox import SecretBox

pytestmark = pytest.mark.slow


async def test_a_started_server_says_checking_until_it_has_heard_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    box = SecretBox()
    first = await Fleet.start(tmp_path / "db.sqlite3", box)
    await first.add("n1", "n2", "n3")
    await first.apply()
    first.work()
    await first.until(first.ready)
    await first.close()

    now = time.time() + 1000
    second = await Fleet.start(tmp_path / "db.sqlite3", box)
    second.clusters.clock = lambda: now
    await second.clusters.tick()
    cluster = second.clusters.running["lab"]

    def told() -> tuple[str, dict[str, str]]:
        status = views.status(cluster, now)
        return status.state, {node.name: node.state for node in status.nodes}

    async def heard(*names: str) -> None:
        for name in names:
            agent = first.agents[name]
            agent.clusters, agent.wait = second.clusters, 0
            await agent.once()
        await second.clusters.tick()

    try:
        assert told() == ("checking", dict.fromkeys(("n1", "n2", "n3"), "checking"))
        await heard("n1", "n2")
        assert told() == ("checking", {"n1": "ready", "n2": "ready", "n3": "checking"})
        now += AWAY_SECONDS
        await heard("n1", "n2")
        assert told()[0] == "checking"
        now += 1
        await heard("n1", "n2")
        assert told() == ("away", {"n1": "ready", "n2": "ready", "n3": "away"})
        await heard("n3")
        now += 5
        await heard("n1", "n2", "n3")
        assert told() == ("ready", dict.fromkeys(("n1", "n2", "n3"), "ready"))
    finally:
        await second.close()

"""Tasks that run and that their networks do not know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pxeserver.agent.join.steps.swarm_bindings import Bindings, start_again

NOW = datetime(2026, 3, 1, 12, 1, 0, tzinfo=UTC)
SERVICE = {
    "ID": "s1",
    "Version": {"Index": 17},
    "Spec": {"Name": "shop_web", "TaskTemplate": {"ForceUpdate": 2}},
}
PEERS = [{"Name": "a", "IP": "10.0.0.1"}]


def task(
    name: str, since: str = "12:00:00.123456789", state: str = "running", driver: str = "overlay"
) -> Any:
    network = {"ID": "front", "DriverState": {"Name": driver}}
    status = {"State": state, "Timestamp": f"2026-03-01T{since}Z"}
    return {"ID": name, "Status": status, "NetworksAttachments": [{"Network": network}]}


class Engine:
    """Answers as the engine does, and keeps what is posted."""

    def __init__(self, tasks: list[Any], known: list[str], peers: Any = PEERS) -> None:
        self.tasks, self.posted = tasks, []  # type: ignore[var-annotated]
        rows = [{"Name": f"shop_web.1.{name}"} for name in known]
        self.network = {"Peers": peers, **({"Services": {"shop_web": {"Tasks": rows}}} if rows else {})}

    def listed(self, path: str, query: Any = None, **filters: str) -> list[Any]:
        assert (path, filters) == ("/tasks", {"service": "s1"})
        return self.tasks

    def find(self, path: str, query: Any = None) -> Any:
        assert (path, query) == ("/networks/front", {"verbose": True})
        return self.network

    def post(self, *what: Any) -> None:
        self.posted.append(what)


def lost(engine: Any) -> tuple[list[str], list[str]]:
    late, early = Bindings(engine).lost(SERVICE, NOW)
    return [t["ID"] for t in late], [t["ID"] for t in early]


def test_tasks_that_their_network_knows_are_well() -> None:
    assert lost(Engine([task("t1"), task("t2")], ["t1", "t2"])) == ([], [])


@pytest.mark.parametrize("known", [["t1"], []])
def test_a_task_that_its_network_does_not_know_is_lost_after_a_while(known: list[str]) -> None:
    unknown = [name for name in ("t1", "t2") if name not in known]
    assert lost(Engine([task("t1"), task("t2")], known)) == (unknown, [])
    assert lost(Engine([task("t1"), task("t2", "12:00:40Z"[:-1])], ["t1"])) == ([], ["t2"])


def test_nothing_is_said_of_tasks_and_networks_that_cannot_be_known() -> None:
    assert lost(Engine([task("t1", state="starting"), task("t2", driver="macvlan")], [])) == ([], [])
    assert lost(Engine([task("t1")], [], peers=None)) == ([], [])


def test_starting_again_changes_nothing_else() -> None:
    engine: Any = Engine([], [])
    start_again(engine, SERVICE)
    spec = {"Name": "shop_web", "TaskTemplate": {"ForceUpdate": 3}}
    assert engine.posted == [("/services/s1/update", spec, {"version": 17})]
    assert SERVICE["Spec"]["TaskTemplate"] == {"ForceUpdate": 2}  # type: ignore[index]

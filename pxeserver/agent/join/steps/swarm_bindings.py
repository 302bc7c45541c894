"""Whether the tasks that run are known to their overlay networks.

The engine makes a task known (its names, its place behind published ports) when it has become healthy.
Where the start is interrupted before, as by a change of the Swarm's leader, the task runs on unfound: no name
leads to it and no published port. Nothing in the engine mends that but another task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pxeserver.agent.join.steps.engine import Engine

Service = Mapping[str, Any]
Task = Mapping[str, Any]
GRACE = timedelta(seconds=30)
"""So long a task may run before its networks know it: what one node knows travels by gossip."""


class Bindings:
    """What this node knows of the tasks on the overlay networks that it is on itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, set[str] | None] = {}

    def lost(self, service: Service, now: datetime | None = None) -> tuple[list[Task], list[Task]]:
        """The service's running tasks that a network does not know: for longer than GRACE, and the others."""
        tasks: list[Task] = [*self._engine.listed("/tasks", service=service["ID"])]
        unknown = [task for task in tasks if task["Status"]["State"] == "running" and not self._bound(task)]
        limit = (now or datetime.now(UTC)) - GRACE
        late = [task for task in unknown if _since(task) < limit]
        return late, [task for task in unknown if task not in late]

    def _bound(self, task: Task) -> bool:
        return all(
            known is None or task["ID"] in known
            for known in map(self._tasks_on, _overlays(task.get("NetworksAttachments") or ()))
        )

    def _tasks_on(self, network: str) -> set[str] | None:
        """The ids of the tasks that a network knows; None where this node is not on it and cannot tell."""
        if network not in self._known:
            found = self._engine.find(f"/networks/{network}", {"verbose": True}) or {}
            # Peers are told only of networks that this node is on; without tasks there are no Services.
            self._known[network] = (
                _ids((found.get("Services") or {}).values()) if found.get("Peers") else None
            )
        return self._known[network]


def start_again(engine: Engine, service: Service) -> None:
    """Let other tasks take the place of a service's tasks, as its update_config says."""
    spec = dict(service["Spec"])
    template = dict(spec["TaskTemplate"])
    spec["TaskTemplate"] = template | {"ForceUpdate": int(template.get("ForceUpdate") or 0) + 1}
    engine.post(f"/services/{service['ID']}/update", spec, {"version": service["Version"]["Index"]})


def _overlays(attachments: Iterable[Mapping[str, Any]]) -> list[str]:
    networks = (attachment["Network"] for attachment in attachments)
    return [n["ID"] for n in networks if (n.get("DriverState") or {}).get("Name") == "overlay"]


def _ids(services: Iterable[Mapping[str, Any]]) -> set[str]:
    """A task's container is named SERVICE.SLOT.TASK."""
    tasks = (task for service in services for task in service.get("Tasks") or ())
    return {task["Name"].rpartition(".")[2] for task in tasks}


def _since(task: Task) -> datetime:
    """When a task began to run; the engine tells nanoseconds, which Python does not read."""
    text = task["Status"]["Timestamp"]
    return datetime.fromisoformat(text.partition(".")[0].removesuffix("Z") + "+00:00")

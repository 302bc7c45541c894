"""Ids that members tell of themselves; the Swarm itself is in tests/cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps.engine import Engine
from pxeserver.agent.join.steps.swarm_members import SwarmMembers


class Untouched:
    """No question may reach the engine."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def member(name: str, node_id: str, role: str) -> dict[str, Any]:
    return {"node_id": node_id, "name": name, "role": role, "availability": "active", "labels": {}}


@pytest.mark.parametrize("verb", ["check", "apply"])
def test_a_worker_that_says_it_is_a_manager_has_nobody_demoted(verb: str) -> None:
    want = {"members": [member("n1", "a1", "manager"), member("n4", "a1", "worker")], "gone": [], "rotate": 0}
    step = SwarmMembers(cast("Engine", Untouched()))
    with pytest.raises(StepFailed, match="n1 and n4 both say that they are node a1"):
        step.check(want) if verb == "check" else step.apply(want, print)

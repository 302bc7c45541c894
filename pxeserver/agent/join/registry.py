"""Which module holds which step. A step's module is loaded when it is used first: an agent in the discovery
system needs none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from pxeserver.agent.join.step import Step, StepFailed

_HOME = "pxeserver.agent.join.steps"
MODULES: Mapping[str, str] = {
    "clock": "clock",
    "identity": "identity",
    "packages": "packages",
    "network": "network",
    "routers": "routers",
    "brick": "brick",
    "pool": "pool",
    "mount": "mount",
    "docker": "docker",
    "swarm-init": "swarm_init",
    "swarm-join": "swarm_join",
    "swarm-members": "swarm_members",
    "networks": "networks",
    "swarm-networks": "swarm_networks",
    "images": "images",
    "compose": "compose",
    "stacks": "stacks",
    "gate": "gate",
}
MENDED = frozenset({"identity", "network", "routers", "brick", "mount", "docker", "networks", "compose"})
"""What the agent mends by itself while the server is away: it concerns this node alone and loses no data."""

RENEWED = frozenset({"pool"})
"""Steps whose facts change by themselves: a look tells them anew."""
_SWARM = ("swarm-members", "swarm-networks", "stacks")
RESTING = {"swarm-init": _SWARM, "swarm-join": _SWARM, "brick": ("pool",)}
"""When one of these is undone, what this node did for all goes with it."""


class Registry:
    """The steps of this agent, by name. `made` gives steps that need to be told something."""

    def __init__(self, made: Mapping[str, Callable[[], Step]] | None = None) -> None:
        self._made = dict(made or {})
        self._steps: dict[str, Step] = {}

    def step(self, name: str) -> Step:
        """The step of this name. StepFailed where this agent has none."""
        if name not in self._steps:
            self._steps[name] = self._made[name]() if name in self._made else _load(name)
        return self._steps[name]


def _load(name: str) -> Step:
    try:
        module = importlib.import_module(f"{_HOME}.{MODULES[name]}")
    except (KeyError, ModuleNotFoundError):
        raise StepFailed(f"this agent has no step {name}: it is older than the server", retry=False) from None
    for found in vars(module).values():
        mine = isinstance(found, type) and found.__module__ == module.__name__
        if mine and getattr(found, "name", None) == name:
            return cast("Step", cast("Any", found)())
    raise StepFailed(f"this agent has no step {name}", retry=False)

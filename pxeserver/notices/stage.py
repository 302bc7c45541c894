"""The parts that tell people of alarms, and how they fit together."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from pxeserver.live import Hall
from pxeserver.notices.post import Post
from pxeserver.notices.targets import Targets
from pxeserver.notices.watch import Sources, Watch
from pxeserver.postinstall import views
from pxeserver.postinstall.agents import AgentsStage
from pxeserver.postinstall.clusters import Clusters
from pxeserver.storage.secretbox import SecretBox

KEY_FILE = "notifications.key"
"""In the state folder; in no backup."""


@dataclass(frozen=True, slots=True)
class NoticesStage:
    """Who is told, and what is noticed."""

    post: Post
    watch: Watch

    @classmethod
    def build(cls, hall: Hall, sources: Sources) -> NoticesStage:
        """Make the parts. OSError, ValueError as SecretBox.open."""
        post = Post(Targets(hall, SecretBox.open(sources.state_dir / KEY_FILE)))
        return cls(post, Watch(sources, post.tell))

    def endless(self) -> list[Awaitable[None]]:
        """What runs until the end."""
        return [self.post.run(), self.watch.run()]


def sources(hall: Hall, state_dir: Path, worker: object, agents: AgentsStage, clusters: Clusters) -> Sources:
    """Where the control process looks."""

    def frozen() -> dict[str, str]:
        found = ((node.name, agents.roll.frozen(node)) for node in hall.nodes())
        return {name: why for name, why in found if why}

    def states() -> dict[str, str]:
        now = time.time()
        return {name: views.status(one, now).state for name, one in clusters.running.items()}

    return Sources(hall, state_dir, worker.seen, frozen, states)  # type: ignore[attr-defined]

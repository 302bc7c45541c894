"""Step pool: the trusted pool and its volume, seen to by one member for all.

Members are probed from here, so that nobody needs a secret to join. A brick that does not serve is started,
and what it lacks is healed from the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pxeserver.agent.join.command import run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import gluster
from pxeserver.agent.join.steps.gluster import Volume

CONNECT_SECONDS, ONLINE_SECONDS, HEAL_SECONDS = 60.0, 20.0, 60.0


class Pool:
    """The step."""

    name = "pool"

    def check(self, want: Want) -> list[Drift]:
        """Members, the volume's bricks and options, and whether every brick serves."""
        if not gluster.running():
            return [Drift("glusterd", "running", "not running")]
        name = want["volume"]
        volume = gluster.volume(name)
        if volume is None:
            return [Drift(f"volume {name}", "started", "missing")]
        drift = _members_drift(want)
        if set(volume.bricks) != set(bricks(want)):
            drift.append(
                Drift(f"bricks of {name}", ", ".join(bricks(want)), ", ".join(sorted(volume.bricks)))
            )
        if volume.status != "Started":
            return [*drift, Drift(f"volume {name}", "started", volume.status.lower())]
        for key, value in want["options"].items():
            if volume.options.get(key) != value:
                drift.append(Drift(f"option {key} of {name}", value, volume.options.get(key, "unset")))
        return drift + [Drift(f"brick {brick}", "serving", "not serving") for brick in _away(name)]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring members, volume, options and bricks about."""
        _probe(want, tell)
        name = want["volume"]
        volume = gluster.volume(name)
        if volume is None:
            _create(want, tell)
        elif set(volume.bricks) != set(bricks(want)):
            _change_bricks(want, volume, tell)
        volume = _there(name)
        for key, value in want["options"].items():
            if volume.options.get(key) != value:
                gluster.command("volume", "set", name, key, value)
        if volume.status != "Started":
            tell(f"starting volume {name}")
            gluster.command("volume", "start", name, timeout=120)
        _bring_online(want, tell)
        _detach(want, tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The volume's id, how many entries wait to be healed, and which members lack them."""
        alone = len(want["bricks"]) == 1  # nothing heals a single brick, and GlusterFS refuses to be asked
        counts = {bricks(want)[0]: 0} if alone else pending(want["volume"])
        nodes = {f"{brick['address']}:{brick['path']}": brick["node"] for brick in want["bricks"]}
        return {
            "volume_id": _there(want["volume"]).id,
            # Every brick that is well notes the same entries for those that lack them.
            "healing": max(counts.values()) if counts else -1,
            "behind": sorted(nodes[brick] for brick in behind(counts) if brick in nodes),
        }

    def undo(self, want: Want, tell: Tell) -> None:
        """Remove the volume and dissolve the pool. The bricks' data goes with the step brick."""
        if not gluster.running():
            return
        name = want["volume"]
        volume = gluster.volume(name)
        if volume is not None:
            tell(f"removing volume {name}")
            if volume.status == "Started":
                gluster.command("volume", "stop", name, "force", timeout=120)
            gluster.command("volume", "delete", name, timeout=120)
        for peer in gluster.peers().values():
            gluster.command("peer", "detach", peer.address, "force", timeout=60)


def bricks(want: Want) -> list[str]:
    """The bricks as GlusterFS names them, the arbiter last."""
    rows = sorted(want["bricks"], key=lambda brick: brick["arbiter"])
    return [f"{brick['address']}:{brick['path']}" for brick in rows]


def pending(volume: str) -> dict[str, int]:
    """Per brick how many entries it has noted that others lack; none where it cannot be told."""
    done = run("gluster", "--mode=script", "volume", "heal", volume, "info", "summary", timeout=30)
    counts, brick = {}, ""
    for line in done.out.splitlines() if done.ok else ():
        if line.startswith("Brick "):
            brick = line.removeprefix("Brick ").strip()
        elif line.startswith("Total") and brick:
            told = line.partition(":")[2].strip()
            counts[brick] = int(told) if told.isdigit() else 0
    return counts


def behind(counts: Mapping[str, int]) -> list[str]:
    """The bricks that lack something: while others have noted entries, those that have not, or are away."""
    return sorted(brick for brick, count in counts.items() if not count) if any(counts.values()) else []


def _there(name: str) -> Volume:
    volume = gluster.volume(name)
    if volume is None:
        raise StepFailed(f"volume {name} is not there")
    return volume


def _others(want: Want) -> list[Mapping[str, Any]]:
    own = gluster.own_uuid()
    return [peer for peer in want["peers"] if peer["uuid"] != own]


def _members_drift(want: Want) -> list[Drift]:
    there = gluster.peers()
    drift = []
    for peer in _others(want):
        have = there.get(peer["uuid"])
        if have is None or not have.ready:
            state = "missing" if have is None else have.state if have.connected else "not connected"
            drift.append(Drift(f"GlusterFS peer {peer['name']}", "connected", state))
    known = {peer["uuid"] for peer in want["peers"]}
    spare = [peer for uuid, peer in there.items() if uuid not in known]
    return drift + [Drift(f"GlusterFS peer {peer.address}", "none", peer.state) for peer in spare]


def _probe(want: Want, tell: Tell) -> None:
    """Have every member connected. One that is known and lost its memory is probed again."""
    for peer in _others(want):
        have = gluster.peers().get(peer["uuid"])
        if have is None or not have.ready:
            tell(f"probing {peer['name']} at {peer['address']}")
            gluster.command("peer", "probe", peer["address"], timeout=60)

    def connected() -> bool:
        there = gluster.peers()
        wanted = [there.get(peer["uuid"]) for peer in _others(want)]
        return all(peer is not None and peer.ready for peer in wanted)

    names = ", ".join(peer["name"] for peer in _others(want))
    gluster.until(connected, CONNECT_SECONDS, f"not all of {names} are in the GlusterFS pool")


def _create(want: Want, tell: Tell) -> None:
    name, replicas = want["volume"], int(want["replicas"])
    tell(f"creating volume {name} of {len(want['bricks'])} bricks")
    words = ["volume", "create", name]
    if replicas > 1:
        words += ["replica", str(replicas)]
        words += ["arbiter", "1"] if want["arbiter"] else []
    gluster.command(*words, *bricks(want), timeout=120)


def _change_bricks(want: Want, volume: Volume, tell: Tell) -> None:
    """Replace, add and remove bricks; what is replaced heals from the others."""
    name = want["volume"]
    new = [brick for brick in bricks(want) if brick not in volume.bricks]
    old = [brick for brick in volume.bricks if brick not in bricks(want)]
    for former, later in zip(old, new, strict=False):
        tell(f"{later} takes the place of {former}")
        gluster.command("volume", "replace-brick", name, former, later, "commit", "force", timeout=120)
    count = len(volume.bricks)
    for brick in new[len(old) :]:
        count += 1
        tell(f"adding {brick}")
        gluster.command("volume", "add-brick", name, "replica", str(count), brick, timeout=120)
    for brick in old[len(new) :]:
        count -= 1
        tell(f"removing {brick}")
        words = ("volume", "remove-brick", name, "replica", str(count), brick, "force")
        gluster.command(*words, timeout=120)


def _bring_online(want: Want, tell: Tell) -> None:
    name = want["volume"]
    if not (away := _away(name)):
        return
    tell(f"starting {', '.join(away)}")
    gluster.command("volume", "start", name, "force", timeout=120)
    if left := _wait_online(name):
        raise StepFailed(f"{', '.join(left)} does not serve: /var/log/glusterfs/bricks on its node says why")
    # The heal daemon of a node that has just come back needs a moment.
    words = ("gluster", "--mode=script", "volume", "heal", name, "full")
    gluster.until(lambda: run(*words, timeout=60).ok, HEAL_SECONDS, f"volume {name} does not begin to heal")


def _away(name: str) -> list[str]:
    """The bricks that do not serve; of a node that is away nothing is told."""
    serving = gluster.online(name)
    return [brick for brick in sorted(_there(name).bricks) if not serving.get(brick)]


def _wait_online(name: str) -> list[str]:
    end = time.monotonic() + ONLINE_SECONDS
    while (away := _away(name)) and time.monotonic() < end:
        time.sleep(1)
    return away


def _detach(want: Want, tell: Tell) -> None:
    known = {peer["uuid"] for peer in want["peers"]}
    for uuid, peer in gluster.peers().items():
        if uuid not in known:
            tell(f"{peer.address} leaves the pool")
            gluster.command("peer", "detach", peer.address, "force", timeout=60)

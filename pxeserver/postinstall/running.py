"""One cluster as it runs: what was applied, who belongs to it, and the coordinator that brings it there.

In memory and without waiting. What changes is taken with `take` to be written, and put back where that
failed; until it is written, no answer that rests on it may leave.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from pxeserver.postinstall.adjustments import Adjustments
from pxeserver.postinstall.coordinator import Coordinator, Handed
from pxeserver.postinstall.goal import departed, wants
from pxeserver.postinstall.healing import Healing, VolumeWatch, healing
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.leader import JOIN, SWARM_MEMBERS, leader, node_id, swarm_id, token
from pxeserver.postinstall.ledger import Changes
from pxeserver.postinstall.plan import waiting
from pxeserver.postinstall.polls import Progress, Report, drift_of
from pxeserver.postinstall.spec import ClusterSpec, Source
from pxeserver.postinstall.work import APPLY, Facts, Json, Status, StepKey, StepState
from pxeserver.storage.clusters import ClusterRecord, MemberRecord

AIM_SHARE = 0.05
"""Working out the goal of one cluster takes at most this share of a processor: large goals are made less
often.
"""
AIM_SECONDS = 0.05
"""And the goal is not made more often than so."""
DRIFT_SECONDS = 60.0
"""When a node was looked at last is written no more often, as long as nothing else is found."""
_LONGEST_PAUSE = 30.0
_GATHERED = 4096


@dataclass(slots=True)
class Pending:
    """What is to be written of a cluster."""

    steps: Changes = field(default_factory=Changes)
    record: bool = False
    members: set[str] = field(default_factory=set)
    departed: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.steps or self.record or self.members or self.departed)

    def before(self, later: Pending) -> Pending:
        """This, and what came later."""
        self.steps.add(later.steps)
        return Pending(
            self.steps,
            self.record or later.record,
            (self.members | later.members) - later.departed,
            self.departed | later.departed,
        )


class RunningCluster:
    """A cluster. `images` tells per image name where nodes fetch it."""

    def __init__(
        self,
        record: ClusterRecord,
        members: Mapping[str, MemberRecord],
        states: Iterable[StepState],
        now: float,
        *,
        images: Callable[[], Mapping[str, Json]] = dict,
        chance: Callable[[], float] = random.random,
        frozen: Callable[[str], str] = lambda _: "",
    ) -> None:
        """ValueError where the record was written by a release that is not understood."""
        self.members = dict(members)
        self.progress: dict[str, Progress] = {}
        self.pending = Pending()
        self.notes: tuple[str, ...] = ()
        """What the cluster waits for beside its steps."""
        self.stale = True
        self.over = False
        """Everything was taken down, and nobody is left."""
        self._images = images
        self._asked = False
        self._basis: Any = None
        self._not_before = 0.0
        self._seen: frozenset[str] = frozenset()
        self._volume = VolumeWatch(now)
        self.frozen = frozen
        """Why nobody may speak for a node; "" where somebody may."""
        self.coordinator = Coordinator(
            states,
            now,
            new_id=lambda: secrets.token_hex(8),
            random=chance,
            boots={name: member.boot for name, member in self.members.items()},
        )
        context = record.context
        self.leader: str | None = context.get("leader")
        self.gone: tuple[str, ...] = tuple(context.get("gone", ()))
        self.rotations: int = context.get("rotations", 0)
        self._window: bool = context.get("window", False)
        self.take_up(record)

    def take_up(self, record: ClusterRecord) -> None:
        """This is applied from now on. ValueError as for making one."""
        self.spec = msgspec.convert(record.spec, ClusterSpec)
        self.layout = msgspec.convert(record.layout, Layout)
        self.adjusted = msgspec.convert(record.context.get("adjusted", {}), Adjustments)
        self.record = record
        self.notes = tuple(waiting(self.wanted, self.layout))
        if record.state == "stopped":
            self.coordinator.stop("stopped")
        else:
            self.coordinator.go()
        self.stale = True

    def written(self) -> ClusterRecord:
        """The record of what is in memory."""
        context = {
            "adjusted": msgspec.to_builtins(self.adjusted),
            "leader": self.leader,
            "gone": list(self.gone),
            "rotations": self.rotations,
            "window": self._window,
        }
        return replace(self.record, layout=msgspec.to_builtins(self.layout), context=context)

    def standing(self, node: str) -> str:
        """What a member is to the cluster: active, drained, leaving or lost."""
        if node in self.layout.lost:
            return "lost"
        if node in self.layout.leaving:
            return "leaving"
        return "drained" if node in self.wanted.members.drain else "active"

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def wanted(self) -> ClusterSpec:
        """The spec, with what people have said of members since."""
        return self.adjusted.of(self.spec)

    @property
    def facts(self) -> Facts:
        """What its steps have told, and what only the server knows."""
        images = self._images() if self.spec.images else {}
        return Facts.of(
            self.coordinator.states.values(),
            gone=self.gone,
            rotations=self.rotations,
            images={name: told for name, told in images.items() if name in self.spec.images},
        )

    # -------------------------------------------------------------------------------- the goal

    def aim(self, now: float, *, at_once: bool = False) -> bool:
        """Work the goal out anew where the facts have changed and it is due; whether it was."""
        due = now >= self._not_before or now < self._not_before - _LONGEST_PAUSE  # a clock that was set back
        if not self.stale or not (due or at_once):
            return False
        begun = time.monotonic()
        self.stale = False
        aimed = False
        while self._aim_once(now):
            aimed = True
        took = time.monotonic() - begun
        self._not_before = now + min(max(AIM_SECONDS, took / AIM_SHARE), _LONGEST_PAUSE)
        return aimed

    def _aim_once(self, now: float) -> bool:
        facts, spec = self.facts, self.wanted
        self._seen = self.present(now)
        lead = leader(self.layout, self._seen, facts, self.leader)
        basis = (facts, lead, self.layout, spec)
        changed = basis != self._basis
        if changed:
            self._basis = basis
            self.coordinator.aim(wants(spec, self.layout, facts, lead), now)
            if lead != self.leader:
                self.leader, self.pending.record = lead, True
            self._turn_tokens()
            self._ask_for_token(facts, lead)
        # The last step to settle may tell nothing new.
        left = departed(self.layout, self.coordinator.goal, self.coordinator.states)
        if left:
            self.layout = self.layout.without(left)
            self.pending.record = True
            self.pending.departed.update(left)
            for name in left:
                self.members.pop(name, None)
                self.coordinator.drop(name)
        self.over = spec.destroy and not self.layout.everyone
        self.pending.record |= self.over
        return changed or bool(left)

    def _ask_for_token(self, facts: Facts, lead: str | None) -> None:
        """The key that the database's secrets were sealed with may be lost, and the token that workers join
        with so with it: the leader tells it again. Asked once.
        """
        lost = lead is not None and swarm_id(self.layout, facts) and not token(self.layout, facts, lead)
        if lost and lead is not None and not self._asked:
            self._asked = True
            self.coordinator.again([StepKey(lead, SWARM_MEMBERS)], "the server has lost the join token")

    def _turn_tokens(self) -> None:
        """The workers' token is changed when the last of those that are to join has joined."""
        goal = self.coordinator.goal
        joins = [k for k, want in goal.items() if k.step == JOIN and want.verb == APPLY]
        open_ = any(not self.coordinator.ledger.settled(key) for key in joins)
        if open_ and not self._window:
            self._window, self.pending.record = True, True
        elif self._window and joins and not open_:
            self._window, self.pending.record = False, True
            self.rotations += 1
            self.stale = True

    def present(self, now: float) -> frozenset[str]:
        """The members that are not away."""
        return frozenset(n for n in self.layout.everyone if not self.coordinator.away(n, now))

    def tick(self, now: float) -> None:
        """Time has passed."""
        self.coordinator.tick(now)
        if (present := self.present(now)) != self._seen:
            self._volume.member_came_or_went(now)
        if present != self._seen or self.coordinator.ledger.changes:
            self.stale = True
        self._volume.tick(self.coordinator, now)

    @property
    def healing(self) -> Healing | None:
        """How far its volume has healed; None while it has none that heals."""
        storage = self.spec.storage
        return healing(self.coordinator, storage.volume) if storage is not None else None

    # -------------------------------------------------------------------------------- the nodes

    def poll(self, node: str, report: Report, now: float) -> Handed:
        """A node's agent reports and asks."""
        if report.progress is not None:
            self.progress[node] = report.progress
        else:
            self.progress.pop(node, None)
        self._keep_drift(node, report, now)
        doing = report.progress.id if report.progress is not None else ""
        handed = self.coordinator.poll(node, report.instance, report.done, now, doing=doing, boot=report.boot)
        if self.coordinator.ledger.changes:
            self.stale = True
        return handed

    def _keep_drift(self, node: str, report: Report, now: float) -> None:
        member = self.members.get(node)
        if member is None:
            return
        lines = member.drift
        if report.drift is not None:
            lines = tuple(msgspec.to_builtins(line) for line in report.drift)
        for result in report.done:
            if result.ok and (step := self.coordinator.looked_at(node, result.id)):
                lines = tuple(line for line in lines if line["step"] != step) + drift_of(step, result.facts)
                member = replace(member, drift_at=now)
            elif result.ok and (step := self.coordinator.worked_at(node, result.id)):
                lines = tuple(line for line in lines if line["step"] != step)  # found before it was applied
        if report.drift is not None and (member.drift_at is None or now > member.drift_at + DRIFT_SECONDS):
            member = replace(member, drift_at=now)
        # What is being undone, or was another leader's to do, has not drifted.
        lines = tuple(line for line in lines if self._applied(StepKey(node, str(line["step"]))))
        member = replace(member, drift=lines)
        if member != self.members[node]:
            self.members[node] = member
            self.pending.members.add(node)

    def _applied(self, key: StepKey) -> bool:
        want = self.coordinator.goal.get(key)
        return want is not None and want.verb == APPLY

    def came_anew(self, node: str, now: float) -> None:
        """A node's agent holds a new key: what was done on it is not there any more."""
        if (known := node_id(self.facts, node)) and known not in self.gone:
            self.gone = (*self.gone, known)[-_GATHERED:]
            self.pending.record = True
        self.coordinator.forget(node, now)
        self.stale = True

    def mend(self) -> list[StepKey]:
        """Apply again what was found to have drifted; the keys of these steps."""
        keys = [StepKey(n, str(line["step"])) for n, m in self.members.items() for line in m.drift]
        mended = self.coordinator.again(dict.fromkeys(keys), "it was found to have drifted")
        for name in {key.node for key in mended}:
            steps = {key.step for key in mended if key.node == name}
            left = tuple(line for line in self.members[name].drift if line["step"] not in steps)
            self.members[name] = replace(self.members[name], drift=left)
            self.pending.members.add(name)
        return mended

    # -------------------------------------------------------------------------------- writing

    def take(self) -> Pending:
        """What is to be written now."""
        changes = self.coordinator.changes()
        for name, boot in changes.boots.items():
            if (member := self.members.get(name)) is not None:
                self.members[name] = replace(member, boot=boot)
                self.pending.members.add(name)
        self.pending.steps.add(changes)
        pending, self.pending = self.pending, Pending()
        return pending

    def put_back(self, pending: Pending) -> None:
        """It could not be written."""
        self.pending = pending.before(self.pending)

    @property
    def dirty(self) -> bool:
        """Whether something is to be written."""
        return bool(self.pending or self.coordinator.ledger.changes)

    def condition(self, now: float) -> str:
        """The cluster in one word: destroying, stopped, failed, away, working, checking, drifted, or ready.

        checking: everything is done as far as is known, and of some members nothing was heard since the
        server started.
        """
        states = [self.coordinator.states[key] for key in self.coordinator.goal]
        if self.record.state == "stopped":
            return "stopped"
        if any(state.status is Status.FAILED for state in states):
            return "failed"
        if self.wanted.destroy:
            return "destroying"
        if len(self.present(now)) < len(self.layout.everyone):
            return "away"
        unfinished = not states or not self.coordinator.finished or self.layout.leaving
        if self.stale or unfinished or self.notes:
            return "working"
        if any(self.coordinator.last_seen(name) is None for name in self.layout.everyone):
            return "checking"
        return "drifted" if any(member.drift for member in self.members.values()) else "ready"


def spec_json(spec: ClusterSpec) -> dict[str, Any]:
    """A spec for the database: without where its keys stood in the file."""
    plain: dict[str, Any] = msgspec.to_builtins(replace(spec, source=Source()))
    return plain

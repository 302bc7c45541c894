"""A cluster in which everything can go wrong, on a virtual clock: a server that dies, agents that are killed,
machines that lose their power or their network, steps that fail, answers that are lost, doubled or late.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pxeserver.postinstall.coordinator import Coordinator, Handed
from pxeserver.postinstall.work import (
    APPLY,
    UNDO,
    Goal,
    Json,
    Result,
    Status,
    StepKey,
    StepState,
    Want,
    Work,
    digest,
)

HOLD_SECONDS = 5.0
"""How often an idle agent asks: the server's long poll, shortened."""


@dataclass
class Chances:
    """How likely each mishap is, per event."""

    answer_lost: float = 0.0
    die_before_write: float = 0.0
    die_after_write: float = 0.0
    kill: float = 0.0
    power: float = 0.0
    away: float = 0.0
    fail: float = 0.0
    hopeless: float = 0.0
    hang: float = 0.0
    double: float = 0.0


@dataclass
class Machine:
    """A node: what is really on it, and its agent."""

    name: str
    boot: str = "boot-0"
    instance: str = "agent-0"
    there: dict[str, str] = field(default_factory=dict)
    """Step -> digest of what was applied, as it really is."""
    work: Work | None = None
    ends: float = 0.0
    results: list[Result] = field(default_factory=list)
    old: list[Result] = field(default_factory=list)
    away_until: float = 0.0
    applied: int = 0


def chain(nodes: int, *, version: int = 1, destroy: bool = False, facts: dict[StepKey, Json]) -> Goal:
    """A goal of the real one's shape: steps in a row on each node, one step that needs all nodes, and one
    that is only wanted once the founder has told its facts. With `destroy`, all in reverse.
    """
    names = [f"n{i}" for i in range(1, nodes + 1)]
    first = names[0]
    goal: dict[StepKey, Want] = {}

    def put(node: str, step: str, after: Iterable[StepKey], **params: object) -> None:
        key = StepKey(node, step)
        goal[key] = Want({"step": step, **params}, after=frozenset(after), timeout=30, tries=4)

    for name in names:
        put(name, "identity", ())
        put(name, "network", [StepKey(name, "identity")], version=version)
        put(name, "brick", [StepKey(name, "network")])
        put(name, "docker", [StepKey(name, "network")], version=version)
    put(first, "pool", [StepKey(n, "brick") for n in names], bricks=names)
    put(first, "swarm-init", [StepKey(first, "docker")])
    told = facts.get(StepKey(first, "swarm-init"))
    for name in names:
        put(name, "mount", [StepKey(name, "network"), StepKey(first, "pool")])
        if told and name != first:
            after = [StepKey(name, "docker"), StepKey(first, "swarm-init")]
            put(name, "swarm-join", after, swarm=told["swarm_id"])
    if not destroy:
        return goal
    back: dict[StepKey, set[StepKey]] = {key: set() for key in goal}
    for key, want in goal.items():
        for earlier in want.after:
            back[earlier].add(key)
    return {
        key: Want({"step": key.step}, after=frozenset(back[key]), verb=UNDO, timeout=30, tries=4)
        for key in reversed(goal)
    }


class World:
    """Runs one cluster. `aim(facts)` gives the goal; mishaps happen until `calm` is called."""

    def __init__(self, seed: int, nodes: int, chances: Chances, goal: Callable[[dict[StepKey, Json]], Goal]):
        self.random = random.Random(seed)
        self.now = 1000.0
        self.chances = chances
        self.goal_of = goal
        self.disk: dict[StepKey, StepState] = {}
        self.boots: dict[str, str] = {}
        self.ids = itertools.count(1)
        self.machines = {f"n{i}": Machine(f"n{i}") for i in range(1, nodes + 1)}
        self.coordinator = self._load()
        self.events: list[tuple[float, int, str]] = []
        self.order = itertools.count()
        self.restarts = self.kills = self.writes = 0
        self.hopeless: set[StepKey] = set()
        for name in self.machines:
            self._later(self.random.uniform(0, 2), name)

    # ------------------------------------------------------------------------------------ the server

    def _load(self) -> Coordinator:
        coordinator = Coordinator(
            self.disk.values(),
            self.now,
            new_id=lambda: f"w{next(self.ids)}",
            random=self.random.random,
            boots=self.boots,
        )
        self._aim(coordinator)
        return coordinator

    def _aim(self, coordinator: Coordinator) -> None:
        facts = {k: s.facts for k, s in coordinator.states.items() if s.facts}
        coordinator.aim(self.goal_of(facts), self.now)

    def _write(self) -> None:
        changes = self.coordinator.changes()
        self.writes += bool(changes)
        self.disk.update(changes.steps)
        self.boots.update(changes.boots)

    def restart(self) -> None:
        """The server dies and comes back with what is on its disk."""
        self.restarts += 1
        self.coordinator = self._load()

    def aim_at(self, goal: Callable[[dict[StepKey, Json]], Goal]) -> None:
        """A person applies something else."""
        self.goal_of = goal
        self._aim(self.coordinator)
        self._write()

    def _serve(self, machine: Machine, results: list[Result]) -> Handed | None:
        """One poll; None where no answer reaches the agent."""
        doing = machine.work.id if machine.work else ""
        facts_before = {k: s.facts for k, s in self.coordinator.states.items()}
        handed = self.coordinator.poll(
            machine.name, machine.instance, results, self.now, doing=doing, boot=machine.boot
        )
        if any(s.facts != facts_before.get(k) for k, s in self.coordinator.states.items()):
            self._aim(self.coordinator)
        if self._happens(self.chances.die_before_write):
            self.restart()
            return None
        self._write()
        if self._happens(self.chances.die_after_write):
            self.restart()
            return None
        if handed.work is not None and handed.work.verb in (APPLY, UNDO):
            state = self.disk[StepKey(machine.name, handed.work.step)]
            assert (state.status, state.work_id) == (Status.RUNNING, handed.work.id)
            if state.started == self.now:
                assert self.coordinator.ledger.unmet(state.key) == []
        return None if self._happens(self.chances.answer_lost) else handed

    # ------------------------------------------------------------------------------------ the nodes

    def _poll(self, machine: Machine) -> None:
        if machine.work is not None and self.now >= machine.ends:
            self._finish(machine, machine.work)
        sent = list(machine.results)
        if machine.old and self._happens(self.chances.double):
            sent.append(self.random.choice(machine.old))
        handed = self._serve(machine, sent)
        if handed is None:
            return
        machine.old = (machine.old + machine.results)[-5:]
        machine.results = [r for r in machine.results if r not in sent]
        if handed.work is not None and not any(r.id == handed.work.id for r in machine.results):
            assert machine.work is None or machine.work.id == handed.work.id, "two works at a time"
            if machine.work is None:
                machine.work = handed.work
                slow = 500 if self._happens(self.chances.hang) else 0
                machine.ends = self.now + self.random.uniform(0.2, 6) + slow
        elif machine.work is not None and machine.work.id in handed.cancel:
            machine.work = None

    def _finish(self, machine: Machine, work: Work) -> None:
        machine.work = None
        key = StepKey(machine.name, work.step)
        if key in self.hopeless or self._happens(self.chances.fail):
            hopeless = key in self.hopeless or self._happens(self.chances.hopeless)
            machine.results.append(Result(work.id, False, reason="it broke", retry=not hopeless))
            return
        if work.verb == UNDO:
            machine.there.pop(work.step, None)
            machine.results.append(Result(work.id, True, changed=True))
            return
        wanted = digest(work.verb, work.want)
        changed = machine.there.get(work.step) != wanted
        machine.there[work.step] = wanted
        machine.applied += changed
        facts = {"swarm_id": "s1"} if work.step == "swarm-init" else {}
        machine.results.append(Result(work.id, True, changed=changed, facts=facts, log=("done",)))

    def _mishap(self, machine: Machine) -> None:
        if self._happens(self.chances.kill):
            self._kill(machine)
        if self._happens(self.chances.power):
            self._kill(machine)
            machine.boot = f"boot-{next(self.ids)}"
            machine.there = {s: d for s, d in machine.there.items() if self.random.random() < 0.5}
            machine.away_until = self.now + self.random.uniform(5, 90)
        if self._happens(self.chances.away):
            machine.away_until = self.now + self.random.uniform(30, 300)

    def _kill(self, machine: Machine) -> None:
        """The agent ends: what it was at is half done, what it had not told yet is lost."""
        self.kills += 1
        machine.instance = f"agent-{next(self.ids)}"
        if machine.work is not None and self.random.random() < 0.5:
            machine.there.pop(machine.work.step, None)
        machine.work, machine.results, machine.old = None, [], []

    # ------------------------------------------------------------------------------------ time

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.events and self.events[0][0] <= until:
            self.now, _, name = heapq.heappop(self.events)
            machine = self.machines[name]
            self.coordinator.tick(self.now)
            self._write()
            if self.now >= machine.away_until:
                self._poll(machine)
            self._mishap(machine)
            busy = machine.work is not None or machine.results or self.coordinator.woken()
            self._later(self.random.uniform(0.5, 1.5) if busy else HOLD_SECONDS, name)
        self.now = until

    def calm(self) -> None:
        """No more mishaps."""
        self.chances = Chances()
        for machine in self.machines.values():
            machine.ends = min(machine.ends, self.now + 10)

    def _later(self, seconds: float, name: str) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order), name))

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    # ------------------------------------------------------------------------------------ the end

    def faults(self) -> list[str]:
        """What is neither as planned nor a stated failure, nor kept waiting by one."""
        ledger = self.coordinator.ledger
        failed = {k for k, s in ledger.states.items() if s.status is Status.FAILED}
        excused = set(failed)
        while True:
            more = {k for k, w in ledger.goal.items() if k not in excused and w.after & excused}
            if not more:
                break
            excused |= more
        found = [f"{k} has failed without a reason" for k in failed if not ledger.states[k].reason]
        for key, want in ledger.goal.items():
            there = self.machines[key.node].there.get(key.step)
            if key in excused:
                continue
            if not ledger.settled(key):
                found.append(f"{key} is {ledger.states[key]}")
            elif there != (ledger.digests[key] if want.verb == APPLY else None):
                found.append(f"{key} is settled and {there} is there")
        if self.disk != dict(ledger.states):
            found.append("not everything is on the disk")
        return found

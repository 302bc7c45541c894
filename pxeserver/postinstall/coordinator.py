"""Who does what next: hands the steps of one cluster to its nodes, one piece of work a node at a time.

No clock, no network, no database: `now` is an argument, results come in by `poll`, and what has to be on disk
before an answer leaves is taken with `changes`. A coordinator made from the states that were written goes on
where the old one stopped: work that was in hand keeps its id, an agent that knows it goes on with it, and one
that does not is given it again.

A step runs when everything it comes after has been done as it is wanted now, and when it has not itself been
done so. What may be tried again is, later each time; what may not, and what has been tried often enough, has
failed with its reason until the want changes or a person says `retry`. A node that was not heard of for
AWAY_SECONDS is away: that is no failure, its step goes on when it is back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pxeserver.postinstall.ledger import Changes, Ledger
from pxeserver.postinstall.work import APPLY, CHECK, Goal, Result, Status, StepKey, StepState, Work

AWAY_SECONDS = 60.0
"""A node that was silent for so long is away."""
GRACE_SECONDS = 15.0
"""On top of a step's own time-out, which the agent keeps: for the way there and back."""
HAND_AGAIN_SECONDS = 2.0
"""An agent that does not speak of the work it was given has not got it; but answers may cross."""
CHECK_SECONDS = 60.0
"""A look at one step may take so long."""
BEGUN_AGAIN = "the machine was started again: everything on it is looked at once more"
KILLED = "the agent ended each time while it was at this step"


@dataclass(frozen=True, slots=True)
class Handed:
    """What a node is told: its work, and the works that it is to leave."""

    work: Work | None = None
    cancel: tuple[str, ...] = ()


@dataclass(slots=True)
class _Node:
    """What is known of a node's agent; all but `boot` is learned again after a restart."""

    seen: float
    boot: str = ""
    instance: str = ""
    heard: bool = False
    doing: str = ""
    """The work that the agent says it is at."""
    running: StepKey | None = None
    given_to: str = ""
    given_at: float = 0.0
    deadline: float = 0.0
    to_check: deque[StepKey] = field(default_factory=deque)
    checking: Work | None = None
    check_until: float = 0.0


class Coordinator:
    """The steps of one cluster. `new_id` makes ids of works, `random` gives numbers from 0 up to 1."""

    def __init__(
        self,
        states: Iterable[StepState],
        now: float,
        *,
        new_id: Callable[[], str],
        random: Callable[[], float],
        boots: Mapping[str, str] | None = None,
    ) -> None:
        self.ledger = Ledger(states, random)
        self.stopped = False
        self._new_id = new_id
        self._began = now
        self._nodes: dict[str, _Node] = {}
        for name, boot in (boots or {}).items():
            self._node(name).boot = boot
        for key, state in self.states.items():
            if state.status is Status.RUNNING:
                node = self._node(key.node)
                node.running, node.deadline = key, now + GRACE_SECONDS

    @property
    def states(self) -> Mapping[StepKey, StepState]:
        """Where each step stands."""
        return self.ledger.states

    @property
    def goal(self) -> Goal:
        """What is wanted."""
        return self.ledger.goal

    @property
    def finished(self) -> bool:
        """Whether everything that is wanted has been done."""
        return all(self.ledger.settled(key) for key in self.goal)

    # -------------------------------------------------------------------------------- orders

    def aim(self, goal: Goal, now: float) -> None:
        """Want this from now on. Keys that it does not name stay as they are."""
        self.ledger.aim(goal, now)
        for node in self._nodes.values():
            if node.running is not None:
                node.deadline = max(node.deadline, self._began + self._time_of(node.running))

    def stop(self, why: str) -> None:
        """Begin nothing more, and have the nodes leave what they are at, until `go`."""
        self.stopped = True
        for node in self._nodes.values():
            if (state := self._running(node)) is not None:
                self.ledger.put(
                    replace(state, status=Status.WAITING, work_id="", tries=0, not_before=0.0, reason=why)
                )
            node.to_check.clear()
        self.ledger.woken.update(self._nodes)

    def go(self) -> None:
        """Begin work again."""
        self.stopped = False
        self.ledger.woken.update(self.ledger.by_node)

    def retry(self) -> list[StepKey]:
        """Try again what has failed, and at once what waits for its next try; the keys of these steps."""
        return self.ledger.retry()

    def again(self, keys: Iterable[StepKey], why: str) -> list[StepKey]:
        """Apply these steps once more although they are done; the keys of those that are."""
        return self.ledger.again(keys, why)

    def forget(self, node: str, now: float) -> None:
        """Nothing of what was done on this node is there any more: its agent holds a new key."""
        self.ledger.forget(node, now)

    def drop(self, node: str) -> None:
        """This node is no member any more: nothing of it is kept."""
        self.ledger.drop(node)
        self._nodes.pop(node, None)

    def check(self, nodes: Iterable[str]) -> int:
        """Have these nodes look whether what was done is still so; how many steps will be looked at."""
        count = 0
        for name in nodes:
            keys = [key for key in self.ledger.by_node.get(name, ()) if self._checkable(key)]
            self._node(name).to_check = deque(keys)
            self.ledger.woken.add(name)
            count += len(keys)
        return count

    def look(self, key: StepKey) -> None:
        """Have one step looked at, where it is done and nobody is about to look."""
        if key not in self.goal or not self._checkable(key):
            return
        node = self._node(key.node)
        looking = node.checking is not None and node.checking.step == key.step
        if not looking and key not in node.to_check:
            node.to_check.append(key)
            self.ledger.woken.add(key.node)

    def _checkable(self, key: StepKey) -> bool:
        return self.goal[key].verb == APPLY and self.states[key].status is Status.DONE

    # -------------------------------------------------------------------------------- the nodes

    def poll(
        self, name: str, instance: str, done: Iterable[Result], now: float, *, doing: str = "", boot: str = ""
    ) -> Handed:
        """A node's agent reports and asks. `doing` is the id of the work that it is at, "" where it is idle.

        Results of works that are unknown, settled or no longer wanted change nothing.
        """
        node = self._node(name)
        if self.away(name, now) and node.running is not None:
            node.deadline = now + self._time_of(node.running)
        node.seen, node.heard, node.doing = now, True, doing
        for result in done:
            self._take(name, node, result, now)
        if boot and boot != node.boot:
            if node.boot:
                self._begun_again(name)
            node.boot = self.ledger.changes.boots[name] = boot
        node.instance = instance
        work = self._work_for(name, node, now)
        known = {state.work_id} if (state := self._running(node)) is not None else set()
        known |= {node.checking.id} if node.checking is not None else set()
        return Handed(work, (doing,) if doing and doing not in known else ())

    def _begun_again(self, name: str) -> None:
        """What lived in the machine's memory is gone."""
        keys = [key for key in self.ledger.by_node.get(name, ()) if self.goal[key].verb == APPLY]
        self.ledger.again(keys, BEGUN_AGAIN)

    def _take(self, name: str, node: _Node, result: Result, now: float) -> None:
        if node.checking is not None and node.checking.id == result.id:
            if isinstance(told := result.facts.get("facts"), Mapping):
                self.ledger.learn(StepKey(name, node.checking.step), told)
            node.checking = None
            return
        state = self._running(node)
        if state is None or state.work_id != result.id:
            return
        if result.ok:
            self.ledger.end(state, result, now)
        else:
            reason = result.reason or "the agent gave no reason"
            self.ledger.fail(state, reason, now, log=result.log, retry=result.retry)

    def _work_for(self, name: str, node: _Node, now: float) -> Work | None:
        if (state := self._running(node)) is not None:
            return self._hand_again(name, node, state, now)
        if node.checking is not None:
            if now > node.check_until:
                node.checking = None
            elif self._knows(node, node.checking.id, now, HAND_AGAIN_SECONDS):
                return None
            elif node.given_to == node.instance:
                node.given_at = now
                return node.checking
            else:
                node.checking = None  # an agent that ended in it is not asked to look again
        if node.doing:
            return None  # it is still at something that nobody wants any more: one work at a time
        return self._next(name, node, now)

    def _next(self, name: str, node: _Node, now: float) -> Work | None:
        if self.stopped:
            return None
        for key in self.ledger.by_node.get(name, ()):
            if self.ledger.ready(key, now):
                node.running = key
                return self._hand(node, self.ledger.begin(key, self._new_id(), now), now)
        if node.to_check:
            return self._begin_check(node, now)
        return None

    def _hand(self, node: _Node, state: StepState, now: float) -> Work:
        want = self.goal[state.key]
        node.given_to, node.given_at = node.instance, now
        node.deadline = now + self._time_of(state.key)
        return Work(state.work_id, state.key.step, want.verb, want.params, want.timeout, want.secrets)

    def _hand_again(self, name: str, node: _Node, state: StepState, now: float) -> Work | None:
        want = self.goal.get(state.key)
        if want is None or self._knows(node, state.work_id, now, HAND_AGAIN_SECONDS):
            return None
        if state.digest != self.ledger.digests[state.key]:
            # Something else is wanted by now, and nobody is at what was wanted before.
            self.ledger.renew(state)
            return self._next(name, node, now)
        if node.given_to and node.given_to != node.instance:
            # An agent that ends in this step each time must not be given it for ever.
            if state.tries >= want.tries:
                self.ledger.fail(state, KILLED, now)
                return None
            state = self.ledger.put(replace(state, tries=state.tries + 1))
        return self._hand(node, state, now)

    def _knows(self, node: _Node, work_id: str, now: float, seconds: float) -> bool:
        """Whether the agent is at this work, or has to leave another first, or may still get this one."""
        if node.doing == work_id:
            node.given_to = node.instance
        return bool(node.doing) or (node.given_to == node.instance and now < node.given_at + seconds)

    def _begin_check(self, node: _Node, now: float) -> Work | None:
        while node.to_check:
            key = node.to_check.popleft()
            if key in self.goal and self._checkable(key):
                want = self.goal[key]
                node.given_to, node.given_at = node.instance, now
                node.check_until = now + CHECK_SECONDS + GRACE_SECONDS
                node.checking = Work(
                    self._new_id(), key.step, CHECK, want.params, CHECK_SECONDS, want.secrets
                )
                return node.checking
        return None

    # -------------------------------------------------------------------------------- time

    def tick(self, now: float) -> None:
        """Time has passed: give up works that take too long on nodes that are there."""
        for name, node in self._nodes.items():
            state = self._running(node)
            if state is None or now <= node.deadline or self.away(name, now):
                continue
            took = f"nothing came of it within {self._time_of(state.key):.0f} s"
            self.ledger.fail(state, took, now)
            self.ledger.woken.add(name)

    def away(self, name: str, now: float) -> bool:
        """Whether nothing was heard of this node for AWAY_SECONDS."""
        return now - self._node(name).seen > AWAY_SECONDS

    def looked_at(self, name: str, work_id: str) -> str:
        """The step that this node was looking at for drift by this work; "" where it was not."""
        node = self._nodes.get(name)
        look = node.checking if node is not None else None
        return look.step if look is not None and look.id == work_id else ""

    def worked_at(self, name: str, work_id: str) -> str:
        """The step that this node was applying or undoing by this work; "" where it was not."""
        node = self._nodes.get(name)
        state = self._running(node) if node is not None else None
        return state.key.step if state is not None and state.work_id == work_id else ""

    def last_seen(self, name: str) -> float | None:
        """When this node was heard last; None: not since this coordinator was made."""
        node = self._nodes.get(name)
        return node.seen if node is not None and node.heard else None

    def next_timer(self) -> float | None:
        """When `tick`, or a poll of an idle node, can next change something."""
        times = [node.deadline for node in self._nodes.values() if self._running(node) is not None]
        waiting = (state for state in self.states.values() if state.status is Status.WAITING)
        times += [state.not_before for state in waiting if state.not_before]
        return min(times, default=None)

    def next_try(self, name: str, now: float) -> float | None:
        """When a poll of this node may be handed something that it is not handed now."""
        keys = self.ledger.by_node.get(name, ())
        times = [t for key in keys if (t := self.states[key].not_before) > now]
        node = self._node(name)
        if not node.doing and (node.running is not None or node.checking is not None):
            times.append(max(now, node.given_at) + HAND_AGAIN_SECONDS)
        return min(times, default=None)

    def changes(self) -> Changes:
        """What has changed since this was asked last."""
        changes, self.ledger.changes = self.ledger.changes, Changes()
        return changes

    def woken(self) -> set[str]:
        """Nodes for which there may be something to do since this was asked last."""
        woken, self.ledger.woken = self.ledger.woken, set()
        return woken

    def _running(self, node: _Node) -> StepState | None:
        """The step that this node is at, as far as it is still to be."""
        state = self.states.get(node.running) if node.running is not None else None
        if state is None or state.status is not Status.RUNNING:
            node.running = None
            return None
        return state

    def _time_of(self, key: StepKey) -> float:
        want = self.goal.get(key)
        return (want.timeout if want is not None else 0.0) + GRACE_SECONDS

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node(self._began))

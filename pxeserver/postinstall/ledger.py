"""Where every step of one cluster stands, against what is wanted of it. Knows no nodes, hands out nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pxeserver.postinstall.work import APPLY, UNDO, Goal, Json, Result, Status, StepKey, StepState, Want

BACKOFF_SECONDS = (2.0, 60.0)
"""The first pause before another try, and the longest; it doubles, less up to a half at random."""
LOG_LINES = 200
"""Newest lines of a step's log that are kept."""
OTHER_KEY = "the node came with a new key: nothing that was done on it is taken for granted"


@dataclass(slots=True)
class Changes:
    """What has to be on disk before the next answer leaves."""

    steps: dict[StepKey, StepState] = field(default_factory=dict)
    boots: dict[str, str] = field(default_factory=dict)
    """The kernel's boot id of each node that was started again."""

    def __bool__(self) -> bool:
        return bool(self.steps or self.boots)

    def add(self, other: Changes) -> None:
        """Take later changes in."""
        self.steps.update(other.steps)
        self.boots.update(other.boots)


class Ledger:
    """The states of all steps, and the goal they are held against."""

    def __init__(self, states: Iterable[StepState], random: Callable[[], float]) -> None:
        self.states: dict[StepKey, StepState] = {state.key: state for state in states}
        self.goal: Goal = {}
        self.digests: dict[StepKey, str] = {}
        self.by_node: dict[str, list[StepKey]] = {}
        """The keys of the goal, by node and in its order."""
        self.changes = Changes()
        self.woken: set[str] = set()
        """Nodes for which there may be something to do now."""
        self._needed_by: dict[StepKey, set[str]] = {}
        self._random = random

    def put(self, state: StepState) -> StepState:
        """Keep a state, and remember that it has to be written."""
        self.states[state.key] = self.changes.steps[state.key] = state
        return state

    # -------------------------------------------------------------------------------- what is wanted

    def aim(self, goal: Goal, now: float) -> None:
        """Want this from now on. Keys that it does not name stay as they are."""
        self.digests = {key: self._digest(key, want) for key, want in goal.items()}
        self.goal, self.by_node, self._needed_by = goal, {}, {}
        for key, want in goal.items():
            self.by_node.setdefault(key.node, []).append(key)
            for earlier in want.after:
                self._needed_by.setdefault(earlier, set()).add(key.node)
            self._aim_at(key, want, now)
        self.woken.update(node for node in self.by_node if self._unsettled(node))

    def _digest(self, key: StepKey, want: Want) -> str:
        old = self.goal.get(key)
        if old is not None and old.verb == want.verb and old.params == want.params:
            return self.digests[key]  # a comparison costs a tenth of a digest
        return want.digest()

    def _aim_at(self, key: StepKey, want: Want, now: float) -> None:
        old, wanted = self.states.get(key), self.digests[key]
        if want.verb == UNDO and (old is None or _untouched(old)):
            if old is None or old.status is not Status.GONE:
                self.put(StepState(key, Status.GONE, UNDO, wanted, finished=now))
        elif old is None:
            self.put(StepState(key, verb=want.verb, digest=wanted))
        elif old.digest == wanted or (old.status is Status.RUNNING and old.verb == want.verb):
            pass  # one that runs is let finish: what it comes to is then only what was wanted before
        else:
            self._await(old, want, wanted)

    def _await(self, old: StepState, want: Want, wanted: str) -> None:
        """A step waits for what is wanted now; or is done, where that is what was applied before."""
        as_before = want.verb == APPLY and old.applied == wanted and old.tries == 0
        self.put(
            replace(
                old,
                status=Status.DONE if as_before else Status.WAITING,
                verb=want.verb,
                digest=wanted,
                work_id="",
                tries=0,
                not_before=0.0,
                reason="",
            )
        )

    def retry(self) -> list[StepKey]:
        """Try again what has failed, and at once what waits for its next try; the keys of these steps."""
        tried = []
        for key in self.goal:
            state = self.states[key]
            if state.status is Status.FAILED or (state.status is Status.WAITING and state.not_before):
                self.put(replace(state, status=Status.WAITING, tries=0, not_before=0.0))
                tried.append(key)
        self.woken.update(key.node for key in tried)
        return tried

    def again(self, keys: Iterable[StepKey], why: str) -> list[StepKey]:
        """Apply these steps once more although they are done; the keys of those that are."""
        found = []
        for key in keys:
            state = self.states.get(key)
            if key in self.goal and state is not None and state.status is Status.DONE:
                self.put(replace(state, status=Status.WAITING, tries=0, applied="", reason=why))
                found.append(key)
        self.woken.update(key.node for key in found)
        return found

    def forget(self, node: str, now: float) -> None:
        """Nothing of what was done on this node is there any more."""
        for key in [key for key in self.states if key.node == node]:
            want = self.goal.get(key)
            if want is None or want.verb == UNDO:
                self.put(StepState(key, Status.GONE, UNDO, self.digests.get(key, ""), finished=now))
            else:
                self.put(StepState(key, verb=want.verb, digest=self.digests[key], reason=OTHER_KEY))
        self.woken.add(node)

    def drop(self, node: str) -> None:
        """Keep nothing of this node."""
        for key in [key for key in self.states if key.node == node]:
            del self.states[key]
            self.changes.steps.pop(key, None)

    # -------------------------------------------------------------------------------- what becomes of it

    def begin(self, key: StepKey, work_id: str, now: float) -> StepState:
        """A step is handed out."""
        state, want = self.states[key], self.goal[key]
        return self.put(
            replace(
                state,
                status=Status.RUNNING,
                verb=want.verb,
                digest=self.digests[key],
                params=want.params if want.verb == APPLY else state.params,
                work_id=work_id,
                tries=state.tries + 1,
                started=now,
                finished=0.0,
                not_before=0.0,
            )
        )

    def end(self, state: StepState, result: Result, now: float) -> None:
        """A step that ran has come to what it was to."""
        ended = replace(state, finished=now, reason="", work_id="", log=_newest(result.log))
        if state.verb == UNDO:
            # What it had told stays known: others may have to forget this node by it.
            ended = replace(ended, status=Status.GONE, applied="")
        else:
            ended = replace(
                ended,
                status=Status.DONE,
                applied=state.digest,
                facts=result.facts,
                secrets=result.secrets or state.secrets,
                changed=result.changed,
            )
        self.put(ended)
        self._follow(state.key)
        self.woken |= self._needed_by.get(state.key, set())

    def learn(self, key: StepKey, facts: Json) -> None:
        """A look at a step has told its facts anew."""
        state = self.states.get(key)
        if state is not None and state.status is Status.DONE and {**state.facts, **facts} != state.facts:
            self.put(replace(state, facts={**state.facts, **facts}))

    def fail(
        self, state: StepState, reason: str, now: float, *, log: Iterable[str] = (), retry: bool = True
    ) -> None:
        """A try of a step has failed; the step itself, where no other try is due."""
        want = self.goal.get(state.key)
        again = retry and (want is None or state.tries < want.tries)
        self.put(
            replace(
                state,
                status=Status.WAITING if again else Status.FAILED,
                work_id="",
                finished=now,
                reason=reason,
                log=_newest(log) or state.log,
                not_before=now + self._pause(state.tries) if again else 0.0,
            )
        )
        self._follow(state.key)

    def renew(self, state: StepState) -> None:
        """A step that was begun waits for what is wanted of it now."""
        self._await(replace(state, tries=max(state.tries, 1)), self.goal[state.key], self.digests[state.key])

    def _follow(self, key: StepKey) -> None:
        """Where something else is wanted by now than what has just ended, that comes next."""
        state = self.states[key]
        if key in self.goal and self.digests[key] != state.digest:
            self.renew(state)

    def _pause(self, tries: int) -> float:
        first, longest = BACKOFF_SECONDS
        return min(longest, first * 2.0 ** min(tries - 1, 16)) * (1 - self._random() / 2)

    # -------------------------------------------------------------------------------- looking

    def settled(self, key: StepKey) -> bool:
        """Whether a step has come to what is wanted of it now."""
        want, state = self.goal.get(key), self.states.get(key)
        if state is None:
            return False
        if want is None:
            return state.status in (Status.DONE, Status.GONE)
        if want.verb == UNDO:
            return state.status is Status.GONE
        return state.status is Status.DONE and state.applied == self.digests[key]

    def unmet(self, key: StepKey) -> list[StepKey]:
        """What this step still waits for."""
        return sorted(earlier for earlier in self.goal[key].after if not self.settled(earlier))

    def ready(self, key: StepKey, now: float) -> bool:
        """Whether a step may begin."""
        state = self.states[key]
        if state.status is not Status.WAITING or state.not_before > now:
            return False
        return all(self.settled(earlier) for earlier in self.goal[key].after)

    def _unsettled(self, name: str) -> bool:
        return any(not self.settled(key) for key in self.by_node.get(name, ()))


def _untouched(state: StepState) -> bool:
    """Whether nothing was ever begun of this step, or everything of it is undone."""
    return state.status is Status.GONE or not (state.applied or state.started)


def _newest(log: Iterable[str]) -> tuple[str, ...]:
    return tuple(log)[-LOG_LINES:]

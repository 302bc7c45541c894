"""Carrying work out: one piece at a time, in a thread, with a time-out; its log is kept, its secrets are not.

The thread also looks, between works, whether what was applied still holds, and mends it while the server is
away. What came of a work is kept until the server has acknowledged it; an agent that is killed gets the work
again.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pxeserver.agent.join.command import limits
from pxeserver.agent.join.registry import MENDED, RENEWED, RESTING, Registry
from pxeserver.agent.join.secret import Blackout
from pxeserver.agent.join.state import LastWant, State
from pxeserver.agent.join.step import SECRETS, Drift, Step, StepFailed, TellsFacts

LOG_LINES = 300
_LATE = 10.0
"""Seconds after its time-out until a work is told to have failed although its thread has not ended."""
HOPELESS = 60.0
"""Seconds after that until the agent has itself started anew: a thread cannot be killed."""


@dataclass(slots=True)
class Job:
    """One piece of work in hand."""

    id: str
    step: str
    verb: str
    want: Mapping[str, Any]
    sealed: str | None
    timeout: float
    ends: float = 0.0
    lines: list[str] = field(default_factory=list)
    given_up: threading.Event = field(default_factory=threading.Event)
    told: bool = False
    """Its result is known, though its thread may still be busy with it."""

    @classmethod
    def of(cls, work: Mapping[str, Any]) -> Job:
        """A work as the server sends it. ValueError, KeyError, TypeError where it is none."""
        verb = str(work["verb"])
        if verb not in ("apply", "check", "undo"):
            raise ValueError(f"{verb} is no verb")
        sealed = work.get("sealed")
        want = dict(work["want"])
        timeout = max(1.0, float(work.get("timeout") or 120.0))
        return cls(str(work["id"]), str(work["step"]), verb, want, sealed, timeout)


class Runner:
    """The one worker thread. `opens` opens what was sealed to this node; `say` is for the node's journal."""

    def __init__(
        self,
        registry: Registry,
        state: State,
        opens: Callable[[str], Mapping[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self._registry, self._state, self._opens, self._say = registry, state, opens, say
        self._blackout = Blackout()
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._results: dict[str, dict[str, Any]] = {}
        self._drift: list[dict[str, str]] | None = None
        self._looking = False
        self.unsettled = False
        """Whether the newest look was to mend, and something was left: it may need others that come later."""
        self.took = 0.0
        """Seconds of the newest look."""
        self.news = threading.Event()
        """Set when a result or a look is there."""
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    # ------------------------------------------------------------------------------------------ from outside

    def take(self, work: Mapping[str, Any]) -> None:
        """Begin a work, unless it is in hand or done already."""
        try:
            job = Job.of(work)
        except (KeyError, TypeError, ValueError) as error:
            self._settle(str(work.get("id", "")), {"ok": False, "reason": f"malformed work: {error}"})
            return
        with self._lock:
            busy = self._job is not None and not self._job.told
            if job.id in self._results or (self._job is not None and self._job.id == job.id):
                return
            if busy and self._job is not None:
                # The server has given up on that one: it hands out one at a time.
                self._job.given_up.set()
            self._job = job
            job.ends = time.monotonic() + job.timeout
        self._waiting.put(lambda: self._carry_out(job))

    def cancel(self, ids: list[str]) -> None:
        """Nobody wants these any more."""
        with self._lock:
            if self._job is not None and self._job.id in ids:
                self._job.given_up.set()

    def look(self, *, mend: bool) -> None:
        """Compare every step with its last want, in the thread, when it is free."""
        with self._lock:
            if self._looking or (self._job is not None and not self._job.told):
                return
            self._looking = True
        self._waiting.put(lambda: self._look(mend))

    @property
    def busy(self) -> bool:
        """Whether a work is in hand."""
        job = self._job
        return job is not None and not job.told

    def results(self) -> list[dict[str, Any]]:
        """What is to be told; it stays until `acknowledged`."""
        self._overdue()
        with self._lock:
            return list(self._results.values())

    def acknowledged(self, results: list[dict[str, Any]]) -> None:
        """The server has these."""
        with self._lock:
            for result in results:
                self._results.pop(result["id"], None)

    def progress(self) -> dict[str, Any] | None:
        """How far the work in hand is."""
        job = self._job
        if job is None or job.told:
            return None
        text = job.lines[-1] if job.lines else f"{job.verb} {job.step}"
        return {"id": job.id, "text": text, "fraction": None}

    def drift(self) -> list[dict[str, str]] | None:
        """What the newest look found; None where that was told already."""
        found, self._drift = self._drift, None
        return found

    def drift_untold(self, drift: list[dict[str, str]] | None) -> None:
        """It did not reach the server."""
        self._drift = self._drift if self._drift is not None else drift

    def hopeless(self) -> bool:
        """Whether the thread hangs in a work that was given up long ago."""
        job = self._job
        return job is not None and job.told and time.monotonic() > job.ends + _LATE + HOPELESS

    def check_steps(self, names: list[str]) -> list[Drift]:
        """What differs from the last wants of these steps; a step without one differs."""
        found: list[Drift] = []
        for name in names:
            last = self._state.want(name)
            if last is None:
                found.append(Drift(f"step {name}", "applied", "missing"))
                continue
            found += self._registry.step(name).check(self._whole(last.want, last.sealed))
        return found

    # ------------------------------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        while True:
            self._waiting.get()()
            self.news.set()

    def _carry_out(self, job: Job) -> None:
        limits.deadline, limits.given_up = job.ends, job.given_up

        def tell(line: str) -> None:
            text = self._blackout(line.rstrip())[:1000]
            if len(job.lines) < LOG_LINES:
                job.lines.append(text)
            self._say(f"{job.step}: {text}")

        try:
            result = self._perform(job, tell)
        except StepFailed as failed:
            result = {"ok": False, "reason": self._blackout(failed.reason), "retry": failed.retry}
        except Exception as error:  # noqa: BLE001 - a fault in a step must not end the agent
            for line in traceback.format_exc().splitlines()[-12:]:
                tell(line)
            reason = self._blackout(f"{type(error).__name__}: {error}")
            result = {"ok": False, "reason": f"the step has a fault: {reason}", "retry": True}
        finally:
            limits.deadline, limits.given_up = float("inf"), None
        if not result["ok"]:
            self._say(f"{job.step}: {job.verb} failed: {result['reason']}")
        with self._lock:
            if job.told:
                self._job = None if self._job is job else self._job
                return
            job.told = True
            self._job = None if self._job is job else self._job
        self._settle(job.id, result | {"log": list(job.lines)})

    def _perform(self, job: Job, tell: Callable[[str], None]) -> dict[str, Any]:
        step = self._registry.step(job.step)
        want = self._whole(job.want, job.sealed)
        if job.verb == "undo":
            step.undo(want, tell)
            for name in (*RESTING.get(job.step, ()), job.step):
                self._state.forget_want(name)
            return {"ok": True, "changed": True, "facts": {}, "secrets": {}}
        drift = step.check(want)
        if job.verb == "check":
            facts: dict[str, Any] = {"drift": _told(job.step, drift)}
            if job.step in RENEWED and isinstance(step, TellsFacts):
                facts["facts"] = dict(step.facts(want))
            return {"ok": True, "changed": False, "facts": facts, "secrets": {}}
        facts = self._apply(step, want, drift, tell)
        secrets = facts.pop(SECRETS, {}) or {}
        self._blackout.learn(secrets)
        self._state.keep_want(LastWant(job.step, job.want, job.sealed))
        return {"ok": True, "changed": bool(drift), "facts": facts, "secrets": secrets}

    @staticmethod
    def _apply(
        step: Step, want: Mapping[str, Any], drift: list[Drift], tell: Callable[[str], None]
    ) -> dict[str, Any]:
        if not drift and isinstance(step, TellsFacts):
            return dict(step.facts(want))
        for one in drift:
            tell(f"{one.what}: {one.have} -> {one.want}")
        facts = dict(step.apply(want, tell) or {})
        left = step.check(want) if drift else []
        if left:
            texts = "; ".join(f"{one.what} is {one.have}, not {one.want}" for one in left[:5])
            raise StepFailed(f"applied, and still: {texts}")
        return facts

    def _look(self, mend: bool) -> None:
        found: list[dict[str, str]] = []
        begin = time.monotonic()
        try:
            for last in self._state.wants():
                limits.deadline = time.monotonic() + 60
                found += self._look_at(last, mend=mend and last.step in MENDED)
        finally:
            limits.deadline = float("inf")
            self.unsettled = mend and any(one["step"] in MENDED for one in found)
            self.took = time.monotonic() - begin
            self._drift, self._looking = found, False

    def _look_at(self, last: LastWant, *, mend: bool) -> list[dict[str, str]]:
        try:
            step = self._registry.step(last.step)
            want = self._whole(last.want, last.sealed)
            drift = step.check(want)
            if drift and mend:
                self._say(f"{last.step}: not as wanted, and the server is away: mending it")
                limits.deadline = time.monotonic() + 300
                step.apply(want, lambda line: self._say(f"{last.step}: {self._blackout(line)}"))
                drift = step.check(want)
        except StepFailed as failed:
            drift = [Drift(f"step {last.step}", "checked", self._blackout(failed.reason))]
        except Exception as error:  # noqa: BLE001 - one step's fault must not hide the others' drift
            drift = [
                Drift(f"step {last.step}", "checked", self._blackout(f"{type(error).__name__}: {error}"))
            ]
        return _told(last.step, drift)

    def _whole(self, want: Mapping[str, Any], sealed: str | None) -> dict[str, Any]:
        """The want with its secrets."""
        if sealed is None:
            return dict(want)
        try:
            secrets = self._opens(sealed)
        except ValueError as error:
            raise StepFailed(f"its secrets cannot be opened: {error}") from error
        self._blackout.learn(secrets)
        return {**want, **secrets}

    # ------------------------------------------------------------------------------------------ results

    def _overdue(self) -> None:
        with self._lock:
            job = self._job
            if job is None or job.told or time.monotonic() < job.ends + _LATE:
                return
            job.told = True
            job.given_up.set()
        reason = f"it did not end within {job.timeout:.0f} s"
        self._settle(job.id, {"ok": False, "reason": reason, "retry": True, "log": list(job.lines)})

    def _settle(self, work: str, result: dict[str, Any]) -> None:
        with self._lock:
            self._results[work] = {"id": work, **result}
        self.news.set()


def _told(step: str, drift: list[Drift]) -> list[dict[str, str]]:
    return [{"step": step, "what": d.what, "want": d.want, "have": d.have} for d in drift]

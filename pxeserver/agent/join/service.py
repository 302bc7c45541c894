"""The agent's life: meet the server, claim, poll, work; and go on checking and mending while it is away."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pxeserver.agent.join.claim import Keys, NotYet, claim
from pxeserver.agent.join.client import Away, Client, Refused
from pxeserver.agent.join.clock import SLEW_FROM, Clock, boot_id
from pxeserver.agent.join.facts import gather
from pxeserver.agent.join.runner import Runner
from pxeserver.agent.join.secret import Secret
from pxeserver.agent.join.state import Membership, State

HELD = 20.0
"""Seconds that an idle poll is held."""
BUSY = 2.0
"""Seconds between polls while a work is in hand; its end is told at once."""
LOOK = 60.0
"""Seconds between two looks whether all is as wanted."""
SHARE = 20.0
"""A look that takes long, on a slow or a busy machine, is repeated after so many times its length."""
SOON = 10.0
"""And after one that could not mend everything."""
AWAY = 30.0
"""Seconds without the server after which the agent mends by itself."""
_LONGEST_PAUSE = 15.0
_REFUSED = 20.0
"""Seconds until a refused claim or a frozen node asks again: a person may have changed that."""
_FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Config:
    """How to reach the server, and by what right to claim."""

    server: str
    """HOST:PORT."""
    ca: str
    attempt: str = ""
    token: Secret | None = None


class Service:
    """Runs until `stop` is set."""

    def __init__(
        self,
        config: Config,
        state: State,
        keys: Keys,
        runner: Runner,
        *,
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._config, self._state, self._keys, self._runner = config, state, keys, runner
        self._say_line = say
        self._clock = clock or Clock()
        self.client = Client(config.server, config.ca, self._clock, self._say)
        self.stop = threading.Event()
        self._membership: Membership | None = state.membership()
        self._instance = secrets.token_hex(8)
        self._facts_due = True
        self._heard = time.monotonic() - AWAY if self._membership else time.monotonic()
        self._next_look = time.monotonic()
        self._pause = 0.5
        self._said = ""

    def run(self) -> None:
        """Live until told to stop, or until only a new start helps (returns then)."""
        while not self.stop.is_set() and not self._runner.hopeless():
            try:
                self._turn()
                self._pause = 0.5
            except NotYet as not_yet:
                self._say(f"waiting: {not_yet}")
                self._rest(not_yet.seconds)
            except Away as away:
                self._say(str(away))
                self._rest(self._pause)
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            except Refused as refused:
                self._refused(refused)

    def _turn(self) -> None:
        if not self.client.met:
            boot = boot_id()
            # Once this boot has trusted a clock, others do too: from then on it is slewed, never stepped.
            self.client.meet(may_step=self._state.trusted_boot() != boot)
            self._state.keep_trusted_boot(boot)
        if self._membership is None:
            self._claim()
            return
        self._poll(self._membership)

    def _claim(self) -> None:
        config = self._config
        if not config.attempt and config.token is None:
            # An installed system claimed while it was installed.
            why = "the server does not know this agent: paste the line of `pxeserver node join-command`"
            raise NotYet(why, _REFUSED)
        granted = claim(self.client, self._keys, gather(), attempt=config.attempt, token=config.token)
        self._state.keep_membership(granted)
        self._membership = granted
        where = f", of cluster {granted.cluster}" if granted.cluster else ""
        self._say(f"this machine is node {granted.node}{where}")

    def _poll(self, membership: Membership) -> None:
        self._look_when_due()
        done, drift = self._runner.results(), self._runner.drift()
        hurry = self._runner.busy or bool(done) or drift is not None or self._facts_due
        body = {
            "instance": self._instance,
            "boot": boot_id(),
            "done": done,
            "progress": self._runner.progress(),
            "drift": drift,
            "facts": gather() if self._facts_due else None,
            "wait": 0.0 if hurry else max(1.0, min(HELD, self._next_look - time.monotonic())),
        }
        self._runner.news.clear()
        try:
            answer = self.client.poll(membership.token, body)
        except BaseException:
            self._runner.drift_untold(drift)
            raise
        self._heard = time.monotonic()
        self._say(f"node {membership.node}, in touch with {self._config.server}")
        self._facts_due = False
        self._runner.acknowledged(done)
        if abs(self.client.offset) > SLEW_FROM:
            self._clock.slew(self.client.offset)
        self._runner.cancel([str(one) for one in answer.get("cancel") or ()])
        if answer.get("work"):
            self._runner.take(answer["work"])
        if self._runner.busy:
            self._runner.news.wait(BUSY)

    def _refused(self, refused: Refused) -> None:
        if refused.status == 401 and self._membership is not None:
            self._say("the server no longer knows this agent; claiming anew")
            self._membership = None
            self._state.forget_membership()
            self._facts_due = True
            self._rest(1.0)
            return
        self._say(f"refused: {refused}")
        self._rest(_REFUSED)

    def _rest(self, seconds: float) -> None:
        """Wait, and look after the node meanwhile."""
        end = time.monotonic() + seconds
        while not self.stop.is_set() and (left := end - time.monotonic()) > 0:
            self._look_when_due()
            self.stop.wait(min(left, 1.0))

    def _look_when_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_look - (LOOK - SOON if self._runner.unsettled else 0):
            self._next_look = now + max(LOOK, SHARE * self._runner.took)
            self._runner.look(mend=now - self._heard >= AWAY)

    def _say(self, text: str) -> None:
        """Say it unless it was the last thing said, and leave it as this node's status."""
        if text != self._said:
            self._said = text
            self._say_line(text)
            self._state.tell(text)

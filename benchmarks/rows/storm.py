"""Boot storms: whole boots of many machines at once. There is no peer that does all of it."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.storm.__main__ import prepare, run


class Kind(NamedTuple):
    """One row."""

    key: str
    machines: int = 1000
    loss: float = 0.0
    """Percent."""
    talk: bool = False
    """Conversation only."""
    loop: str = "asyncio"
    shape: str = ""
    """The wire's rate."""
    admission: bool = True

    @property
    def title(self) -> str:
        """For people."""
        words = [f"{self.machines:,} machines boot at once, {self.loss:.0f} % loss"]
        words += ["conversation only"] if self.talk else []
        words += [self.loop] if self.loop != "asyncio" else []
        words += [f"{self.shape} wire"] if self.shape else []
        words += [] if self.admission else ["nobody waits for a turn"]
        return ", ".join(words)


STORMS = (
    Kind("storm-1000"),
    Kind("storm-1000-loss-1", loss=1.0),
    Kind("storm-1000-loss-5", loss=5.0),
    Kind("storm-10000-talk", 10_000, talk=True, admission=False),  # no bytes to wait for
    Kind("storm-1000-uvloop", loop="uvloop"),
    Kind("storm-1000-gigabit", shape="1gbit"),
    Kind("storm-1000-gigabit-no-turns", shape="1gbit", admission=False),
)
FULL_ONLY = ("storm-1000-loss-5", "storm-1000-gigabit", "storm-1000-gigabit-no-turns")
"""The last two need two minutes each: the wire is what takes the time."""
GIVE_UP = 240.0


def rows(bench: Bench) -> None:
    """Power on at one instant."""
    for kind in STORMS:
        if not bench.wanted(kind.key) or (bench.quick and kind.key in FULL_ONLY):
            continue
        runs = []
        for number in range(bench.repeats):
            folder = bench.work / f"{kind.key}-{number}"
            appliance = prepare(
                folder, kind.machines, event_loop=kind.loop, wire=kind.loss > 0, admission=kind.admission
            )
            try:
                runs.append(run(
                    appliance, kind.machines, loss=kind.loss, conversation=kind.talk, give_up=GIVE_UP,
                    shape=kind.shape,
                ))  # fmt: skip
            finally:
                appliance.close()
        last = runs[-1]
        share = f", wire {last['wire']['share']:.1%}" if kind.shape else ""
        bench.add({
            "key": kind.key,
            "title": kind.title,
            "kind": "storm",
            "runs": runs,
            "told": f"{last['boots_per_minute']:.0f} boots/min, to kernel {last['time_to_kernel']}, failed"
            f" {last['failures']}, client core {last['client_core_share']:.0%},"
            f" server core {last['server']['core_busy']:.0%}{share}",
        })  # fmt: skip

"""Boot storms: whole boots of many machines at once. There is no peer that does all of it."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.storm.__main__ import prepare, run

STORMS = (
    # key, machines, loss in percent, conversation only, event loop
    ("storm-1000", 1000, 0.0, False, "asyncio"),
    ("storm-1000-loss-1", 1000, 1.0, False, "asyncio"),
    ("storm-1000-loss-5", 1000, 5.0, False, "asyncio"),
    ("storm-10000-talk", 10_000, 0.0, True, "asyncio"),
    ("storm-1000-uvloop", 1000, 0.0, False, "uvloop"),
)
FULL_ONLY = ("storm-1000-loss-5",)
GIVE_UP = 240.0


def rows(bench: Bench) -> None:
    """Power on at one instant."""
    for key, machines, loss, conversation, loop in STORMS:
        if not bench.wanted(key) or (bench.quick and key in FULL_ONLY):
            continue
        runs = []
        for number in range(bench.repeats):
            folder = bench.work / f"{key}-{number}"
            appliance = prepare(folder, machines, event_loop=loop, wire=loss > 0)
            try:
                runs.append(run(appliance, machines, loss=loss, conversation=conversation, give_up=GIVE_UP))
            finally:
                appliance.close()
        title = f"{machines:,} machines boot at once, {loss:.0f} % loss" + (
            ", conversation only" if conversation else ""
        )
        title += ", uvloop" if loop == "uvloop" else ""
        last = runs[-1]
        bench.add({
            "key": key,
            "title": title,
            "kind": "storm",
            "runs": runs,
            "told": f"{last['boots_per_minute']:.0f} boots/min, to kernel {last['time_to_kernel']}, failed"
            f" {last['failures']}, client core {last['client_core_share']:.0%},"
            f" server core {last['server']['core_busy']:.0%}",
        })  # fmt: skip

"""Ends the agent with SIGKILL in the middle of its steps, or holds it there.

Python loads this file before the agent's own: the unit of a node under test has it on its path. A file
/run/points/STEP.VERB.WHERE arms a point, once: WHERE is a number of things that the step has done to its
machine, or `end`, when all is done and the agent notes that; a point that the step never comes to is met at
its end. `hold-...` in place of a number waits there until the file is gone. What was met stands in
/run/points.met.
"""

# ruff: noqa: PTH108, PTH110, PTH112, PTH123, PTH208, PLW0603

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

POINTS, MET = "/run/points", "/run/points.met"
EVENTS = {"subprocess.Popen", "socket.connect", "os.rename", "os.remove", "os.mkdir"}
VERBS = {"apply", "undo"}
NOTES = {"keep_want", "forget_want"}

_busy = False
_counts: dict[str, int] = {}


def _where(frame: FrameType | None) -> tuple[str, str, str, bool]:
    """The work that these frames carry out: id, step, verb, and whether it is at its end; "" for none."""
    inside = ending = False
    while frame is not None:
        name = frame.f_code.co_name
        ending = ending or name in NOTES
        inside = inside or (name in VERBS and "want" in frame.f_locals)
        if name == "_perform" and "job" in frame.f_locals:
            job = frame.f_locals["job"]
            wanted = job.verb in VERBS and (inside or ending)
            return (job.id, job.step, job.verb, ending) if wanted else ("", "", "", False)
        frame = frame.f_back
    return "", "", "", False


def _note(point: str) -> None:
    with open(MET, "a", encoding="utf-8") as met:
        met.write(point + "\n")
        met.flush()
        os.fsync(met.fileno())


def _meet(work: str, step: str, verb: str, *, ending: bool) -> None:
    _counts[work] = count = _counts.get(work, 0) + 1
    for point in sorted(os.listdir(POINTS)):
        if not point.startswith(f"{step}.{verb}."):
            continue
        at = point.rpartition(".")[2]
        if not ending and at.removeprefix("hold-") != str(count):
            continue
        path = f"{POINTS}/{point}"
        if "hold-" in at:
            _note(point)
            while os.path.exists(path):
                time.sleep(0.05)
            continue
        os.unlink(path)
        _note(point)
        os.kill(os.getpid(), signal.SIGKILL)


def _hook(event: str, _: object) -> None:
    global _busy
    if _busy or event not in EVENTS or not os.path.isdir(POINTS):
        return
    work, step, verb, ending = _where(sys._getframe(1))
    if not work:
        return
    _busy = True
    try:
        _meet(work, step, verb, ending=ending)
    finally:
        _busy = False


if any(word.endswith("agent.pyz") for word in sys.orig_argv):
    sys.addaudithook(_hook)

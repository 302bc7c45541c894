"""Runs one verb of one step on a node: drive.py STEP VERB, the want as JSON on standard input.

Writes {"facts", "drift", "log", "failed", "retry"} as JSON. A want's "_reached" says whether the server is
to be found away, where a test has none.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys


def main() -> int:
    name, verb = sys.argv[1:3]
    want = json.load(sys.stdin)
    module = importlib.import_module(f"pxeserver.agent.join.steps.{name.replace('-', '_')}")
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if getattr(c, "name", "") == name]
    reached = want.pop("_reached", None)
    step = classes[0]() if reached is None else classes[0](lambda _server: reached)
    told: dict[str, object] = {"log": []}
    from pxeserver.agent.join.step import StepFailed

    try:
        match verb:
            case "check":
                told["drift"] = [dataclasses.asdict(drift) for drift in step.check(want)]
            case "apply":
                told["facts"] = dict(step.apply(want, told["log"].append))
            case "undo":
                step.undo(want, told["log"].append)
    except StepFailed as why:
        told |= {"failed": why.reason, "retry": why.retry}
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

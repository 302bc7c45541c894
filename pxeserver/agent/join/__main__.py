"""The agent as a service.

    python3 -m pxeserver.agent.join            run, as systemd does
    python3 agent.pyz join --server HOST:PORT --ca SHA256
                                               install it here; the token comes on standard input
    python3 agent.pyz join --boot              the same in a system that an installer has just made: it claims
                                               at once, with the boot that the installer began with

The server is known from the kernel command line (pxeserver.agent=, pxeserver.ca=, pxeserver.url=) of a
machine that booted from it, else from /etc/pxeserver-agent.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent.__main__ import command_line
from pxeserver.agent.join.secret import Secret

CONFIG = Path("/etc/pxeserver-agent.json")


def main(arguments: list[str] | None = None) -> int:
    """Run, or install; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pxeserver-agent", description="Joins this machine to its cluster.")
    verbs = parser.add_subparsers(dest="verb")
    join = verbs.add_parser("join", help="install the agent on this machine")
    join.add_argument("--server", default="", metavar="HOST:PORT")
    join.add_argument("--ca", default="", metavar="SHA256")
    join.add_argument(
        "--boot", action="store_true", help="claim with the words of this kernel's command line"
    )
    join.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="how long --boot tries")
    run = verbs.add_parser("run", help="run in the foreground")
    run.add_argument("--config", type=Path, default=CONFIG)
    run.add_argument("--state", type=Path, default=None)
    given = parser.parse_args(arguments)
    if given.verb == "join":
        from pxeserver.agent.join.bootstrap import (  # noqa: PLC0415 - only here
            JoinRefused,
            join_here,
            join_installed,
        )

        try:
            if given.boot:
                return join_installed(command_line(), given.wait)
            return join_here(given.server, given.ca, Secret(sys.stdin.readline().strip()))
        except JoinRefused as refused:
            print(f"this machine does not join: {refused}", file=sys.stderr)
            return 1
    return run_here(getattr(given, "config", CONFIG), getattr(given, "state", None))


def say(text: str) -> None:
    """One line for the journal."""
    print(text, flush=True)


def run_here(config_file: Path, state_folder: Path | None) -> int:
    """Be the agent until SIGTERM; status 1 has systemd start it anew."""
    try:
        # Not before: `join` has to run where PyNaCl is not there yet.
        from pxeserver.agent.join.claim import Keys  # noqa: PLC0415
    except ImportError:
        say("python3-nacl is missing: apt-get install python3-nacl")
        time.sleep(5)
        return 1
    from pxeserver.agent.join.registry import Registry  # noqa: PLC0415
    from pxeserver.agent.join.runner import Runner  # noqa: PLC0415
    from pxeserver.agent.join.service import Config, Service  # noqa: PLC0415
    from pxeserver.agent.join.state import FOLDER, State  # noqa: PLC0415
    from pxeserver.agent.join.steps.clock import ClockStep  # noqa: PLC0415
    from pxeserver.agent.join.steps.gate import Gate  # noqa: PLC0415

    try:
        told = settings(config_file, command_line())
        token = told.get("token")
        config = Config(
            str(told["server"]),
            str(told["ca"]),
            str(told.get("attempt") or ""),
            Secret(token) if token else None,
        )
        state = State(state_folder or FOLDER)
        keys = Keys(state)
        runner = Runner(
            Registry({"gate": lambda: Gate(runner.check_steps), "clock": lambda: ClockStep(offset)}),
            state,
            keys.open,
            say,
        )
        service = Service(config, state, keys, runner, say=say)
    except (KeyError, ValueError) as wrong:
        say(f"not configured: {wrong}; {CONFIG} or the kernel command line has to name the server")
        time.sleep(5)
        return 1

    def offset() -> float:
        return service.client.offset

    signal.signal(signal.SIGTERM, lambda *_: service.stop.set())
    service.run()
    return 0 if service.stop.is_set() else 1


def settings(config_file: Path, words: Mapping[str, str]) -> dict[str, Any]:
    """Server, ca, and attempt or token: of the boot where this is one from the server, else of the file.
    ValueError.
    """
    if words.get("agent") and words.get("ca") and words.get("url"):
        attempt = words["url"].rstrip("/").rsplit("/a/", 1)[-1]
        return {"server": words["agent"], "ca": words["ca"], "attempt": attempt}
    try:
        body = json.loads(config_file.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{config_file} is not there") from None
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{config_file} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise ValueError(f"{config_file} holds no object")
    return body


if __name__ == "__main__":
    sys.exit(main())

"""The real agent as a process in a namespace, with its folders in a test's folder."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pxeserver.lab.netns import Namespace
from pxeserver.lab.process import Process

SOURCE = str(Path(__file__).parents[2])
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

SHIFTED = """\
import sys
from pathlib import Path
from pxeserver.agent.join import clock

offset = Path(sys.argv.pop(1))

def step(self, by):
    # libfaketime reads this file at each look at the clock: the process's clock is set, not the machine's.
    offset.write_text(f"{float(offset.read_text()) + by:+f}\\n")
    return True

clock.Clock.step = step
clock.Clock.slew = lambda self, by: True
from pxeserver.agent.join.__main__ import main
sys.exit(main())
"""


@dataclass
class Agent:
    """`words` are server, ca, and token or attempt. `clock_off`: seconds that its clock is wrong by."""

    space: Namespace
    folder: Path
    words: dict[str, str]
    clock_off: float | None = None
    process: Process | None = None
    starts: int = field(default=0)

    def start(self) -> Process:
        """Start it, or start it again with the state it has."""
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.words))
        self.starts += 1
        run = ["run", "--config", str(config), "--state", str(self.folder / "state")]
        environ = {"PYTHONPATH": SOURCE, "PYTHONUNBUFFERED": "1"}
        # Never the real clock: it is this machine's.
        offset, main = self.folder / "offset", self.folder / "main.py"
        offset.write_text(f"{self.clock_off or 0.0:+f}\n")
        main.write_text(SHIFTED)
        command = [sys.executable, str(main), str(offset), *run]
        if self.clock_off is not None:
            environ |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        self.process = self.space.start(
            ["env", *(f"{key}={value}" for key, value in environ.items()), *command],
            self.folder / f"agent{self.starts}.log",
            dict(os.environ),
        )
        return self.process

    def says(self, text: str, seconds: float = 20) -> None:
        """Wait until it says this."""
        assert self.process is not None
        self.process.wait_for_text(text, seconds)

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.stop(2)


def words_of(line: str) -> dict[str, str]:
    """Server, ca and token of a join command's line."""
    parts = line.split()
    return {
        "server": parts[parts.index("--server") + 1],
        "ca": parts[parts.index("--ca") + 1],
        "token": parts[parts.index("echo", parts.index("sha256sum")) + 1],
    }

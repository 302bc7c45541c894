"""Nodes whose steps are driven one by one, without a server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from pxeserver.lab.container import Container
from pxeserver.lab.nodes import NodeLab

SOURCE = Path(__file__).parents[2]
HERE = Path(__file__).parent
LENT = {SOURCE / "pxeserver": "/src/pxeserver", HERE: "/drive"}


class Nodes(NodeLab):
    """Nodes whose steps are driven one by one, without a server."""

    def step(
        self, node: str, name: str, verb: str, want: dict[str, Any], timeout: float = 120
    ) -> dict[str, Any]:
        """Run a verb of a step on a node; what it told."""
        words = ("env", "PYTHONPATH=/src", "python3", "/drive/drive.py", name, verb)
        done = subprocess.run(
            self.nodes[node].argv(*words),
            input=json.dumps(want),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def apply(self, node: str, name: str, want: dict[str, Any]) -> dict[str, Any]:
        """Apply a step that has to succeed and to find nothing more to do; its facts."""
        told = self.step(node, name, "apply", want)
        assert "failed" not in told, told
        left = self.step(node, name, "check", want)
        assert left.get("drift") == [], left
        facts: dict[str, Any] = told["facts"]
        return facts

    def drift(self, node: str, name: str, want: dict[str, Any]) -> list[str]:
        """What of a step has drifted."""
        told = self.step(node, name, "check", want)
        assert "failed" not in told, told
        return [drift["what"] for drift in told["drift"]]

    def __getitem__(self, name: str) -> Container:
        return self.nodes[name]

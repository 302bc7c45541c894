"""What all tests share: the seconds that machines of the lab took, printed at the end of a run."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the times of a process of several that has ended."""
    times = getattr(node, "workeroutput", {}).get("machine_times", ())
    node.config.machine_times = [*getattr(node.config, "machine_times", ()), *times]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long the machines took: never asserted, since it depends on what else the host does."""
    times = getattr(config, "machine_times", ())
    if times:
        terminalreporter.section("seconds from power-on, machines without hardware acceleration")
        for name, mark, seconds in times:
            terminalreporter.write_line(f"{seconds:6.1f}  {name:<24} {mark!r}")

"""A machine behind a bad line (30 ms round trip, 1 % of the packets lost each way) comes up all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pxeserver.lab.badline import Line
from pxeserver.lab.firmware import Firmware

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]


def test_discovery_over_a_bad_line(make_site: Callable[..., Any]) -> None:
    site = make_site("--unknown", "discover", line=Line(delay=15, loss=1, seed=11))
    machine = site.lab.machine(Firmware.OVMF_PXE)
    try:
        boot = site.boot(machine, timeout=400)
    finally:
        machine.power_off()
    assert not boot.error
    # The line really was bad: without it the loader takes a tenth of this.
    found = site.server.ask("boot", "show", site.server.boots(machine)[0]["id"])["timeline"]
    sent = [event["detail"] for event in found if event["kind"] == "loader-sent"]
    assert sent
    assert sent[0]["seconds"] > 1

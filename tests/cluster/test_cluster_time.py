"""How long a cluster takes to stand, with the real server and real agents on three containers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from living import Living

pytestmark = [pytest.mark.net, pytest.mark.timeout(400)]


def test_three_containers_become_a_cluster(tmp_path: Path) -> None:
    with Living(tmp_path) as living:
        living.power_on()
        begun = time.monotonic()
        living.join(*living.nodes)
        joined = time.monotonic()
        living.bring()
        status = living.stands(240)
        ended = time.monotonic()
        assert status["done"] == status["wanted"]
        print(
            f"\nthree agents joined in {joined - begun:.1f} s; {status['done']} steps done "
            f"{ended - joined:.1f} s after `cluster apply`"
        )
        for node in status["nodes"]:
            steps = " ".join(f"{s['step']}={s['tries']}" for s in node["steps"])
            print(f"{node['name']}: tries {steps}")

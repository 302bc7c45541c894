"""What another member says of the pool, before anything is written by it."""

from __future__ import annotations

import pytest

from pxeserver.agent.join.command import Done
from pxeserver.agent.join.steps import gluster

FIRST, SECOND = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666"


def test_names_that_are_no_members_become_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [
        "UUID\t\t\t\t\tHostname \tState",
        f"{FIRST}\tlocalhost\tConnected",
        f"{SECOND}\t10.77.0.12\tConnected",
        "../../../../etc/cron.d/x\t10.77.0.13\tConnected",
        f"{SECOND[:-1]}7\t$(reboot)\tConnected",
        "",
    ]
    monkeypatch.setattr(gluster, "run", lambda *_words, timeout: Done(0, "\n".join(said), ""))
    assert gluster._pool_of("10.77.0.11") == {FIRST: "10.77.0.11", SECOND: "10.77.0.12"}

"""The limit of open files: raised to what the process may have, and the promises fitted into it."""

import logging
import resource
import subprocess
import sys

import pytest

from pxeserver.descriptors import A_CONNECTION, A_TRANSFER, OWN, Room, fitted

pytestmark = pytest.mark.slow

ASKED = Room(transfers=4096, connections=512, surplus=1024)


def in_a_process(soft: int, hard: int, code: str) -> str:
    """What a process of these limits prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import logging; logging.basicConfig(level=logging.INFO)\n{code}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


RAISE = """
import resource
from pxeserver.descriptors import raise_limit
print(raise_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(256, 2048), (2048, 2048)])
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int) -> None:
    said = in_a_process(soft, hard, RAISE)
    assert said.startswith(f"{hard} {hard} {hard}\n")
    assert "limit of open files" in said


@pytest.mark.parametrize(
    ("name", "call"),
    [("WorkerParts", "_worker(None, None)"), ("ControlParts", "_control(None, None, precedence=None)")],
)
def test_both_processes_raise_theirs_before_they_build_anything(name: str, call: str) -> None:
    code = f"""
import asyncio, resource
from pxeserver import app, app_worker, app_control
class Seen(Exception): pass
async def build(*_):
    raise Seen(resource.getrlimit(resource.RLIMIT_NOFILE))
parts = app_worker.WorkerParts if {name!r} == "WorkerParts" else app_control.ControlParts
parts.build = build
try:
    asyncio.run(app.{call})
except Seen as seen:
    print(*seen.args)
"""
    assert "(512, 512)" in in_a_process(256, 512, code)


def test_transfers_from_the_common_port_need_no_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    enough = A_CONNECTION * 512 + 1024 + OWN
    assert fitted(ASKED, enough, None) == ASKED
    assert caplog.records == []
    assert fitted(ASKED, enough - 1, None).transfers == ASKED.transfers
    assert len(caplog.records) == 1


@pytest.mark.parametrize("limit", [64, OWN, OWN + 1, 256, 1024, 4096, 10_367])
def test_what_a_limit_does_not_carry_is_lowered_and_said(
    limit: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        room = fitted(ASKED, limit, 10_000)
    assert 1 <= room.transfers < ASKED.transfers
    assert min(room.connections, room.surplus) >= 1
    needed = A_TRANSFER * room.transfers + A_CONNECTION * room.connections + room.surplus
    assert needed <= max(limit - OWN, A_TRANSFER + A_CONNECTION + 1)
    (said,) = caplog.records
    assert vars(said)["tftp.max_transfers"] == f"4096->{room.transfers}"
    assert vars(said)["limit"] == limit
    assert "LimitNOFILE" in said.getMessage()


def test_a_small_range_of_ports_bounds_what_transfers_need(caplog: pytest.LogCaptureFixture) -> None:
    assert fitted(ASKED, A_TRANSFER * 100 + A_CONNECTION * 512 + 1024 + OWN, 100) == ASKED
    assert fitted(ASKED, 65536, 60_000) == ASKED
    assert caplog.records == []

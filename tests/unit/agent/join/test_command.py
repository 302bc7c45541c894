"""Running programs."""

import threading
import time

import pytest

from pxeserver.agent.join.command import limits, need, run
from pxeserver.agent.join.step import StepFailed


def test_output_and_status_are_kept():
    done = run("sh", "-c", "cat; echo err >&2; exit 3", input="in")
    assert (done.code, done.out, done.err) == (3, "in", "err\n")
    assert not done.ok
    assert done.said == "in\nerr"


def test_no_shell_and_a_clean_environment(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    assert run("echo", "$HOME; id").out == "$HOME; id\n"
    assert "SECRET_OF_THE_AGENT" not in run("env").out


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path):
    begun = time.monotonic()
    with pytest.raises(StepFailed, match="did not end within"):
        run("sh", "-c", f"(sleep 60; touch {tmp_path}/late) & sleep 60", timeout=0.3)
    assert time.monotonic() - begun < 5


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for():
    begun = time.monotonic()
    assert run("sh", "-c", "sleep 4 & echo up").out == "up\n"
    assert time.monotonic() - begun < 3


def test_a_work_that_was_given_up_ends_its_program():
    given_up = threading.Event()
    given_up.set()
    limits.given_up = given_up
    try:
        with pytest.raises(StepFailed, match="given up"):
            run("sleep", "60")
    finally:
        limits.given_up = None


def test_the_work_s_own_end_counts_too():
    limits.deadline = time.monotonic() + 0.2
    try:
        with pytest.raises(StepFailed):
            run("sleep", "60", timeout=60)
    finally:
        limits.deadline = float("inf")


def test_a_missing_program_and_a_failure_are_told():
    with pytest.raises(StepFailed, match="no-such-program is not on this node"):
        run("no-such-program")
    with pytest.raises(StepFailed, match="No such file"):
        need("ls", "/no-such-folder")

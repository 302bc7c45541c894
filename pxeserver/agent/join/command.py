"""Running programs: never through a shell, never for longer than allowed, and with their output kept.

What a program writes goes to files and not to pipes: a daemon that it leaves behind keeps a pipe open, and
whoever reads the pipe waits for the daemon's end.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from pxeserver.agent.join.step import StepFailed

KEPT_BYTES = 8 << 20
"""Of what a program writes, so much is kept of each stream."""
TOLD_LINES = 12
"""So many of its last lines stand in a failure's reason."""
_GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL."""
_LOOK = 0.2
"""Seconds between two looks at whether the work was given up."""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended. `code` is its exit status, negative for the signal that killed it."""

    code: int
    out: str
    err: str
    words: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.code == 0

    @property
    def said(self) -> str:
        """Its last lines, for a reason that a person reads."""
        told = [line for line in self.err.splitlines() if line.strip()]
        # Some say no more than "failed" there, and the reason before it on the standard output.
        more = [line for line in self.out.splitlines() if line.strip()] if len(told) < 3 else []
        lines = [*more, *told]
        return "\n".join(lines[-TOLD_LINES:]) or f"exit status {self.code}, and it said nothing"


class Limits(threading.local):
    """What the runner allows the thread of a work: programs end when it is over or given up."""

    deadline: float = float("inf")
    """In terms of time.monotonic."""
    given_up: threading.Event | None = None


limits = Limits()


def abandoned() -> bool:
    """Whether the work of this thread is over or given up: for steps that wait by themselves."""
    late = time.monotonic() >= limits.deadline
    return late or (limits.given_up is not None and limits.given_up.is_set())


def run(
    *words: str,
    timeout: float = 60.0,
    input: str | bytes | None = None,  # noqa: A002 - as subprocess calls it
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run a program to its end and return how it ended; a status other than 0 is no error here.

    `timeout` is in seconds; then the program and what it started get SIGTERM, 3 seconds later SIGKILL, and
    StepFailed is raised, as it is where there is no such program. `env` is added to a small clean
    environment. Secrets belong into `input`, never into the words, which every user of the node can read.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        if input is not None:
            given.write(input.encode() if isinstance(input, str) else input)
            given.seek(0)
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL if input is None else given,
                stdout=out,
                stderr=err,
                env=ENVIRONMENT | dict(env or {}),
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise StepFailed(f"the program {words[0]} is not on this node") from None
        except OSError as error:
            raise StepFailed(f"{words[0]} cannot be started: {error.strerror}") from error
        why = _wait(process, timeout)
        done = Done(process.returncode, _text(out), _text(err), words)
    if why:
        said = done.said if done.err or done.out else "it said nothing"
        raise StepFailed(f"{shlex.join(words[:4])} {why}; {said}")
    return done


def need(
    *words: str,
    timeout: float = 60.0,
    input: str | bytes | None = None,  # noqa: A002 - as subprocess calls it
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program that has to succeed; returns what it wrote to its standard output. StepFailed."""
    done = run(*words, timeout=timeout, input=input, env=env)
    if not done.ok:
        raise StepFailed(f"{shlex.join(words[:6])}: {done.said}")
    return done.out


def _wait(process: subprocess.Popen[bytes], timeout: float) -> str:
    """Wait for its end, or end it; why it was ended, or ""."""
    end = min(time.monotonic() + timeout, limits.deadline)
    given_up = limits.given_up
    try:
        while (left := end - time.monotonic()) > 0:
            if given_up is not None and given_up.is_set():
                _kill(process)
                return "was ended, since the work was given up"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(left, _LOOK))
                return ""
    except BaseException:
        _kill(process)
        raise
    _kill(process)
    return f"did not end within {timeout:.0f} s"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and what is left of its session."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _text(stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - KEPT_BYTES))
    return stream.read().decode("utf-8", "replace")

"""Programs the lab starts: each writes to a log file of its own, and is ended by its process id."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO


class LabError(Exception):
    """The lab could not do something; the text says what, with the program's own words."""


def run(*argv: str, stdin: str | None = None) -> str:
    """Run a program to its end and return its output; LabError with its error text when it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Process:
    """A program that runs until it is stopped; its output is collected in `log`."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._out: IO[bytes] = log.open("ab")
        self._child = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env} if env else None,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the program."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._child.poll()

    def text(self) -> str:
        """Everything the program has written so far."""
        return self.log.read_text(errors="replace")

    def wait_for_text(self, wanted: str, timeout: float = 10.0) -> None:
        """Return once the program has written `wanted`; LabError after `timeout` seconds or when it has
        ended without it.
        """
        end = time.monotonic() + timeout
        while wanted not in self.text():
            if self.returncode is not None and wanted not in self.text():
                raise LabError(f"{self.argv[0]} ended with {self.returncode}: {self.text()[-2000:]}")
            if time.monotonic() > end:
                raise LabError(f"no {wanted!r} within {timeout:.0f} s: {self.text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the program at once (SIGKILL), as a power cut or a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        self._child.wait()
        self._out.close()

    def stop(self, patience: float = 5.0) -> None:
        """Ask the program to end (SIGTERM) and kill it when it has not within `patience` seconds."""
        if self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(patience)
        self.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

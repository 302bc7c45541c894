"""Log lines as `key=value`, the machine's MAC first, one line an event, written by a thread so that no
event loop waits.

Callers log with `log.info("loader sent", extra={"mac": mac, "file": name})`; what stands in `extra`
becomes the pairs. Everything that may come from the network is escaped: no control character reaches a
terminal or starts a second line. Under systemd (JOURNAL_STREAM names our stderr) lines carry a priority
prefix (sd-daemon(3)) and no time of their own.

A line costs its caller the formatting and an entry in a list. The thread is woken at most twenty times a
second and writes what has gathered: handing it each line by itself would cost more than the line, for both
want the interpreter at the same moment.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUEUE_LINES = 10_000
_GATHER_SECONDS = 0.05
_STOP_SECONDS = 1.0
"""How long `stop` waits for a reader of our stderr that has stalled."""
_PLAIN = re.compile(r"[\w.,:/@+*%#<>()\[\]-]+", re.ASCII)
_PAIRS = re.compile(r"[a-z_]+=")
_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def escape(text: str) -> str:
    """The text with every character that is not printable as a backslash escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def pair(key: str, value: object) -> str:
    """`key=value`, the value quoted where it is not one plain word."""
    text = "" if value is None else str(value)
    if _PLAIN.fullmatch(text):
        return f"{key}={text}"
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escape(quoted)}"'


class KeyValueFormatter(logging.Formatter):
    """Formats a record as pairs. `journal` adds the priority prefix and leaves the time to the journal."""

    def __init__(self, process: str, *, journal: bool = False) -> None:
        super().__init__()
        self._end = " " + pair("proc", process)
        self._journal = journal
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """One line for the record; a trace, where there is one, follows on lines of its own."""
        text = record.getMessage()
        # Lines of the packet path come as pairs already, the MAC first.
        told = escape(text) if _PAIRS.match(text) else pair("msg", text)
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if extra:
            first = [pair("mac", extra.pop("mac"))] if extra.get("mac") else []
            told = " ".join([*first, told, *(pair(key, value) for key, value in extra.items())])
        if self._journal:
            head = f"<{_SYSLOG.get(record.levelno, 6)}>"
        else:
            head = f"{self._time(record)} {record.levelname.lower():<7} "
        line = head + told + self._end
        if not record.exc_info:
            return line
        prefix = head if self._journal else "    "
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join([line, *(prefix + escape(step) for step in trace)])

    def _time(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%H:%M:%S", time.localtime(second)))
        return f"{self._second[1]}.{int(record.msecs):03d}"


class _Writer:
    """Writes lines from a thread of its own; when that falls behind, lines are lost rather than packets."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._fd = _descriptor(out)
        self._lines: deque[str] = deque()
        self._awake = False
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Take a line; returns at once. From any thread."""
        if len(self._lines) >= _QUEUE_LINES:
            lost[0] += 1
            return
        self._lines.append(line)
        if not self._awake:
            self._awake = True
            self._calls.put(True)

    def stop(self) -> None:
        """Write what waits, and end; a reader that has stalled is waited for a second."""
        self._calls.put(False)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            goes_on = self._calls.get()
            if goes_on:
                with contextlib.suppress(queue.Empty):
                    goes_on = self._calls.get(timeout=_GATHER_SECONDS)
            self._awake = False  # before the lines are taken: one that comes now calls again
            self._write()

    def _write(self) -> None:
        waiting = [self._lines.popleft() for _ in range(len(self._lines))]
        if not waiting:
            return
        text = "\n".join([*waiting, ""])
        with contextlib.suppress(OSError, ValueError):  # a closed terminal is no reason to end
            if self._fd is None:
                self._out.write(text)
                self._out.flush()
                return
            # Past the stream object: its lock must not be held by this thread when the process forks.
            data = memoryview(text.encode("utf-8", "backslashreplace"))
            while data:
                data = data[os.write(self._fd, data) :]


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


class _Handler(logging.Handler):
    """Formats where the record is made, whose arguments are plain values, and hands the line on."""

    def __init__(self, writer: _Writer) -> None:
        super().__init__()
        self._writer = writer

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """None is needed: the writer takes lines from any thread."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line on."""
        try:
            self._writer.put(self.format(record))
        except Exception:  # noqa: BLE001 - logging's rule: a line that cannot be made ends nothing
            self.handleError(record)


lost = [0]
"""How many lines were lost because the reader of our stderr was too slow."""


def to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the journal's: JOURNAL_STREAM holds its device and inode (systemd.exec(5))."""
    wanted = environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return wanted == f"{status.st_dev}:{status.st_ino}"


def start(process: str, level: str, stream: TextIO | None = None) -> None:
    """Send the root logger's lines to `stream` (stderr) from a thread of its own. Call it once a process:
    once more where a process was forked from one that logs.
    """
    out = stream or sys.stderr
    writer = _Writer(out)
    handler = _Handler(writer)
    handler.setFormatter(KeyValueFormatter(process, journal=to_journal(out, os.environ)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak only when something is wrong: at debug they would drown our own lines.
    root.setLevel(logging.WARNING)
    logging.getLogger("pxeserver").setLevel(level.upper())
    logging.raiseExceptions = False  # a closed terminal is no reason to print traces
    # What no line shows is not looked up either (logging's own advice for speed).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    _writers[:] = [(os.getpid(), writer)]


def stop() -> None:
    """Write what still waits, and end the writing thread."""
    while _writers:
        pid, writer = _writers.pop()
        if pid == os.getpid():
            writer.stop()


_writers: list[tuple[int, _Writer]] = []
atexit.register(stop)

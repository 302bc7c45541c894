"""Log lines as `key=value`, the machine's MAC first, one line an event, written by a thread so that no
event loop waits.

Callers log with `log.info("loader sent", extra={"mac": mac, "file": name})`; what stands in `extra`
becomes the pairs. Everything that may come from the network is escaped: no control character reaches a
terminal or starts a second line. Under systemd (JOURNAL_STREAM names our stderr) lines carry a priority
prefix (sd-daemon(3)) and no time of their own.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import re
import sys
import time
from collections.abc import Mapping
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUEUE_LINES = 10_000
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
        self._process = process
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line for the record; a trace, where there is one, follows on lines of its own."""
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        pairs = [pair("mac", extra.pop("mac"))] if extra.get("mac") else []
        text = record.getMessage()
        # Lines of the packet path come as pairs already, the MAC first.
        pairs.append(escape(text) if _PAIRS.match(text) else pair("msg", text))
        pairs += [pair(key, value) for key, value in extra.items()]
        level = record.levelname.lower()
        head = f"<{_SYSLOG.get(record.levelno, 6)}>" if self._journal else f"{self._time(record)} {level:<7} "
        lines = [head + " ".join([*pairs, pair("proc", self._process)])]
        if record.exc_info:
            prefix = head if self._journal else "    "
            lines += [prefix + escape(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)

    def _time(self, record: logging.LogRecord) -> str:
        return time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"


class _BoundedQueueHandler(QueueHandler):
    """Hands records to the writing thread; when that falls behind, lines are lost rather than packets."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # Same process: the formatter needs the record as it is, and its arguments are plain values here.
        record.msg = record.getMessage()
        record.args = None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            lost[0] += 1


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
    """Send the root logger's lines to `stream` (stderr) from a thread of its own. Call it once a process."""
    out = stream or sys.stderr
    writer = logging.StreamHandler(out)
    writer.setFormatter(KeyValueFormatter(process, journal=to_journal(out, os.environ)))
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUE_LINES)
    listener = QueueListener(lines, writer)
    root = logging.getLogger()
    root.handlers[:] = [_BoundedQueueHandler(lines)]
    # Libraries speak only when something is wrong: at debug they would drown our own lines.
    root.setLevel(logging.WARNING)
    logging.getLogger("pxeserver").setLevel(level.upper())
    logging.raiseExceptions = False  # a closed terminal is no reason to print traces
    listener.start()
    _listeners.append(listener)


def stop() -> None:
    """Write what still waits, and end the writing threads."""
    while _listeners:
        _listeners.pop().stop()


_listeners: list[QueueListener] = []
atexit.register(stop)

"""Log lines: pairs, the MAC first, nothing hostile in them."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from pxeserver import logs
from pxeserver.logs import KeyValueFormatter


def line(message: str, *, journal: bool = False, level: int = logging.INFO, **extra: object) -> str:
    record = logging.makeLogRecord(
        {"msg": message, "levelno": level, "levelname": logging.getLevelName(level), **extra}
    )
    return KeyValueFormatter("worker", journal=journal).format(record)


def test_the_mac_comes_first() -> None:
    text = line("loader sent", file="a b", mac="52:54:00:00:00:01", bytes=5, journal=True)
    assert text == '<6>mac=52:54:00:00:00:01 msg="loader sent" file="a b" bytes=5 proc=worker'


def test_lines_that_are_pairs_already_stay_as_they_are() -> None:
    assert line("mac=aa event=x", journal=True) == "<6>mac=aa event=x proc=worker"


@pytest.mark.parametrize("hostile", ["a\nb", "\x1b[2J", "\r", "\u202e", "\x9b31m", '"\n', "\u2028"])
def test_no_control_character_gets_through(hostile: str) -> None:
    for text in (
        line(hostile, journal=True),
        line("x", journal=True, name=hostile),
        line(f"a={hostile}", journal=True),
    ):
        assert text.isprintable()


def test_a_quote_cannot_forge_a_pair() -> None:
    assert line("x", journal=True, vendor='a" reason="b').endswith('vendor="a\\" reason=\\"b" proc=worker')


@pytest.mark.parametrize(
    ("level", "prefix"), [(logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.DEBUG, "<7>")]
)
def test_the_journal_gets_priorities(level: int, prefix: str) -> None:
    assert line("x", journal=True, level=level).startswith(prefix)


def test_the_journal_is_recognised_by_its_inode() -> None:
    with Path(os.devnull).open("w") as stream:
        status = os.fstat(stream.fileno())
        assert logs.to_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not logs.to_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not logs.to_journal(stream, {})
    assert not logs.to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


@pytest.fixture
def piped() -> Iterator[tuple[int, TextIO]]:
    """A pipe that the log writes into: its reading end, and the writing one as a stream."""
    before = logging.getLogger().handlers[:], logging.raiseExceptions, logging._srcfile
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
        logs.stop()
    os.close(reading)
    root = logging.getLogger()
    root.handlers[:], logging.raiseExceptions, logging._srcfile = before
    root.setLevel(logging.WARNING)
    logging.getLogger("pxeserver").setLevel(logging.NOTSET)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = True


def test_lines_are_written_in_their_order_and_none_is_missing_at_the_end(piped: tuple[int, TextIO]) -> None:
    reading, stream = piped
    logs.start("worker", "info", stream)
    for number in range(300):
        logging.getLogger("pxeserver.x").info("number=%d", number)
    logs.stop()
    told = os.read(reading, 1 << 16).decode().splitlines()
    assert [text.split("number=")[1] for text in told] == [f"{n} proc=worker" for n in range(300)]


def test_a_reader_that_has_stalled_costs_lines_and_holds_nobody_up(
    piped: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stream = piped
    monkeypatch.setattr(logs, "lost", [0])
    monkeypatch.setattr(logs, "_STOP_SECONDS", 0.05)
    logs.start("worker", "info", stream)
    for number in range(2 * logs._QUEUE_LINES + 2000):  # a pipe holds about a thousand of them
        logging.getLogger("pxeserver.x").info("number=%d %s", number, "x" * 40)
    assert logs.lost[0] > 0
    ((_, writer),) = logs._writers
    logs.stop()
    os.set_blocking(reading, False)
    while writer._thread.is_alive():
        with suppress(BlockingIOError):
            os.read(reading, 1 << 20)
        writer._thread.join(0.01)


def test_a_forked_process_has_a_log_of_its_own(piped: tuple[int, TextIO]) -> None:
    reading, stream = piped
    logs.start("supervisor", "info", stream)
    logging.getLogger("pxeserver.x").info("before")
    pid = os.fork()
    if pid == 0:
        logs.start("worker", "info", stream)
        logging.getLogger("pxeserver.x").info("inside")
        logs.stop()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    logs.stop()
    told = os.read(reading, 1 << 16).decode()
    assert told.count("msg=before proc=supervisor") == 1
    assert told.count("msg=inside proc=worker") == 1

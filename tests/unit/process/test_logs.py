"""Log lines: pairs, the MAC first, nothing hostile in them."""

import io
import logging
import os
from pathlib import Path

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

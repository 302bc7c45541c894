"""Range, If-Range and the other preconditions, as a table (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import pytest

from pxeserver.servers.http_range import Answer, answer

SIZE = 1000
ETAG = '"' + "a" * 64 + '"'
OTHER = '"' + "b" * 64 + '"'
WHOLE = Answer(200, 0, SIZE)
NONE = Answer(416, 0, 0)

RANGES = [
    ("bytes=0-0", Answer(206, 0, 1)),
    ("bytes=0-499", Answer(206, 0, 500)),
    ("bytes=500-999", Answer(206, 500, 500)),
    ("bytes=999-", Answer(206, 999, 1)),
    ("bytes=0-", Answer(206, 0, SIZE)),
    ("bytes=500-5000", Answer(206, 500, 500)),
    ("bytes=-1", Answer(206, 999, 1)),
    ("bytes=-500", Answer(206, 500, 500)),
    ("bytes=-5000", Answer(206, 0, SIZE)),
    ("Bytes=1-2", Answer(206, 1, 2)),
    ("bytes= 1-2 ", Answer(206, 1, 2)),
    ("bytes=000001-0000002", Answer(206, 1, 2)),
    ("bytes=1-" + "9" * 5000, Answer(206, 1, 999)),
    ("bytes=-" + "9" * 5000, Answer(206, 0, SIZE)),
    # Not satisfiable (section 15.5.17).
    ("bytes=1000-", NONE),
    ("bytes=1000-1001", NONE),
    ("bytes=" + "9" * 5000 + "-", NONE),
    ("bytes=-0", NONE),
    # No valid range, or one of another unit, is no range at all (section 14.2).
    ("bytes=2-1", WHOLE),
    ("bytes=-", WHOLE),
    ("bytes=", WHOLE),
    ("bytes", WHOLE),
    ("bytes=a-b", WHOLE),
    ("bytes=1-2-3", WHOLE),
    ("bytes=1 -2", WHOLE),
    ("bytes=+1-2", WHOLE),
    ("bytes=١-٢", WHOLE),
    ("bytes=0x1-0x2", WHOLE),
    ("sectors=1-2", WHOLE),
    ("=1-2", WHOLE),
    # Several ranges: the whole file.
    ("bytes=0-1,3-4", WHOLE),
    ("bytes=0-0,-1", WHOLE),
    ("bytes=" + ",".join(f"{n}-{n}" for n in range(900)), WHOLE),
]


@pytest.mark.parametrize(("header", "expected"), RANGES, ids=lambda v: str(v)[:30])
def test_ranges(header: str, expected: Answer) -> None:
    assert answer(SIZE, ETAG, range_=header) == expected


PRECONDITIONS = [
    ({"range_": "bytes=1-2", "if_range": ETAG}, Answer(206, 1, 2)),
    ({"range_": "bytes=1-2", "if_range": f" {ETAG} "}, Answer(206, 1, 2)),
    ({"range_": "bytes=1-2", "if_range": OTHER}, WHOLE),
    ({"range_": "bytes=1-2", "if_range": f"W/{ETAG}"}, WHOLE),
    ({"range_": "bytes=1-2", "if_range": "Sat, 21 Nov 2026 00:00:00 GMT"}, WHOLE),
    ({"range_": "bytes=1-2", "if_range": ""}, WHOLE),
    ({"range_": "bytes=1000-", "if_range": OTHER}, WHOLE),
    ({"range_": "bytes=1-2", "get": False}, WHOLE),
    ({"if_none_match": ETAG}, Answer(304, 0, 0)),
    ({"if_none_match": f"W/{ETAG}"}, Answer(304, 0, 0)),
    ({"if_none_match": f"{OTHER}, {ETAG}"}, Answer(304, 0, 0)),
    ({"if_none_match": "*"}, Answer(304, 0, 0)),
    ({"if_none_match": OTHER}, WHOLE),
    ({"if_none_match": ETAG, "range_": "bytes=1-2"}, Answer(304, 0, 0)),
    ({"if_match": ETAG}, WHOLE),
    ({"if_match": "*"}, WHOLE),
    ({"if_match": OTHER}, Answer(412, 0, 0)),
    ({"if_match": f"W/{ETAG}"}, Answer(412, 0, 0)),
]


@pytest.mark.parametrize(("headers", "expected"), PRECONDITIONS, ids=str)
def test_preconditions(headers: dict[str, str], expected: Answer) -> None:
    assert answer(SIZE, ETAG, **headers) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    assert answer(0, ETAG, range_=header) == NONE


def test_content_range_says_which_piece_it_is() -> None:
    assert Answer(206, 5, 10).content_range(100) == "bytes 5-14/100"
    assert NONE.content_range(100) == "bytes */100"
    assert WHOLE.content_range(SIZE) is None

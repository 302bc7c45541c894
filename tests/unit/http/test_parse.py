"""The request parser: what it takes, what it refuses, and that neither depends on how the bytes arrive."""

from __future__ import annotations

import contextlib
import random

import pytest

from pxeserver.servers.http_parse import HEAD_LIMIT, Chunked, Head, Malformed, find_head, parse_head

GOOD = [
    (b"GET / HTTP/1.1\r\n\r\n", ("GET", "/", 1, 0, True)),
    (b"GET / HTTP/1.0\r\n\r\n", ("GET", "/", 0, 0, False)),
    (b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", ("GET", "/x", 0, 0, True)),
    (b"HEAD //grubx64.efi HTTP/1.1\r\nHost: b\r\n\r\n", ("HEAD", "//grubx64.efi", 1, 0, True)),
    (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", ("GET", "/", 1, 0, False)),
    (b"GET / HTTP/1.1\r\nCONNECTION: x, Close\r\n\r\n", ("GET", "/", 1, 0, False)),
    (b"POST /r HTTP/1.1\r\nContent-Length: 5\r\n\r\n", ("POST", "/r", 1, 5, True)),
    (b"POST /r HTTP/1.1\r\nContent-Length:\t005 \r\n\r\n", ("POST", "/r", 1, 5, True)),
    (b"POST /r HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", ("POST", "/r", 1, None, True)),
    (b"GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", "http://h/p", 1, 0, True)),
    (b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", ("OPTIONS", "*", 1, 0, True)),
    (b"GET /?serial=\xc3\xa4 HTTP/1.1\r\n\r\n", ("GET", "/?serial=\u00e4", 1, 0, True)),
    (b"GET /\xff HTTP/1.1\r\n\r\n", ("GET", "/\udcff", 1, 0, True)),
]

BAD = [
    b"",
    b"GET / HTTP/2.0\r\n\r\n",
    b"GET / HTTP/1.2\r\n\r\n",
    b"GET / HTTP/1.1 \r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"GET /\0 HTTP/1.1\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\n\r\n",
    b"GET / http/1.1\r\n\r\n",
    b"GET /\r\n\r\n",
    b"G\xc3\xa9T / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : b\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5_0\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: \u0665\r\n\r\n".encode(),
    b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"GET /" + b"A" * HEAD_LIMIT + b" HTTP/1.1\r\n\r\n",
]


def parsed(data: bytes) -> Head:
    end = find_head(data, 0)
    return parse_head(data, 0, end if end >= 0 else len(data))


@pytest.mark.parametrize(("data", "expected"), GOOD, ids=lambda v: repr(v)[:60])
def test_a_request_is_taken(data: bytes, expected: tuple[object, ...]) -> None:
    head = parsed(data)
    assert (head.method, head.target, head.minor, head.length, head.keep) == expected


@pytest.mark.parametrize("data", BAD, ids=lambda v: repr(v)[:60])
def test_what_has_two_readings_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parsed(data)
    assert caught.value.status in (400, 431)


def test_fields_are_joined_and_trimmed() -> None:
    head = parsed(b'GET / HTTP/1.1\r\nIf-None-Match:  \t"a"\t \r\nif-none-match: "b"\r\nEmpty:\r\n\r\n')
    assert head.fields == {"if-none-match": '"a", "b"', "empty": ""}


def test_a_head_that_is_not_complete_is_waited_for_and_one_without_end_refused() -> None:
    assert find_head(b"GET / HTTP/1.1\r\nHost: b\r\n", 0) == -1
    with pytest.raises(Malformed):
        find_head(b"a" * (HEAD_LIMIT + 1), 0)


CHUNKED = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5;a=b\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"A\r\n0123456789\r\n1\r\n\n\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789\n"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
]
BAD_CHUNKS = [
    b"\r\n",
    b"-1\r\n",
    b"0x1\r\na\r\n0\r\n\r\n",
    b"g\r\n",
    b" 1\r\na\r\n",
    b"1\na\n0\n\n",
    b"1\r\nab\r\n",
    b"1\r\na\rb",
    b"ffffffffffffffff\r\n",
    b"1;" + b"x" * 300 + b"\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\n" + b"T: x\r\n" * 2000 + b"\r\n",
]


@pytest.mark.parametrize(("data", "content"), CHUNKED, ids=lambda v: repr(v)[:40])
def test_chunks_are_joined_however_they_arrive(data: bytes, content: bytes) -> None:
    for step in range(1, len(data) + 1):
        chunks, got = Chunked(), b""
        for at in range(0, len(data), step):
            part, used = chunks.feed(data[at : at + step])
            assert used == len(data[at : at + step])
            got += part
        assert (got, chunks.done) == (content, True)


def test_what_follows_the_last_chunk_is_left() -> None:
    chunks = Chunked()
    assert chunks.feed(b"1\r\na\r\n0\r\n\r\nGET /") == (b"a", 11)


@pytest.mark.parametrize("data", BAD_CHUNKS, ids=lambda v: repr(v)[:40])
def test_a_malformed_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        Chunked().feed(data)


def test_nothing_but_malformed_ever_comes_out() -> None:
    """Mutations of good requests and bodies: each is read, or refused by the one exception."""
    random_ = random.Random(7)
    seeds = [data for data, _ in GOOD] + [data for data, _ in CHUNKED] + BAD[:36]
    taken = 0
    for _ in range(20_000):
        data = bytearray(random_.choice(seeds))
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(len(data) + 1)
            match random_.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([random_.randrange(256)])
                case 1:
                    del data[at : at + random_.randrange(1, 8)]
                case 2:
                    data[at:at] = random_.choice(
                        [b"\r\n", b"\n", b"\0", b": ", b" ", b"0", b"chunked", b"\xff"]
                    )
                case _:
                    data[at:at] = random_.choice(seeds)[: random_.randrange(40)]
        with contextlib.suppress(Malformed):
            head = parsed(bytes(data))
            taken += 1
            assert head.length is None or head.length >= 0
            assert all(
                name == name.lower() and "\r" not in value and "\n" not in value
                for name, value in head.fields.items()
            )
        with contextlib.suppress(Malformed):
            chunks = Chunked()
            content, used = chunks.feed(bytes(data))
            assert len(content) < max(used, 1) <= max(len(data), 1)
    assert taken > 500

"""Thousands of mutated requests to a real socket: the listener lives, never fails, shows no insides."""

from __future__ import annotations

import asyncio
import logging
import random
import re

import pytest

SEEDS = [
    b'GET /a/{id}/f/debian/initrd.img HTTP/1.1\r\nHost: b\r\nRange: bytes=0-99\r\nIf-Range: "x"\r\n\r\n',
    b"GET /a/{id}/f/debian/vmlinuz HTTP/1.0\r\n\r\n",
    b"HEAD //snponly.efi HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: UefiHttpBoot/1.0\r\nAccept: */*\r\n\r\n",
    b"GET /a/{id}/boot.ipxe?uuid=11223344-5566-7788-99aa-bbccddeeff00&mac=52:54:00:77:00:01"
    b" HTTP/1.1\r\nHost: b\r\n\r\n",
    b'POST /a/{id}/report HTTP/1.1\r\nHost: b\r\nContent-Length: 19\r\n\r\n{"event": "booted"}',
    b"POST /a/{id}/report HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'13\r\n{"event": "booted"}\r\n0\r\n\r\n',
    b"POST /a/{id}/inventory HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
    b"GET /a/{id}/report/installed?reason=x HTTP/1.1\r\nHost: b\r\nConnection: keep-alive\r\n\r\n",
    b'GET /b/{sha}/manifest HTTP/1.1\r\nHost: b\r\nIf-None-Match: W/"x", *\r\n\r\n',
    b"GET /a/{id}/menu/p HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET http://h/healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\0", b"%00", b"%2e%2e/", b"../", b"//", b"\xff\xfe", b" ", b"\t", b":", b"-",
    b"?", b"#", b"%",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
    b"Range: bytes=" + b"9" * 4000 + b"-\r\n", b"Expect: 100-continue\r\n", b"HTTP/9.9",
    b"A" * 9000, b"X: y\r\n" * 200,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"ffffffffffffffff\r\n", b"Host: a\r\nHost: b\r\n",
]  # fmt: skip
STATUS = re.compile(rb"^HTTP/1\.[01] (\d\d\d) ", re.M)
ROUNDS = 3000


def mutate(random_: random.Random, seed: bytes) -> bytes:
    """A seed with a few bytes changed, pieces put in, cut out, repeated or torn off."""
    data = bytearray(seed)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(data) + 1)
        match random_.randrange(6):
            case 0:
                data[at:at] = random_.choice(PIECES)
            case 1:
                data[at : at + 1] = bytes([random_.randrange(256)])
            case 2:
                del data[at : at + random_.randrange(1, 20)]
            case 3:
                data[at:at] = data[max(0, at - random_.randrange(1, 40)) : at]
            case 4:
                del data[at:]
            case _:
                data[at : at + 4] = random_.choice(PIECES)
    return bytes(data)


async def throw(port: int, data: bytes) -> bytes:
    """Send it, say that there is no more, and return what comes back within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data + b"\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(65536), 0.05)
    except (TimeoutError, ConnectionError):
        answer = b""
    finally:
        writer.transport.abort()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_mutated_requests(listener, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    caplog.set_level(logging.INFO)
    random_ = random.Random(seed)
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    seeds = [
        text.replace(b"{id}", listener.attempt.id.encode()).replace(b"{sha}", listener.kernel.sha256.encode())
        for text in SEEDS
    ]
    statuses: dict[int, int] = {}
    for start in range(0, ROUNDS // 2, 30):
        cases = [mutate(random_, random_.choice(seeds)) for _ in range(30)]
        for case, answer in zip(
            cases, await asyncio.gather(*(throw(listener.port, case) for case in cases)), strict=True
        ):
            assert b"Traceback" not in answer, case
            assert b'File "' not in answer, case
            for status in map(int, STATUS.findall(answer[:200])):
                statuses[status] = statuses.get(status, 0) + 1
                # 503 is what inventory gets without a control process.
                assert status < 500 or (status == 503 and b"control process" in answer), case
        if start % 300 == 0:
            assert (await listener.get("/snponly.efi")).status == 200
    assert statuses[200] > 30
    assert statuses[400] > 100
    assert complaints == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    await listener.quiet()


SMUGGLING = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"Content-Length: +5\r\n\r\nhello",
    b"Content-Length: 0x5\r\n\r\nhello",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("rest", SMUGGLING, ids=lambda v: v[:40].decode())
async def test_ambiguous_lengths_are_refused_and_the_connection_ends(listener, rest: bytes) -> None:
    raw = await listener.connect()
    await raw.send(f"POST {listener.url('report')} HTTP/1.1\r\nHost: b\r\n".encode() + rest)
    await raw.send(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
    answers = await raw.closed()
    assert b"ok\n" not in answers
    assert STATUS.findall(answers) in ([b"400"], [])
    assert listener.plane.events == []


@pytest.mark.slow
async def test_a_flood_of_pipelined_requests_is_bounded_and_answered(listener) -> None:
    raw = await listener.connect()
    count = 20_000
    sender = asyncio.ensure_future(raw.send(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n" * count))
    for _ in range(count):
        assert (await raw.reply()).status == 200
    await sender

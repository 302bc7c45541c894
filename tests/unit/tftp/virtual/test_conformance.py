"""Requests and what must come back, byte by byte: names, options, modes, ends of files, rollover, strays.

Each vector is one datagram to a server on a perfect link, and the opcodes and codes of its answers.
"""

from __future__ import annotations

import pytest

from pxeserver.boot.model import Reason
from pxeserver.servers.tftp_requests import TftpOptions


def rrq(name=b"f", mode=b"octet", *options: bytes) -> bytes:
    return b"\0\1" + b"\0".join([name, mode, *options]) + b"\0"


def error(code: int) -> str:
    return f"ERROR {code}"


def told(answers: list[bytes]) -> list[str]:
    """Answers in short: "DATA 1:512", "OACK blksize=512", "ERROR 1"."""
    short = []
    for datagram in answers:
        number = int.from_bytes(datagram[2:4], "big")
        if datagram[1] == 3:
            short.append(f"DATA {number}:{len(datagram) - 4}")
        elif datagram[1] == 5:
            assert datagram.endswith(b"\0")
            assert datagram[4:-1].isascii()
            short.append(error(number))
        elif datagram[1] == 6:
            words = datagram[2:-1].decode().split("\0")
            pairs = zip(words[::2], words[1::2], strict=True)
            short.append("OACK " + " ".join(f"{k}={v}" for k, v in pairs))
        else:
            short.append(repr(datagram))
    return short


@pytest.fixture
def shop(world):
    """A server with files of the telling sizes."""
    for size in (0, 1, 511, 512, 513, 1024, 1468, 100_000):
        world.plane.files[f"s{size}"] = bytes(size)
    world.plane.files["f"] = b"hello"
    world.plane.files["dir/f"] = b"deep"
    world.plane.files["a b"] = b"space"
    world.plane.files["grün"] = b"umlaut"
    world.plane.files["text"] = b"a\nb\rc\r\n"
    for reason in Reason:
        world.plane.refused[reason.value] = reason
    return world


NAMES = [
    (b"f", "DATA 1:5"), (b"/f", "DATA 1:5"), (b"//f", "DATA 1:5"), (b"./f", "DATA 1:5"),
    (b"///./f", "DATA 1:5"),
    (b"\\f", "DATA 1:5"), (b"dir/f", "DATA 1:4"), (b"dir//f", "DATA 1:4"), (b"dir\\f", "DATA 1:4"),
    (b"/dir/./f", "DATA 1:4"), (b"dir/f/", "DATA 1:4"), (b"a b", "DATA 1:5"), ("grün".encode(), "DATA 1:6"),
    (b"F", error(1)), (b"nope", error(1)), (b"dir", error(1)), (b"/", error(1)), (b"//", error(1)),
    (b".", error(1)),
    (b"..", error(2)), (b"../f", error(2)), (b"/../f", error(2)), (b"dir/../f", error(2)),
    (b"dir/..", error(2)),
    (b"..\\f", error(2)), (b"dir\\..\\..\\f", error(2)), (b"....//f", error(1)), (b"%2e%2e/f", error(1)),
    (b"..%2ff", error(1)), (b"...", error(1)), (b"C:\\boot\\f", error(1)), (b"c:/../f", error(2)),
    (b"/etc/passwd", error(1)), (b"/proc/self/environ", error(1)), (b"/dev/zero", error(1)),
    (b"~root/f", error(1)),
    (b"file:///etc/passwd", error(1)), (b"tftp://10.0.0.1/f", error(1)), (b"$(id)", error(1)),
    (b"`id`", error(1)),
    (b"f\n", error(2)), (b"f\r\n", error(2)), (b"\x1b[2J", error(2)), (b"\x7f", error(2)),
    (b"\x80", error(2)),
    (b"\xff\xfe", error(2)), (b"\xc0\xae\xc0\xae/f", error(2)), (b"\xe2\x80\xa8", error(2)),
    (b"x" * 1025, error(2)), (b"x" * 1024, error(1)), (b"x" * 1432, error(4)), (b"a/" * 500, error(1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), NAMES, ids=[repr(n[:30]) for n, _ in NAMES])
def test_names(shop, name, answer):
    assert told(shop.exchange(rrq(name))) == [answer]


OPTIONS = [
    ((b"blksize", b"8"), "OACK blksize=8"), ((b"blksize", b"512"), "OACK blksize=512"),
    ((b"blksize", b"1468"), "OACK blksize=1468"), ((b"blksize", b"1469"), "OACK blksize=1468"),
    ((b"blksize", b"65464"), "OACK blksize=1468"), ((b"blksize", b"65465"), "OACK blksize=1468"),
    ((b"blksize", b"1000000000"), "OACK blksize=1468"), ((b"blksize", b"7"), "DATA 1:5"),
    ((b"blksize", b"1"), "DATA 1:5"), ((b"blksize", b"0"), "DATA 1:5"), ((b"blksize", b"-1"), "DATA 1:5"),
    ((b"blksize", b"0x10"), "DATA 1:5"), ((b"blksize", b""), "DATA 1:5"), ((b"blksize", b"8 "), "DATA 1:5"),
    ((b"blksize", b"+8"), "DATA 1:5"), ((b"blksize", b"8.0"), "DATA 1:5"),
    ((b"blksize", b"\xd9\xa8"), "DATA 1:5"),
    ((b"BLKSIZE", b"1024"), "OACK BLKSIZE=1024"), ((b"bLkSiZe", b"1024"), "OACK bLkSiZe=1024"),
    ((b"windowsize", b"1"), "OACK windowsize=1"), ((b"windowsize", b"4"), "OACK windowsize=4"),
    ((b"windowsize", b"64"), "OACK windowsize=64"), ((b"windowsize", b"65"), "OACK windowsize=64"),
    ((b"windowsize", b"65535"), "OACK windowsize=64"), ((b"windowsize", b"65536"), "OACK windowsize=64"),
    ((b"windowsize", b"0"), "DATA 1:5"), ((b"windowsize", b"-4"), "DATA 1:5"),
    ((b"windowsize", b"four"), "DATA 1:5"),
    ((b"timeout", b"1"), "OACK timeout=1"), ((b"timeout", b"255"), "OACK timeout=255"),
    ((b"timeout", b"0"), "DATA 1:5"), ((b"timeout", b"256"), "DATA 1:5"), ((b"timeout", b"1.5"), "DATA 1:5"),
    ((b"tsize", b"0"), "OACK tsize=5"), ((b"tsize", b"5"), "OACK tsize=5"),
    ((b"tsize", b"9223372036854775808"), "OACK tsize=5"), ((b"tsize", b""), "DATA 1:5"),
    ((b"multicast", b""), "DATA 1:5"), ((b"x-unknown", b"1"), "DATA 1:5"),
    ((b"utimeout", b"100000"), "DATA 1:5"),
    ((b"blksize",), "DATA 1:5"), ((b"", b"512"), "DATA 1:5"), ((b"", b"", b"", b""), "DATA 1:5"),
    ((b"tsize", b"0", b"blksize"), "OACK tsize=5"),
    ((b"tsize", b"0", b"blksize", b"1468", b"windowsize", b"4"), "OACK tsize=5 blksize=1468 windowsize=4"),
    ((b"windowsize", b"4", b"blksize", b"1468", b"tsize", b"0"), "OACK windowsize=4 blksize=1468 tsize=5"),
    ((b"blksize", b"512", b"windowsize", b"4"), "OACK blksize=512 windowsize=4"),
    ((b"blksize", b"1024", b"tsize", b"0"), "OACK blksize=1024 tsize=5"),
    ((b"blksize", b"1432", b"tsize", b"0"), "OACK blksize=1432 tsize=5"),
    ((b"tsize", b"0", b"blksize", b"512", b"timeout", b"6"), "OACK tsize=5 blksize=512 timeout=6"),
    ((b"blksize", b"600", b"blksize", b"700"), "OACK blksize=600"),
    ((b"nonsense", b"1", b"tsize", b"0", b"other", b"2"), "OACK tsize=5"),
    ((b"blksize", b"7", b"windowsize", b"0", b"timeout", b"0"), "DATA 1:5"),
    ((b"rollover", b"0"), "OACK rollover=0"), ((b"rollover", b"1"), "OACK rollover=1"),
    ((b"rollover", b"2"), "DATA 1:5"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "answer"), OPTIONS, ids=[repr(b" ".join(o)[:40]) for o, _ in OPTIONS])
def test_options(shop, options, answer):
    assert told(shop.exchange(rrq(b"f", b"octet", *options))) == [answer]


MODES = [
    (b"octet", "DATA 1:5"), (b"OCTET", "DATA 1:5"), (b"OcTeT", "DATA 1:5"), (b"netascii", "DATA 1:5"),
    (b"NetASCII", "DATA 1:5"), (b"mail", error(4)), (b"binary", error(4)), (b"", error(4)),
    (b"octet ", error(4)),
    (b"\xff", error(4)),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "answer"), MODES)
def test_modes(shop, mode, answer):
    assert told(shop.exchange(rrq(b"f", mode))) == [answer]


OTHER = [
    (b"\0\2f\0octet\0", [error(2)]), (b"\0\2new\0netascii\0tsize\x0010\0", [error(2)]),
    (b"\0\2../f\0octet\0", [error(2)]),
    (b"\0\1f", [error(4)]), (b"\0\1f\0", [error(4)]), (b"\0\1f\0octet", [error(4)]),
    (b"\0\1\0octet\0", [error(4)]),
    (b"\0\2f", [error(4)]), (b"\0\1" + b"A" * 2000, [error(4)]),
    (b"\0\3\0\1data", [error(5)]), (b"\0\4\0\0", [error(5)]), (b"\0\4\0\1", [error(5)]),
    (b"\0\6tsize\x001\0", [error(5)]),
    (b"\0\5\0\0quiet\0", []), (b"\0\5\0\5unknown\0", []), (b"\0\0\0\0", []), (b"\0\7\0\0", []), (b"", []),
    (b"\0", []),
    (b"\0\1", [error(4)]), (b"\1\0f\0octet\0", []), (b"\xff" * 100, []), (b"GET / HTTP/1.1\r\n\r\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("datagram", "answers"), OTHER, ids=[repr(d[:20]) for d, _ in OTHER])
def test_other_datagrams(shop, datagram, answers):
    assert told(shop.exchange(datagram)) == answers


REFUSALS = [
    (Reason.NOT_FOUND, [error(1)]), (Reason.UNKNOWN_ATTEMPT, [error(1)]), (Reason.ACCESS_DENIED, [error(2)]),
    (Reason.NODE_HELD, [error(2)]), (Reason.IDENTITY_CONFLICT, [error(2)]), (Reason.DRY_RUN, []),
    (Reason.POLICY_IGNORE, []), (Reason.POLICY_OBSERVE, []), (Reason.NOT_SERVED_HERE, []),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "answers"), REFUSALS)
def test_the_decisions_refusals(shop, reason, answers):
    assert told(shop.exchange(rrq(reason.value.encode()))) == answers
    assert shop.plane.reasons() == [reason.value]


SIZES = [
    (0, 512, 1), (1, 512, 1), (511, 512, 1), (512, 512, 2), (513, 512, 2), (1024, 512, 3), (1468, 1468, 2),
    (1024, 1024, 2), (0, 1468, 1), (1, 8, 1), (512, 8, 65), (100_000, 1468, 69),
]  # fmt: skip


@pytest.mark.parametrize(("size", "blksize", "blocks"), SIZES)
def test_the_last_block_is_a_short_one(shop, size, blksize, blocks):
    options = [("blksize", blksize)] if blksize != 512 else []
    reader = shop.fetch(f"s{size}", options=options)
    assert reader.done
    assert len(reader.content) == size
    assert reader.expected - 1 == blocks


WRAPS = [
    (65535, 0, 16), (65536, 0, 16), (65537, 0, 16), (131_073, 0, 64), (65537, 0, 1),
    (65535, 1, 16), (65536, 1, 16), (65537, 1, 16), (131_073, 1, 64),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "wrap", "window"), WRAPS)
def test_block_numbers_wrap(make_world, blocks, wrap, window):
    world = make_world(options=TftpOptions(rollover=wrap))
    content = world.plane.files["f"] = bytes(range(251)) * (8 * blocks // 251 + 1)
    content = world.plane.files["f"] = content[: 8 * (blocks - 1) + 3]
    options = [("blksize", 8), ("windowsize", window)] if window > 1 else [("blksize", 8)]
    reader = world.fetch("f", options=options, wrap=wrap)
    assert reader.expected - 1 == blocks
    assert reader.content == content


def test_netascii_is_translated(shop):
    answer = shop.exchange(rrq(b"text", b"netascii"))[0]
    assert answer[4:] == b"a\r\nb\r\0c\r\0\r\n"
    assert told(shop.exchange(rrq(b"text", b"netascii", b"tsize", b"0"), port=2)) == ["OACK tsize=11"]


def test_netascii_is_for_texts(shop):
    """The translation is made in memory: it is bounded, and made once however many ask."""
    shop.plane.files["big"] = bytes(1024 * 1024 + 1)
    shop.plane.files["page"] = b"line\n" * 100_000
    assert told(shop.exchange(rrq(b"big", b"netascii"))) == [error(0)]
    for port in (1, 2, 3):
        shop.exchange(rrq(b"page", b"netascii", b"blksize", b"1468"), port)
    views = {id(entry.owner.granted.mapping) for entry in shop.server._transfers}
    assert (len(views), shop.server.active) == (1, 3)


def test_the_table_is_large_enough():
    vectors = len(NAMES) + len(OPTIONS) + len(MODES) + len(OTHER) + len(REFUSALS) + len(SIZES) + len(WRAPS)
    assert vectors >= 160

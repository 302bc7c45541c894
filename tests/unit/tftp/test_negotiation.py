"""Options: what is agreed to, what is left out, and frames that fit."""

from __future__ import annotations

import pytest

from pxeserver.protocols.tftp.negotiation import Agreement, largest_blksize, negotiate


def agree(*options, size=1000, limit=1468, **kwargs):
    return negotiate(options, size, blksize_limit=limit, **kwargs)


def test_nothing_asked_nothing_answered():
    assert agree() == Agreement(512, 1, None, 0, None)
    assert agree(("multicast", ""), ("x", "1")).answer is None


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("8", "8"), ("512", "512"), ("1468", "1468"), ("1469", "1468"), ("65464", "1468"), ("65465", "1468"),
     ("1000000000", "1468"), ("0512", "512"), ("7", None), ("0", None), ("-1", None), ("+512", None),
     ("0x200", None),
     ("", None), (" 512", None), ("512 ", None), ("5e2", None), ("٥١٢", None), ("²", None), ("9" * 21, None)],
)  # fmt: skip
def test_blksize(asked, answered):
    agreed = agree(("blksize", asked))
    assert agreed.answer == ((("blksize", answered),) if answered else None)
    assert agreed.blksize == int(answered or 512)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("1", 1),
        ("4", 4),
        ("64", 64),
        ("65", 64),
        ("65535", 64),
        ("65536", 64),
        ("0", None),
        ("-4", None),
        ("x", None),
    ],
)
def test_windowsize(asked, answered):
    agreed = agree(("windowsize", asked))
    assert agreed.windowsize == (answered or 1)
    assert (agreed.answer is None) == (answered is None)


@pytest.mark.parametrize(
    ("asked", "answered"), [("1", 1), ("255", 255), ("0", None), ("256", None), ("-1", None)]
)
def test_timeout(asked, answered):
    assert agree(("timeout", asked)).timeout == answered


@pytest.mark.parametrize("asked", ["0", "1", str(2**63), "00"])
def test_tsize_is_the_size_whatever_the_reader_says(asked):
    assert agree(("tsize", asked), size=2**32).answer == (("tsize", str(2**32)),)


def test_the_size_of_an_empty_file_is_not_told():
    assert agree(("tsize", "0"), ("blksize", "512"), size=0).answer == (("blksize", "512"),)


def test_a_window_must_not_fill_the_clients_socket_buffer():
    wide_first = agree(("windowsize", "64"), ("blksize", "65464"), limit=65464)
    assert wide_first.answer == (("windowsize", "4"), ("blksize", "65464"))
    assert wide_first.windowsize == 4


def test_order_and_spelling_are_the_clients():
    agreed = agree(("WindowSize", "4"), ("nonsense", "1"), ("TSIZE", "0"), ("blkSize", "1024"))
    assert agreed.answer == (("WindowSize", "4"), ("TSIZE", "1000"), ("blkSize", "1024"))


def test_a_repeated_option_counts_once():
    assert agree(("blksize", "600"), ("BLKSIZE", "700")).answer == (("blksize", "600"),)


@pytest.mark.parametrize(("asked", "wrap"), [("0", 0), ("1", 1), ("2", 1)])
def test_rollover_asked_or_configured(asked, wrap):
    assert agree(("rollover", asked), rollover=1).rollover == wrap


@pytest.mark.parametrize(
    ("mtu", "version", "blksize"),
    [
        (1500, 4, 1468),
        (1500, 6, 1448),
        (576, 4, 544),
        (1280, 6, 1228),
        (9000, 4, 8968),
        (65536, 4, 65464),
        (30, 4, 8),
    ],
)
def test_a_block_fits_into_a_frame(mtu, version, blksize):
    assert largest_blksize(mtu, version) == blksize

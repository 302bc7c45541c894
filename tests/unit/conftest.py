"""Fixtures for all rooms."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest


@pytest.fixture
def traversal_names(tmp_path: Path) -> list[bytes]:
    """Names that lead, or seem to lead, out of a directory below tmp_path to the file tmp_path/canary."""
    ups = [
        b"..",
        b"...",
        b"....",
        b"%2e%2e",
        b"%2E.",
        b".%2e",
        b"%252e%252e",
        b"..%00",
        b"..;",
        b"\xc0\xae\xc0\xae",
        b"..%c0%af",
    ]
    seps = [b"/", b"\\", b"%2f", b"%5c", b"//", b"/./", b"%252f", b"\xc0\xaf"]
    names = [
        up + sep + rest
        for up, sep in itertools.product(ups, seps)
        for rest in (b"canary", up + sep + b"canary")
    ]
    canary = os.fsencode(tmp_path / "canary")
    names += [
        canary,
        b"/" + canary,
        b"file://" + canary,
        b"C:" + canary,
        b"\\\\?\\" + canary,
        b"~/canary",
        b"~root/canary",
    ]
    names += [
        b"link",
        b"relative",
        b"out/canary",
        b"up/canary",
        b"up/import/../canary",
        b"sub/../../canary",
        b"inner",
    ]
    names += [
        b"sub/deep/../../../canary",
        b"./../canary",
        b".//..//canary",
        b"good.img/../../canary",
        b"loop",
        b"out/srv/canary",
    ]
    names += [
        b"proc/cwd/canary",
        b"proc/root/etc/passwd",
        b"/proc/self/root" + canary,
        b"/proc/self/fd/0",
        b"/dev/zero",
    ]
    names += [
        b"fifo",
        b"node",
        b"socket",
        b"sub",
        b"sub/",
        b".",
        b"..",
        b"",
        b"/",
        b"//",
        b"...",
        b"/..",
        b"/../",
        b"../",
    ]
    names += [
        b"good.img\0",
        b"good.img\0.jpg",
        b"\0",
        b"..\0/canary",
        b"canary\n",
        b"\x1b[31mcanary",
        b"good.img\r\n",
    ]
    names += [
        b"A" * 300,
        b"A/" * 4000 + b"canary",
        b"../" * 400 + b"canary",
        b"/" * 70_000 + b"canary",
        b"B" * 65_536,
    ]
    names += [
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"..\xe2\x81\x84canary",
        b"\xef\xbc\x8e\xef\xbc\x8e/canary",
    ]
    names += [
        b"good.img/",
        b"good.img/.",
        b"good.img.gz",
        b"good.img~",
        b".good.img.swp",
        b"GOOD.IMG",
        b"good.img::$DATA",
    ]
    names += [
        b"/etc/passwd",
        b"etc/passwd",
        b"|id",
        b"`id`",
        b"$(cat canary)",
        b"canary;id",
        b"*",
        b"?",
        b"[c]anary",
        b"{canary}",
    ]
    return names

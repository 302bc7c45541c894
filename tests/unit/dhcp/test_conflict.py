"""The check for addresses in use, over loopback: every 127/8 address answers there. The rest is in
tests/net."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from pxeserver.servers.dhcp_conflict import MAX_PROBES, AddressCheck


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_an_address_that_answers_is_in_use_every_time(run: Callable[..., Any]) -> None:
    """libuv stops watching a socket after its first error: on both loops the tenth check is as good as the
    first."""

    async def checks() -> list[bool]:
        check = AddressCheck()
        try:
            found = [await check.in_use("127.0.0.7", 0, "02:00:00:00:00:09") for _ in range(3)]
            several = (check.in_use(f"127.0.1.{n}", 0, "02:00:00:00:00:09") for n in range(50))
            return found + list(await asyncio.gather(*several))
        finally:
            check.stop()

    assert run(checks()) == [True] * 53


async def test_many_at_once_are_refused_beyond_the_limit() -> None:
    check = AddressCheck(wait=0.1)
    asked = [
        asyncio.ensure_future(check.in_use(f"127.1.{n // 250}.{n % 250}", 0, "x")) for n in range(MAX_PROBES)
    ]
    await asyncio.sleep(0)
    assert check.full
    await asyncio.gather(*asked)
    assert not check.full
    check.stop()


async def test_stopping_ends_the_checks() -> None:
    check = AddressCheck(wait=60)
    started = time.monotonic()
    asked = asyncio.ensure_future(check.in_use("127.0.0.7", 0, "x"))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    check.stop()
    assert not check.full
    assert time.monotonic() - started < 30

"""Passwords: argon2id, away from the event loop, and never more at once than the host can bear.

One thread computes, below the priority of everything else, so that a crowd that logs in costs the boots
beside it no more than one core's leftovers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError

T = TypeVar("T")

SHORTEST, LONGEST = 8, 256
"""Characters of a password."""
WAITING = 100
"""Logins that may wait for their turn: beyond it they would wait longer than anybody does."""
_NICE = 10
_MEMORY_KIB = 19_456  # the least that OWASP recommends, with two passes
_PASSES = 2


class TooBusyError(Exception):
    """So many passwords are being checked already that this one would wait too long."""


class Passwords:
    """Makes and checks hashes."""

    def __init__(
        self, *, memory_kib: int = _MEMORY_KIB, passes: int = _PASSES, waiting: int = WAITING
    ) -> None:
        self._hasher = PasswordHasher(passes, memory_kib, 1, type=Type.ID)
        self._pool = ThreadPoolExecutor(1, "passwords", initializer=_step_back)
        self._turn = asyncio.Lock()
        self._room = waiting
        self._nobody = ""

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold the one place at which passwords are checked. TooBusyError where too many wait for it."""
        if self._room <= 0:
            raise TooBusyError
        self._room -= 1
        try:
            async with self._turn:
                yield
        finally:
            self._room += 1

    async def hash(self, password: str) -> str:
        """The hash of a password, with a salt of its own."""
        return await self._run(self._hasher.hash, normal(password))

    async def fits(self, stored: str, password: str) -> bool:
        """Whether the password is the one of this hash. Where there is none it takes as long, and is not."""
        if not stored:
            self._nobody = self._nobody or await self.hash("nobody has this password")
        return await self._run(self._fits, stored or self._nobody, normal(password)) and bool(stored)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def normal(password: str) -> str:
    """The same characters from every keyboard (Unicode NFKC, as RFC 8265 section 4.2 has it)."""
    return unicodedata.normalize("NFKC", password)


def _step_back() -> None:
    with contextlib.suppress(OSError):  # a sandbox may refuse it
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)

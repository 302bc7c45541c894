"""Logging in and changing passwords: what is checked, in which order, and how often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pxeserver.api.access.passwords import LONGEST, SHORTEST, Passwords, TooBusyError
from pxeserver.api.access.register import Register, digest
from pxeserver.api.access.throttle import Throttle
from pxeserver.api.access.who import Role, Who
from pxeserver.api.problems import Problem
from pxeserver.storage.access import User
from pxeserver.storage.records import Stamp

log = logging.getLogger(__name__)

_CODE = "\0set-up code"
"""What wrong set-up codes are counted under: no user's name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whoever logs in, as far as the connection tells."""

    address: str
    loopback: bool
    agent: str = ""


class Login:
    """Checks passwords and begins sessions."""

    def __init__(self, register: Register, passwords: Passwords) -> None:
        self._register, self._passwords = register, passwords
        self._throttle = Throttle()

    async def log_in(self, name: str, password: str, peer: Peer, old: str = "") -> str:
        """Begin a session; returns its secret. `old` is the secret of the one that the browser had.

        Problem 401 for a wrong name or password, 429 where there were too many, 503 without a database.
        """
        await self._register.load()
        async with self._checked(name, peer.address):
            user = self._register.user(name)
            fits = await self._passwords.fits(user.password if user else "", password)
            if user is not None and user.demo and self._register.demo.over:
                fits = False
            # The user may have been changed or removed while the password was checked.
            if not fits or user is None or self._register.users.get(user.id) is not user:
                self._wrong(name if user else "", name, peer.address)
                raise _refused()
        self._throttle.succeeded(name, peer.address)
        log.info("logged in", extra={"user": name, "address": peer.address})
        return await self._register.begin(user, f"web:{name}", peer.address, peer.agent, [digest(old)])

    async def change_own(self, who: Who, old: str, new: str, code: str, peer: Peer) -> str:
        """Give the caller a new password; all other sessions of theirs end. Returns the secret of a new one.

        The well-known password of a fresh installation is changed from elsewhere with the set-up code alone.
        """
        await self._register.load()
        check_new(new)
        async with self._checked(who.name, peer.address):
            user = self._register.user(who.name)
            if user is None:
                raise _refused()
            if user.demo and not peer.loopback:
                await self._check_code(code, peer.address)
            if not await self._passwords.fits(user.password, old):
                self._wrong(user.name, user.name, peer.address)
                why = "the password so far is wrong"
                raise Problem(403, "the password stays as it is", why, "Type it again", fields={"old": why})
            changed = await self.with_password(user, new, who.by)
        self._throttle.succeeded(who.name, peer.address)
        changed = await self._register.put_user(changed, who.by, "password", ends_tokens=user.demo)
        if user.demo:
            await asyncio.to_thread(self._register.demo.end)
        return await self._register.begin(changed, who.by, peer.address, peer.agent)

    async def with_password(self, user: User, new: str, by: str) -> User:
        """The user with another password, yet to be stored."""
        stored = await self._passwords.hash(new)
        return replace(
            user, password=stored, demo=False, stamp=stamped(user.stamp, by, self._register.clock())
        )

    async def _check_code(self, code: str, address: str) -> None:
        self._wait(_CODE, address)
        if not await asyncio.to_thread(self._register.demo.is_code, code):
            self._throttle.failed(_CODE, address, time.monotonic())
            log.warning("wrong set-up code", extra={"address": address})
            why = "the set-up code is wrong" if code else "the set-up code is missing"
            step = "The server printed it where it was started; `pxeserver user code` on that host shows it"
            raise Problem(403, "the password stays as it is", why, step, fields={"code": why})

    @asynccontextmanager
    async def _checked(self, name: str, address: str) -> AsyncIterator[None]:
        """One password is checked after the other, and each only once the failures before it are known."""
        self._wait(name, address)
        try:
            async with self._passwords.turn():
                self._wait(name, address)
                yield
        except TooBusyError:
            raise _later("too many people are logging in", 5.0) from None

    def _wait(self, name: str, address: str) -> None:
        seconds = self._throttle.wait(name, address, time.monotonic())
        if seconds > 0:
            raise _later("there were too many wrong ones", seconds)

    def _wrong(self, known: str, name: str, address: str) -> None:
        # A name that is nobody's may be a password, typed into the wrong field: the log does not get it.
        self._throttle.failed(name, address, time.monotonic())
        log.warning("login refused", extra={"user": known or "unknown", "address": address})


def check_new(password: str) -> None:
    """422 for a password that may not be set."""
    if not SHORTEST <= len(password) <= LONGEST:
        why = f"a password has {SHORTEST} to {LONGEST} characters"
        raise Problem(422, "the password is refused", why, "Choose another", fields={"password": why})


def stamped(stamp: Stamp, by: str, now: float) -> Stamp:
    """The stamp of a user who is changed now."""
    return replace(stamp, updated_by=by, updated_at=now, version=stamp.version + 1)


def is_last_admin(register: Register, user: User) -> bool:
    """Whether nobody else could administer the server through the pages."""
    others = (u for u in register.users.values() if u.id != user.id and u.role == Role.ADMIN and u.password)
    return user.role == Role.ADMIN and not any(not u.labels for u in others)


def _refused() -> Problem:
    why = "the name or the password is wrong"
    return Problem(401, "you are not logged in", why, "Try again; `pxeserver user passwd NAME` sets another")


def _later(why: str, seconds: float) -> Problem:
    wait = max(1, round(seconds + 0.5))
    step = f"Wait {wait} s, then try again"
    return Problem(429, "not now", why, step, headers={"Retry-After": str(wait)})

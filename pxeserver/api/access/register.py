"""Users, sessions and tokens in memory, as the database has them: every request is answered from here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace

from sqlalchemy.exc import IntegrityError

from pxeserver.api.access.demo import NAME as DEMO_NAME
from pxeserver.api.access.demo import PASSWORD as DEMO_PASSWORD
from pxeserver.api.access.demo import Demo
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.who import Role
from pxeserver.live import SERVER, Hall, Refused
from pxeserver.storage.access import AccessTable, Session, Token, User
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditRecord, Stamp

log = logging.getLogger(__name__)

IDLE_SECONDS = 30 * 60.0
"""A session without a request, and without an open stream, for so long is over."""
LONGEST_SECONDS = 12 * 3600.0
"""So is every one after this."""
KEPT_SESSIONS = 200
"""Of one user at once; the oldest ends."""
_LOOK_SECONDS = 20.0
TOKEN_PREFIX = "pxe_"  # noqa: S105 - what all tokens begin with


class Register:
    """Who is known. `load` first, and whenever another database was opened."""

    def __init__(self, hall: Hall, demo: Demo, passwords: Passwords, clock: Callable[[], float]) -> None:
        self.hall, self.demo, self.clock = hall, demo, clock
        self.users: dict[int, User] = {}
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[str, Token] = {}
        self._passwords = passwords
        self._streams: dict[str, set[Callable[[], None]]] = {}
        self._used: set[str] = set()
        self._opened = 0
        self._loading = asyncio.Lock()

    # ------------------------------------------------------------------------------------------ memory

    async def load(self) -> None:
        """Read the database that is open now, once. Unavailable while there is none."""
        if self.hall.opened == self._opened:
            return
        async with self._loading:
            opened = self.hall.opened
            if opened == self._opened:
                return
            async with self.hall.database.read() as connection:
                table = AccessTable(connection)
                users, sessions = await table.users(), await table.sessions()
                tokens = await table.tokens()
            if self._opened:
                # Another database, as after a restore: its sessions are those of another day.
                async with self.hall.database.write() as connection:
                    await AccessTable(connection).remove_sessions(None)
                self._end(tuple(self.sessions))
                sessions = []
            self.users = {user.id: user for user in users}
            self.tokens = {token.sha256: token for token in tokens}
            self.sessions = {session.sha256: session for session in sessions}
            if not users and not await asyncio.to_thread(lambda: self.demo.over):
                await self._first_user()
            self._opened = opened

    async def _first_user(self) -> None:
        stored = await self._passwords.hash(DEMO_PASSWORD)
        now = self.clock()
        stamp = Stamp(SERVER, SERVER, now, now)
        async with self.hall.database.write() as connection:
            user = User(0, DEMO_NAME, int(Role.ADMIN), stored, stamp, demo=True)
            user = await AccessTable(connection).put_user(user)
        self.users[user.id] = user

    def user(self, name: str) -> User | None:
        """The user of this name."""
        return next((user for user in self.users.values() if user.name == name), None)

    def code(self) -> str:
        """The set-up code, while the well-known password holds; "" otherwise. Blocks a little."""
        return self.demo.code() if any(user.demo for user in self.users.values()) else ""

    def session_of(self, secret: str) -> tuple[Session, User] | None:
        """The session of this cookie, now used; None where there is none, or it is over."""
        session = self.sessions.get(digest(secret))
        if session is None:
            return None
        user = self.users.get(session.user_id)
        now = self.clock()
        if user is None or self._over(session, now):
            self._end([session.sha256])
            return None
        self.sessions[session.sha256] = replace(session, seen=max(now, session.seen))
        self._used.add(session.sha256)
        return session, user

    def token_of(self, secret: str, address: str) -> tuple[Token, User] | None:
        """The API token, now used; None where there is none, or it has ended."""
        token = self.tokens.get(digest(secret))
        user = self.users.get(token.user_id) if token is not None else None
        now = self.clock()
        if token is None or user is None or (token.expires is not None and token.expires <= now):
            return None
        self.tokens[token.sha256] = replace(token, seen=now, address=address)
        self._used.add(token.sha256)
        return token, user

    def _over(self, session: Session, now: float) -> bool:
        # A clock that was set back makes neither of them longer.
        if not session.begun - 60 <= now < session.begun + LONGEST_SECONDS:
            return True
        return now >= session.seen + IDLE_SECONDS and not self._streams.get(session.sha256)

    # ------------------------------------------------------------------------------------------ changes

    @contextlib.asynccontextmanager
    async def change(self, by: str, verb: str, table: str, record: str) -> AsyncIterator[AccessTable]:
        """One change in the database, with who made it in the audit trail."""
        try:
            async with self.hall.database.write() as connection:
                yield AccessTable(connection)
                entry = AuditRecord(self.clock(), by, verb, table, record, 0, {})
                await Audit(connection).add([entry])
        except IntegrityError:
            why = "it was added or removed by somebody else at this moment"
            raise Refused(f"{record} is refused", why, "Look at it again") from None

    async def begin(self, user: User, by: str, address: str, agent: str, ends: Iterable[str] = ()) -> str:
        """Begin a session in place of those that end; returns its secret, which only the browser keeps."""
        secret = secrets.token_urlsafe(32)
        now = self.clock()
        session = Session(digest(secret), user.id, now, now, address, agent[:200])
        mine = sorted((s for s in self.sessions.values() if s.user_id == user.id), key=lambda s: s.begun)
        ended = {*ends, *(s.sha256 for s in mine[: max(0, len(mine) - KEPT_SESSIONS + 1)])}
        async with self.change(by, "log-in", "sessions", user.name) as table:
            await table.remove_sessions(ended)
            await table.add_session(session)
        self._end(ended)
        self.sessions[session.sha256] = session
        return secret

    async def log_out(self, session: Session, by: str, name: str) -> None:
        """End a session: at once here, then in the database."""
        self._end([session.sha256])
        async with self.change(by, "log-out", "sessions", name) as table:
            await table.remove_sessions([session.sha256])

    async def put_user(self, user: User, by: str, verb: str, *, ends_tokens: bool = False) -> User:
        """Store a user. Whoever is changed has to log in again."""
        ended = [s.sha256 for s in self.sessions.values() if s.user_id == user.id]
        tokens = [t for t in self.tokens.values() if t.user_id == user.id and ends_tokens]
        async with self.change(by, verb, "users", user.name) as table:
            user = await table.put_user(user)
            await table.remove_sessions(ended)
            await table.remove_tokens(t.id for t in tokens)
        self.users[user.id] = user
        self._end(ended)
        for token in tokens:
            self.tokens.pop(token.sha256, None)
        return user

    async def remove_user(self, user: User, by: str) -> None:
        """Remove a user, all sessions and tokens with it."""
        async with self.change(by, "remove", "users", user.name) as table:
            await table.remove_user(user.id)
        self.users.pop(user.id, None)
        self._end([s.sha256 for s in self.sessions.values() if s.user_id == user.id])
        self.tokens = {key: t for key, t in self.tokens.items() if t.user_id != user.id}

    async def add_token(self, token: Token, by: str, owner: User) -> tuple[Token, str]:
        """Store a token; returns it with its secret, which is nowhere kept."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = replace(token, sha256=digest(secret))
        async with self.change(by, "add", "tokens", f"{owner.name}/{token.name}") as table:
            token = await table.add_token(token)
        self.tokens[token.sha256] = token
        return token, secret

    async def revoke(self, token: Token, by: str, owner: str) -> None:
        """End a token."""
        async with self.change(by, "revoke", "tokens", f"{owner}/{token.name}") as table:
            await table.remove_tokens([token.id])
        self.tokens.pop(token.sha256, None)
        self._cut(token.sha256)

    # ------------------------------------------------------------------------------------------ streams

    @contextlib.contextmanager
    def streaming(self, sha256: str, cut: Callable[[], None]) -> Iterator[None]:
        """While a request of this session or token is answered: `cut` is called where that ends meanwhile."""
        held = self._streams.setdefault(sha256, set())
        held.add(cut)
        try:
            yield
        finally:
            held.discard(cut)
            if not held:
                self._streams.pop(sha256, None)
            if sha256 in self.sessions:
                self.sessions[sha256] = replace(self.sessions[sha256], seen=self.clock())

    def _end(self, sha256s: Iterable[str]) -> None:
        for sha256 in tuple(sha256s):
            self.sessions.pop(sha256, None)
            self._used.discard(sha256)
            self._cut(sha256)

    def _cut(self, sha256: str) -> None:
        for cut in tuple(self._streams.get(sha256, ())):
            cut()

    # ------------------------------------------------------------------------------------------ care

    async def keep(self) -> None:
        """For ever: read what is new, end what is over, note what was used."""
        while True:
            try:
                await self.load()
                await self.tidy()
            except Refused as error:
                log.debug("access waits for the database", extra={"why": error.why})
            await asyncio.sleep(_LOOK_SECONDS)

    async def tidy(self) -> None:
        """End what is over and write down what was used since the last time."""
        now = self.clock()
        over = [s.sha256 for s in self.sessions.values() if self._over(s, now)]
        used, self._used = self._used - set(over), set()
        self._end(over)
        for token in self.tokens.values():
            if token.expires is not None and token.expires <= now:
                self._cut(token.sha256)
        if over or used:
            async with self.hall.database.write() as connection:
                table = AccessTable(connection)
                await table.remove_sessions(over)
                sessions = [self.sessions[u] for u in used if u in self.sessions]
                await table.seen(sessions, [self.tokens[u] for u in used if u in self.tokens])


def digest(secret: str) -> str:
    """What is kept of a secret that has 256 bits of chance: its sha256."""
    return hashlib.sha256(secret.encode()).hexdigest()

"""Users, sessions and tokens in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.storage.records import Stamp
from pxeserver.storage.tables_access import SessionRow, TokenRow, UserRow


@dataclass(frozen=True, slots=True)
class User:
    """A user. `role` is a number of api.access.who.Role; `id` is 0 before it is stored."""

    id: int
    name: str
    role: int
    password: str
    """The argon2id hash; "": no login with a password."""
    stamp: Stamp
    demo: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in. Times in seconds since the epoch."""

    sha256: str
    user_id: int
    begun: float
    seen: float
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """An API token; `id` is 0 before it is stored."""

    id: int
    user_id: int
    name: str
    sha256: str
    role: int
    scopes: tuple[str, ...]
    created_by: str
    created_at: float
    expires: float | None = None
    seen: float | None = None
    address: str = ""


_STAMP = ("created_by", "updated_by", "created_at", "updated_at", "version")
_SESSION = tuple(f.name for f in fields(Session))
_TOKEN = tuple(f.name for f in fields(Token))


class AccessTable:
    """Users, sessions and tokens, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def users(self) -> list[User]:
        """Every user."""
        rows = await self._connection.execute(select(UserRow.__table__))
        return [_user(row._mapping) for row in rows]

    async def put_user(self, user: User) -> User:
        """Insert a user, or write a changed one back; it gets its number."""
        values = {name: getattr(user, name) for name in ("name", "role", "password", "demo")}
        values |= {name: getattr(user.stamp, name) for name in _STAMP} | {"labels": dict(user.labels)}
        if user.id:
            await self._connection.execute(update(UserRow).where(UserRow.id == user.id).values(**values))
            return user
        statement = insert(UserRow).values(**values).returning(UserRow.id)
        return replace(user, id=(await self._connection.execute(statement)).scalar_one())

    async def remove_user(self, user_id: int) -> None:
        """Remove a user with all sessions and tokens."""
        await self._connection.execute(delete(UserRow).where(UserRow.id == user_id))

    async def sessions(self) -> list[Session]:
        """Every session, also those that have ended by time."""
        columns = [getattr(SessionRow, name) for name in _SESSION]
        return [Session(*row) for row in await self._connection.execute(select(*columns))]

    async def add_session(self, session: Session) -> None:
        """Insert a session."""
        values = {name: getattr(session, name) for name in _SESSION}
        await self._connection.execute(insert(SessionRow).values(**values))

    async def remove_sessions(self, sha256s: Iterable[str] | None) -> None:
        """Remove these sessions; None: all."""
        statement = delete(SessionRow)
        if sha256s is not None:
            statement = statement.where(SessionRow.sha256.in_(list(sha256s)))
        await self._connection.execute(statement)

    async def tokens(self) -> list[Token]:
        """Every token."""
        columns = [getattr(TokenRow, name) for name in _TOKEN]
        rows = await self._connection.execute(select(*columns))
        return [Token(**{**row._mapping, "scopes": tuple(row.scopes)}) for row in rows]

    async def add_token(self, token: Token) -> Token:
        """Insert a token; it gets its number."""
        values = {name: getattr(token, name) for name in _TOKEN if name != "id"}
        statement = insert(TokenRow).values(**values | {"scopes": list(token.scopes)}).returning(TokenRow.id)
        return replace(token, id=(await self._connection.execute(statement)).scalar_one())

    async def remove_tokens(self, ids: Iterable[int]) -> None:
        """Remove these tokens."""
        await self._connection.execute(delete(TokenRow).where(TokenRow.id.in_(list(ids))))

    async def seen(self, sessions: Iterable[Session], tokens: Iterable[Token]) -> None:
        """Note when and where these were used last."""
        rows: list[dict[str, Any]] = [
            {"this": s.sha256, "seen": s.seen, "address": s.address} for s in sessions
        ]
        if rows:
            await self._connection.execute(_noted(SessionRow, SessionRow.sha256), rows)
        rows = [{"this": t.id, "seen": t.seen, "address": t.address} for t in tokens]
        if rows:
            await self._connection.execute(_noted(TokenRow, TokenRow.id), rows)


def _noted(table: type[SessionRow] | type[TokenRow], key: Any) -> Any:
    changed: dict[str, Any] = {"seen": bindparam("seen"), "address": bindparam("address")}
    return update(table.__table__).where(key == bindparam("this")).values(**changed)  # type: ignore[arg-type]


def _user(row: Mapping[Any, Any]) -> User:
    stamp = Stamp(**{name: row[name] for name in _STAMP})
    return User(row["id"], row["name"], row["role"], row["password"], stamp, row["demo"], row["labels"])

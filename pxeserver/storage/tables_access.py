"""The database's tables of who may use the admin plane: users, their sessions, their API tokens.

Of sessions and tokens only the sha256 is kept, of passwords the argon2id hash: whoever reads the file can
log in with none of it. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pxeserver.storage.tables import Base, Edited


class UserRow(Edited, Base):
    """A person, or a program with tokens of its own. `labels` limit what may be changed."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[int]
    password: Mapped[str]
    """argon2id in its usual form; "" where there is none: only tokens then."""
    demo: Mapped[bool] = mapped_column(default=False)
    """The password is still the well-known one of a fresh installation."""


class SessionRow(Base):
    """A person who has logged in."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    begun: Mapped[float]
    seen: Mapped[float]
    address: Mapped[str]
    agent: Mapped[str]
    """What the browser called itself."""


class TokenRow(Base):
    """An API token."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    role: Mapped[int]
    scopes: Mapped[list[Any]]
    created_by: Mapped[str]
    created_at: Mapped[float]
    expires: Mapped[float | None]
    seen: Mapped[float | None]
    address: Mapped[str] = mapped_column(default="")
    """Where it was used last."""

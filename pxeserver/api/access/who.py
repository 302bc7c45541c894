"""Who asks, what they may do, and what an operation needs: values only, without a request or a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeVar

from aiohttp import web

Kind = Literal["local", "session", "token", "demo", "nobody"]
Labels = tuple[tuple[str, str], ...]
"""Pairs such as ("line", "development"), in order of their keys."""

AREAS = (
    "server",
    "policy",
    "node",
    "boot",
    "lease",
    "group",
    "profile",
    "image",
    "loader",
    "cluster",
    "audit",
    "access",
)
"""What scopes speak of. A scope is "AREA:read" or "AREA:write", or "*:read" or "*:write" for all of them;
write includes read."""
SCOPES = tuple(f"{area}:{verb}" for area in ("*", *AREAS) for verb in ("read", "write"))


class Role(IntEnum):
    """What a person may do; each includes those below it."""

    NOBODY = 0
    """Not known to the server."""
    VIEWER = 1
    """Looks at everything that holds no secret."""
    OPERATOR = 2
    """Boots, installs and changes nodes, groups, profiles, images and clusters."""
    ADMIN = 3
    """Everything: also users, policy, loaders, backups."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever sent a request, as far as it could be proven."""

    name: str
    role: Role
    labels: Labels = ()
    """What may be changed carries all of these; empty: anything may be changed."""
    kind: Kind = "session"
    """local: the unix socket; demo: a session or token of the installation's first user, whose password is
    still the well-known one."""
    loopback: bool = False
    """The request came from this host, with no sign of a proxy."""
    scopes: frozenset[str] | None = None
    """Of a token; None: not limited by scopes."""
    address: str = ""
    """Where the request came from: an IP address, or "unix"."""
    token: str = ""
    """Name of the token, where one was used."""

    def __bool__(self) -> bool:
        """Whether it is anybody: templates ask so."""
        return self.role > Role.NOBODY

    @property
    def by(self) -> str:
        """How edits are signed: "cli:alice" on the unix socket, "web:alice", "token:alice/ci"."""
        match self.kind:
            case "local":
                return self.name
            case _ if self.token:
                return f"token:{self.name}/{self.token}"
            case "nobody":
                return "nobody"
            case _:
                return f"web:{self.name}"

    @property
    def demo_only(self) -> bool:
        """The well-known login, used from elsewhere: it looks, and changes nothing."""
        return self.kind == "demo" and not self.loopback

    def has_scope(self, wanted: str) -> bool:
        """Whether "node:write" and the like is within the token's scopes."""
        if self.scopes is None:
            return True
        area, _, verb = wanted.partition(":")
        granted = {f"{area}:write", "*:write"}
        if verb == "read":
            granted |= {f"{area}:read", "*:read"}
        return not granted.isdisjoint(self.scopes)

    def may_touch(self, labels: Mapping[str, str]) -> bool:
        """Whether something that carries these labels may be changed."""
        return all(labels.get(key) == value for key, value in self.labels)


NOBODY = Who("", Role.NOBODY, kind="nobody")
WHO = web.RequestKey("who", Who)
"""Of a request: who sent it."""
CSRF = web.RequestKey("csrf", str)
"""Of a request: what a change by its session has to carry; "" without a session."""


@dataclass(frozen=True, slots=True)
class Need:
    """What an operation needs of whoever asks for it. As it stands: an administrator, and no token."""

    role: Role = Role.ADMIN
    scope: str = ""
    """Of a token; empty: no token will do."""
    within_labels: bool = False
    """It changes things that carry labels and checks them itself: also for people limited to some."""
    local: bool = False
    """On the unix socket alone."""
    own: bool = False
    """It is about the caller's own session or password: the demo login may do it from elsewhere."""


DENY = Need()
PUBLIC = Need(Role.NOBODY)
"""Answered to anybody."""


def look(area: str) -> Need:
    """To look at things."""
    return Need(Role.VIEWER, f"{area}:read")


def operate(area: str, *, within_labels: bool = False) -> Need:
    """To change things from day to day."""
    return Need(Role.OPERATOR, f"{area}:write", within_labels)


def administer(area: str) -> Need:
    """To change what concerns everybody, or to see what holds secrets."""
    return Need(Role.ADMIN, f"{area}:write")


F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "__need__"


def needs(need: Need) -> Callable[[F], F]:
    """Declare what the handler of a page needs. One without this is for administrators alone."""

    def declare(handler: F) -> F:
        setattr(handler, _ATTRIBUTE, need)
        return handler

    return declare


def need_of(handler: object) -> Need:
    """What a handler needs."""
    found = getattr(handler, _ATTRIBUTE, DENY)
    return found if isinstance(found, Need) else DENY


def who_of(request: web.BaseRequest) -> Who:
    """Who sent a request; NOBODY where no middleware has looked."""
    found = request.get(WHO)
    return found if isinstance(found, Who) else NOBODY

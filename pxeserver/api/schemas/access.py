"""Users, sessions, tokens, the audit trail, the certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from pxeserver.api.access.passwords import LONGEST, SHORTEST
from pxeserver.api.access.who import SCOPES
from pxeserver.api.schemas.fields import Body, Labels, Text, Time, Version, View, form

UserName = Annotated[
    str,
    form(
        r"^[a-z0-9][a-z0-9._-]{0,31}$",
        "a user's name is at most 32 lower-case letters, digits, '.', '_' and '-',"
        " beginning with a letter or digit",
    ),
]
NewPassword = Annotated[str, Field(min_length=SHORTEST, max_length=LONGEST)]
TypedPassword = Annotated[str, Field(max_length=1024)]
RoleName = Literal["viewer", "operator", "admin"]


def _scope(text: str) -> str:
    if text not in SCOPES:
        raise ValueError(f"{text!r} is no scope such as node:read, node:write or *:read")
    return text


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2026-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _checked_moment(text: str) -> str:
    _moment(text)
    return text


Scope = Annotated[str, AfterValidator(_scope)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_checked_moment)]


class LogIn(Body):
    """Begin a session."""

    name: Annotated[str, Field(max_length=64)]
    password: TypedPassword


class PasswordChange(Body):
    """A new password for whoever asks. All their other sessions end."""

    old: TypedPassword
    new: NewPassword
    code: Annotated[str, Field(max_length=40)] = ""
    """The set-up code, where the well-known password of a fresh installation is changed from elsewhere."""


class SessionView(View):
    """Who asks, and what they may do."""

    name: str
    role: RoleName
    labels: dict[str, str]
    """What they may change carries these; empty: anything."""
    kind: Literal["local", "session", "token", "demo"]
    """demo: the well-known login of a fresh installation, which only looks unless it is used on the server's
    own host."""
    loopback: bool
    """The request came from the server's own host."""
    may_change: bool
    csrf: str
    """To be sent as X-CSRF-Token with every change; empty for tokens."""
    scopes: tuple[str, ...] | None
    """Of a token; null: no limit."""


class UserNew(Body):
    """A user to add."""

    name: UserName
    role: RoleName = "viewer"
    password: NewPassword | None = None
    """Without one the user can have tokens and cannot log in."""
    labels: Labels = Field(default_factory=dict)
    """Only what carries all of these may be changed, e.g. {"line": "development"}."""


class UserChange(Body):
    """What to change; fields left away stay. The user has to log in again."""

    version: Version | None = None
    role: RoleName | None = None
    password: NewPassword | None = None
    labels: Labels | None = None
    """In place of all that are there."""


class UserView(View):
    """A user."""

    name: str
    role: RoleName
    labels: dict[str, str]
    has_password: bool
    demo: bool
    """It still has the well-known password."""
    sessions: int
    """Open ones."""
    tokens: int
    created_by: str
    created_at: Time
    updated_by: str
    updated_at: Time
    version: int


class TokenNew(Body):
    """An API token to make."""

    name: UserName
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=32)] = ("*:read",)
    """AREA:read or AREA:write, where an area is server, policy, node, boot, lease, group, profile, image,
    loader, cluster, audit, access, or * for all. write includes read."""
    role: RoleName | None = None
    """At most this; left away: the user's own role."""
    days: Annotated[int, Field(ge=1, le=3650)] | None = 90
    """How long it can be used; null: until it is revoked."""
    user: UserName | None = None
    """Whose token it is; left away: the caller's. For administrators and the command line."""


class TokenView(View):
    """An API token, without its secret."""

    id: int
    user: str
    name: str
    role: RoleName
    scopes: tuple[str, ...]
    created_by: str
    created_at: Time
    expires: Time | None
    seen: Time | None
    """When it was used last, to the minute."""
    address: str
    """Where it was used last."""


class TokenMade(TokenView):
    """A new API token. Its secret is shown this once."""

    secret: str


class TokenQuery(Body):
    """Whose tokens to list."""

    user: UserName | None = None


Asked = Annotated[Text, Field(max_length=120)]
"""What a filter looks for; several of them have to fit into one address."""


class AuditQuery(Body):
    """Which changes to list, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    """Numbers below this one: the last of the page before."""
    by: Asked | None = None
    """Who, e.g. "cli:root", "web:alice", "token:alice/ci"."""
    verb: Asked | None = None
    table: Asked | None = None
    """What kind of thing: nodes, groups, users ..."""
    record: Asked | None = None
    """Its name."""
    source: Asked | None = None
    """Where from: an IP address, or "unix"."""
    q: Asked | None = None
    """A part of any of these."""
    since: Moment | None = None
    """A time in ISO 8601, inclusive."""
    until: Moment | None = None
    """A time in ISO 8601, exclusive."""


class AuditView(View):
    """One change."""

    id: int
    at: Time
    by: str
    source: str
    verb: str
    table: str
    record: str
    version: int
    changes: dict[str, Any]
    """Each field with [before, after]."""


class CertificateView(View):
    """The certificate that browsers are shown."""

    sha256: str
    """Its fingerprint, as browsers show it."""
    names: tuple[str, ...]
    """The names and addresses that it is for."""
    not_after: Time
    issuer: str
    own: bool
    """It is by the server's own authority, whose certificate GET /ca.pem has."""
    authority_sha256: str
    """The fingerprint of that; "" where the certificate is another's."""
    problem: str
    """Why the configured certificate is not used; "" while all is well."""


class SetupCodeView(View):
    """The set-up code for the first password; "" once one was set."""

    code: str


def moment(text: str | None) -> float | None:
    """Seconds since the epoch of a time in ISO 8601; None for none."""
    return None if text is None else _moment(text)

"""Who is told of alarms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from pxeserver.api.schemas.fields import Body, Name, Time, Version, View
from pxeserver.notices import KINDS


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"{text!r} is no alarm; there are {', '.join(KINDS)}")
    return text


Alarms = Annotated[tuple[Annotated[str, AfterValidator(_kind)], ...], Field(max_length=len(KINDS))]
Address = Annotated[SecretStr, Field(min_length=1, max_length=2000)]
Secret = Annotated[SecretStr, Field(min_length=16, max_length=200)]


class NotificationNew(Body):
    """Somebody to tell of alarms."""

    name: Name
    kind: Literal["webhook", "apprise"]
    """webhook: a signed POST; apprise: mail, chats and everything else that the library apprise knows."""
    url: Address
    """Where: https://hooks.example.org/boot, or what apprise takes, such as
    mailtos://user:password@example.org. It is never shown again."""
    secret: Secret | None = None
    """That a webhook's messages are signed with; left away: one is made, and told once."""
    alarms: Alarms = ()
    """Kinds to tell; empty: all of them."""
    enabled: bool = True


class NotificationChange(Body):
    """What to change; fields left away stay."""

    version: Version | None = None
    url: Address | None = None
    secret: Secret | None = None
    new_secret: bool = False
    """Make another secret, and tell it once."""
    alarms: Alarms | None = None
    enabled: bool | None = None


class DeliveryView(View):
    """What came of one message."""

    ok: bool
    text: str
    at: Time
    seconds: float


class NotificationView(View):
    """Somebody who is told of alarms, without the address and the secret."""

    name: str
    kind: Literal["webhook", "apprise"]
    hint: str
    """What of the address may be shown."""
    alarms: tuple[str, ...]
    enabled: bool
    readable: bool
    """Whether the address can be read: in a backup of another server it cannot."""
    sent: int
    failed: int
    """Messages that were given up, since the server's start."""
    dropped: int
    """Messages that found too many waiting before them."""
    waiting: int
    trying: int
    """How often the message under way could not be delivered yet."""
    last: DeliveryView | None
    created_by: str
    created_at: Time
    updated_by: str
    updated_at: Time
    version: int


class NotificationMade(NotificationView):
    """The same with its secret, which is shown this once; "" where none was made."""

    secret: str


class AlarmKindView(View):
    """A kind of alarm."""

    kind: str
    title: str


def noted(body: NotificationChange | NotificationNew, old: Any) -> dict[str, Any]:
    """What of a change the audit trail is told: never an address or a secret."""
    told: dict[str, Any] = {}
    for name in ("alarms", "enabled"):
        after = getattr(body, name)
        before = getattr(old, name) if old is not None else None
        if after is not None and after != before:
            told[name] = [list(v) if isinstance(v, tuple) else v for v in (before, after)]
    if body.url is not None:
        told["url"] = ["", "set"]
    if body.secret is not None or getattr(body, "new_secret", False):
        told["secret"] = ["", "set"]
    return told

"""Where alarms may be told: webhooks over HTTP, and everything that the library apprise knows."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from pxeserver.live import Hall, Missing, Refused
from pxeserver.notices.alarms import KINDS
from pxeserver.storage.machines import Audit
from pxeserver.storage.notifications import Notification, Notifications
from pxeserver.storage.records import AuditRecord, Stamp
from pxeserver.storage.secretbox import SecretBox

MOST = 20
"""Targets in all."""
Kind = Literal["webhook", "apprise"]
_THIS_HOST = frozenset({
    "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows",
})  # fmt: skip
"""What apprise would do on this host instead of telling somebody."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of them. Neither its text nor its repr tells the address or the secret."""

    name: str
    kind: Kind
    hint: str
    """What of the address may be shown."""
    alarms: tuple[str, ...]
    """Kinds that are told; empty: all of them."""
    enabled: bool
    stamp: Stamp
    url: str = field(repr=False)
    """"" where it cannot be read: the key that it was sealed with is gone."""
    secret: str = field(default="", repr=False)
    """That webhooks are signed with."""

    def wants(self, kind: str) -> bool:
        """Whether it is told of such alarms."""
        return self.enabled and (not self.alarms or kind in self.alarms)


def check_url(kind: str, url: str) -> str:
    """What of this address may be shown. ValueError says why it cannot be used, and does not repeat it."""
    if len(url) > 2000 or not url.isprintable() or " " in url:
        raise ValueError("it is longer than 2000 characters, or holds blanks or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    scheme = parts.scheme.lower()
    if kind == "apprise":
        if not scheme or "://" not in url:
            raise ValueError("it is no address such as mailto://user:password@example.org")
        if scheme in _THIS_HOST:
            raise ValueError(f"{scheme} tells nobody: it is something on the server's own host")
        return f"{scheme}://…"
    if scheme not in ("http", "https") or not host:
        raise ValueError("it is no address such as https://hooks.example.org/boot")
    check_address(host)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}{f':{port}' if port else ''}/…"


def check_address(host: str) -> None:
    """ValueError where a host is the literal address of something that is never told of alarms: link-local
    ones, where clouds keep the keys of their machines, and those that are no single host.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return  # Python counts ::1 as reserved
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise ValueError(f"{host} is a link-local, multicast or reserved address")


class Targets:
    """The targets as the database has them. `load` first, and whenever another database was opened."""

    def __init__(self, hall: Hall, box: SecretBox, clock: Callable[[], float] = time.time) -> None:
        self.hall = hall
        self.clock = clock
        self._box = box
        self._opened = 0
        self._all: dict[str, Target] = {}
        self.changes = 0
        """Grows whenever one was added, changed or removed."""

    def all(self) -> list[Target]:
        """All of them, by name. In memory."""
        return sorted(self._all.values(), key=lambda target: target.name)

    def find(self, name: str) -> Target:
        """The one of this name; Missing where there is none."""
        if name not in self._all:
            raise Missing("notification", name)
        return self._all[name]

    async def load(self) -> None:
        """Read the database that is open now, once. Unavailable while there is none."""
        if self.hall.opened == self._opened:
            return
        opened = self.hall.opened
        async with self.hall.database.read() as connection:
            found = await Notifications(connection).all()
        self._all = {record.name: self._opened_up(record) for record in found}
        self._opened = opened
        self.changes += 1

    def _opened_up(self, record: Notification) -> Target:
        told = self._box.unseal(record.sealed)
        names = ("name", "kind", "hint", "alarms", "enabled", "stamp")
        plain = {name: getattr(record, name) for name in names}
        return Target(url=str(told.get("url", "")), secret=str(told.get("secret", "")), **plain)

    async def put(self, target: Target, by: str, verb: str, noted: Mapping[str, object]) -> Target:
        """Add or change one. `noted` goes into the audit trail and holds neither address nor secret."""
        if target.name not in self._all and len(self._all) >= MOST:
            raise Refused(f"{target.name} is not added", f"there are {MOST} already", "remove one first")
        old = self._all.get(target.name)
        now = self.clock()
        stamp = Stamp(by, by, now, now)
        if old is not None:
            stamp = replace(old.stamp, updated_by=by, updated_at=now, version=old.stamp.version + 1)
        target = replace(target, stamp=stamp)
        sealed = self._box.seal({"url": target.url, "secret": target.secret})
        record = Notification(
            target.name, target.kind, target.hint, sealed, target.alarms, target.enabled, stamp
        )
        async with self.hall.database.write() as connection:
            await Notifications(connection).put(record)
            entry = AuditRecord(now, by, verb, "notifications", target.name, stamp.version, dict(noted))
            await Audit(connection).add([entry])
        self._all[target.name] = target
        self.changes += 1
        return target

    async def remove(self, name: str, by: str) -> None:
        """Remove the one of this name; Missing where there is none."""
        target = self.find(name)
        async with self.hall.database.write() as connection:
            await Notifications(connection).remove(name)
            version = target.stamp.version
            entry = AuditRecord(self.clock(), by, "remove", "notifications", name, version, {})
            await Audit(connection).add([entry])
        self._all.pop(name, None)
        self.changes += 1


def new_secret() -> str:
    """A secret for signatures: 256 bits of chance."""
    return secrets.token_urlsafe(32)


def check_kinds(alarms: tuple[str, ...]) -> None:
    """ValueError where one of these is no kind of alarm."""
    for kind in alarms:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no alarm; there are {', '.join(KINDS)}")

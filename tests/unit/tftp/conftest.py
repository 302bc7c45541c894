"""A boot worker's plane in memory, for the TFTP server's tests."""

from __future__ import annotations

import os

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Event, FileRef, Ignore, Interface, Policy, Reason, Site
from pxeserver.servers.tftp_content import Served

SERVER = "10.0.0.1"


class Opened:
    """A file of the fake store."""

    def __init__(self, content: bytes) -> None:
        self.fd = os.memfd_create("published")
        os.write(self.fd, content)
        self.size = len(content)
        self.sha256 = ""
        self.mtime = 0.0

    def close(self) -> None:
        os.close(self.fd)


class FakePlane:
    """Files by name, and everything the server reported."""

    def __init__(self, clock=None, site: Site | None = None, policy: Policy | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.refused: dict[str, Reason] = {}
        self.broken: set[str] = set()
        self.events: list[Event] = []
        self.silences: list[Ignore] = []
        self._clock = clock or (lambda: 0.0)
        self._site = site or Site((Interface(7, "lan0", (f"{SERVER}/24",), 1500),))
        self._catalog = Catalog(policy=policy or Policy())

    def now(self) -> float:
        return self._clock()

    def catalog(self) -> Catalog:
        return self._catalog

    def site(self) -> Site:
        return self._site

    def report(self, event: Event) -> None:
        self.events.append(event)

    def ignored(self, ignore: Ignore) -> None:
        self.silences.append(ignore)

    def open(self, file: FileRef) -> Opened:
        if file.name in self.broken:
            raise OSError(5, "input/output error")
        return Opened(self.files[file.name])

    def resolve(self, name, source, interface):
        if name in self.refused:
            return Ignore(self.refused[name])
        if name not in self.files:
            return Ignore(Reason.NOT_FOUND)
        return Served(FileRef(name, name, len(self.files[name])), "attempt0", "52:54:00:00:00:01", 1)

    def kinds(self) -> list[str]:
        return [e.kind.value for e in self.events]

    def reasons(self) -> list[str]:
        return [i.reason.value for i in self.silences]


@pytest.fixture
def fake_plane():
    """The class of fake planes."""
    return FakePlane

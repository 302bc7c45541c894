"""What the API needs beside the hall, as protocols: the image store, the loaders' shelf, the boot worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pxeserver.boot.model import FileRef, Image, Loader
from pxeserver.imagestore.uploads import Uploads


class OpenFile(Protocol):
    """An opened file of the store."""

    size: int
    sha256: str

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the boot worker last told of itself."""

    connected: bool = False
    interfaces: tuple[str, ...] = ()
    """Served links with their addresses, e.g. "eth0 10.77.0.2/24"."""
    unknown: str = ""
    """What unknown machines get now, where that differs from the policy, and `why`."""
    why: str = ""
    others: tuple[str, ...] = ()
    """Other boot servers that were heard."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """How often the boot plane kept silent since its start, by reason."""
    counters: Mapping[str, int | float] = field(default_factory=dict)
    """The worker's own counters, as of a second ago; they begin anew with each worker."""
    refused: tuple[str, ...] = ()
    """Subnets without the addresses they were to get from us, because another DHCP server answers there."""


class Worker(Protocol):
    """The boot worker, as the control process reaches it."""

    def seen(self) -> Seen:
        """What it last told. In memory."""

    async def release_lease(self, address: str, by: str) -> None:
        """Free an address at once; the log names `by`. ConnectionError where the worker is away; LookupError
        where no such lease is."""


class NoWorker:
    """No boot worker: the API alone, as in tests."""

    def seen(self) -> Seen:
        """Nothing was seen."""
        return Seen()

    async def release_lease(self, address: str, by: str) -> None:
        """It cannot be asked."""
        raise ConnectionError(f"no boot worker to free {address}")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of the admin plane."""

    sha256: str
    """Hex, in upper case, with colons."""
    names: tuple[str, ...]
    not_after: float
    """Seconds since the epoch."""
    issuer: str
    authority: str = ""
    """PEM of the server's own authority; "" where it is by another."""
    authority_sha256: str = ""
    problem: str = ""
    """Why the configured one is not used."""


class Store(Protocol):
    """The image store; its verbs block and are run in threads."""

    uploads: Uploads
    """Files that arrive in parts."""

    def open(self, file: FileRef | str) -> OpenFile:
        """A published file; FileNotFoundError where it is not there."""

    def add_stream(
        self,
        parts: Iterable[bytes | memoryview],
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
        *,
        total: int | None = None,
    ) -> FileRef:
        """Put what these parts make up into the store."""

    def add_fd(
        self,
        fd: int,
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> FileRef:
        """Copy an opened file into the store."""

    def add_url(
        self,
        url: str,
        name: str,
        role: str,
        expect_sha256: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> FileRef:
        """Download a file into the store."""

    def discard_unused(self, keep: Collection[str]) -> tuple[int, int]:
        """Remove the files that nothing names; returns how many, and their bytes."""


class Build(Protocol):
    """An image on its way."""

    async def image(self) -> Image:
        """The image; an exception whose text says why there is none."""

    def lines(self) -> AsyncIterator[str]:
        """What is told of it, from the beginning to the end."""


class Builds(Protocol):
    """Images that the server builds itself."""

    @property
    def names(self) -> tuple[str, ...]:
        """What can be built."""

    def start(self, name: str, *, refresh: bool = False) -> Build:
        """Begin a build, or join the one that runs; KeyError for an unknown name."""


class LoaderShelf(Protocol):
    """The loaders' bundle; its verbs block and are run in threads."""

    def kept(self) -> list[Loader]:
        """The loaders that the server has by itself; no network is asked."""

    def export_bundle(self, loaders: Iterable[Loader], path: Path) -> None:
        """Write the loaders with their manifest into one file."""

    def import_bundle(self, path: Path) -> list[Loader]:
        """Put a bundle's loaders into the store; ValueError says what is wrong with it."""

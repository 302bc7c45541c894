"""What a TFTP name leads to, as bytes in memory: published files are mapped, scripts are bytes already."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from pxeserver.boot.model import EventKind, FileRef, Ignore, Interface
from pxeserver.servers.plane import OpenFile

READ_AHEAD_BYTES = 64 * 1024 * 1024
"""Files up to this size are asked for from the disk at once, so that sending rarely waits for it."""

LARGEST_NETASCII = 1024 * 1024
"""Bytes; netascii is for texts, and its translation is made in memory."""


@dataclass(frozen=True, slots=True)
class Served:
    """The answer to a name: what to send, on whose behalf, and how the attempt's timeline calls it.

    A kind that is None is not reported.
    """

    content: FileRef | bytes
    attempt: str = ""
    mac: str = ""
    node_id: int | None = None
    started: EventKind | None = EventKind.FILE_STARTED
    sent: EventKind | None = EventKind.FILE_SENT
    failed: EventKind | None = EventKind.FILE_FAILED


Resolve = Callable[[str, tuple[str, int], Interface], Served | Ignore]
"""(file name without leading slash, client's address and port, interface) to what it gets. In memory, must
not wait."""


class Mapping:
    """Content in memory; it goes away with its last user, and stays whole when the file is replaced
    meanwhile."""

    __slots__ = ("__weakref__", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view


class Mappings:
    """Opens contents. Transfers of one file share one mapping, whose pages are then faulted in once, and one
    translation, or a flood of requests would fill the memory."""

    def __init__(self, open_file: Callable[[FileRef], OpenFile]) -> None:
        self._open = open_file
        self._shared: WeakValueDictionary[tuple[str, bool], Mapping] = WeakValueDictionary()

    def get(self, content: FileRef | bytes, *, netascii: bool = False) -> Mapping:
        """The content mapped, or translated, for which it must not be larger than LARGEST_NETASCII.

        FileNotFoundError where it is not in the store, other OSErrors where the store is broken.
        """
        if isinstance(content, bytes):
            return Mapping(memoryview(to_netascii(content) if netascii else content))
        key = (content.sha256, netascii)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = self._translate(content) if netascii else self._map(content)
        return shared

    def _translate(self, file: FileRef) -> Mapping:
        opened = self._open(file)
        try:
            # Read, not mapped: a disk error then is an OSError, and not a signal that ends the process.
            content = os.pread(opened.fd, opened.size, 0)
        finally:
            opened.close()
        return Mapping(memoryview(to_netascii(content)))

    def _map(self, file: FileRef) -> Mapping:
        opened = self._open(file)
        try:
            if opened.size == 0:
                return Mapping(memoryview(b""))  # an empty file cannot be mapped
            mapped = mmap.mmap(opened.fd, opened.size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            opened.close()
        if opened.size <= READ_AHEAD_BYTES:
            mapped.madvise(mmap.MADV_WILLNEED)
        return Mapping(memoryview(mapped))


def to_netascii(content: bytes) -> bytes:
    """RFC 764 as RFC 1350 uses it: line ends are CR LF, and a CR that is none is CR NUL."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")

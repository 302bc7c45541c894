"""What a published file is made of: its size, its sha256, and the sha256 of each of its chunks.

A client that fetches by chunk can check each one as it comes, go on after a broken connection where it
stopped, and ask again for a damaged chunk only.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

CHUNK_SIZE = 4 * 1024 * 1024
"""Bytes of a chunk: about a tenth of a second on gigabit Ethernet, and 64 bytes of manifest for each."""

SHA256 = re.compile(r"[0-9a-f]{64}")
"""How a sha256 is written everywhere: 64 lower-case hexadecimal digits."""


class Manifest(msgspec.Struct, frozen=True):
    """The chunks of one file. `chunks` are the sha256 of each `chunk_size` bytes; the last one may be
    shorter.
    """

    size: int
    sha256: str
    chunk_size: int
    chunks: tuple[str, ...]

    def encode(self) -> bytes:
        """The manifest as JSON, as clients get it."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(data: bytes) -> Manifest:
        """The manifest in this JSON. ValueError where it is no manifest or contradicts itself."""
        manifest = msgspec.json.decode(data, type=Manifest)
        chunks = (
            -(-manifest.size // manifest.chunk_size) if manifest.chunk_size > 0 and manifest.size >= 0 else -1
        )
        if chunks != len(manifest.chunks) or not all(
            map(SHA256.fullmatch, (manifest.sha256, *manifest.chunks))
        ):
            raise ValueError("manifest contradicts itself")
        return manifest


class ChunkHasher:
    """Hashes a file as it passes by, in pieces of any length."""

    def __init__(self, chunk_size: int = CHUNK_SIZE) -> None:
        self.size = 0
        self._chunk_size = chunk_size
        self._whole = hashlib.sha256()
        self._chunk: Any = hashlib.sha256()
        self._room = chunk_size
        self._chunks: list[str] = []

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes of the file."""
        self._whole.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            part = view[: self._room]
            self._chunk.update(part)
            self._room -= len(part)
            view = view[len(part) :]
            if self._room == 0:
                self._end_chunk()

    def manifest(self) -> Manifest:
        """The manifest of what was hashed so far; the hasher can go on."""
        rest = () if self._room == self._chunk_size else (self._chunk.hexdigest(),)
        return Manifest(self.size, self._whole.hexdigest(), self._chunk_size, (*self._chunks, *rest))

    def _end_chunk(self) -> None:
        self._chunks.append(self._chunk.hexdigest())
        self._chunk = hashlib.sha256()
        self._room = self._chunk_size

"""What the database may hold of secrets: ciphertext, with a key that is in a file beside it, in no backup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox as Box
from nacl.utils import random

from pxeserver import durable


class SecretBox:
    """Seals and opens JSON objects. A box without a key file lives as long as the process: for tests."""

    def __init__(self, key: bytes | None = None) -> None:
        self._box = Box(key or random(Box.KEY_SIZE))

    @classmethod
    def open(cls, path: Path) -> SecretBox:
        """The box of the key in this file, which is made (mode 0600) where there is none. OSError as the
        file system says; ValueError where the file holds no key.
        """
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            key = random(Box.KEY_SIZE)
            durable.put(path, key)  # what is sealed with it is in a database that is synced as well
        if len(key) != Box.KEY_SIZE:
            raise ValueError(f"{path} holds no key of {Box.KEY_SIZE} bytes")
        return cls(key)

    def seal(self, value: Mapping[str, Any]) -> bytes:
        """The object encrypted; nothing for an empty one."""
        return bytes(self._box.encrypt(msgspec.json.encode(value))) if value else b""

    def unseal(self, data: bytes) -> dict[str, Any]:
        """The object; an empty one where the key is another than it was sealed with."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self._box.decrypt(data)) if data else {}
        except (CryptoError, msgspec.DecodeError):
            return {}
        return found

"""Texts that one node alone can read, and texts that the server alone can read again."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets

from nacl.public import PublicKey, SealedBox

from pxeserver.boot.secret import Secret
from pxeserver.postinstall.work import Json

_KEY_BYTES = 32


def check_key(key: str) -> str:
    """The key in its one spelling. ValueError where it is no X25519 public key in base64, or a weak one."""
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is not base64") from None
    if len(raw) != _KEY_BYTES:
        raise ValueError("the key is not 32 bytes")
    if not any(raw[:31]):
        raise ValueError("the key is a weak one")
    return base64.b64encode(raw).decode()


def seal(key: str, body: Json) -> str:
    """`body` as JSON that only the holder of the private key reads (NaCl sealed box), in base64."""
    box = SealedBox(PublicKey(base64.b64decode(key)))
    return base64.b64encode(box.encrypt(json.dumps(body).encode())).decode()


def new_token() -> Secret:
    """A bearer token: 256 random bits."""
    return Secret(secrets.token_urlsafe(32))


def digest(token: Secret | str) -> str:
    """The sha256 of a token: what the database keeps of it."""
    text = token.reveal() if isinstance(token, Secret) else token
    return hashlib.sha256(text.encode()).hexdigest()

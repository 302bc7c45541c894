"""Claiming this machine's node: a key of its own, one claim, and an answer that only this key opens.

The key is on disk before it is used: an agent that was killed after its claim was granted asks again with the
same key, and the server tells it from somebody else by that.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from pxeserver.agent.join.client import Away, Client
from pxeserver.agent.join.secret import Secret
from pxeserver.agent.join.state import Membership, State

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Keys:
    """This node's key pair."""

    def __init__(self, state: State) -> None:
        kept = state.key()
        try:
            key = PrivateKey(base64.b64decode(kept or "", validate=True)) if kept else None
        except (binascii.Error, ValueError, CryptoError, TypeError):
            key = None
        if key is None:
            key = PrivateKey.generate()
            state.keep_key(base64.b64encode(bytes(key)).decode())
        self._key = key

    @property
    def public(self) -> str:
        """The public key, base64."""
        return base64.b64encode(bytes(self._key.public_key)).decode()

    @property
    def code(self) -> str:
        """What a person compares, worked out here and not taken from the server's answer."""
        number = int.from_bytes(hashlib.sha256(bytes(self._key.public_key)).digest()[:8], "big") >> 4
        letters = "".join(_ALPHABET[number >> (5 * i) & 31] for i in reversed(range(12)))
        return "-".join(letters[i : i + 4] for i in range(0, 12, 4))

    def open(self, sealed: str) -> dict[str, Any]:
        """The JSON object in a box that was sealed to this key. ValueError."""
        try:
            body = json.loads(SealedBox(self._key).decrypt(base64.b64decode(sealed, validate=True)))
        except (CryptoError, binascii.Error, TypeError) as error:
            raise ValueError("the box is not for this node") from error
        if not isinstance(body, dict):
            raise ValueError("the box holds no object")
        return body


class NotYet(Exception):  # noqa: N818 - a person has to do something first
    """The claim waits; ask again after `seconds`."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


def claim(
    client: Client, keys: Keys, facts: Mapping[str, Any], *, attempt: str = "", token: Secret | None = None
) -> Membership:
    """Claim once, with the boot attempt or with a join command's token. NotYet, Away, Refused."""
    nonce = base64.b64encode(secrets.token_bytes(32)).decode()
    body: dict[str, Any] = {"nonce": nonce, "key": keys.public, "facts": facts}
    if token is not None:
        body["token"] = token.reveal()
    else:
        body["attempt"] = attempt
    status, answer = client.claim(body)
    if status == 202:
        why = str(answer.get("why") or "the server says to wait")[:300]
        if answer.get("code"):
            why = f"{why} (CODE is {keys.code})"
        raise NotYet(why, max(1.0, min(60.0, float(answer.get("wait") or 10.0))))
    try:
        told = keys.open(str(answer.get("sealed", "")))
        if told["nonce"] != nonce:
            raise ValueError("it answers another claim")
        return Membership(Secret(str(told["agent"])), str(told["node"]), told.get("cluster"))
    except (ValueError, KeyError) as error:
        raise Away(f"the server's answer to the claim cannot be used: {error}") from error

"""An answer to a claim counts only if it is this node's, and to this claim."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from pxeserver.agent.join.claim import Keys, claim
from pxeserver.agent.join.client import Away
from pxeserver.agent.join.state import State


class Server:
    """Grants every claim; `nonce` in place of the claim's own."""

    def __init__(self, nonce: str = "") -> None:
        self.nonce = nonce
        self.asked: list[str] = []

    def claim(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.asked.append(body["nonce"])
        told = {"agent": "secret", "node": "n1", "cluster": None, "nonce": self.nonce or body["nonce"]}
        box = SealedBox(PublicKey(base64.b64decode(body["key"])))
        return 200, {"sealed": base64.b64encode(box.encrypt(json.dumps(told).encode())).decode()}


def test_the_answer_to_this_claim_is_taken(tmp_path: Path) -> None:
    server, keys = Server(), Keys(State(tmp_path))
    granted = [claim(server, keys, {}, attempt="abc") for _ in range(2)]  # type: ignore[arg-type]
    assert [one.node for one in granted] == ["n1", "n1"]
    assert len(set(server.asked)) == 2
    assert all(len(base64.b64decode(nonce)) == 32 for nonce in server.asked)


def test_the_answer_to_another_claim_is_not_taken(tmp_path: Path) -> None:
    keys = Keys(State(tmp_path))
    with pytest.raises(Away, match="answers another claim"):
        claim(Server("another"), keys, {}, attempt="abc")  # type: ignore[arg-type]

"""What agents send."""

import base64
import json

import msgspec
import pytest

from pxeserver.postinstall import wire
from pxeserver.postinstall.listener_limits import Pace
from pxeserver.postinstall.sealing import check_key, new_token, seal

KEY = base64.b64encode(bytes(range(32))).decode()
NONCE = base64.b64encode(bytes(32)).decode()


def raw(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"key": KEY, "nonce": NONCE},
        {"key": KEY, "nonce": NONCE, "attempt": "a", "token": "b"},
        {"key": KEY, "nonce": "x", "attempt": "a"},
        {"key": KEY, "nonce": base64.b64encode(b"short").decode(), "attempt": "a"},
        {"key": 5, "nonce": NONCE, "attempt": "a"},
        {"key": KEY, "nonce": NONCE, "attempt": "a", "facts": []},
    ],
)
def test_malformed_claims_are_refused(fields):
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        wire.claim(raw(**fields))


def test_control_characters_of_a_node_reach_no_terminal():
    told = wire.report(
        raw(
            instance="i",
            boot="b",
            done=[
                {"id": "1", "ok": False, "reason": "a\x1b[31m\nb", "log": ["x\x07\u2028y"]},
                {"id": "2", "ok": True, "facts": {"version\x1b": ["20\x07", {"k": 1}]}},
            ],
            drift=[{"step": "s", "what": "w\r", "want": "\x9b", "have": "h"}],
            facts={"hostname": "n\x1b]0;evil\x07", "deep": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}},
        )
    )
    text = repr(told)
    assert "\\x1b" not in text
    assert "\\x07" not in text
    assert "\\x9b" not in text
    assert told.done[0].reason == "a [31m\nb"
    assert told.done[1].facts == {"version ": ["20 ", {"k": 1}]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        raw(instance=""),
        raw(instance="x" * 65),
        raw(instance="a", done=[{}]),
        b'{"instance": "a", "facts": {"a": ' + b"[" * 100_000,
    ],
)
def test_malformed_reports_are_refused(body):
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        wire.report(body)


@pytest.mark.parametrize(
    "key", ["", "x", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(32)).decode()]
)
def test_keys_that_are_none(key):
    with pytest.raises(ValueError, match="the key"):
        check_key(key)


def test_a_token_does_not_become_text():
    token = new_token()
    with pytest.raises(TypeError):
        f"{token}"
    with pytest.raises(TypeError):
        str(token)
    assert token.reveal() not in repr(token)
    assert token.reveal() not in seal(KEY, {"agent": token.reveal()})


def test_an_address_is_slowed_down_and_others_are_not():
    pace = Pace(rate=1.0, burst=3.0)
    assert [pace.takes("a", 0.0) for _ in range(5)] == [True, True, True, False, False]
    assert pace.takes("b", 0.0)
    assert pace.takes("a", 1.5)
    assert not pace.takes("a", 1.5)

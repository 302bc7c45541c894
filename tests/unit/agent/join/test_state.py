"""What the agent keeps."""

import stat

import pytest

from pxeserver.agent.join import files
from pxeserver.agent.join.claim import Keys
from pxeserver.agent.join.secret import Blackout, Secret
from pxeserver.agent.join.state import LastWant, Membership, State
from pxeserver.agent.join.step import StepFailed
from pxeserver.postinstall import claims, sealing


def test_key_and_token_are_kept_for_root_alone(tmp_path):
    state = State(tmp_path / "s")
    keys = Keys(state)
    assert Keys(State(tmp_path / "s")).public == keys.public
    state.keep_membership(Membership(Secret("token-1"), "n1", None))
    found = State(tmp_path / "s").membership()
    assert found is not None
    assert (found.token.reveal(), found.node) == ("token-1", "n1")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "s").iterdir() if p.is_file()} == {0o600}
    state.forget_membership()
    assert state.membership() is None


def test_both_ends_agree_on_code_and_box(tmp_path):
    keys = Keys(State(tmp_path))
    assert keys.code == claims.code(keys.public)
    assert keys.open(sealing.seal(keys.public, {"a": 1})) == {"a": 1}
    with pytest.raises(ValueError, match="not for this node"):
        Keys(State(tmp_path / "other")).open(sealing.seal(keys.public, {"a": 1}))


def test_a_damaged_key_or_token_is_as_if_it_were_not_there(tmp_path):
    state = State(tmp_path)
    first = Keys(state).public
    (tmp_path / "key").write_text("garbage")
    (tmp_path / "agent.json").write_text("{")
    assert Keys(state).public != first
    assert state.membership() is None


def test_wants_stay_in_the_order_of_their_first_application(tmp_path):
    state = State(tmp_path)
    for step in ("network", "brick", "network"):
        state.keep_want(LastWant(step, {"n": step}, None))
    assert [w.step for w in state.wants()] == ["network", "brick"]
    state.forget_want("network")
    state.forget_want("network")
    assert [w.step for w in state.wants()] == ["brick"]
    with pytest.raises(StepFailed):
        state.keep_want(LastWant("../evil", {}, None))


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "a" / "f"
    assert files.put(path, "one")
    assert not files.put(path, "one")
    assert files.put(path, "one", 0o600)
    monkeypatch.setattr(files.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StepFailed, match="No space left"):
        files.put(path, "two")
    assert path.read_text() == "one"


def test_known_secrets_are_blacked_out():
    blackout = Blackout()
    blackout.learn({"password": "hunter2hunter2", "deep": [{"x": "swordfish"}], "n": 5, "short": "ab"})
    assert blackout("hunter2hunter2 swordfish ab") == "*** *** ab"

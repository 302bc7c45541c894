"""Carrying work out."""

import threading
import time

import pytest

from pxeserver.agent.join.registry import MODULES, Registry
from pxeserver.agent.join.runner import Runner
from pxeserver.agent.join.state import LastWant, State
from pxeserver.agent.join.step import Drift, StepFailed


class Fake:
    """A step whose thing is one text."""

    name = "network"

    def __init__(self):
        self.have, self.applied, self.undone = "", 0, 0
        self.fails = None
        self.stubborn = False
        self.gate = threading.Event()
        self.gate.set()

    def check(self, want):
        return [] if self.have == want["text"] else [Drift("text", want["text"], self.have or "missing")]

    def apply(self, want, tell):
        self.applied += 1
        self.gate.wait(10)
        tell(f"writing {want['text']} with {want.get('password')}")
        if self.fails:
            raise self.fails
        if not self.stubborn:
            self.have = want["text"]
        return {"text": self.have, "secrets": {"token": "worker-token-1"}}

    def undo(self, want, tell):
        self.undone += 1
        self.have = ""


@pytest.fixture
def step():
    return Fake()


@pytest.fixture
def said():
    return []


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state")


@pytest.fixture
def runner(step, state, said):
    return Runner(
        Registry({"network": lambda: step}),
        state,
        lambda sealed: {"password": f"opened-{sealed}"},
        said.append,
    )


def work(**more):
    return {
        "id": "w1",
        "verb": "apply",
        "step": "network",
        "want": {"text": "a"},
        "sealed": None,
        "timeout": 20,
    } | more


def result(runner, seconds=5.0):
    end = time.monotonic() + seconds
    while not (found := runner.results()):
        assert time.monotonic() < end, "no result"
        runner.news.wait(0.05)
        runner.news.clear()
    return found


def test_a_work_is_applied_told_until_acknowledged_and_kept(runner, step, state):
    runner.take(work(sealed="box"))
    (told,) = result(runner)
    assert told["ok"]
    assert told["changed"]
    assert told["facts"] == {"text": "a"}
    assert told["secrets"] == {"token": "worker-token-1"}
    assert state.want("network") == LastWant("network", {"text": "a"}, "box")
    assert runner.results() == [told]
    runner.take(work())
    assert step.applied == 1, "the same work was done twice"
    runner.acknowledged([told])
    assert runner.results() == []


def test_secrets_are_in_no_log_and_no_reason(runner, step, said, state):
    step.fails = StepFailed("the program said opened-box", retry=False)
    runner.take(work(sealed="box"))
    (told,) = result(runner)
    assert not told["ok"]
    assert not told["retry"]
    assert "opened-box" not in repr(told) + repr(said)
    assert "***" in told["reason"]
    assert state.want("network") is None
    assert "opened-box" not in "".join(p.read_text() for p in state.folder.rglob("*") if p.is_file())


def test_a_second_apply_changes_nothing(runner, step):
    step.have = "a"
    runner.take(work())
    (told,) = result(runner)
    assert told["ok"]
    assert not told["changed"]
    assert told["facts"] == {"text": "a"}


def test_what_was_applied_and_does_not_hold_has_failed(runner, step):
    step.stubborn = True
    runner.take(work())
    (told,) = result(runner)
    assert not told["ok"]
    assert "missing, not a" in told["reason"]


def test_a_fault_in_a_step_does_not_end_the_agent(runner, step):
    step.fails = ZeroDivisionError("oops")
    runner.take(work())
    assert "oops" in result(runner)[0]["reason"]
    runner.acknowledged(runner.results())
    step.fails = None
    runner.take(work(id="w2"))
    assert result(runner)[0]["ok"]


def test_undo_forgets_the_want(runner, step, state):
    state.keep_want(LastWant("network", {"text": "a"}, None))
    runner.take(work(verb="undo"))
    assert result(runner)[0]["ok"]
    assert step.undone == 1
    assert state.want("network") is None


def test_who_leaves_the_swarm_keeps_no_wants_of_a_leader(step, state, said):
    for name in ("swarm-init", "swarm-members", "stacks", "pool"):
        state.keep_want(LastWant(name, {}, None))
    runner = Runner(Registry({"swarm-init": lambda: step}), state, dict, said.append)
    runner.take(work(step="swarm-init", verb="undo"))
    assert result(runner)[0]["ok"]
    assert [want.step for want in state.wants()] == ["pool"]


def test_check_tells_drift_and_changes_nothing(runner, step):
    runner.take(work(verb="check"))
    (told,) = result(runner)
    assert told["facts"]["drift"] == [{"step": "network", "what": "text", "want": "a", "have": "missing"}]
    assert step.applied == 0


def test_a_work_that_takes_too_long_is_told_to_have_failed(runner, step, monkeypatch):
    monkeypatch.setattr("pxeserver.agent.join.runner._LATE", 0.0)
    step.gate.clear()
    runner.take(work(timeout=1.0))
    (told,) = result(runner)
    assert not told["ok"]
    assert told["retry"]
    assert "did not end within 1 s" in told["reason"]
    runner.acknowledged([told])
    step.gate.set()
    runner.take(work(id="w2"))
    assert result(runner)[0]["id"] == "w2"


@pytest.mark.parametrize("bad", [{"verb": "format"}, {"want": 5}, {"step": None, "verb": None}])
def test_malformed_work_is_a_failure_and_no_crash(runner, bad):
    runner.take(work(**bad))
    assert not result(runner)[0]["ok"]


def test_a_step_that_this_agent_has_not_is_refused_for_good(state, said):
    runner = Runner(Registry(), state, dict, said.append)
    runner.take(work(step="quantum"))
    (told,) = result(runner)
    assert not told["ok"]
    assert not told["retry"]


def look(runner, *, mend):
    runner.look(mend=mend)
    end = time.monotonic() + 5
    while (found := runner.drift()) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_looking_tells_drift_and_mends_only_while_the_server_is_away(runner, step, state):
    state.keep_want(LastWant("network", {"text": "a"}, "box"))
    assert look(runner, mend=False)[0]["have"] == "missing"
    assert step.applied == 0
    assert look(runner, mend=True) == []
    assert step.have == "a"
    assert not runner.unsettled


def test_a_look_that_could_not_mend_all_is_to_be_repeated_soon(runner, step, state):
    state.keep_want(LastWant("network", {"text": "a"}, "box"))
    step.stubborn = True
    assert look(runner, mend=True)
    assert runner.unsettled
    step.stubborn = False
    assert look(runner, mend=True) == []
    assert not runner.unsettled


def test_a_look_survives_a_step_that_cannot_tell(runner, step, state, monkeypatch):
    state.keep_want(LastWant("network", {}, None))
    assert "KeyError" in look(runner, mend=False)[0]["have"]


def test_the_gate_looks_at_every_step_it_is_told_of(runner, step, state):
    from pxeserver.agent.join.steps.gate import Gate

    gate = Gate(runner.check_steps)
    want = {"steps": ["network"]}
    assert gate.check(want)[0].have == "missing"
    state.keep_want(LastWant("network", {"text": "a"}, None))
    with pytest.raises(StepFailed, match="text"):
        gate.apply(want, print)
    step.have = "a"
    assert gate.check(want) == []
    assert gate.apply(want, print) == {"passed": True}


@pytest.mark.parametrize("name", ["clock", "identity", "packages"])
def test_steps_are_found_by_their_names(name):
    assert name in MODULES
    assert Registry().step(name).name == name

"""Rules of the coordinator, one by one."""

from __future__ import annotations

import itertools

from pxeserver.postinstall.coordinator import AWAY_SECONDS, GRACE_SECONDS, KILLED, Coordinator
from pxeserver.postinstall.ledger import LOG_LINES
from pxeserver.postinstall.work import CHECK, UNDO, Goal, Result, Status, StepKey, Want

A, B, C = StepKey("n1", "a"), StepKey("n1", "b"), StepKey("n2", "c")


def goal(version: int = 1) -> dict[StepKey, Want]:
    """b after a on one node, c after b on another."""
    return {
        A: Want({"v": version}, timeout=30, tries=3),
        B: Want({}, after=frozenset({A}), timeout=30, tries=3, secrets={"token": "s"}),
        C: Want({}, after=frozenset({B}), timeout=30, tries=3),
    }


def made(wanted: Goal | None = None, random: float = 0.0) -> Coordinator:
    ids = itertools.count(1)
    coordinator = Coordinator((), 0.0, new_id=lambda: f"w{next(ids)}", random=lambda: random)
    coordinator.aim(goal() if wanted is None else wanted, 0.0)
    return coordinator


def ok(work_id: str) -> Result:
    return Result(work_id, True, True, log=("fine",))


def test_steps_come_one_after_the_other_and_carry_their_secrets() -> None:
    c = made()
    first = c.poll("n1", "i", (), 1.0).work
    assert first is not None
    assert (first.step, first.secrets) == ("a", {})
    assert c.poll("n2", "j", (), 1.0).work is None
    second = c.poll("n1", "i", [ok(first.id)], 2.0).work
    assert second is not None
    assert (second.step, second.secrets) == ("b", {"token": "s"})
    assert c.poll("n1", "i", (), 3.0, doing=second.id).work is None
    c.poll("n1", "i", [ok(second.id)], 4.0)
    assert c.woken() >= {"n2"}
    third = c.poll("n2", "j", (), 5.0).work
    assert third is not None
    c.poll("n2", "j", [ok(third.id)], 6.0)
    assert c.finished


def test_a_failure_is_tried_again_later_each_time_and_then_has_failed_with_its_reason() -> None:
    c = made(random=0.5)
    at, pauses = 1.0, []
    for _ in range(3):
        work = c.poll("n1", "i", (), at).work
        assert work is not None
        c.poll("n1", "i", [Result(work.id, False, reason="no route", log=("x",) * 500)], at)
        state = c.states[A]
        if state.status is Status.WAITING:
            pauses.append(state.not_before - at)
            assert c.poll("n1", "i", (), state.not_before - 0.1).work is None
            assert c.next_try("n1", at) == state.not_before
        at = max(at, state.not_before)
    assert pauses == [1.5, 3.0]
    assert (c.states[A].status, c.states[A].reason) == (Status.FAILED, "no route")
    assert len(c.states[A].log) == LOG_LINES
    assert c.poll("n1", "i", (), at + 1000).work is None
    assert c.retry() == [A]
    assert c.poll("n1", "i", (), at + 1000).work is not None


def test_what_cannot_be_helped_is_not_tried_again_until_something_else_is_wanted() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.poll("n1", "i", [Result(work.id, False, reason="wrong release", retry=False)], 2.0)
    assert c.states[A].status is Status.FAILED
    c.aim(goal(version=2), 3.0)
    assert c.poll("n1", "i", (), 3.0).work is not None


def test_work_that_takes_too_long_is_called_off_and_the_node_gets_nothing_new_before_it_leaves_it() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    late = 1.0 + 30 + GRACE_SECONDS + 1
    for now in (20.0, 40.0, late):
        c.poll("n1", "i", (), now, doing=work.id)
    c.tick(late)
    assert c.states[A].status is Status.WAITING
    assert "within 45 s" in c.states[A].reason
    handed = c.poll("n1", "i", (), late + 50, doing=work.id)
    assert (handed.work, handed.cancel) == (None, (work.id,))
    again = c.poll("n1", "i", [ok(work.id)], late + 51).work
    assert again is not None
    assert again.id != work.id, "a result that comes too late does not count"


def test_a_node_that_is_away_has_not_failed_and_goes_on_when_it_is_back() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    back = 1.0 + AWAY_SECONDS + 500
    c.tick(back - 1)
    assert c.away("n1", back - 1)
    assert c.states[A].status is Status.RUNNING
    assert c.poll("n1", "i", (), back, doing=work.id).cancel == ()
    c.tick(back + 1)
    assert c.states[A].status is Status.RUNNING
    c.poll("n1", "i", [ok(work.id)], back + 2)
    assert c.states[A].status is Status.DONE


def test_an_agent_that_never_got_its_work_is_given_the_same_again() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    assert c.poll("n1", "i", (), 1.5).work is None, "answers may cross"
    assert c.poll("n1", "i", (), 4.0).work == work
    assert c.poll("n1", "another", (), 4.1).work == work
    assert c.states[A].tries == 2


def test_an_agent_that_ends_in_a_step_each_time_is_not_given_it_for_ever() -> None:
    c = made()
    for number in range(10):
        c.poll("n1", f"i{number}", (), 1.0 + number)
    assert (c.states[A].status, c.states[A].reason) == (Status.FAILED, KILLED)


def test_a_coordinator_made_from_what_was_written_goes_on() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    written = c.changes().steps.values()
    ids = itertools.count(100)
    second = Coordinator(written, 50.0, new_id=lambda: f"w{next(ids)}", random=lambda: 0.0)
    second.aim(goal(), 50.0)
    assert second.poll("n1", "i", (), 51.0, doing=work.id).work is None
    assert second.states[A].tries == 1
    third = Coordinator(written, 50.0, new_id=lambda: f"w{next(ids)}", random=lambda: 0.0)
    third.aim(goal(), 50.0)
    assert third.poll("n1", "new", (), 51.0).work == work


def test_another_want_while_one_runs_comes_after_it_and_an_undo_calls_it_off() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.aim(goal(version=2), 2.0)
    assert c.poll("n1", "i", (), 3.0, doing=work.id).cancel == ()
    again = c.poll("n1", "i", [ok(work.id)], 4.0).work
    assert again is not None
    assert (again.step, again.want) == ("a", {"v": 2})
    c.aim({A: Want({}, verb=UNDO)}, 5.0)
    handed = c.poll("n1", "i", (), 6.0, doing=again.id)
    assert (handed.work, handed.cancel) == (None, (again.id,))
    undo = c.poll("n1", "i", (), 7.0).work
    assert undo is not None
    assert undo.verb == UNDO
    c.poll("n1", "i", [ok(undo.id)], 8.0)
    assert c.states[A].status is Status.GONE


def test_what_was_never_begun_is_undone_without_work() -> None:
    c = made()
    c.aim({key: Want({}, verb=UNDO) for key in goal()}, 1.0)
    assert {s.status for s in c.states.values()} == {Status.GONE}
    assert c.poll("n1", "i", (), 2.0).work is None


def test_going_back_to_what_is_applied_before_anything_else_was_begun_is_nothing_to_do() -> None:
    c = made({A: Want({"v": 1})})
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.poll("n1", "i", [ok(work.id)], 2.0)
    c.aim({A: Want({"v": 2})}, 3.0)
    assert not c.finished
    c.aim({A: Want({"v": 1})}, 4.0)
    assert c.finished


def test_a_machine_that_was_started_again_is_looked_at_once_more() -> None:
    c = made({A: Want({"v": 1})})
    work = c.poll("n1", "i", (), 1.0, boot="b1").work
    assert work is not None
    c.poll("n1", "i", [ok(work.id)], 2.0, boot="b1")
    assert c.changes().boots == {"n1": "b1"}
    assert c.finished
    again = c.poll("n1", "i2", (), 3.0, boot="b2").work
    assert again is not None
    assert "started again" in c.states[A].reason


def test_checks_are_handed_out_after_all_work_and_leave_the_states_alone() -> None:
    c = made({A: Want({"v": 1}), StepKey("n1", "z"): Want({}, verb=UNDO)})
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.poll("n1", "i", [ok(work.id)], 2.0)
    c.changes()
    assert c.check(["n1"]) == 1
    look = c.poll("n1", "i", (), 3.0).work
    assert look is not None
    assert (look.verb, look.step) == (CHECK, "a")
    assert c.poll("n1", "i", (), 3.5, doing=look.id).cancel == ()
    assert c.poll("n1", "i", [ok(look.id)], 4.0).work is None
    assert not c.changes()


def test_a_look_that_never_ends_is_called_off_and_one_that_was_lost_is_given_again() -> None:
    c = made({A: Want({"v": 1})})
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.poll("n1", "i", [ok(work.id)], 2.0)
    c.check(["n1"])
    look = c.poll("n1", "i", (), 3.0).work
    assert look is not None
    assert c.poll("n1", "i", (), 3.5).work is None
    assert c.poll("n1", "i", (), 6.0).work == look
    for now in (20.0, 50.0):
        assert c.poll("n1", "i", (), now, doing=look.id).cancel == ()
    assert c.poll("n1", "i", (), 90.0, doing=look.id).cancel == (look.id,)


def test_stop_calls_everything_off_until_it_goes_on() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.stop("stopped")
    handed = c.poll("n1", "i", (), 2.0, doing=work.id)
    assert (handed.work, handed.cancel) == (None, (work.id,))
    assert c.states[A].reason == "stopped"
    assert c.poll("n1", "i", (), 3.0).work is None
    c.go()
    assert c.poll("n1", "i", (), 4.0).work is not None


def test_nothing_is_left_of_a_node_that_came_with_a_new_key() -> None:
    c = made()
    work = c.poll("n1", "i", (), 1.0).work
    assert work is not None
    c.poll("n1", "i", [Result(work.id, True, facts={"x": 1})], 2.0)
    c.forget("n1", 3.0)
    assert c.states[A].facts == {}
    again = c.poll("n1", "j", (), 4.0).work
    assert again is not None
    assert again.step == "a"

"""The life of an install order: every state and trigger, who may move it, and the picture in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pxeserver.boot.lifecycle import CUT_OFF, TRANSITIONS, Life, Trigger, advance, diagram, life, pending_once
from pxeserver.boot.model import BootOnce, Event, EventKind, Node, NodeState, Phase

ME, OTHER = "aaaaaaaaaa", "bbbbbbbbbb"

# (node order, state) that stands for each life, as the attempt ME sees it
SITUATIONS = {
    Life.IDLE: (0, NodeState(1)),
    Life.ARMED: (2, NodeState(1, Phase.INSTALLED, order=1)),
    Life.INSTALLING: (2, NodeState(1, Phase.INSTALLING, order=2, attempt=ME)),
    Life.INSTALLED: (2, NodeState(1, Phase.INSTALLED, order=2, attempt=OTHER)),
    Life.HELD: (2, NodeState(1, Phase.HELD, order=2, reason="x", attempt=OTHER)),
}

# What the attempt ME's word does in each life: None moves nothing.
EXPECTED = {
    #                   handed-out  started     not-loaded  installed  failed  returned
    Life.IDLE:       ("-",        "-",        "-",        "-",       "-",    "-"),
    Life.ARMED:      ("installing", "installing", "-",    "-",       "held", "-"),
    Life.INSTALLING: ("-",        "installing", "armed",  "installed", "held", "-"),
    Life.INSTALLED:  ("-",        "-",        "-",        "-",       "-",    "-"),
    Life.HELD:       ("-",        "-",        "-",        "-",       "-",    "-"),
}  # fmt: skip
TRIGGERS = ("handed-out", "install-started", "not-loaded", "installed", "install-failed", "returned")


def event(trigger: str, attempt: str = ME, **detail: str | int) -> Event:
    return Event(50.0, EventKind.SCRIPT_SENT, attempt, "m", 1, {"trigger": trigger, **detail})


@pytest.mark.parametrize("before", list(Life))
@pytest.mark.parametrize("column", range(len(TRIGGERS)))
def test_every_cell(before: Life, column: int) -> None:
    order, state = SITUATIONS[before]
    node = Node(1, "n", order=order)
    assert life(state, node, ME) is before
    after = advance(state, node, event(TRIGGERS[column]))
    expected = EXPECTED[before][column]
    assert (life(after, node, ME).value if after else "-") == expected
    if after and expected != before.value:
        assert after.attempt == ME
        assert after.since == 50.0


def test_only_the_running_attempt_ends_its_install() -> None:
    node = Node(1, "n", order=2)
    state = NodeState(1, Phase.INSTALLING, order=2, attempt=ME)
    for trigger in ("installed", "install-failed", "not-loaded", "install-started", "handed-out"):
        assert advance(state, node, event(trigger, OTHER)) is None


def test_another_attempt_finds_it_cut_off_and_holds_the_node() -> None:
    node = Node(1, "n", order=2)
    state = NodeState(1, Phase.INSTALLING, order=2, attempt=ME)
    after = advance(state, node, event("returned", OTHER))
    assert after is not None
    assert (after.phase, after.order, after.reason, after.attempt) == (Phase.HELD, 2, CUT_OFF, OTHER)
    assert advance(after, node, event("installed", ME)) is None  # too late


def test_an_install_runs_once_per_order() -> None:
    node, state = Node(1, "n", order=1), NodeState(1)
    state = advance(state, node, event("handed-out")) or state
    state = advance(state, node, event("installed")) or state
    assert (state.phase, state.order) == (Phase.INSTALLED, 1)
    assert advance(state, node, event("handed-out", OTHER)) is None
    assert life(state, Node(1, "n", order=2)) is Life.ARMED  # only a new order arms it again


def test_a_new_order_during_an_install_waits_for_its_end() -> None:
    node, state = Node(1, "n", order=3), NodeState(1, Phase.INSTALLING, order=2, attempt=ME)
    assert life(state, node, ME) is Life.INSTALLING
    assert life(state, node, OTHER) is Life.ARMED
    after = advance(state, node, event("installed"))
    assert after is not None
    assert (after.phase, after.order) == (Phase.INSTALLED, 2)
    assert life(after, node) is Life.ARMED


def test_a_failure_always_has_a_reason_of_one_line() -> None:
    node, state = Node(1, "n", order=2), NodeState(1, Phase.INSTALLING, order=2, attempt=ME)
    after = advance(state, node, event("install-failed", reason="disk\n\x1b[31mgone " + "x" * 500))
    assert after is not None
    assert "\n" not in after.reason
    assert "\x1b" not in after.reason
    assert len(after.reason) <= 200
    silent = advance(state, node, event("install-failed"))
    assert silent is not None
    assert silent.reason


def test_what_was_not_loaded_leaves_order_and_boot_once_unused() -> None:
    node = Node(1, "n", order=2, boot_once=BootOnce(5, "other"))
    state = NodeState(1, Phase.INSTALLED, order=1, boot_once=4)
    state = advance(state, node, event("handed-out")) or state
    used = Event(50.0, EventKind.BOOT_ONCE_USED, ME, "m", 1, {"boot_once": 5})
    state = advance(state, node, used) or state
    assert pending_once(state, node, OTHER) is None
    state = advance(state, node, event("not-loaded")) or state
    assert life(state, node) is Life.ARMED
    assert pending_once(state, node, OTHER) == node.boot_once


def test_boot_once_is_used_once_and_only_by_its_number() -> None:
    node, state = Node(1, "n", boot_once=BootOnce(5, "p")), NodeState(1, boot_once=4)
    for number in (4, 6, "5"):
        wrong = Event(1.0, EventKind.BOOT_ONCE_USED, ME, "m", 1, {"boot_once": number})
        assert advance(state, node, wrong) is None
    used = Event(1.0, EventKind.BOOT_ONCE_USED, ME, "m", 1, {"boot_once": 5})
    after = advance(state, node, used)
    assert after is not None
    assert pending_once(after, node, ME) == node.boot_once  # asking again in the same boot
    assert pending_once(after, node, OTHER) is None
    assert advance(after, node, used) is None


@pytest.mark.parametrize(
    ("kind", "trigger"),
    [
        (EventKind.INSTALL_STARTED, Life.INSTALLING),
        (EventKind.INSTALL_FAILED, Life.HELD),
    ],
)
def test_reports_move_by_their_kind(kind: EventKind, trigger: Life) -> None:
    node = Node(1, "n", order=1)
    after = advance(NodeState(1), node, Event(1.0, kind, ME, "m", 1))
    assert after is not None
    assert life(after, node, ME) is trigger


@pytest.mark.parametrize(
    "kind", [EventKind.BOOTED, EventKind.SCRIPT_SENT, EventKind.FILE_SENT, EventKind.INVENTORY]
)
def test_other_events_move_nothing(kind: EventKind) -> None:
    for order, state in SITUATIONS.values():
        assert advance(state, Node(1, "n", order=order), Event(1.0, kind, ME, "m", 1)) is None


def test_no_event_can_order_an_install() -> None:
    for order, state in SITUATIONS.values():
        assert advance(state, Node(1, "n", order=order), event("ordered")) is None


def test_every_life_is_reached_and_left() -> None:
    assert {a for a, _ in TRANSITIONS} == set(Life)
    assert set(TRANSITIONS.values()) == set(Life) - {Life.IDLE}
    assert all((a, Trigger.ORDERED) in TRANSITIONS for a in Life if a is not Life.ARMED)


def test_the_picture_in_the_docs_is_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs" / "booting.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{diagram()}```" in text, (
        "docs/booting.md: put the output of lifecycle.diagram() there"
    )

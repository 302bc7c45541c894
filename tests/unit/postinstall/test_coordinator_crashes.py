"""Any interleaving of crashes ends in the planned state, or in a stated failure."""

from __future__ import annotations

import random
from functools import partial

import pytest
from cluster_world import Chances, World, chain

from pxeserver.postinstall.work import APPLY, UNDO, Status, StepKey

pytestmark = pytest.mark.slow

RUNS = 500
BATCH = 50


def any_chances(seed: int) -> Chances:
    """Mishaps of every kind, in other proportions each time."""
    die = random.Random(seed)
    return Chances(
        answer_lost=die.uniform(0, 0.2),
        die_before_write=die.uniform(0, 0.05),
        die_after_write=die.uniform(0, 0.05),
        kill=die.uniform(0, 0.05),
        power=die.uniform(0, 0.02),
        away=die.uniform(0, 0.02),
        fail=die.uniform(0, 0.2),
        hopeless=die.uniform(0, 0.1),
        hang=die.uniform(0, 0.05),
        double=die.uniform(0, 0.3),
    )


def run(seed: int) -> World:
    nodes = 3 + seed % 3
    world = World(seed, nodes, any_chances(seed), lambda f: chain(nodes, facts=f))
    world.run(600)
    if seed % 3 == 1:
        world.aim_at(lambda f: chain(nodes, version=2, facts=f))
        world.run(300)
    if seed % 3 == 2:
        world.aim_at(lambda f: chain(nodes, destroy=True, facts=f))
        world.run(300)
    world.calm()
    world.run(1500)
    return world


@pytest.mark.parametrize("first", range(0, RUNS, BATCH))
def test_any_interleaving_of_crashes_ends_as_planned_or_in_a_stated_failure(first: int) -> None:
    mishaps = 0
    for seed in range(first, first + BATCH):
        world = run(seed)
        assert world.faults() == [], f"seed {seed}"
        mishaps += world.restarts + world.kills
    assert mishaps > BATCH, "nothing went wrong: this run shows nothing"


def test_after_a_failure_a_retry_without_mishaps_comes_to_the_planned_state() -> None:
    failed = 0
    for seed in range(40):
        world = run(seed)
        failed += bool(world.coordinator.retry())
        world.run(1500)
        assert world.coordinator.finished, f"seed {seed}"
        assert world.faults() == [], f"seed {seed}"
    assert failed > 3


def test_a_second_apply_hands_out_nothing() -> None:
    world = World(1, 3, Chances(), lambda f: chain(3, facts=f))
    world.run(300)
    assert world.coordinator.finished
    ids, writes = next(world.ids), world.writes
    world.aim_at(lambda f: chain(3, facts=f))
    assert world.coordinator.retry() == []
    world.restart()
    world.run(300)
    assert (next(world.ids), world.writes) == (ids + 1, writes)


def test_destroying_undoes_in_reverse_and_leaves_nothing() -> None:
    world = World(2, 3, Chances(), lambda f: chain(3, facts=f))
    world.run(300)
    assert all(machine.there for machine in world.machines.values())
    world.aim_at(partial(lambda f, nodes: chain(nodes, destroy=True, facts=f), nodes=3))
    world.run(300)
    assert world.faults() == []
    assert {s.status for s in world.coordinator.states.values()} == {Status.GONE}
    assert not any(machine.there for machine in world.machines.values())
    ended = {k: s.finished for k, s in world.coordinator.states.items()}
    assert ended[StepKey("n2", "mount")] <= ended[StepKey("n1", "pool")] <= ended[StepKey("n3", "brick")]
    assert {w.verb for w in world.coordinator.goal.values()} == {UNDO}
    assert APPLY not in {s.verb for s in world.coordinator.states.values()}

"""Whatever people ask for one after the other, the cluster comes to an end of it: nobody waits for ever."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pxeserver.postinstall import specfile
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.plan import plan
from pxeserver.postinstall.work import LEADER_STEPS, StepKey

NODES = ["n1", "n2", "n3", "n4", "n5"]

AGAIN = {"identity", "network", *LEADER_STEPS}
"""Told once more on the way: to the peers of those who have left, and to a new leader."""

wishes = st.lists(
    st.tuples(
        st.sets(st.sampled_from(NODES), min_size=1),
        st.sampled_from([1, 3]),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from(["", *NODES]),
    ),
    min_size=1,
    max_size=5,
)


def _text(lab_text: str, members: set[str], managers: int, replicas: int, routers: bool) -> str:
    text = lab_text[: lab_text.index("[[address]]")] if not routers else lab_text
    managers = min(managers, len(members) - (len(members) % 2 == 0))
    names = ", ".join(f'"{n}"' for n in sorted(members))
    text = text.replace('"n1", "n2", "n3"', names).replace("managers = 3", f"managers = {managers}")
    replicas = min(replicas, len(members))
    if not replicas:
        begin = text.index("[storage]")
        end = text.index("[[address]]") if "[[address]]" in text else len(text)
        return text[:begin] + text[end:]
    return text.replace("replicas = 3", f"replicas = {replicas}")


def _planned(lab: Any, text: str) -> set[str]:
    spec = specfile.read(text)
    layout = lay_out(spec, lab.candidates, lab.layout)
    found = plan(spec, layout, lab.states.values(), lab.facts(), lab.leader)
    return {_whose(f"{x.node}/{x.step}") for x in found.changes}


def _whose(key: str) -> str:
    """The step; without its node where the leader does it, who may be another by then."""
    return step if (step := key.partition("/")[2]) in LEADER_STEPS else key


@settings(
    max_examples=15,
    deadline=None,
    # Shrinking takes minutes, and says little more than the example.
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wishes, st.integers(0, 1 << 30))
def test_every_wish_comes_to_an_end(
    lab: Any, lab_text: str, make_node: Any, wanted: list[Any], seed: int
) -> None:
    lab.choose = Random(seed).choice
    lab.layout, lab.states, lab.leader = Layout(), {}, None
    lab.candidates = [make_node(n) for n in range(1, 6)]
    for members, managers, replicas, routers, reset in wanted:
        # A machine that came back without anything, before the next wish.
        lab.states = {k: s for k, s in lab.states.items() if k.node != reset}
        text = _text(lab_text, members, managers, replicas, routers)
        planned = _planned(lab, text)
        lab.aim(text)
        if not reset:
            done = {_whose(k) for _, k in lab.done}
            assert {k for k in done if k.rpartition("/")[2] not in AGAIN} <= planned
            assert planned <= done
        goal = lab.goal()
        assert set(lab.layout.everyone) == members
        assert all(lab.settled(k, goal) for k in goal)
        told = {k.step for k in goal}
        assert {"gate", "swarm-members", "swarm-networks"} <= told
        assert ("pool" in {k.step for k, w in goal.items() if w.verb == "apply"}) == bool(replicas)
        assert {k.node for k, w in goal.items() if k.step == "gate"} == members
        listed = goal[StepKey(lab.leader, "swarm-members")].params["members"]
        assert {m["name"] for m in listed} == members
        assert {m["availability"] for m in listed} == {"active"}
        assert [m["name"] for m in listed if m["role"] == "manager"] == sorted(lab.layout.managers)
        assert lab.run() == []
    lab.spec = specfile.read("destroy = true\n" + lab_text)
    lab.run()
    assert not lab.layout.everyone

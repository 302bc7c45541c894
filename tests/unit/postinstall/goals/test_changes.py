"""Members that come and go, parts of the spec that come and go, and the end of a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pxeserver.postinstall import specfile
from pxeserver.postinstall.goal import departed, wants
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.plan import foreseen
from pxeserver.postinstall.work import UNDO, Status, StepKey


def _undone(done: list[tuple[str, str]]) -> list[str]:
    return [key for verb, key in done if verb == UNDO]


def _place(done: list[tuple[str, str]], verb: str, key: str) -> int:
    return max(n for n, d in enumerate(done) if d == (verb, key))


def test_a_new_member_joins_and_moves_nobody(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    before = lab.layout
    lab.candidates.append(make_node(4))
    done = lab.aim(lab_text.replace('"n3"]', '"n3", "n4"]'))

    assert {n: lab.layout.places[n] for n in before.places} == before.places
    assert lab.layout.bricks == before.bricks
    assert not _undone(done)
    own = {key for _, key in done if key.startswith("n4/")}
    steps = (
        "identity",
        "packages",
        "network",
        "mount",
        "routers",
        "docker",
        "swarm-join",
        "networks",
        "gate",
    )
    assert own == {f"n4/{s}" for s in steps}
    others = {key.partition("/")[2] for _, key in done if not key.startswith("n4/")}
    assert others == {"identity", "network", "pool", "swarm-members"}, "names, tunnels, the leader's lists"


def test_a_removed_worker_is_drained_then_leaves_then_is_forgotten(
    lab: Any, lab_text: str, make_node: Any
) -> None:
    lab.candidates.append(make_node(4))
    with_four = lab_text.replace('"n3"]', '"n3", "n4"]')
    lab.aim(with_four)
    found = lab.states[StepKey("n4", "swarm-join")].facts["node_id"]
    done = lab.aim(lab_text)

    first = done.index(("apply", "n1/swarm-members"))
    assert first < done.index((UNDO, "n4/swarm-join"))
    steps = (
        "gate",
        "swarm-join",
        "networks",
        "docker",
        "routers",
        "mount",
        "network",
        "packages",
        "identity",
    )
    assert _undone(done) == [f"n4/{s}" for s in steps]
    assert _place(done, "apply", "n1/swarm-members") > done.index((UNDO, "n4/swarm-join"))
    assert "n4" not in lab.layout.everyone
    # The leader was told to remove the node's id, and its peers to drop the tunnels.
    members = lab.states[StepKey("n1", "swarm-members")].params
    assert found not in {m["node_id"] for m in members["members"]}
    assert all(t["peer"] != "n4" for t in lab.states[StepKey("n2", "network")].params["tunnels"])
    assert lab.run() == []


def test_the_leader_is_told_which_id_is_gone(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.candidates.append(make_node(4))
    lab.aim(lab_text.replace('"n3"]', '"n3", "n4"]'))
    found = lab.states[StepKey("n4", "swarm-join")].facts["node_id"]
    told = []
    act = lab._do

    def watch(key: StepKey, want: Any) -> None:
        if key.step == "swarm-members":
            told.append((want.params["members"], want.params["gone"]))
        act(key, want)

    lab._do = watch
    lab.aim(lab_text)
    leaving = [m for m in told[0][0] if m["name"] == "n4"]
    assert leaving == [
        {"node_id": found, "name": "n4", "role": "worker", "availability": "drain", "labels": {}}
    ]
    assert [found] in [gone for _, gone in told]


def test_a_lost_brick_holder_is_replaced_without_a_word_from_it(
    lab: Any, lab_text: str, make_node: Any
) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    lab.deaf = {"n3"}
    text = lab_text.replace('"n3"]', '"n4"]\nlost = ["n3"]\nreplaces = { n4 = "n3" }')
    done = lab.aim(text)

    assert not _undone(done)
    assert [b.node for b in lab.layout.bricks] == ["n1", "n2", "n4"]
    assert lab.layout.places["n4"].manager
    assert lab.layout.places["n4"].index == 4
    assert done.index(("apply", "n4/brick")) < done.index(("apply", "n1/pool"))
    assert "n3" not in lab.layout.everyone
    assert [b["node"] for b in lab.states[StepKey("n1", "pool")].params["bricks"]] == ["n1", "n2", "n4"]


def test_a_replaced_brick_goes_only_after_the_volume_has_let_go_of_it(
    lab: Any, lab_text: str, make_node: Any
) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    done = lab.aim(lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }'))
    moved = done.index(("apply", "n1/pool"))
    assert done.index(("apply", "n4/brick")) < moved < done.index((UNDO, "n3/brick"))
    assert moved < done.index((UNDO, "n3/network"))
    assert done.index((UNDO, "n3/mount")) < done.index((UNDO, "n3/brick"))
    assert "n3" not in lab.layout.everyone


def test_the_brick_stays_while_its_successor_does_not_come(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    lab.deaf = {"n4"}
    done = lab.aim(lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }'))
    assert (UNDO, "n3/brick") not in done
    assert (UNDO, "n3/network") not in done
    assert "n3" in lab.layout.leaving


def test_the_founder_may_leave_and_another_leads(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    done = lab.aim(
        lab_text.replace('["n1", ', '["n4", ').replace(
            "managers = 3", 'managers = 3\nreplaces = { n4 = "n1" }'
        )
    )
    assert lab.leader in ("n2", "n3")
    assert (UNDO, "n1/swarm-init") in done
    assert ("apply", "n4/swarm-join") in done
    assert not [d for d in done if d == ("apply", "n4/swarm-init")]
    assert (UNDO, "n1/pool") not in done, "the volume lives on"
    assert "n1" not in lab.layout.everyone
    # Those who come later join the same Swarm.
    assert lab.goal()[StepKey("n4", "swarm-join")].params["swarm_id"] == "swarm-1"


def test_the_only_manager_hands_over_before_it_leaves(lab: Any, lab_text: str, make_node: Any) -> None:
    one = lab_text.replace('["n1", "n2", "n3"]', '["n1"]').replace("managers = 3", "managers = 1")
    one = one.replace("replicas = 3", "replicas = 1")
    lab.aim(one)
    done = lab.aim(one.replace('["n1"]', '["n2"]\nreplaces = { n2 = "n1" }'))
    assert lab.leader == "n2"
    assert done.index(("apply", "n2/swarm-join")) < done.index((UNDO, "n1/swarm-init"))
    assert done.index(("apply", "n1/pool")) < done.index((UNDO, "n1/brick"))
    assert set(lab.layout.everyone) == {"n2"}
    assert [b.node for b in lab.layout.bricks] == ["n2"]


def test_fewer_managers_demotes(lab: Any, lab_text: str) -> None:
    lab.run()
    done = lab.aim(lab_text.replace("managers = 3", "managers = 1"))
    roles = {m["name"]: m["role"] for m in lab.states[StepKey("n1", "swarm-members")].params["members"]}
    assert roles == {"n1": "manager", "n2": "worker", "n3": "worker"}
    assert not _undone(done)


def test_what_the_spec_drops_is_undone_and_comes_back_when_asked(lab: Any, lab_text: str) -> None:
    lab.run()
    bare = lab_text[: lab_text.index("[storage]")]
    done = lab.aim(bare)
    assert set(_undone(done)) == {"n1/pool", *(f"n{n}/{s}" for n in (1, 2, 3) for s in ("mount", "brick"))}
    for n in (1, 2, 3):
        assert done.index((UNDO, f"n{n}/mount")) < done.index((UNDO, "n1/pool"))
        assert done.index((UNDO, "n1/pool")) < done.index((UNDO, f"n{n}/brick"))
    assert lab.run() == []
    assert ("apply", "n1/pool") in lab.aim(lab_text)


def test_destroy_takes_everything_away_in_reverse(lab: Any, lab_text: str) -> None:
    lab.run()
    begun = {str(k) for k in lab.states}
    done = lab.aim("destroy = true\n" + lab_text)
    assert {verb for verb, _ in done} == {UNDO}
    assert set(_undone(done)) == begun - {"n1/swarm-members"}
    assert done[0] == (UNDO, "n1/swarm-networks")
    assert done.index((UNDO, "n1/swarm-init")) > done.index((UNDO, "n3/swarm-join"))
    for n in (1, 2, 3):
        assert done.index((UNDO, "n1/pool")) < done.index((UNDO, f"n{n}/brick"))
    assert not lab.layout.everyone


def test_destroy_does_not_wait_for_the_lost(lab: Any, lab_text: str) -> None:
    lab.run()
    lab.deaf = {"n3"}
    text = "destroy = true\n" + lab_text.replace("managers = 3", 'managers = 3\nlost = ["n3"]')
    lab.aim(text)
    assert not lab.layout.everyone


def test_a_half_made_cluster_is_destroyed_too(lab: Any, lab_text: str) -> None:
    lab.deaf = {"n2"}
    lab.run()
    lab.deaf = set()
    lab.aim("destroy = true\n" + lab_text)
    assert not lab.layout.everyone


def test_a_founder_that_lost_its_state_joins_the_swarm_of_the_others(lab: Any) -> None:
    lab.run()
    lab.states = {k: s for k, s in lab.states.items() if k.node != "n1"}
    done = lab.run()
    assert lab.leader in ("n2", "n3")
    assert ("apply", "n1/swarm-join") in done
    assert ("apply", "n1/swarm-init") not in done


def test_when_all_lost_their_state_a_new_swarm_is_founded(lab: Any) -> None:
    lab.run()
    lab.states = {}
    done = lab.run()
    assert [d for d in done if d[1].endswith("swarm-init")] == [("apply", "n1/swarm-init")]


def test_another_leads_while_the_leader_is_away(lab: Any) -> None:
    lab.run()
    lab.seen = {"n2", "n3"}
    lab.deaf = {"n1"}
    done = lab.run()
    assert lab.leader == "n2"
    assert all(key.startswith("n2/") for _, key in done)
    lab.seen, lab.deaf = set(), set()
    lab.run()
    assert lab.leader == "n2", "it stays when the former one is back"


def test_an_unfinished_swarm_does_not_change_its_founder(lab: Any) -> None:
    lab.deaf = {"n2", "n3"}
    lab.run()
    assert lab.states[StepKey("n1", "swarm-init")].status is Status.DONE
    lab.seen, lab.deaf = {"n2", "n3"}, {"n1"}
    lab.run()
    assert lab.leader == "n1", "nobody else is a manager of it yet"


def test_a_manager_goes_on_until_its_successor_is_one(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    lab.deaf = {"n4"}
    text = lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }').replace(
        "replicas = 3", "replicas = 2"
    )
    done = lab.aim(text)
    members = {m["name"]: m for m in lab.states[StepKey("n1", "swarm-members")].params["members"]}
    assert (members["n3"]["role"], members["n3"]["availability"]) == ("manager", "drain")
    assert (UNDO, "n3/swarm-join") not in done

    lab.deaf = set()
    done = lab.run()
    assert done.index(("apply", "n4/swarm-join")) < done.index((UNDO, "n3/swarm-join"))
    assert "n3" not in lab.layout.everyone


def test_a_manager_without_a_brick_is_in_the_pool(lab: Any, lab_text: str) -> None:
    lab.aim(lab_text.replace("replicas = 3", "replicas = 2"))
    goal = lab.goal()
    assert goal[StepKey("n3", "brick")].params["device"] is None
    assert goal[StepKey("n3", "brick")].params["members"] == ["10.77.0.11", "10.77.0.12"]
    assert goal[StepKey("n1", "brick")].params["device"]["kind"] == "loop"
    pool = goal[StepKey("n1", "pool")]
    assert [p["name"] for p in pool.params["peers"]] == ["n1", "n2", "n3"]
    assert [b["node"] for b in pool.params["bricks"]] == ["n1", "n2"]
    assert StepKey("n3", "brick") in pool.after


def test_a_brick_and_its_network_wait_for_the_volume(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    lab.candidates.append(make_node(4))
    lab.spec = specfile.read(lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }'))
    lab.layout = lay_out(lab.spec, lab.candidates, lab.layout)
    goal = foreseen(lab.spec, lab.layout, lab.facts(), lab.leader)
    for step in ("brick", "network"):
        assert StepKey("n1", "pool") in goal[StepKey("n3", step)].after
    assert StepKey("n1", "swarm-members") in goal[StepKey("n3", "swarm-join")].after


def test_nobody_is_forgotten_before_the_others_have_let_go(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.candidates.append(make_node(4))
    lab.aim(lab_text.replace('"n3"]', '"n3", "n4"]'))
    lab.spec = specfile.read(lab_text)
    lab.layout = lay_out(lab.spec, lab.candidates, lab.layout)
    for key in [k for k in lab.states if k.node == "n4"]:
        lab.states[key] = replace(lab.states[key], status=Status.GONE, verb=UNDO, applied="")
    assert departed(lab.layout, lab.goal(), lab.states) == []
    lab.run()
    assert "n4" not in lab.layout.everyone


def test_tunnels_to_the_leaving_stand_until_they_are_gone_and_to_the_lost_not_at_all(
    lab: Any, lab_text: str
) -> None:
    def peers() -> set[str]:
        tunnels = wants(lab.spec, lab.layout, lab.facts(), "n1")[StepKey("n1", "network")].params["tunnels"]
        return {t["peer"] for t in tunnels}

    two = lab_text.replace(', "n3"]', "]").replace("= 3", "= 1")
    lab.run()
    lab.spec = specfile.read(two)
    lab.layout = lay_out(lab.spec, lab.candidates, lab.layout)
    assert peers() == {"n2", "n3"}
    lab.spec = specfile.read(two.replace("managers = 1", 'managers = 1\nlost = ["n3"]'))
    lab.layout = lay_out(lab.spec, lab.candidates, lab.layout)
    assert peers() == {"n2"}

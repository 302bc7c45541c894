"""What `cluster plan` tells before anything is touched."""

from __future__ import annotations

from typing import Any

from pxeserver.postinstall import specfile
from pxeserver.postinstall.difference import differences
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.plan import Action, Plan, plan


def _plan(lab: Any, text: str | None = None) -> Plan:
    spec = lab.spec if text is None else specfile.read(text)
    layout = lay_out(spec, lab.candidates, lab.layout)
    return plan(spec, layout, lab.states.values(), lab.facts(), lab.leader)


def test_the_plan_of_a_new_cluster_names_every_step_that_will_be_done(lab: Any) -> None:
    planned = _plan(lab)
    lab.run()
    assert {f"{x.node}/{x.step}" for x in planned.changes} == {key for _, key in lab.done}
    assert {x.action for x in planned.lines} == {Action.CREATE}
    assert not any(x.destructive for x in planned.lines)
    text = str(planned)
    assert "n1 network: create (52:54:00:00:00:01 becomes a port of switch-1 with 10.77.0.11/24; " in text
    assert "n2 packages: create (docker.io; e2fsprogs; glusterfs-client; " in text
    assert "n1 pool: create (volume shared of 3 bricks on n1, n2, n3)" in text


def test_after_an_apply_there_is_nothing_to_change_and_it_says_so(lab: Any) -> None:
    lab.run()
    assert not _plan(lab).changes
    assert str(_plan(lab)) == "nothing to change"


def test_changes_are_told_from_to(lab: Any, lab_text: str) -> None:
    lab.run()
    planned = _plan(lab, lab_text.replace("vlan = 10", "vlan = 20").replace("http:80/", "tcp:443"))
    by_step = {(x.node, x.step): x for x in planned.changes}
    assert by_step["n1", "network"].details == ("vnets[web].vlan: 10 -> 20",)
    assert by_step["n1", "routers"].details == (
        "addresses[front].check.kind: http -> tcp",
        "addresses[front].check.port: 80 -> 443",
        "addresses[front].check.path: / -> ",
    )
    assert {step for _, step in by_step} == {"network", "routers"}


def test_what_takes_data_is_marked(lab: Any, lab_text: str, make_node: Any) -> None:
    lab.run()
    removed = _plan(lab, lab_text[: lab_text.index("[storage]")])
    assert {(x.node, x.step) for x in removed.changes if x.destructive} == {
        ("n1", "pool"),
        *((f"n{n}", "brick") for n in (1, 2, 3)),
    }
    lab.candidates.append(make_node(4))
    replaced = _plan(lab, lab_text.replace('"n3"]', '"n4"]\nreplaces = { n4 = "n3" }'))
    pool = next(x for x in replaced.changes if x.step == "pool")
    assert pool.destructive
    assert "bricks[n3]: removed" in pool.details
    assert "bricks[n4]: added" in pool.details
    removed = [x.step for x in replaced.changes if x.node == "n3" and x.action is Action.REMOVE]
    assert {"gate", "swarm-join", "docker", "mount", "brick", "network", "identity"} <= set(removed)


def test_destroy_removes_everything(lab: Any, lab_text: str) -> None:
    lab.run()
    planned = _plan(lab, "destroy = true\n" + lab_text)
    assert {x.action for x in planned.changes} == {Action.REMOVE}
    assert len(planned.changes) == len(lab.states) - 1, "the leader's list of members is nothing to undo"


def test_a_begun_step_is_to_be_finished(lab: Any) -> None:
    lab.deaf = {"n3"}
    lab.run()
    planned = _plan(lab)
    assert {x.action for x in planned.changes if x.node == "n3"} == {Action.CREATE}
    assert ("n1", "pool", Action.CREATE) in {(x.node, x.step, x.action) for x in planned.changes}
    assert not [x for x in planned.changes if x.node == "n2" and x.step == "brick"]


def test_it_says_for_whom_it_waits(lab: Any, lab_text: str) -> None:
    lab.candidates.pop()
    assert "waiting for n3: it has not told its address yet" in _plan(lab).waiting
    few = _plan(lab, lab_text.replace('nodes = ["n1", "n2", "n3"]', "next = 4"))
    assert few.waiting == ("waiting for 2 more nodes to appear",)


def test_differences_name_the_element() -> None:
    before = {"tunnels": [{"switch": "s", "peer": "n2", "key": 1}], "dns": ["10.0.0.1"], "mtu": 1}
    after = {"tunnels": [{"switch": "s", "peer": "n3", "key": 1}], "dns": ["10.0.0.2"], "mtu": None}
    assert differences(before, after) == (
        "tunnels[s to n2]: removed",
        "tunnels[s to n3]: added",
        "dns[10.0.0.1]: removed",
        "dns[10.0.0.2]: added 10.0.0.2",
        "mtu: 1 -> none",
    )


def test_a_pool_member_without_a_brick_is_told_as_such(lab: Any, lab_text: str) -> None:
    planned = str(_plan(lab, lab_text.replace("replicas = 3", "replicas = 2")))
    assert "n3 brick: create (glusterd without a brick)" in planned
    assert "n2 brick: create (loop /var/lib/pxeserver-agent/bricks/shared.img for volume shared)" in planned

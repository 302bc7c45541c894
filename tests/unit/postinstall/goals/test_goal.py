"""What each step of each node is told, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pxeserver.postinstall.work import Facts, Status, StepKey, StepState


def _order(done: list[tuple[str, str]]) -> dict[str, int]:
    last: dict[str, int] = {}
    for place, (_, key) in enumerate(done):
        last.setdefault(key, place)
    return last


def test_three_managers_stand_in_the_right_order(lab: Any) -> None:
    order = _order(lab.run())

    assert lab.leader == "n1"
    for n in ("n1", "n2", "n3"):
        for earlier, later in (
            ("identity", "packages"),
            ("packages", "network"),
            ("network", "brick"),
            ("network", "docker"),
            ("docker", "networks"),
            ("networks", "gate"),
            ("mount", "gate"),
        ):
            assert order[f"{n}/{earlier}"] < order[f"{n}/{later}"]
        assert order[f"{n}/brick"] < order["n1/pool"] < order[f"{n}/mount"]
    assert order["n1/swarm-init"] < order["n2/swarm-join"] < order["n1/swarm-members"]
    assert order["n1/swarm-members"] < order["n1/swarm-networks"]


def test_a_second_apply_changes_nothing(lab: Any) -> None:
    lab.run()
    layout = lab.layout
    assert lab.run() == []
    assert lab.layout == layout


def test_the_documents_of_the_contract(lab: Any) -> None:
    lab.run()
    goal = lab.goal()
    docs = {k.step: w.params for k, w in goal.items() if k.node == "n1"}
    uuid = lab.layout.places["n1"].gluster_uuid
    key = lab.layout.keys

    assert docs["identity"] == {
        "hostname": "n1",
        "machine_id": None,
        "hosts": {"n1": "10.77.0.11", "n2": "10.77.0.12", "n3": "10.77.0.13"},
        "gluster_uuid": uuid,
        "ssh_keys": [],
    }
    assert docs["network"] == {
        "uplink": {
            "switch": "switch-1",
            "mac": "52:54:00:00:00:01",
            "address": "10.77.0.11/24",
            "gateway": "10.77.0.1",
            "dns": [],
            "mtu": 1500,
        },
        "switches": [{"name": "switch-1", "uplink": True}, {"name": "switch-2", "uplink": False}],
        "tunnels": [
            {"switch": s, "peer": p, "remote": a, "key": key[s]}
            for s in ("switch-1", "switch-2")
            for p, a in (("n2", "10.77.0.12"), ("n3", "10.77.0.13"))
        ],
        "vnets": [{"name": "web", "switch": "switch-1", "vlan": 10, "address": "10.10.0.2/24", "mtu": 1442}],
        "datapath": "auto",
        "confirm": {"seconds": 30},
    }
    assert docs["pool"]["bricks"][0] == {
        "node": "n1",
        "address": "10.77.0.11",
        "path": "/srv/brick/shared",
        "arbiter": False,
    }
    assert docs["pool"]["replicas"] == 3
    assert docs["mount"]["servers"] == ["10.77.0.11", "10.77.0.12", "10.77.0.13"]
    assert docs["networks"]["vnets"] == [
        {
            "name": "web",
            "subnet": "10.10.0.0/24",
            "gateway": "10.10.0.1",
            "range": "10.10.0.128/28",
            "parent": "web-c",
        }
    ]
    assert docs["swarm-networks"] == {"macvlan": [{"name": "web", "config": "web-node"}], "overlays": []}
    assert docs["swarm-init"]["data_path_port"] == 4789
    assert docs["docker"]["daemon"]["live-restore"] is False
    join = goal[StepKey("n2", "swarm-join")]
    assert join.params == {
        "advertise": "10.77.0.12",
        "managers": ["10.77.0.11:2377", "10.77.0.13:2377"],
        "swarm_id": "swarm-1",
    }
    assert join.secrets == {"token": "token-0"}


def test_routers_have_one_group_on_all_and_different_priorities(lab: Any) -> None:
    lab.run()
    docs = [lab.goal()[StepKey(n, "routers")] for n in ("n1", "n2", "n3")]
    first = [d.params["routers"][0] for d in docs]
    assert len({r["vrid"] for r in first}) == 1
    assert len({r["priority"] for r in first}) == 3
    assert first[0]["gateway"] == "10.10.0.1/24"
    assert first[0]["source"] == "10.10.0.2"
    assert first[0]["peers"] == ["10.10.0.3", "10.10.0.4"]
    assert first[0]["nat"] is True
    front = docs[1].params["addresses"][0]
    assert front["interface"] == "switch-1"
    assert front["source"] == "10.77.0.12"
    assert front["check"] == {"kind": "http", "port": 80, "path": "/"}
    assert front["vrid"] != first[0]["vrid"]


def test_every_member_keeps_its_networks_apart_router_or_not(lab: Any, lab_text: str) -> None:
    """All of them have an address on each vNet, and forward packets for Docker."""
    inner = '[[vnet]]\nname = "inner"\nswitch = "switch-2"\nvlan = 20\n'
    lab.candidates = [*lab.candidates, replace(lab.candidates[0], name="n4", address="10.77.0.14/24")]
    lab.aim(lab_text.replace('"n3"]', '"n3", "n4"]') + inner)
    found = lab.goal()[StepKey("n4", "routers")].params
    assert (found["routers"], found["addresses"]) == ([], [])
    assert found["vnets"] == ["inner", "web"]
    assert lab.goal()[StepKey("n1", "routers")].params["vnets"] == ["inner", "web"]
    assert "routers" in lab.goal()[StepKey("n4", "gate")].params["steps"]


def test_the_volume_waits_for_every_brick_and_the_mounts_for_the_volume(lab: Any) -> None:
    lab.deaf = {"n3"}
    lab.run()
    steps = {str(k) for k in lab.goal()}
    assert "n1/pool" not in steps
    assert "n1/mount" not in steps
    assert "n1/gate" not in steps
    assert "n2/swarm-join" in steps

    lab.deaf = set()
    lab.run()
    assert "n1/pool" in {str(k) for k in lab.goal()}


def test_nobody_gets_containers_before_the_gate(lab: Any) -> None:
    lab.deaf = {"n3"}
    lab.run()
    members = lab.states[StepKey("n1", "swarm-members")].params["members"]
    assert [(m["name"], m["availability"]) for m in members] == [("n1", "pause"), ("n2", "pause")]

    lab.deaf = set()
    lab.run()
    members = lab.states[StepKey("n1", "swarm-members")].params["members"]
    assert [(m["name"], m["role"], m["availability"]) for m in members] == [
        ("n1", "manager", "active"),
        ("n2", "manager", "active"),
        ("n3", "manager", "active"),
    ]


def test_a_member_of_whom_a_step_failed_is_paused(lab: Any) -> None:
    lab.run()
    key = StepKey("n2", "network")
    old = lab.states[key]
    lab.states[key] = StepState(key, Status.FAILED, digest=old.digest, params=old.params, reason="no")
    lab.deaf = {"n2"}
    lab.run()
    members = {
        m["name"]: m["availability"] for m in lab.goal()[StepKey("n1", "swarm-members")].params["members"]
    }
    assert members == {"n1": "active", "n2": "pause", "n3": "active"}


def test_drain_moves_containers_away_and_nothing_else(lab: Any, lab_text: str) -> None:
    lab.run()
    done = lab.aim(lab_text.replace("managers = 3", 'managers = 3\ndrain = ["n2"]'))
    assert done == [("apply", "n1/swarm-members")]
    members = {
        m["name"]: m["availability"] for m in lab.states[StepKey("n1", "swarm-members")].params["members"]
    }
    assert members == {"n1": "active", "n2": "drain", "n3": "active"}


def test_stacks_images_overlays_compose_and_labels(lab: Any, lab_text: str) -> None:
    from pxeserver.postinstall import specfile

    text = (
        lab_text
        + """
[members.labels]
tier = "all"
n2 = { disk = "fast" }
[[overlay]]
name = "back"
subnet = "10.20.0.0/24"
encrypted = true
[[compose]]
name = "mon"
node = "n3"
file = "mon.yml"
env = { A = "1" }
[[stack]]
name = "shop"
file = "shop.yml"
env = { PUBLISH = "host" }
[[image]]
name = "shop-web"
"""
    )
    files = {"mon.yml": "services: {a: {image: b}}\n", "shop.yml": "services: {w: {image: x}}\n"}
    lab.spec = specfile.read(text, files)
    lab.run()
    assert not {k for k in lab.goal() if k.step in ("gate", "stacks", "images")}, "the image is nowhere yet"

    fetched = {"url": "http://10.77.0.2/b/0", "sha256": "0" * 64, "size": 7}
    facts = lab.facts
    lab.facts = lambda: Facts(
        **{f: getattr(facts(), f) for f in Facts.__slots__ if f != "images"}, images={"shop-web": fetched}
    )
    order = _order(lab.run())
    goal = lab.goal()
    assert goal[StepKey("n1", "images")].params == {"images": [{"name": "shop-web", **fetched}]}
    assert order["n1/gate"] < order["n1/stacks"]
    assert StepKey("n1", "swarm-networks") in goal[StepKey("n1", "stacks")].after
    assert goal[StepKey("n3", "compose")].params == {
        "projects": [{"name": "mon", "file": files["mon.yml"], "env": {"A": "1"}}]
    }
    assert "compose" not in goal[StepKey("n3", "gate")].params["steps"]
    stack = goal[StepKey("n1", "stacks")].params
    assert stack["path"] == "/srv/shared/stacks"
    assert stack["stacks"][0]["file"] == files["shop.yml"]
    assert len(stack["stacks"][0]["version"]) == 12
    assert stack["stacks"][0]["env"] == {"PUBLISH": "host"}
    assert goal[StepKey("n1", "swarm-networks")].params["overlays"] == [
        {"name": "back", "subnet": "10.20.0.0/24", "encrypted": True}
    ]
    labels = {m["name"]: m["labels"] for m in goal[StepKey("n1", "swarm-members")].params["members"]}
    assert labels == {"n1": {"tier": "all"}, "n2": {"disk": "fast", "tier": "all"}, "n3": {"tier": "all"}}


def test_an_nfs_volume_has_no_bricks_and_no_pool(lab: Any, lab_text: str) -> None:
    lab.aim(
        lab_text.replace('disk = "loop:4GiB"', 'driver = "nfs"\nserver = "10.77.0.5"\nexport = "/srv/nfs"')
    )
    goal = lab.goal()
    assert not {k for k in goal if k.step in ("brick", "pool")}
    assert goal[StepKey("n1", "mount")].params == {
        "driver": "nfs",
        "volume": "shared",
        "servers": ["10.77.0.5"],
        "path": "/srv/shared",
        "export": "/srv/nfs",
    }
    assert "nfs-common" in goal[StepKey("n1", "packages")].params["packages"]


def test_the_arbiter_is_the_last_brick(lab: Any, lab_text: str) -> None:
    lab.aim(lab_text.replace("replicas = 3", "replicas = 3\narbiter = 1"))
    assert [b["arbiter"] for b in lab.goal()[StepKey("n1", "pool")].params["bricks"]] == [False, False, True]


def test_a_rotated_token_is_the_one_that_new_workers_get(lab: Any, make_node: Any) -> None:
    lab.run()
    facts = lab.facts
    lab.facts = lambda: Facts(
        **{f: getattr(facts(), f) for f in Facts.__slots__ if f != "rotations"}, rotations=1
    )
    assert lab.run() == [("apply", "n1/swarm-members")]
    assert lab.goal()[StepKey("n3", "swarm-join")].secrets == {"token": "token-1"}
    assert lab.run() == [], "who has joined does not join again for a new token"


def test_a_machine_that_was_started_again_passes_its_gate_again(lab: Any) -> None:
    lab.run()
    for key in [k for k in lab.states if k.node == "n2"]:
        lab.states[key] = replace(lab.states[key], status=Status.WAITING, applied="", tries=0)
    assert "n2" in lab.facts().unfit
    lab.deaf = {"n2"}
    lab.run()
    assert _availability(lab) == {"n1": "active", "n2": "pause", "n3": "active"}
    key = StepKey("n2", "gate")
    lab.states[key] = replace(lab.states[key], status=Status.DONE, applied=lab.states[key].digest)
    lab.run()
    assert _availability(lab) == {"n1": "active", "n2": "active", "n3": "active"}


def _availability(lab: Any) -> dict[str, str]:
    members = lab.states[StepKey("n1", "swarm-members")].params["members"]
    return {m["name"]: m["availability"] for m in members}

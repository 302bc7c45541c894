"""What happens to members of a living cluster: drift, a server that is away, total loss of power, drained,
replaced and removed members. With the real server and real agents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from living import FILE, NAME, SERVICE, Living, answers, destroy, undisturbed, works

from pxeserver.lab.process import LabError

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(600)]

MANAGERS = ("n1", "n2", "n3")


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Three members that stand, and a fourth node that has joined and is no member."""
    with Living(tmp_path_factory.mktemp("life"), 4) as living:
        living.power_on()
        living.join(*living.nodes)
        living.bring()
        living.stands(180)
        works(living, *MANAGERS)
        yield living


def swarm(life: Living, node: str = "n1") -> dict[str, str]:
    """Host name -> availability in the Swarm, of the nodes that are up."""
    form = "{{.Hostname}} {{.Status}} {{.Availability}}"
    rows = life[node].run("docker", "node", "ls", "--format", form).split("\n")
    return {row.split()[0]: row.split()[2].lower() for row in rows if " Ready " in row}


def containers(life: Living, node: str) -> list[str]:
    """The services' containers on a node."""
    return life[node].run("docker", "ps", "--filter", "name=shop_", "--format", "{{.Names}}").split()


# -------------------------------------------------------------------------------------- drift


def test_drift_is_found_by_a_check_shown_and_mended_on_order(life: Living) -> None:
    life["n2"].run("ovs-vsctl", "del-port", "switch-1", "web")
    life["n3"].run("umount", "-l", "/srv/shared")
    life.order("cluster", "check", NAME)
    life.until(lambda: drifted(life) == {("n2", "network"), ("n3", "mount")}, 60, "the drift is not found")
    assert life.status()["state"] == "drifted"
    said = life.order("cluster", "status", NAME)
    assert "drifted  network:" in said
    assert "drifted  mount:" in said
    said = life.bring("--mend")
    assert "mended: " in said
    assert "n2/network" in said
    assert "n3/mount" in said
    life.stands(60)
    undisturbed(life)
    works(life, *MANAGERS)


def drifted(life: Living) -> set[tuple[str, str]]:
    """What has drifted."""
    nodes = life.status().get("nodes", ())
    # A gate tells again what the steps before it tell.
    return {(n["name"], d["step"]) for n in nodes for d in n["drift"] if d["step"] not in ("gate", "pool")}


# -------------------------------------------------------------------------------------- the server is away


def test_the_agents_mend_while_the_server_is_away(life: Living) -> None:
    life.kill_server()
    life["n1"].run("systemctl", "stop", "keepalived")
    life["n2"].run("ip", "link", "set", "web", "down")
    life["n3"].run("umount", "-l", "/srv/shared")
    life.until(lambda: "inactive" not in active(life, "n1", "keepalived"), 150, "keepalived stays away")
    life.until(
        lambda: " UP " in life["n2"].run("ip", "-br", "link", "show", "web") + " UP ", 150, "web is down"
    )
    life.until(lambda: mounted(life, "n3"), 150, "the volume stays away")
    works(life, *MANAGERS)
    life.server.start(wait=False)
    life.wait_for_server()
    life.stands(120)
    undisturbed(life)


def active(life: Living, node: str, unit: str) -> str:
    """What systemd says of a unit."""
    return life[node].run("systemctl", "is-active", unit, check=False)


def mounted(life: Living, node: str) -> bool:
    """Whether the volume is mounted."""
    return "glusterfs" in life[node].run("findmnt", "-no", "FSTYPE", "/srv/shared", check=False)


# -------------------------------------------------------------------------------------- total loss of power


@pytest.mark.parametrize("server", ["on", "off"])
def test_after_a_total_loss_of_power_it_stands_again_by_itself(life: Living, server: str) -> None:
    life["n1"].run("sh", "-c", f"echo kept > /srv/shared/kept-{server}; sync", timeout=20)
    if server == "off":
        life.kill_server()
    for name in MANAGERS:
        life[name].power_cut()
    for name in MANAGERS:
        life[name].power_on()
    begun = time.monotonic()
    life.until(lambda: all(mounted(life, n) for n in MANAGERS), 240, "the volume is not mounted")
    works(life, *MANAGERS, seconds=240)
    print(f"with the server {server} it stands after {time.monotonic() - begun:.0f} s")
    for name in MANAGERS:
        assert life[name].run("cat", f"/srv/shared/kept-{server}").strip() == "kept"
    if server == "off":
        life.server.start(wait=False)
        life.wait_for_server()
    life.stands(180)
    undisturbed(life)


# -------------------------------------------------------------------------------------- members go and come


def test_a_drained_member_has_no_containers_until_it_is_drained_no_more(life: Living) -> None:
    life.order("node", "drain", "n3", "--yes")
    life.until(
        lambda: swarm(life).get("n3") == "drain" and not containers(life, "n3"), 60, "it is not drained"
    )
    life.stands(60)
    assert "n3" in life.order("cluster", "show", NAME)
    life.order("node", "drain", "n3", "--back", "--yes")
    life.until(lambda: containers(life, "n3"), 60, "it has no containers")
    life.stands(60)


def test_a_fourth_node_takes_the_place_of_a_lost_one(life: Living) -> None:
    life["n3"].power_cut()
    life.stands(120, "away")
    life.order("node", "replace", "n3", "n4", "--lost", "--yes")
    life.stands(240)
    names = {node["name"]: node["role"] for node in life.status()["nodes"]}
    assert names == {"n1": "manager", "n2": "manager", "n4": "manager"}
    assert set(swarm(life)) == {"n1", "n2", "n4"}
    works(life, "n1", "n2", "n4")
    told = life["n1"].run("gluster", "volume", "info", "shared")
    bricks = [line.split()[1].partition(":")[0] for line in told.splitlines() if ":/srv/brick/" in line]
    assert bricks == [life.address(name) for name in ("n1", "n2", "n4")]
    assert life["n4"].run("cat", "/srv/shared/from-n3").strip() == "n3"
    undisturbed(life)


def test_a_removed_member_is_clean_and_the_others_go_on(life: Living) -> None:
    smaller = FILE.replace("managers = 3", "managers = 1").replace("replicas = 3", "replicas = 2")
    life.bring(target=life.cluster_file("n1", "n2", "n4", text=smaller))
    life.stands(180)
    life.order("node", "remove", "n4", "--yes")
    life.until(lambda: [n["name"] for n in life.status()["nodes"]] == ["n1", "n2"], 180, "n4 does not leave")
    life.stands(60)
    works(life, "n1", "n2")
    assert "switch-" not in life["n4"].run("ip", "-br", "link")
    assert "/srv/" not in life["n4"].run("findmnt", "-rno", "TARGET")
    assert answers(life, f"http://{SERVICE}:8088/") == "well"


def test_it_is_destroyed(life: Living) -> None:
    destroy(life, 120)
    with pytest.raises(LabError):
        life.server.command("cluster", "status", NAME)

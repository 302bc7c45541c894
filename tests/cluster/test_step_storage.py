"""Steps brick, pool and mount on three nodes: a replicated volume that survives what happens to nodes."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from nodes_under_test import Nodes

pytestmark = [pytest.mark.net, pytest.mark.timeout(400)]

UUIDS = {f"n{n}": str(uuid.UUID(int=n + 0x1000)) for n in range(1, 9)}
OPTIONS = {"auth.allow": "10.77.0.11,10.77.0.12,10.77.0.13", "network.ping-timeout": "5"}


def brick(nodes: Nodes, name: str) -> dict[str, Any]:
    """A brick in a file of 200 MiB."""
    return {
        "volume": "shared",
        "device": {"kind": "loop", "path": "/var/lib/pxeserver-agent/brick.img", "bytes": 200 << 20},
        "mount": "/srv/brick",
        "gluster_uuid": UUIDS[name],
        "address": nodes.address(name),
        "arbiter": False,
        "members": [nodes.address(other) for other in nodes.nodes if other != name],
    }


def path(nodes: Nodes, name: str) -> str:
    """Where the node says that its brick is."""
    return str(nodes.apply(name, "brick", brick(nodes, name))["path"])


def pool(nodes: Nodes, *names: str, paths: dict[str, str] | None = None) -> dict[str, Any]:
    """A replica on each of these nodes; `paths` of those that are away."""
    members = [{"name": name, "address": nodes.address(name), "uuid": UUIDS[name]} for name in names]
    return {
        "volume": "shared",
        "driver": "glusterfs",
        "peers": members,
        "bricks": [
            {
                "node": n,
                "address": nodes.address(n),
                "path": (paths or {}).get(n) or path(nodes, n),
                "arbiter": False,
            }
            for n in names
        ],
        "replicas": len(names),
        "arbiter": 0,
        "options": OPTIONS,
    }


def mount(nodes: Nodes, name: str, *others: str) -> dict[str, Any]:
    """The volume on one node, which asks itself first."""
    servers = [nodes.address(node) for node in (name, *others)]
    return {
        "driver": "glusterfs",
        "volume": "shared",
        "servers": servers,
        "path": "/srv/shared",
        "export": "",
    }


@pytest.fixture(scope="module")
def shared(three: Nodes) -> Nodes:
    """A volume of three replicas, mounted on all three."""
    for name in three.nodes:
        facts = three.apply(name, "brick", brick(three, name))
        assert facts["uuid"] == UUIDS[name] and facts["path"].startswith("/srv/brick/shared-")
    assert three.apply("n1", "pool", pool(three, *three.nodes))["volume_id"]
    for name in three.nodes:
        three.apply(name, "mount", mount(three, name, *(o for o in three.nodes if o != name)))
    return three


def write(nodes: Nodes, name: str, file: str, text: str) -> None:
    """Write a file of the volume on one node."""
    nodes[name].run("bash", "-c", f"echo -n {text} > /srv/shared/{file}")


def read(nodes: Nodes, name: str, file: str) -> str:
    """Read a file of the volume on one node."""
    return nodes[name].run("cat", f"/srv/shared/{file}", timeout=30)


def holds(nodes: Nodes, name: str, brick: str, file: str, text: str, seconds: float = 90) -> None:
    """Wait until a brick itself holds a file."""
    end = time.monotonic() + seconds
    while nodes[name].run("cat", f"{brick}/{file}", check=False) != text:
        told = nodes["n1"].run("gluster", "volume", "heal", "shared", "info", check=False)
        assert time.monotonic() < end, told
        time.sleep(1)


def test_what_one_writes_all_read(shared: Nodes) -> None:
    for name in shared.nodes:
        write(shared, name, name, f"by-{name}")
    for reader in shared.nodes:
        assert [read(shared, reader, name) for name in shared.nodes] == ["by-n1", "by-n2", "by-n3"]
    assert shared["n2"].run("cat", f"{path(shared, 'n2')}/n1") == "by-n1", "the brick holds no replica"


def test_a_machine_that_is_no_member_cannot_mount_it(shared: Nodes) -> None:
    card = shared["n2"].run("ip", "-o", "-4", "route", "get", "10.77.0.11").split(" dev ")[1].split()[0]
    shared["n2"].run("ip", "netns", "add", "stranger")
    guest = ("type", "macvlan", "mode", "bridge")
    shared["n2"].run("ip", "link", "add", "dev", "guest", "link", card, *guest)
    shared["n2"].run("ip", "link", "set", "dev", "guest", "netns", "stranger")
    for words in (("address", "add", "10.77.0.66/24"), ("link", "set", "up")):
        shared["n2"].run("ip", "-n", "stranger", *words[:2], *words[2:], "dev", "guest")
    inside = ("ip", "netns", "exec", "stranger")
    assert " 0% packet loss" in shared["n2"].run(*inside, "ping", "-c", "2", "10.77.0.11")
    look = "mount -t glusterfs 10.77.0.11:/shared /mnt && ls /mnt; umount /mnt"
    told = shared["n2"].run(*inside, "timeout", "40", "bash", "-c", look, check=False)
    assert "n1" not in told.split(), told
    shared["n2"].run("ip", "netns", "delete", "stranger")


def test_writing_goes_on_without_a_node_that_comes_back_and_heals(shared: Nodes) -> None:
    before = path(shared, "n3")
    want = pool(shared, *shared.nodes)
    shared["n3"].power_cut()
    write(shared, "n1", "meanwhile", "written")
    assert read(shared, "n2", "meanwhile") == "written"
    assert f"brick 10.77.0.13:{before}" in shared.drift("n1", "pool", want)
    shared["n3"].power_on()
    shared.apply("n3", "brick", brick(shared, "n3"))
    shared.apply("n1", "pool", pool(shared, *shared.nodes))
    shared.apply("n3", "mount", mount(shared, "n3", "n1", "n2"))
    holds(shared, "n3", before, "meanwhile", "written")


def test_a_brick_that_came_back_empty_is_filled_again(shared: Nodes) -> None:
    before = path(shared, "n3")
    shared["n3"].power_cut()
    shared["n3"].forget()
    shared["n3"].power_on()
    now = path(shared, "n3")
    assert now != before
    shared.apply("n1", "pool", pool(shared, *shared.nodes))
    shared.apply("n3", "mount", mount(shared, "n3", "n1", "n2"))
    assert read(shared, "n3", "n1") == "by-n1", "it shows its empty brick"
    holds(shared, "n3", now, "n1", "by-n1")


def test_a_dead_mount_is_found_and_mended(shared: Nodes) -> None:
    shared["n2"].run("pkill", "-9", "-f", "glusterfs.*/srv/shared")
    want = mount(shared, "n2", "n1", "n3")
    assert shared.drift("n2", "mount", want)
    shared.apply("n2", "mount", want)
    assert read(shared, "n2", "n1") == "by-n1"


def test_a_file_system_with_data_is_not_overwritten(shared: Nodes) -> None:
    want = brick(shared, "n1")
    other = want | {"mount": "/srv/other", "device": want["device"] | {"path": "/var/lib/other.img"}}
    shared["n1"].run("truncate", "-s", str(200 << 20), "/var/lib/other.img")
    shared["n1"].run("mkfs.ext4", "-q", "-L", "precious", "/var/lib/other.img")
    told = shared.step("n1", "brick", "apply", other)
    assert "holds data (ext4)" in told["failed"] and not told["retry"]
    assert "precious" in shared["n1"].run("blkid", "-p", "/var/lib/other.img")


def test_another_node_takes_the_place_of_one_that_is_gone(shared: Nodes) -> None:
    shared["n3"].power_cut()
    made = shared.add("n4")
    made.power_on()
    shared.apply("n1", "pool", pool(shared, "n1", "n2", "n4"))
    holds(shared, "n4", path(shared, "n4"), "n1", "by-n1")
    assert "10.77.0.13" not in shared["n1"].run("gluster", "pool", "list")


def test_undo_leaves_nothing(shared: Nodes) -> None:
    names = ("n1", "n2", "n4")
    for name in ("n1", "n2"):
        assert "failed" not in shared.step(name, "mount", "undo", mount(shared, name, "n4"))
    assert "failed" not in shared.step("n1", "pool", "undo", pool(shared, *names))
    for name in names:
        assert "failed" not in shared.step(name, "brick", "undo", brick(shared, name))
        left = shared[name].run(
            "find", "/var/lib/glusterd/peers", "/var/lib/pxeserver-agent", "-type", "f", check=False
        )
        assert not left
        assert "/srv" not in shared[name].run("cat", "/proc/mounts").replace(" /srv ", "")
        assert not shared[name].run("pgrep", "-l", "gluster", check=False)

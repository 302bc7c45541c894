"""What is refused before anything is touched, as a person sees it: place, fault, and what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet import THREE
from fleet_api import Server, server

pytestmark = pytest.mark.slow

__all__ = ["server"]

MORE = {
    "two vNets with one VLAN": (
        THREE.replace("[storage]", '[[vnet]]\nname = "db"\nswitch = "switch-1"\nvlan = 10\n[storage]'),
        ("vnet[2].vlan", "10 is web's VLAN on switch-1 already", "Give each vNet of a switch its own"),
    ),
    "overlapping subnets": (
        THREE.replace(
            "[storage]",
            '[[vnet]]\nname = "db"\nswitch = "switch-1"\nvlan = 11\nsubnet = "10.10.0.128/25"\n[storage]',
        ),
        ("vnet[2].subnet", "10.10.0.128/25 overlaps 10.10.0.0/24 of vNet web", "Give each its own"),
    ),
    "an even number of managers": (
        THREE.replace("managers = 3", "managers = 2"),
        ("members.managers", "Write 1 or 3"),
    ),
    "more replicas than members": (
        THREE.replace("replicas = 3", "replicas = 5"),
        ("storage.replicas", "5", "3"),
    ),
    "a gateway outside its subnet": (
        THREE.replace('gateway = "10.10.0.1"', 'gateway = "10.11.0.1"'),
        ("vnet[1].gateway", "10.11.0.1", "10.10.0.0/24"),
    ),
    "a service address outside the members' network": (
        THREE + '[[address]]\nname = "front"\naddress = "192.0.2.9/24"\n',
        ("address[1].address", "192.0.2.9/24 is not in the members' network 10.77.0.0/16", "Choose"),
    ),
    "a disk with data": (
        THREE.replace('disk = "loop:1GiB"', 'disk = "serial:S1"'),
        ("storage.disk", "/dev/vda of n1 has data on it: gpt", "Empty it yourself"),
    ),
    "no empty disk": (
        THREE.replace('disk = "loop:1GiB"', 'disk = "empty"'),
        ("storage.disk", "n1 has no empty disk", "S1 (gpt)"),
    ),
}
DISKS = [{"path": "/dev/vda", "serial": "S1", "size": 10 << 30, "signatures": ["gpt"]}]


@pytest.mark.parametrize("fault", MORE)
async def test_a_file_is_refused_with_what_to_change(server: Server, tmp_path: Path, fault: str) -> None:
    text, told = MORE[fault]
    await server.fleet.add("n1", "n2", "n3", disks=DISKS)
    file = tmp_path / "lab.toml"
    file.write_text(text)
    for verb, more in (("plan", ()), ("apply", ("--yes",))):
        out, err = await server.cli("cluster", verb, str(file), *more, code=1)
        said = " ".join((out + err).split())
        assert "lab.toml:" in said
        for words in told:
            assert words in said, (words, said)
    assert server.fleet.clusters.running == {}


async def test_managers_that_keep_nothing_have_to_be_wanted(server: Server, tmp_path: Path) -> None:
    await server.fleet.add("n1", "n2", "n3", diskless=True)
    file = tmp_path / "lab.toml"
    out, err = await server.cli("cluster", "plan", str(file), code=1)
    said = " ".join((out + err).split())
    assert "members.managers: n1, n2, n3 would be managers and keep nothing over a restart" in said
    assert "ephemeral = true" in said
    file.write_text(THREE.replace('name = "lab"\n', 'name = "lab"\nephemeral = true\n', 1))
    await server.cli("cluster", "plan", str(file))


async def test_a_member_whose_loss_costs_the_majority_stays(server: Server) -> None:
    fleet = server.fleet
    await fleet.add("n1", "n2", "n3")
    await fleet.apply()
    await fleet.add("n4")
    fleet.work()
    await fleet.until(fleet.ready)
    await fleet.rest()
    now = fleet.clusters.clock()
    fleet.clusters.clock = lambda: now + 100.0
    for name in ("n1", "n2"):
        fleet.agents[name].wait = 0
        await fleet.agents[name].once()
    before = fleet.clusters.running["lab"].layout
    out, err = await server.cli("node", "replace", "n1", "n4", "--yes", code=1)
    said = " ".join((out + err).split())
    assert "majority" in said
    assert "Bring n3 back and wait until it has healed" in said
    assert fleet.clusters.running["lab"].layout == before

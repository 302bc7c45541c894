"""What the worker makes of the other DHCP servers on its links."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pxeserver.boot.model import DhcpMode, Interface, Policy, Site, Subnet
from pxeserver.channel import SiteBody
from pxeserver.config import Settings
from pxeserver.servers.dhcp_probe import Seen
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker
from pxeserver.worker_site import SiteKeeper

ETH0 = Interface(2, "eth0", ("10.1.0.2/24",))
ETH1 = Interface(3, "eth1", ("10.2.0.2/24",))
FULL = Policy(subnets=(Subnet("10.1.0.0/24", DhcpMode.FULL), Subnet("10.2.0.0/24", DhcpMode.RESERVED)))


class NoFiles:
    """No images."""

    def open(self, file: object) -> object:
        raise FileNotFoundError(file)


class World:
    """A site keeper whose probe finds `seen`, by interface; an OSError there is raised."""

    def __init__(self, folder: Path, policy: Policy = FULL, *, probe: bool = True) -> None:
        (folder / "journal").mkdir(exist_ok=True)
        self.seen: dict[str, list[Seen] | OSError] = {}
        self.contested: set[int] | None = None
        self.told: list[SiteBody] = []
        self.worker = BootWorker(Journal.open(folder / "own"), NoFiles(), policy)  # type: ignore[arg-type]
        self.worker.take_site(Site((ETH0, ETH1)))
        settings = Settings.load(None, {"PXESERVER_SERVER__STATE_DIR": str(folder)})
        asking = self._probe if probe else None
        self.keeper = SiteKeeper(self.worker, settings, asking, self.told.append, self._contest)

    async def _probe(self, interface: Interface) -> Sequence[Seen]:
        found = self.seen.get(interface.name, [])
        if isinstance(found, OSError):
            raise found
        return found

    def _contest(self, interfaces: Iterable[int]) -> None:
        self.contested = set(interfaces)

    @property
    def dhcp(self) -> str:
        """The start-up line."""
        return str(self.keeper.report()["dhcp"])


def gives(interface: Interface) -> list[Seen]:
    """A plain DHCP server on this interface."""
    return [Seen("10.0.0.9", interface.name, gives_addresses=True)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.keeper.recall()
    return made


async def test_nobody_gets_addresses_before_the_first_probe_has_ended(world: World) -> None:
    assert world.contested == {2, 3}
    assert "until the probe" in world.dhcp
    await world.keeper._probe_new(Site())
    assert world.contested == set()
    assert world.dhcp == "10.1.0.0/24 addresses; 10.2.0.0/24 reserved addresses"
    assert world.told[-1].refused == ()


async def test_only_the_interface_of_the_other_server_is_contested(world: World) -> None:
    world.seen["eth1"] = gives(ETH1)
    await world.keeper._probe_new(Site())
    assert world.contested == {3}
    assert world.dhcp.startswith("10.1.0.0/24 addresses; 10.2.0.0/24: no addresses, because the DHCP server")
    assert "10.0.0.9 answers on eth1" in world.told[-1].refused[0]
    # A link that comes up later takes nothing back that is known of the others.
    world.worker.take_site(Site((ETH1,)))
    await world.keeper._probe_new(Site((ETH0, ETH1)))
    world.worker.take_site(Site((ETH0, ETH1)))
    await world.keeper._probe_new(Site((ETH1,)))
    assert world.contested == {3}


async def test_a_server_that_is_gone_frees_the_interface(world: World) -> None:
    world.seen["eth0"] = gives(ETH0)
    await world.keeper._probe_new(Site())
    assert world.contested == {2}
    del world.seen["eth0"]
    await world.keeper._ask([ETH0])
    assert world.contested == set()


async def test_a_probe_that_cannot_ask_changes_nothing(world: World) -> None:
    world.seen = {"eth0": gives(ETH0), "eth1": OSError(13, "Permission denied")}
    await world.keeper._probe_new(Site())
    assert world.contested == {2}
    world.seen["eth0"] = OSError(13, "Permission denied")
    await world.keeper._ask([ETH0])
    assert world.contested == {2}
    assert "could not be looked for: Permission denied" in str(world.keeper.report()["why"])


async def test_a_restart_goes_by_what_was_found(world: World, tmp_path: Path) -> None:
    world.seen["eth0"] = gives(ETH0)
    await world.keeper._probe_new(Site())
    memory = tmp_path / "journal" / "other-servers.json"
    for seconds_ago, contested in ((0, {2}), (3600, {2, 3})):
        os.utime(memory, (memory.stat().st_mtime - seconds_ago,) * 2)
        (tmp_path / f"{seconds_ago}").mkdir()
        again = World(tmp_path / f"{seconds_ago}")
        again.keeper._others._memory = memory
        again.keeper.recall()
        assert again.contested == contested
    memory.write_text('["of another release"]')
    again.keeper.recall()


async def test_forced_subnets_are_not_said_to_be_refused(tmp_path: Path) -> None:
    world = World(tmp_path, Policy(subnets=(Subnet("10.1.0.0/24", DhcpMode.FULL, force=True),)))
    world.seen["eth0"] = gives(ETH0)
    await world.keeper._probe_new(Site())
    assert world.dhcp == "10.1.0.0/24 addresses"
    assert world.told[-1].refused == ()


async def test_without_a_probe_nothing_is_contested(tmp_path: Path) -> None:
    world = World(tmp_path, probe=False)
    world.keeper.recall()
    await world.keeper._probe_new(Site())
    assert not world.contested
    assert world.worker.catalog().policy.unknown == "menu"
    assert "switched off (dhcp.probe)" in str(world.keeper.report()["why"])


async def test_proxy_dhcp_is_never_said_to_be_without_addresses_while_it_asks(tmp_path: Path) -> None:
    world = World(tmp_path, Policy())
    world.keeper.recall()
    assert "still running" in world.dhcp
    await world.keeper._probe_new(Site())
    assert "no DHCP server answered the probe" in world.dhcp
    world.seen["eth0"] = gives(ETH0)
    await world.keeper._ask([ETH0])
    assert "addresses come from 10.0.0.9" in world.dhcp

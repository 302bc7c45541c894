"""Where the worker serves and beside whom: keeps the Site current and looks for other boot servers on it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pxeserver import netif
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.identity import identify
from pxeserver.boot.model import DhcpMode, Interface, Machine, Site, Subnet
from pxeserver.boot.plan import plan
from pxeserver.channel import SiteBody
from pxeserver.config import Settings
from pxeserver.notify import REPORT, notify
from pxeserver.worker import BootWorker
from pxeserver.worker_others import Others, Probe

log = logging.getLogger(__name__)

_STRANGER = Machine("02:00:00:00:00:01", arch=7)


@dataclass(frozen=True, slots=True)
class Refused:
    """A subnet whose addresses are ours to give, on an interface where somebody else gives them."""

    interface: Interface
    subnet: Subnet
    others: tuple[str, ...]
    """Addresses of the other servers; empty while the probe has not ended."""

    def __str__(self) -> str:
        if not self.others:
            return f"{self.subnet.network}: no addresses until the probe for other DHCP servers has ended"
        return (
            f"{self.subnet.network}: no addresses, because the DHCP server {', '.join(self.others)} answers"
            f" on {self.interface.name}: switch one of the two off, or set `dhcp.force = true` (or"
            " `force = true` in this [[subnet]]) to give addresses beside it"
        )


def _ours(subnet: Subnet, interface: Interface) -> bool:
    """Whether we are to give addresses of this subnet on this interface, if nobody else does."""
    network = ipaddress.IPv4Network(subnet.network)
    own = (ipaddress.ip_interface(one).network for one in interface.networks)
    on_it = any(one.version == 4 and one.network_address in network for one in own)
    return on_it and not subnet.force and subnet.mode in (DhcpMode.FULL, DhcpMode.RESERVED)


class SiteKeeper:
    """Reads the links at start and at every change, and tells the worker and the control process."""

    def __init__(
        self,
        worker: BootWorker,
        settings: Settings,
        probe: Probe | None,
        tell: Callable[[SiteBody], None],
        contested: Callable[[Iterable[int]], None],
    ) -> None:
        """`tell` reaches the control process; `contested` is told the interfaces, by index, on which
        addresses come from somebody else (DhcpServer.set_contested).
        """
        self._worker = worker
        self._settings = settings
        self._tell = tell
        self._contested = contested
        why_not = "dry run" if settings.policy.dry_run else "switched off (dhcp.probe)"
        memory = settings.server.state_dir / "journal" / "other-servers.json"
        self._others = Others(probe, memory, why_not)
        self._probing = asyncio.Lock()
        self._probed = False
        self._reported = ""

    def body(self) -> SiteBody:
        """What the control process is told."""
        return SiteBody(
            self._worker.site(),
            self._boots(),
            self._worker.catalog().policy.unknown,
            self._why(),
            tuple(str(one) for one in self._refused()),
        )

    async def look(self) -> Site:
        """Read the links; the worker uses them from now on. Returns the site before."""
        before = self._worker.site()
        links = await asyncio.to_thread(netif.read_links)
        try:
            choice = netif.choose(links, self._settings.server.interface)
            site = netif.site(links, choice.names, self._settings.server.address)
        except netif.NoInterface as error:
            log.warning("nothing to serve", extra={"reason": error})
            site = Site()
        if site != before:
            self._worker.take_site(site)
            served = ",".join(f"{i.name}:{i.networks[0]}" for i in site.interfaces)
            log.info("links read", extra={"serving": served or "nothing"})
        return before

    async def keep(self) -> None:
        """Follow the kernel's changes for ever; a link that came up is probed."""
        monitor = netif.LinkMonitor()
        await self._probe_new(Site())
        async for _ in monitor.changes():
            before = await self.look()
            if self._worker.site() != before:
                await self._probe_new(before)

    async def look_again(self) -> None:
        """Where another server keeps ours from giving addresses, see from time to time whether it is gone."""
        while True:
            await asyncio.sleep(self._settings.dhcp.probe_seconds)
            if again := {refused.interface.name: refused.interface for refused in self._refused()}:
                await self._ask(list(again.values()))
            self._others.still_so()

    async def _probe_new(self, before: Site) -> None:
        """Probe the interfaces that were not served before, then tell everybody."""
        known = {(i.index, i.networks) for i in before.interfaces}
        fresh = [i for i in self._worker.site().interfaces if (i.index, i.networks) not in known]
        if fresh:
            if self._probed:
                self._others.forget(fresh)
                self._apply()
            await self._ask(fresh)
        else:
            self._apply()
            self.announce()

    async def _ask(self, interfaces: Sequence[Interface]) -> None:
        async with self._probing:
            await self._others.ask(interfaces)
        self._probed = True
        self._apply()
        self.announce()

    def recall(self) -> None:
        """Until the probe has ended, go by what the last one found, so that a restart does not answer
        into another server's boots; with none before, unknown machines and addresses wait for these seconds.
        """
        if self._others.asks:
            self._others.recall()
            self._apply()

    def _apply(self) -> None:
        """Let the servers go by what is known of the others."""
        presumed = self._others.asks and not self._probed and not self._others.remembers
        self._worker.leave_unknown_to_others(presumed or bool(self._boots()))
        interfaces = self._worker.site().interfaces
        self._contested(i.index for i in interfaces if self._others.addresses(i) != ())

    def _boots(self) -> tuple[str, ...]:
        return self._others.boots(self._worker.site().interfaces)

    def _refused(self) -> list[Refused]:
        """The subnets that get no addresses from us because somebody else may give them."""
        found = []
        for interface in self._worker.site().interfaces:
            others = self._others.addresses(interface)
            if others != ():
                subnets = self._worker.catalog().policy.subnets
                found += [Refused(interface, s, others or ()) for s in subnets if _ours(s, interface)]
        return found

    def announce(self) -> None:
        """Tell the control process and whoever started us, where something is new."""
        self._tell(self.body())
        text = json.dumps(self.report())
        if text != self._reported:
            self._reported = text
            names = ", ".join(f"{i.name} {i.networks[0]}" for i in self._worker.site().interfaces)
            notify(STATUS=f"serving {names or 'nothing yet'}", **{REPORT: text})

    def report(self) -> dict[str, object]:
        """The start-up lines' part that only this process knows."""
        catalog = self._worker.catalog()
        return {
            "catalog": self._worker.snapshot.version,
            "probed": self._done(),
            "unknown": catalog.policy.unknown,
            "why": self._why(),
            "now": self._now(),
            "dhcp": self._dhcp(),
            "loaders": _loaders(sorted({arch_name(a) or str(a) for a in catalog.loaders})),
        }

    def _why(self) -> str:
        policy = self._worker.snapshot.policy
        if self._worker.catalog().policy.unknown != policy.unknown:
            others = "; ".join(self._boots()) or "perhaps: the probe is still running"
            return f"another boot server answers ({others}); `--unknown {policy.unknown}` holds against it"
        if policy.unknown_chosen:
            return "chosen by you (`pxeserver policy show`, `pxeserver config show`)"
        return f"the default; {self._note()}"

    def _now(self) -> str:
        catalog, nodes = self._worker.catalog(), self._worker.nodes()
        found = plan(_STRANGER, identify(_STRANGER, nodes), catalog, nodes, "")
        return f"a new machine would get: {found.action.value} ({found.why}); {len(nodes)} nodes are known"

    def _done(self) -> bool:
        return self._others.done(self._worker.site().interfaces)

    def _note(self) -> str:
        if not self._worker.site().interfaces:
            return "no link is up to look for other boot servers on"
        return self._others.note

    def _dhcp(self) -> str:
        subnets = self._worker.catalog().policy.subnets
        if not subnets:
            return f"ProxyDHCP: boot information only; {self._addresses()}"
        words = {
            DhcpMode.PROXY: "ProxyDHCP",
            DhcpMode.FULL: "addresses",
            DhcpMode.RESERVED: "reserved addresses",
            DhcpMode.OFF: "off",
        }
        refused = {one.subnet: str(one) for one in self._refused()}
        return "; ".join(refused.get(subnet, f"{subnet.network} {words[subnet.mode]}") for subnet in subnets)

    def _addresses(self) -> str:
        found = [self._others.addresses(i) for i in self._worker.site().interfaces]
        if names := [name for one in found for name in one or ()]:
            return f"addresses come from {', '.join(names)}"
        if self._others.asks and not self._done():
            return "the probe for the DHCP server that gives the addresses is still running"
        if self._others.asks and self._note().startswith("no other"):
            return "no DHCP server answered the probe: machines get no address until there is one"
        return "addresses come from the network's DHCP server"


def _loaders(names: Sequence[str]) -> str:
    return f"for {', '.join(names)}" if names else ""

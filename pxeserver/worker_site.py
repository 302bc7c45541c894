"""Where the worker serves and beside whom: keeps the Site current and looks for other boot servers on it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pxeserver import netif
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.identity import identify
from pxeserver.boot.model import DhcpMode, Interface, Machine, Site
from pxeserver.boot.plan import plan
from pxeserver.channel import SiteBody
from pxeserver.config import Settings
from pxeserver.notify import REPORT, notify
from pxeserver.servers.dhcp_probe import Seen
from pxeserver.worker import BootWorker

log = logging.getLogger(__name__)

Probe = Callable[[Interface], Awaitable[Sequence[Seen]]]
"""Asks on one interface for other DHCP servers. OSError where it may not ask."""

_STRANGER = Machine("02:00:00:00:00:01", arch=7)


@dataclass(frozen=True, slots=True)
class Found:
    """What the last probe said."""

    others: tuple[str, ...] = ()
    """Other boot servers, each in a few words."""
    addresses: tuple[str, ...] = ()
    """DHCP servers that give addresses."""
    note: str = "the probe for other boot servers is still running"
    done: bool = False


class SiteKeeper:
    """Reads the links at start and at every change, and tells the worker and the control process."""

    def __init__(
        self,
        worker: BootWorker,
        settings: Settings,
        probe: Probe | None,
        tell: Callable[[SiteBody], None],
    ) -> None:
        self._worker = worker
        self._settings = settings
        self._probe = probe
        self._tell = tell
        self._found = Found()
        self._memory = settings.server.state_dir / "journal" / "other-servers.json"
        self._reported = ""

    def body(self) -> SiteBody:
        """What the control process is told."""
        return SiteBody(
            self._worker.site(), self._found.others, self._worker.catalog().policy.unknown, self._why()
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

    async def _probe_new(self, before: Site) -> None:
        """Probe the interfaces that were not served before, then tell everybody."""
        known = {(i.index, i.networks) for i in before.interfaces}
        fresh = [i for i in self._worker.site().interfaces if (i.index, i.networks) not in known]
        if fresh:
            self._found = await self._ask(fresh)
            self._worker.leave_unknown_to_others(bool(self._found.others))
        elif not self._worker.site().interfaces:
            self._found = replace(self._found, note="no link is up to look for other boot servers on", done=True)
        self.announce()

    async def _ask(self, interfaces: Sequence[Interface]) -> Found:
        if self._probe is None:
            reason = "dry run" if self._settings.policy.dry_run else "switched off (dhcp.probe)"
            return Found(note=f"other boot servers were not looked for: {reason}", done=True)
        seen: list[Seen] = []
        try:
            for interface in interfaces:
                seen += await self._probe(interface)
        except OSError as error:
            log.warning("cannot probe for other boot servers", extra={"error": error})
            return Found(note=f"other boot servers could not be looked for: {error.strerror}", done=True)
        others = tuple(
            f"{one.server} on {one.interface} with {', '.join(one.boot)}" for one in seen if one.boots
        )
        for other in others:
            log.warning("another boot server answers on this network", extra={"server": other})
        addresses = tuple(one.server for one in seen if one.gives_addresses)
        await asyncio.to_thread(self._remember, others)
        return Found(others, addresses, "no other boot server answered", done=True)

    def _remember(self, others: Sequence[str]) -> None:
        with suppress(OSError):
            self._memory.write_text(json.dumps(others))

    def recall(self) -> None:
        """Until the probe has ended, go by what the last one found, so that a restart does not answer
        into another server's boots; with none before, unknown machines wait for these seconds.
        """
        if self._probe is None:
            return
        try:
            others = tuple(str(other) for other in json.loads(self._memory.read_text()))
        except (OSError, ValueError, TypeError):
            self._worker.leave_unknown_to_others(True)
            return
        self._found = replace(self._found, others=others)
        self._worker.leave_unknown_to_others(bool(others))

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
            "probed": self._found.done,
            "unknown": catalog.policy.unknown,
            "why": self._why(),
            "now": self._now(),
            "dhcp": self._dhcp(),
            "loaders": _loaders(sorted({arch_name(a) or str(a) for a in catalog.loaders})),
        }

    def _why(self) -> str:
        policy = self._worker.snapshot.policy
        if self._worker.catalog().policy.unknown != policy.unknown:
            others = "; ".join(self._found.others) or "perhaps: the probe is still running"
            return f"another boot server answers ({others}); `--unknown {policy.unknown}` holds against it"
        if policy.unknown_chosen:
            return "chosen in the configuration"
        return f"the default; {self._found.note}"

    def _now(self) -> str:
        catalog, nodes = self._worker.catalog(), self._worker.nodes()
        found = plan(_STRANGER, identify(_STRANGER, nodes), catalog, nodes, "")
        return f"a new machine would get: {found.action.value} ({found.why}); {len(nodes)} nodes are known"

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
        return ", ".join(f"{subnet.network} {words[subnet.mode]}" for subnet in subnets)

    def _addresses(self) -> str:
        if self._found.addresses:
            return f"addresses come from {', '.join(self._found.addresses)}"
        if self._found.done and self._found.note.startswith("no other"):
            return "no DHCP server answered the probe: machines get no address until there is one"
        return "addresses come from the network's DHCP server"


def _loaders(names: Sequence[str]) -> str:
    return f"for {', '.join(names)}" if names else ""

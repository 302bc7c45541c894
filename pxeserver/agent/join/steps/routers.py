"""Step routers: gateways of virtual networks and service addresses that move when their node dies.

VRRP version 3 (RFC 9568) by keepalived, among named peers only. Version 3 has adverts below a second, and no
password: the firewall takes VRRP from peers alone. What goes from one virtual network into another, or out
where no NAT is asked, is dropped, also on nodes that are no router.
"""

from __future__ import annotations

from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps import firewall, keepalived, links

CONFIG = Path("/etc/keepalived/keepalived.conf")
RULES = Path("/etc/pxeserver-agent/routers.nft")
SERVICE = "keepalived.service"


class Routers:
    """The step."""

    name = "routers"

    def check(self, want: Want) -> list[Drift]:
        """Whether the configuration is the wanted one and in force."""
        drift = []
        if needed(want) and files.read(CONFIG) != keepalived.config(want):
            drift.append(Drift("keepalived's configuration", "as planned", _there(CONFIG)))
        elif not needed(want) and _ours(CONFIG):
            drift.append(Drift("keepalived's configuration", "none", "there"))
        elif needed(want) and not _active():
            drift.append(Drift("keepalived", "running", "not running"))
        if files.read(RULES) != firewall.rules(want):
            drift.append(Drift("firewall rules", "as planned", _there(RULES)))
        elif not firewall.loaded():
            drift.append(Drift("firewall rules", "in force", "not in force"))
        if links.read_sysctl(firewall.FORWARD) != "1":
            drift.append(Drift("forwarding of packets", "on", "off"))
        if firewall.drops_forwarded():
            drift.append(Drift("policy of iptables' chain FORWARD", "ACCEPT", "DROP"))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Write both configurations and bring them into force."""
        missing = sorted(keepalived.interfaces(want) - links.links().keys())
        if missing:
            raise StepFailed(f"there is no link {', '.join(missing)}: the step network comes first")
        kept = len(firewall.networks(want))
        tell(f"{len(want['routers'])} gateways, {len(want['addresses'])} service addresses, {kept} networks")
        # Docker turns the policy of forwarding to DROP where it has to switch forwarding on itself.
        links.sysctl(firewall.FORWARD, "1")
        firewall.accept_forwarded()
        files.put(RULES, firewall.rules(want), 0o600)
        firewall.load(RULES)
        if not needed(want):
            _no_keepalived()
            return {}
        keepalived.put_check()
        changed = files.put(CONFIG, keepalived.config(want), 0o600)
        said = run("keepalived", "--config-test", "-f", str(CONFIG), timeout=20)
        if not said.ok:
            raise StepFailed(f"keepalived refuses its configuration: {said.said}", retry=False)
        ran = _active()
        need("systemctl", "start", SERVICE, timeout=60)
        if changed and ran:
            need("systemctl", "reload", SERVICE, timeout=30)
        return {}

    def undo(self, want: Want, tell: Tell) -> None:
        """Stop keepalived, which gives its addresses back, and take the rules away."""
        tell("gateways and service addresses go")
        _no_keepalived()
        files.remove(RULES)
        firewall.unload()


def needed(want: Want) -> bool:
    """Whether there is anything for keepalived to do."""
    return bool(want["routers"] or want["addresses"])


def _ours(path: Path) -> bool:
    return (files.read(path) or "").startswith(files.MARK)


def _no_keepalived() -> None:
    """Stop it and take its files away, unless they are a person's."""
    if not _ours(CONFIG):
        return
    run("systemctl", "stop", SERVICE, timeout=60)
    for path in (keepalived.CHECK, CONFIG):
        files.remove(path)


def _active() -> bool:
    return run("systemctl", "is-active", "--quiet", SERVICE, timeout=10).ok


def _there(path: Path) -> str:
    return "another one" if path.exists() else "missing"

"""What a person wants a cluster to be: the values of one cluster file.

All frozen and of plain types. Addresses are dotted text, networks "10.10.0.0/24", interface addresses
"10.77.0.100/24"; sizes are bytes. specfile.py reads the file, checks.py says what cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str | int, ...]
"""A key of the file, e.g. ("vnet", 1, "vlan")."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the keys of a spec stand, for faults to point at."""

    name: str = "cluster"
    lines: Mapping[Path, int] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """ "file:line" of this key or of the nearest thing around it; the file alone where none is known."""
        for length in range(len(path), 0, -1):
            if line := self.lines.get(path[:length]):
                return f"{self.name}:{line}"
        return self.name


@dataclass(frozen=True, slots=True)
class Members:
    """Who belongs to the cluster. Exactly one of `nodes`, `select` and `next` says so."""

    nodes: tuple[str, ...] = ()
    select: str = ""
    """Nodes with this label, "rack=r1"."""
    next: int = 0
    """The next so many nodes that appear and belong to no cluster."""
    managers: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of every member."""
    node_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Further labels of single members."""
    drain: frozenset[str] = frozenset()
    """Members that shall get no containers."""
    remove: frozenset[str] = frozenset()
    """Nodes that shall not be members, whatever chose them."""
    lost: frozenset[str] = frozenset()
    """Removed nodes that will not come back: nothing is undone on them, the others forget them."""
    ssh_keys: tuple[str, ...] = ()
    """Public keys that may log in as root on every member."""
    replaces: Mapping[str, str] = field(default_factory=dict)
    """New member -> the member whose place it takes."""


@dataclass(frozen=True, slots=True)
class Switch:
    """An Open vSwitch bridge that spans all members. One has the uplink: the members' network card is a port
    of it.
    """

    name: str
    uplink: bool = False


@dataclass(frozen=True, slots=True)
class VNet:
    """An isolated network: one VLAN of one switch."""

    name: str
    switch: str
    vlan: int
    subnet: str = ""
    """Without one the vNet carries frames only: no addresses, no router, no container network."""
    gateway: str = ""
    """The virtual router's address; without one nothing leaves the vNet."""
    nat: bool = False
    """Whether the router translates to its uplink address."""
    reach: tuple[str, ...] = ()
    """Other vNets that the router forwards to, and back."""
    mtu: int = 0
    """0: what is left of the uplink's MTU."""
    vrid: int = 0
    """VRRP group (RFC 5798 section 5.2.3), 1-255; 0: a free one."""


@dataclass(frozen=True, slots=True)
class DiskRule:
    """Which device a brick is put on: kind "loop" (a file of `bytes`), "serial" or "empty"."""

    kind: str = "loop"
    bytes: int = 4 << 30
    serials: tuple[str, ...] = ()
    """Of all members' disks; each member has one of them."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The one shared volume."""

    volume: str = "shared"
    driver: str = "glusterfs"
    replicas: int = 3
    """Bricks in all, the arbiter counted."""
    arbiter: int = 0
    """1: the last brick holds names and sizes only."""
    disk: DiskRule = DiskRule()
    path: str = "/srv/shared"
    options: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    """Driver nfs: the server's address."""
    export: str = ""
    """Driver nfs: the exported path."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How the owner of a service address is known to serve: kind "tcp", "http" or "none"."""

    kind: str = "none"
    port: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """An address that fails over between the routers; on a vNet, or on the uplink where `vnet` is empty."""

    name: str
    address: str
    vnet: str = ""
    check: Probe = Probe()
    vrid: int = 0


@dataclass(frozen=True, slots=True)
class Overlay:
    """A Swarm overlay network."""

    name: str
    subnet: str
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class ComposeProject:
    """A Compose project on one member. `text` is the file's content."""

    name: str
    node: str
    file: str
    text: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """A Swarm stack. `text` is the file's content."""

    name: str
    file: str
    text: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


HEARTBEAT = 5
"""Docker's own."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Settings of the engines."""

    pool: str = ""
    """Where bridge networks get their subnets from; empty: a /16 that overlaps nothing of the cluster."""
    swarm_pool: str = ""
    """Where overlay networks without a subnet get theirs from; empty: another such /16."""
    insecure_registries: tuple[str, ...] = ()
    heartbeat: int = HEARTBEAT
    """Seconds between the signs of life of a Swarm's nodes. A node is given up after three of them."""


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A whole cluster file."""

    name: str
    members: Members
    ephemeral: bool = False
    """Managers without a state disk are accepted: a total loss of power loses the Swarm's memory."""
    destroy: bool = False
    """Take everything down, members and all."""
    switches: tuple[Switch, ...] = (Switch("switch-1", uplink=True),)
    vnets: tuple[VNet, ...] = ()
    storage: Storage | None = None
    addresses: tuple[ServiceAddress, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    compose: tuple[ComposeProject, ...] = ()
    stacks: tuple[Stack, ...] = ()
    images: tuple[str, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    """Debian packages pinned to a version."""
    docker: Docker = Docker()
    source: Source = field(default=Source(), compare=False, repr=False)

    @property
    def uplink(self) -> str:
        """The name of the switch with the uplink."""
        return next((s.name for s in self.switches if s.uplink), "")

    def vnet(self, name: str) -> VNet | None:
        """The vNet of this name."""
        return next((v for v in self.vnets if v.name == name), None)

    def labels_of(self, node: str) -> dict[str, Any]:
        """The labels of one member, sorted by key."""
        return dict(sorted({**self.members.labels, **self.members.node_labels.get(node, {})}.items()))

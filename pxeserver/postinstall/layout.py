"""Who is what in a cluster: indexes, roles, addresses, container blocks, VRRP groups, bricks, tunnel keys.

A layout is worked out from the spec, from what is known of the nodes, and from the layout before. What a
member has been given it keeps as long as the spec allows: members that come and go never move the others.
Members that the spec no longer has are in `leaving` until everything of theirs is undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """A disk as a node's inventory tells it; no signatures: it was read and is empty."""

    path: str
    serial: str = ""
    size: int = 0
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a node that is or may become a member."""

    name: str
    address: str = ""
    """Its uplink address with prefix length; empty while unknown."""
    mac: str = ""
    """Of the network card that has this address."""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    mtu: int = 1500
    labels: Mapping[str, str] = field(default_factory=dict)
    diskless: bool = False
    """It keeps no state over a restart."""
    disks: tuple[DiskSeen, ...] | None = None
    """None while no inventory has come."""
    machine_id: str = ""
    release: str = "bookworm"
    """Debian's code name."""
    cluster: str = ""
    """The cluster it belongs to, if any."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a member has of a vNet: its own address, and the block for its containers ("" where full)."""

    address: str
    block: str


@dataclass(frozen=True, slots=True)
class Place:
    """A member as laid out."""

    name: str
    index: int
    """From 1; free again only when its holder is gone."""
    address: str
    mac: str
    gateway: str = ""
    dns: tuple[str, ...] = ()
    mtu: int = 1500
    release: str = "bookworm"
    diskless: bool = False
    manager: bool = False
    router: bool = False
    """Whether it takes part in the virtual routers and service addresses."""
    machine_id: str = ""
    """The machine-id it is given; empty: it keeps its own."""
    gluster_uuid: str = ""
    shares: Mapping[str, Share] = field(default_factory=dict)
    """By vNet."""

    @property
    def host(self) -> str:
        """The uplink address without prefix length."""
        return self.address.partition("/")[0]

    def priority(self, vrid: int) -> int:
        """VRRP priority, 51-200: differs between members, and starts at another one for each group."""
        return 200 - (self.index + vrid) % 150


@dataclass(frozen=True, slots=True)
class Brick:
    """One brick of the volume. Bricks are numbered from 0; the number is its place in the replica set."""

    number: int
    node: str
    device: Mapping[str, Any]
    arbiter: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A cluster as laid out."""

    places: Mapping[str, Place] = field(default_factory=dict)
    """The members, by name, in the order of their indexes."""
    leaving: Mapping[str, Place] = field(default_factory=dict)
    """Former members that are not forgotten yet."""
    lost: frozenset[str] = frozenset()
    """Leaving ones that never come back."""
    bricks: tuple[Brick, ...] = ()
    vrids: Mapping[str, int] = field(default_factory=dict)
    """VRRP groups, by "vnet:NAME" and "address:NAME"."""
    keys: Mapping[str, int] = field(default_factory=dict)
    """Geneve network identifiers (24 bits), by switch."""
    blocks: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """By vNet the subnet, and into how many container blocks its upper half is cut."""
    pools: Mapping[str, str] = field(default_factory=dict)
    """Docker's address pools: "pool" and "swarm_pool"."""

    @property
    def everyone(self) -> dict[str, Place]:
        """Members and leaving ones."""
        return {**self.places, **self.leaving}

    @property
    def managers(self) -> tuple[str, ...]:
        """The members that are managers, by index."""
        return tuple(p.name for p in self.places.values() if p.manager)

    @property
    def routers(self) -> tuple[str, ...]:
        """The members that take part in routers and service addresses, by index."""
        return tuple(p.name for p in self.places.values() if p.router)

    def brick_of(self, node: str) -> Brick | None:
        """The node's brick."""
        return next((b for b in self.bricks if b.node == node), None)

    def without(self, names: Sequence[str]) -> Layout:
        """The layout when these leaving ones are forgotten."""
        left = {n: p for n, p in self.leaving.items() if n not in names}
        return replace(self, leaving=left, lost=self.lost & left.keys())

"""The want documents of the steps: what each step of each node is told.

Lists are in a fixed order (by name, members by index), so that equal wishes have equal digests. Every list
is complete: what a step made earlier and does not find in it any more, it takes away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pxeserver.postinstall.addressing import host
from pxeserver.postinstall.documents_storage import Doc, StorageDocuments, by_name
from pxeserver.postinstall.layout import Place
from pxeserver.postinstall.spec import VNet

ADVERT_MS = 300
CONFIRM_SECONDS = 30
TUNNEL_OVERHEAD = 58
"""Bytes that geneve over IPv4 with a VLAN tag inside takes from the uplink's MTU, with room for options."""
DATA_PATH_PORT = 4789
SWARM_PORT = 2377


@dataclass(slots=True)
class Documents(StorageDocuments):
    """Writes the documents of one cluster. Parts that many of them share are made once."""

    _hosts: Doc = field(init=False)
    _tunnels: list[Doc] = field(init=False)

    def __post_init__(self) -> None:
        present = by_name(self._present())
        self._hosts = {p.name: p.host for p in present}
        self._tunnels = [
            {"switch": s.name, "peer": p.name, "remote": p.host, "key": self.layout.keys[s.name]}
            for s in sorted(self.spec.switches, key=_name)
            for p in present
        ]

    def identity(self, place: Place) -> Doc:
        """Host name, machine-id, the others' names, the Gluster UUID, who may log in."""
        return {
            "hostname": place.name,
            "machine_id": place.machine_id or None,
            "hosts": self._hosts,
            "gluster_uuid": place.gluster_uuid,
            "ssh_keys": sorted(self.spec.members.ssh_keys),
        }

    def packages(self, place: Place) -> Doc:
        """What has to be installed, and pinned to which version."""
        # The engine unpacks images with pigz where it is there, in a third of the time of its own code.
        names = {"docker.io", "iproute2", "iptables", "nftables", "openvswitch-switch", "pigz"}
        if place.release != "bookworm":
            names.add("docker-cli")  # a package of its own since
        storage = self.spec.storage
        if storage and storage.driver == "nfs":
            names.add("nfs-common")
        elif storage:
            names.add("glusterfs-client")
            if place.name in self.pool_members():
                names |= {"glusterfs-server", "e2fsprogs", "procps"}
        if place.router:
            names.add("keepalived")
        if any(c.node == place.name for c in self.spec.compose):
            names.add("docker-compose")
        pins = self.spec.packages
        return {"release": place.release, "packages": {n: pins.get(n) for n in sorted(names | pins.keys())}}

    def network(self, place: Place) -> Doc:
        """Switches, uplink, tunnels, vNets."""
        return {
            "uplink": {
                "switch": self.spec.uplink,
                "mac": place.mac,
                "address": place.address,
                "gateway": place.gateway or None,
                "dns": list(place.dns),
                "mtu": place.mtu,
            },
            "switches": [{"name": s.name, "uplink": s.uplink} for s in sorted(self.spec.switches, key=_name)],
            "tunnels": [t for t in self._tunnels if t["peer"] != place.name],
            "vnets": [
                {
                    "name": v.name,
                    "switch": v.switch,
                    "vlan": v.vlan,
                    "address": place.shares[v.name].address if v.name in place.shares else None,
                    "mtu": v.mtu or self._vnet_mtu(),
                }
                for v in sorted(self.spec.vnets, key=_name)
            ],
            "datapath": "auto",
            "confirm": {"seconds": CONFIRM_SECONDS},
        }

    def _present(self) -> list[Place]:
        """Members, and leaving ones whose network still stands: containers move away over it."""
        gone = {k.node for k in self.facts.undone if k.step == "network"} | self.layout.lost
        return [*self.layout.places.values(), *(p for n, p in self.layout.leaving.items() if n not in gone)]

    def _vnet_mtu(self) -> int:
        return min(p.mtu for p in self.layout.everyone.values()) - TUNNEL_OVERHEAD

    def routers(self, place: Place) -> Doc | None:
        """Virtual routers and service addresses, for members that are routers; and for all of them which
        networks are kept apart. None where there is neither.
        """
        if not (place.router or self.spec.vnets):
            return None
        gateways = [v for v in sorted(self.spec.vnets, key=_name) if v.gateway and place.router]
        routers = [self._router(place, v) for v in gateways]
        return {
            "routers": [r for r in routers if r],
            "addresses": self._addresses(place) if place.router else [],
            "vnets": sorted(v.name for v in self.spec.vnets),
            "advert_ms": ADVERT_MS,
            "uplink": self.spec.uplink,
            "isolated": isolated(self.spec.vnets),
        }

    def _router(self, place: Place, vnet: VNet) -> Doc | None:
        if vnet.name not in place.shares:
            return None
        vrid = self.layout.vrids[f"vnet:{vnet.name}"]
        prefix = vnet.subnet.partition("/")[2]
        return {
            "vnet": vnet.name,
            "vrid": vrid,
            "gateway": f"{vnet.gateway}/{prefix}",
            **self._group(place, vnet.name),
            "priority": place.priority(vrid),
            "nat": vnet.nat,
        }

    def _addresses(self, place: Place) -> list[Doc]:
        found = []
        for address in sorted(self.spec.addresses, key=_name):
            if address.vnet and address.vnet not in place.shares:
                continue
            vrid = self.layout.vrids[f"address:{address.name}"]
            check = address.check
            found.append(
                {
                    "name": address.name,
                    "address": address.address,
                    "interface": address.vnet or self.spec.uplink,
                    "vrid": vrid,
                    **self._group(place, address.vnet),
                    "priority": place.priority(vrid),
                    "check": {"kind": check.kind, "port": check.port, "path": check.path},
                }
            )
        return found

    def _group(self, place: Place, vnet: str) -> Doc:
        def own(p: Place) -> str | None:
            if not vnet:
                return p.host
            return host(p.shares[vnet].address) if vnet in p.shares else None

        others = [self.layout.places[n] for n in self.layout.routers if n != place.name]
        return {"source": own(place), "peers": [a for p in by_name(others) if (a := own(p))]}

    def docker(self) -> Doc:
        """The engine's daemon.json. live-restore and Swarm exclude each other."""
        daemon: Doc = {
            "data-root": "/var/lib/docker",
            "default-address-pools": [{"base": self.layout.pools["pool"], "size": 24}],
            "iptables": True,
            "live-restore": False,
            "log-driver": "json-file",
            "log-level": "warn",  # at info each container fills the journal with the engine's own connections
            "log-opts": {"max-file": "3", "max-size": "10m"},
        }
        if self.spec.docker.insecure_registries:
            daemon["insecure-registries"] = sorted(self.spec.docker.insecure_registries)
        return {"daemon": daemon}

    def swarm_init(self, place: Place) -> Doc:
        """A new Swarm."""
        return {
            "advertise": place.host,
            "data_path_port": DATA_PATH_PORT,
            "pools": [self.layout.pools["swarm_pool"]],
            "heartbeat": self.spec.docker.heartbeat,
        }

    def swarm_join(self, place: Place, swarm_id: str) -> Doc:
        """Joining as a worker, at any manager that answers."""
        managers = [self.layout.places[n] for n in self.layout.managers if n != place.name]
        return {
            "advertise": place.host,
            "managers": [f"{p.host}:{SWARM_PORT}" for p in managers],
            "swarm_id": swarm_id,
        }

    def networks(self, place: Place) -> Doc | None:
        """The config-only networks of this member's container blocks."""
        vnets = [
            {
                "name": v.name,
                "subnet": v.subnet,
                "gateway": v.gateway or None,
                "range": place.shares[v.name].block,
                "parent": f"{v.name}-c",
            }
            for v in sorted(self.spec.vnets, key=_name)
            if v.name in place.shares and place.shares[v.name].block
        ]
        return {"vnets": vnets} if vnets else None

    def swarm_networks(self) -> Doc | None:
        """The Swarm's networks."""
        macvlan = [
            {"name": v.name, "config": f"{v.name}-node"}
            for v in sorted(self.spec.vnets, key=_name)
            if v.subnet
        ]
        overlays = [
            {"name": o.name, "subnet": o.subnet, "encrypted": o.encrypted}
            for o in sorted(self.spec.overlays, key=_name)
        ]
        return {"macvlan": macvlan, "overlays": overlays} if macvlan or overlays else None

    def images(self) -> Doc | None:
        """The container images; None until all of them can be fetched."""
        if not self.spec.images or not all(n in self.facts.images for n in self.spec.images):
            return None
        return {"images": [{"name": n, **self.facts.images[n]} for n in sorted(self.spec.images)]}

    def compose(self, place: Place) -> Doc | None:
        """The Compose projects of this member."""
        projects = [
            {"name": c.name, "file": c.text, "env": dict(sorted(c.env.items()))}
            for c in sorted(self.spec.compose, key=_name)
            if c.node == place.name
        ]
        return {"projects": projects} if projects else None

    def stacks(self) -> Doc | None:
        """The stacks. A version is named by the content of its file."""
        if not self.spec.stacks:
            return None
        root = self.spec.storage.path if self.spec.storage else "/var/lib/pxeserver-agent"
        return {
            "stacks": [
                {
                    "name": s.name,
                    "version": hashlib.sha256(s.text.encode()).hexdigest()[:12],
                    "file": s.text,
                    "env": dict(sorted(s.env.items())),
                }
                for s in sorted(self.spec.stacks, key=_name)
            ],
            "path": f"{root}/stacks",
        }


def isolated(vnets: Iterable[VNet]) -> list[list[str]]:
    """The groups of vNets with a gateway: traffic is forwarded within a group, never between groups. vNets
    that reach each other, also by way of a third, are one group.
    """
    groups: list[set[str]] = []
    for vnet in vnets:
        if not vnet.gateway:
            continue
        mine = {vnet.name, *vnet.reach}
        joined = [g for g in groups if g & mine]
        groups = [g for g in groups if not g & mine] + [mine.union(*joined)]
    return sorted(sorted(g) for g in groups)


def _name(thing: Any) -> str:
    return str(thing.name)

"""What a cluster is made of, as a drawing needs it: switches, vNets, members, volume, service addresses."""

from __future__ import annotations

from collections.abc import Iterable

from pxeserver.api.schemas.fields import View
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.spec import ClusterSpec, DiskRule, Storage


class SwitchView(View):
    """A switch that spans all members."""

    name: str
    uplink: bool
    """The members' network cards are ports of it."""


class VNetView(View):
    """A virtual network."""

    name: str
    switch: str
    vlan: int
    subnet: str
    gateway: str
    nat: bool
    reach: tuple[str, ...]


class OutlineMember(View):
    """A member, as far as it is known who it is."""

    name: str
    """Empty for one that has yet to appear."""
    role: str
    """manager or worker; empty while it has not told its address."""
    address: str
    router: bool
    """It takes part in gateways and service addresses."""
    brick: str
    """data, arbiter, or empty for none."""
    shares: dict[str, str]
    """By vNet its own address there."""


class VolumeView(View):
    """The shared volume."""

    name: str
    driver: str
    path: str
    replicas: int
    arbiter: int
    source: str
    """Where its bricks lie, as the cluster file says it; of NFS the export."""


class ServiceView(View):
    """An address that outlives its member."""

    name: str
    address: str
    vnet: str
    """Empty: it is on the uplink."""
    check: str


class ProjectView(View):
    """A stack, or a Compose project on a member."""

    kind: str
    """stack or compose."""
    name: str
    node: str
    """The member of a Compose project."""
    file: str
    env: dict[str, str]


class OutlineView(View):
    """A cluster as it is, or as it would be."""

    name: str
    switches: tuple[SwitchView, ...]
    vnets: tuple[VNetView, ...]
    members: tuple[OutlineMember, ...]
    select: str
    """The label that chooses the members; empty where they are named or counted."""
    volume: VolumeView | None
    addresses: tuple[ServiceView, ...]
    projects: tuple[ProjectView, ...]


def outline(spec: ClusterSpec, layout: Layout | None = None) -> OutlineView:
    """The outline of a spec; with a layout, who is what and which addresses each member has."""
    return OutlineView(
        name=spec.name,
        switches=tuple(SwitchView(name=s.name, uplink=s.uplink) for s in spec.switches),
        vnets=tuple(
            VNetView(**{name: getattr(vnet, name) for name in VNetView.model_fields}) for vnet in spec.vnets
        ),
        members=tuple(_members(spec, layout or Layout())),
        select=spec.members.select,
        volume=_volume(spec.storage) if spec.storage is not None else None,
        addresses=tuple(
            ServiceView(name=a.name, address=a.address, vnet=a.vnet, check=_check(a.check))
            for a in spec.addresses
        ),
        projects=projects(spec),
    )


def projects(spec: ClusterSpec) -> tuple[ProjectView, ...]:
    """What runs on it."""
    stacks = (
        ProjectView(kind="stack", name=s.name, node="", file=s.file, env=dict(s.env)) for s in spec.stacks
    )
    alone = (
        ProjectView(kind="compose", name=c.name, node=c.node, file=c.file, env=dict(c.env))
        for c in spec.compose
    )
    return (*stacks, *alone)


def _members(spec: ClusterSpec, layout: Layout) -> Iterable[OutlineMember]:
    bricks = {brick.node: "arbiter" if brick.arbiter else "data" for brick in layout.bricks}
    for place in layout.places.values():
        yield OutlineMember(
            name=place.name,
            role="manager" if place.manager else "worker",
            address=place.host,
            router=place.router,
            brick=bricks.get(place.name, ""),
            shares={vnet: share.address.partition("/")[0] for vnet, share in place.shares.items()},
        )
    names = [name for name in spec.members.nodes if name not in layout.places]
    names += [""] * max(0, spec.members.next - len(layout.places))
    for name in names:
        yield OutlineMember(name=name, role="", address="", router=False, brick="", shares={})


def _volume(storage: Storage) -> VolumeView:
    source = f"{storage.server}:{storage.export}" if storage.driver == "nfs" else _disk(storage.disk)
    return VolumeView(
        name=storage.volume,
        driver=storage.driver,
        path=storage.path,
        replicas=storage.replicas,
        arbiter=storage.arbiter,
        source=source,
    )


def _disk(rule: DiskRule) -> str:
    if rule.kind == "serial":
        return f"serial:{','.join(rule.serials)}"
    if rule.kind != "loop":
        return rule.kind
    shift, unit = next(
        (s, u) for s, u in ((40, "T"), (30, "G"), (20, "M")) if not rule.bytes % (1 << s) or s == 20
    )
    return f"loop:{rule.bytes >> shift}{unit}iB"


def _check(probe: object) -> str:
    kind, port, path = (getattr(probe, name) for name in ("kind", "port", "path"))
    return f"{kind}:{port}{path}" if port else "none"

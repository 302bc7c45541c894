"""What people order of clusters: plan, apply, drain, remove, replace, destroy, stop, check, mend.

Every order is a plan first. One that is refused has touched nothing: ConfigErrors holds every fault.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgspec

from pxeserver.config.faults import ConfigErrors
from pxeserver.live import Missing, Refused
from pxeserver.postinstall import candidates, specfile
from pxeserver.postinstall.adjustments import Adjustments
from pxeserver.postinstall.checks import check
from pxeserver.postinstall.circumstances import Circumstances, check_against
from pxeserver.postinstall.clusters import Clusters
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.layout import Candidate, Layout
from pxeserver.postinstall.neighbours import own_addresses
from pxeserver.postinstall.plan import Action, Plan, plan
from pxeserver.postinstall.running import RunningCluster, spec_json
from pxeserver.postinstall.spec import ClusterSpec
from pxeserver.postinstall.work import Facts, StepKey
from pxeserver.storage.clusters import ClusterRecord, ClusterTable
from pxeserver.storage.machines import Audit
from pxeserver.storage.records import AuditRecord, Stamp

_DOES = (Action.CREATE, Action.CHANGE, Action.REMOVE)


@dataclass(frozen=True, slots=True)
class Planned:
    """An order that may be carried out."""

    name: str
    text: str
    spec: ClusterSpec
    adjusted: Adjustments
    layout: Layout
    plan: Plan
    version: int
    """Of the cluster that it was planned for; 0 for a new one."""
    restored: Mapping[str, int] = field(default_factory=dict)
    """Stacks that go back to an earlier version of their file."""

    @property
    def token(self) -> str:
        """Names what was planned: another one, and something else would be done."""
        body = msgspec.json.encode([self.version, str(self.plan), spec_json(self.spec)])
        return hashlib.sha256(body).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply has set going."""

    name: str
    version: int
    changed: bool
    """Whether there was anything to do."""
    retried: tuple[StepKey, ...] = ()
    mended: tuple[StepKey, ...] = ()


Arms = Callable[[Iterable[str], str], Awaitable[object]]


class ClusterOrders:
    """The orders of people; one at a time."""

    def __init__(self, clusters: Clusters) -> None:
        self.clusters = clusters
        self.arms: Arms | None = None
        """Lets those of these nodes claim, once, that have no agent yet."""
        self._one = asyncio.Lock()

    # ------------------------------------------------------------------------------------------ planning

    async def candidates(self, most: int) -> list[tuple[Candidate, bool]]:
        """The nodes that have an agent, as they claimed; then up to `most` that have none. Each with whether
        it has one.
        """
        hall = self.clusters.hall
        await self.clusters.ready()
        joined = await candidates.read(hall, self.clusters.of_node)
        known = {one.name for one in joined}
        others = sorted(node.name for node in hall.nodes() if node.name not in known)[:most]
        found = await candidates.read(hall, self.clusters.of_node, others)
        return [(one, one.name in known) for one in found]

    async def read(self, text: str, files: Mapping[str, str], name: str = "cluster.toml") -> ClusterSpec:
        """A cluster file by itself. ConfigErrors with every fault of it."""
        # Compose and stack files of a mebibyte take YAML's reader seconds.
        return await asyncio.to_thread(specfile.read, text, files, name)

    async def plan_file(
        self, text: str, files: Mapping[str, str], name: str = "cluster.toml", readmit: Iterable[str] = ()
    ) -> Planned:
        """Plan a cluster file. ConfigErrors with every fault; Unavailable. `readmit` are nodes that were
        removed, and may be members again.
        """
        spec = await self.read(text, files, name)
        await self.clusters.ready()
        cluster = self.clusters.running.get(spec.name)
        adjusted = cluster.adjusted.brought_back(readmit) if cluster is not None else Adjustments()
        adjusted = replace(adjusted, destroy=False)
        return await self._plan(text, spec, adjusted)

    async def plan_change(
        self, name: str, change: Adjustments, stacks: Mapping[str, int] = MappingProxyType({})
    ) -> Planned:
        """Plan a cluster as it is with other adjustments, and with earlier versions of these stacks' files.
        Refused where there is no such version.
        """
        await self.clusters.ready()
        cluster = self.clusters.find(name)
        spec = await self._restored(cluster, stacks) if stacks else cluster.spec
        return replace(await self._plan(cluster.record.text, spec, change), restored=dict(stacks))

    async def _restored(self, cluster: RunningCluster, stacks: Mapping[str, int]) -> ClusterSpec:
        texts: dict[str, str] = {}
        async with self.clusters.hall.database.read() as connection:
            table = ClusterTable(connection, self.clusters.box)
            for name, version in stacks.items():
                kept = {v.version: v.file for v in await table.versions(cluster.record.id, name)}
                if version not in kept or name not in {stack.name for stack in cluster.spec.stacks}:
                    there = ", ".join(map(str, sorted(kept)))
                    why = f"there are the versions {there}" if there else f"{cluster.name} has no such stack"
                    step = f"`pxeserver cluster show {cluster.name}` names its stacks"
                    raise Refused(f"stack {name} does not go back to version {version}", why, step)
                texts[name] = kept[version]
        found = (replace(s, text=texts.get(s.name, s.text)) for s in cluster.spec.stacks)
        return replace(cluster.spec, stacks=tuple(found))

    async def _plan(self, text: str, spec: ClusterSpec, adjusted: Adjustments) -> Planned:
        wanted = adjusted.of(spec)
        if faults := await asyncio.to_thread(check, wanted):
            raise ConfigErrors(faults)
        around = await self._around(wanted)
        if faults := check_against(wanted, around):
            raise ConfigErrors(faults)
        layout = lay_out(wanted, around.candidates, around.former, around.taken_vrids.keys())
        cluster = self.clusters.running.get(spec.name)
        states = list(cluster.coordinator.states.values()) if cluster else []
        facts = cluster.facts if cluster else Facts()
        found = plan(wanted, layout, states, facts, cluster.leader if cluster else None)
        version = cluster.record.stamp.version if cluster else 0
        return Planned(spec.name, text, spec, adjusted, layout, found, version)

    async def _around(self, spec: ClusterSpec) -> Circumstances:
        clusters, hall = self.clusters, self.clusters.hall
        found = await candidates.read(hall, clusters.of_node, spec.members.nodes)
        cluster = clusters.running.get(spec.name)
        if cluster is not None:
            facts = cluster.facts
            found = [_as_laid_out(seen, cluster.layout, facts) for seen in found]
        now = clusters.clock()
        others = [c for c in clusters.running.values() if c.name != spec.name]
        return Circumstances(
            candidates=found,
            former=cluster.layout if cluster else None,
            before=cluster.wanted if cluster else None,
            facts=cluster.facts if cluster else None,
            seen=cluster.present(now) if cluster else frozenset(),
            healing=_healing(cluster) if cluster else frozenset(),
            subnets=hall.catalog().policy.subnets,
            server=await asyncio.to_thread(own_addresses),
            images=clusters.images().keys(),
            taken_vrids={vrid: c.name for c in others for vrid in c.layout.vrids.values()},
        )

    # ------------------------------------------------------------------------------------------ applying

    async def apply(
        self, planned: Planned, by: str, *, seen: str | None = None, mend: bool = False
    ) -> Applied:
        """Carry a plan out. Refused where `seen` (a plan's token) is not what would be done now."""
        async with self._one:
            cluster = self.clusters.running.get(planned.name)
            version = cluster.record.stamp.version if cluster else 0
            if version != planned.version or (seen is not None and seen != planned.token):
                why = "the cluster has changed since the plan was made"
                raise Refused(f"cluster {planned.name} is not changed", why, "look at the plan again")
            changed = cluster is None or any(line.action in _DOES for line in planned.plan.lines)
            if cluster is None or changed or self._differs(cluster, planned):
                cluster = await self._put(planned, cluster, by)
            applied = await self._set_going(cluster, changed=changed, mend=mend)
            if self.arms is not None and not cluster.wanted.destroy:
                # Also those that have not appeared: they claim when they are switched on for the first time.
                await self.arms(tuple({*cluster.layout.places, *cluster.spec.members.nodes}), by)
            return applied

    def _differs(self, cluster: RunningCluster, planned: Planned) -> bool:
        before = (cluster.spec, cluster.adjusted, cluster.layout, cluster.record.text)
        spec = msgspec.convert(spec_json(planned.spec), ClusterSpec)
        after = (spec, planned.adjusted, planned.layout, planned.text)
        return before != after or cluster.record.state == "stopped"

    async def _put(self, planned: Planned, cluster: RunningCluster | None, by: str) -> RunningCluster:
        clusters, now = self.clusters, self.clusters.clock()
        old = cluster.written() if cluster is not None else None
        context = {**(old.context if old else {}), "adjusted": msgspec.to_builtins(planned.adjusted)}
        record = ClusterRecord(
            planned.name,
            planned.text,
            spec_json(planned.spec),
            msgspec.to_builtins(planned.layout),
            _stamp(old.stamp if old else None, by, now),
            id=old.id if old else 0,
            state="destroying" if planned.adjusted.of(planned.spec).destroy else "applied",
            context=context,
        )
        async with clusters.hall.database.write() as connection:
            table = ClusterTable(connection, clusters.box)
            record = await table.put(record)
            await table.keep_stacks(record.id, {s.name: s.text for s in planned.spec.stacks}, by, now)
            told = _told(planned.plan) | {
                f"stack {n}": ["", f"version {v}"] for n, v in planned.restored.items()
            }
            entry = AuditRecord(now, by, "apply", "clusters", record.name, record.stamp.version, told)
            await Audit(connection).add([entry])
        if cluster is None:
            cluster = clusters.add(record)
        else:
            cluster.take_up(record)
        return cluster

    async def _set_going(self, cluster: RunningCluster, *, changed: bool, mend: bool) -> Applied:
        clusters = self.clusters
        clusters.settle(cluster)
        retried = cluster.coordinator.retry()
        mended = cluster.mend() if mend else []
        cluster.stale = True
        await clusters.go_on(cluster)
        roles = {
            name: (cluster.name, "manager" if place.manager else "worker")
            for name, place in cluster.layout.everyone.items()
        }
        if changed:
            await clusters.describe(roles)
        version = cluster.record.stamp.version
        return Applied(cluster.name, version, changed, tuple(retried), tuple(mended))

    # ------------------------------------------------------------------------------------------ other orders

    async def stop(self, name: str, by: str) -> None:
        """Begin nothing more, and have the nodes leave what they are at. An apply goes on."""
        async with self._one:
            cluster = await self._found(name)
            stamp = _stamp(cluster.record.stamp, by, self.clusters.clock())
            record = replace(cluster.written(), state="stopped", stamp=stamp)
            async with self.clusters.hall.database.write() as connection:
                await ClusterTable(connection, self.clusters.box).put(record)
            cluster.take_up(record)
            await self.clusters.go_on(cluster)

    async def check(self, name: str, nodes: Iterable[str]) -> int:
        """Have nodes (all, where none is named) look for drift; how many steps will be looked at."""
        cluster = await self._found(name)
        names = list(nodes) or list(cluster.layout.places)
        for node in names:
            if node not in cluster.layout.places:
                raise Missing("node", node)
        count = cluster.coordinator.check(names)
        await self.clusters.go_on(cluster)
        return count

    async def forget(self, name: str, by: str) -> None:
        """Drop a cluster without undoing anything on its nodes."""
        async with self._one:
            cluster = await self._found(name)
            nodes = dict.fromkeys(cluster.layout.everyone, ("", ""))
            async with self.clusters.hall.database.write() as connection:
                await ClusterTable(connection, self.clusters.box).remove(cluster.record.id)
                now, version = self.clusters.clock(), cluster.record.stamp.version
                await Audit(connection).add([AuditRecord(now, by, "forget", "clusters", name, version, {})])
            self.clusters.forget(name)
            await self.clusters.describe(nodes)

    async def _found(self, name: str) -> RunningCluster:
        await self.clusters.ready()
        return self.clusters.find(name)


def _as_laid_out(seen: Candidate, layout: Layout, facts: Facts) -> Candidate:
    """A member whose card is part of a switch tells what was made of its uplink (a switch may have a smaller
    MTU); one that tells another address than the one it joined with (of a vNet, where it has no default
    route) does not speak of its uplink.
    """
    place, key = layout.everyone.get(seen.name), StepKey(seen.name, "network")
    stands = key in facts.told and key not in facts.undone
    if place is None or (seen.address == place.address and not stands):
        return seen
    uplink = {name: getattr(place, name) for name in ("address", "mac", "gateway", "dns", "mtu")}
    return replace(seen, **uplink)


def _healing(cluster: RunningCluster) -> frozenset[str]:
    """The members whose brick was behind when the volume was looked at last."""
    told = [f.get("behind") for k, f in cluster.facts.steps.items() if k.step == "pool"]
    return frozenset(str(name) for names in told if isinstance(names, list) for name in names)


def _stamp(old: Stamp | None, by: str, now: float) -> Stamp:
    if old is None:
        return Stamp(by, by, now, now)
    return replace(old, updated_by=by, updated_at=now, version=old.version + 1)


def _told(found: Plan) -> dict[str, Any]:
    """A plan in short, for the trail."""
    return {f"{line.node}/{line.step}": ["", line.action.value] for line in found.changes[:200]}

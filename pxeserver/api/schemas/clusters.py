"""Clusters: files, plans, where each step stands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pxeserver.api.schemas.cluster_outline import OutlineView, outline
from pxeserver.api.schemas.fields import Body, NodeName, Time, View
from pxeserver.postinstall import views
from pxeserver.postinstall.healing import Healing
from pxeserver.postinstall.orders import Applied, Planned

FileText = Annotated[str, Field(max_length=1 << 20)]
Names = Annotated[tuple[NodeName, ...], Field(max_length=4096)]


StackName = Annotated[str, Field(min_length=1, max_length=63)]
StackNumber = Annotated[int, Field(ge=1)]


class ClusterFile(Body):
    """A cluster file, and the files that it names."""

    text: FileText
    """TOML."""
    name: Annotated[str, Field(max_length=255)] = "cluster.toml"
    """The file's name, for faults to point at."""
    files: Annotated[dict[str, FileText], Field(max_length=256)] = Field(default_factory=dict)
    """The content of Compose and stack files, by the names that the cluster file uses."""
    readmit: Names = ()
    """Nodes that were removed from the cluster, and may be members again."""


class ClusterApply(ClusterFile):
    """A cluster file to be applied."""

    seen: str | None = None
    """The plan's token: the apply is refused where it would do something else."""
    mend: bool = False
    """Apply again what was found to have drifted."""


class ClusterChange(Body):
    """What to change of a cluster beside its file. With nothing given, the cluster is applied as it is:
    failed steps are tried again, and a stopped cluster goes on.
    """

    add: Names = ()
    """Nodes that shall be members beside those that the file names."""
    drain: Names = ()
    """Members that shall get no containers."""
    undrain: Names = ()
    remove: Names = ()
    """Members that shall leave."""
    lost: bool = False
    """They are gone for good: nothing is undone on them, the others forget them."""
    replace: dict[NodeName, NodeName] = Field(default_factory=dict)
    """Member that leaves -> node that takes its place."""
    readmit: Names = ()
    stacks: dict[StackName, StackNumber] = Field(default_factory=dict)
    """Stack -> the version of its file to go back to. It becomes the newest version."""
    destroy: bool = False
    """Take everything down."""
    mend: bool = False
    seen: str | None = None
    """The plan's token: the change is refused where it would do something else."""


class CheckOrder(Body):
    """Look for drift."""

    nodes: Names = ()
    """All members where none is named."""


class LineView(View):
    """One step of a plan."""

    node: str
    step: str
    action: str
    """create, change, remove, finish or nothing."""
    details: tuple[str, ...]
    destructive: bool
    """Data goes with it."""


class PlanView(View):
    """What an apply would change."""

    cluster: str
    seen: str
    """Names this plan; to be given with the apply."""
    changes: int
    lines: tuple[LineView, ...]
    waiting: tuple[str, ...]
    """What cannot go on yet, e.g. members that have not appeared."""
    members: dict[str, str]
    """Role of each member."""
    outline: OutlineView


class AppliedView(View):
    """What an apply has set going."""

    cluster: str
    version: int
    changed: bool
    """Whether there was anything new to do."""
    retried: tuple[str, ...]
    """Steps, as node/step, that are tried again."""
    mended: tuple[str, ...]


class ClusterView(View):
    """A cluster in short."""

    name: str
    state: str
    """ready, working, failed, away, checking, drifted, stopped or destroying. checking: nothing was heard of
    some members since the server started.
    """
    members: tuple[str, ...]
    managers: tuple[str, ...]
    leader: str
    done: int
    wanted: int
    version: int
    updated_by: str
    updated_at: Time


class StackView(View):
    """One version of a stack's file."""

    name: str
    version: int
    sha256: str
    created_by: str
    created_at: Time


class StackVersionView(StackView):
    """One version of a stack's file, with the file."""

    file: str
    current: bool
    """It is what is deployed, or about to be."""


class StackServiceView(View):
    """One service of a stack that is deployed."""

    name: str
    running: int
    """Tasks that ran when the stack was deployed."""
    as_of: Time | None
    """When that was."""
    trouble: str
    """What a look found since: fewer run than should, or others do not find them. "" for nothing."""


class ClusterDetail(ClusterView):
    """A cluster with what it was made from."""

    text: str
    """The cluster file as it was applied."""
    outline: OutlineView
    layout: dict[str, Any]
    """Who is what, and which addresses each has."""
    adjusted: dict[str, Any]
    """What was ordered beside the file."""
    stacks: tuple[StackView, ...]
    created_by: str
    created_at: Time


class StepView(View):
    """One step of one node."""

    node: str
    step: str
    verb: str
    status: str
    """waiting, running, done, failed or gone."""
    reason: str
    """Why it waits, or has failed."""
    tries: int
    started: Time | None
    finished: Time | None
    next_try: Time | None
    changed: bool
    progress: str
    fraction: float | None


class DriftView(View):
    """One thing that is not as its step wants it."""

    step: str
    what: str
    want: str
    have: str


class MemberView(View):
    """One member."""

    name: str
    role: str
    standing: str
    """active, drained, leaving or lost."""
    state: str
    """ready, checking, working, waiting, undoing, failed, away or frozen."""
    address: str
    leader: bool
    seen: Time | None
    steps: tuple[StepView, ...]
    drift: tuple[DriftView, ...]
    drift_at: Time | None
    frozen: str
    """Why its agent is not listened to; "" where it is."""


class HealingView(View):
    """How far a volume has healed, when it was looked at last."""

    volume: str
    entries: int
    """So many files and folders wait to be healed; -1 where that cannot be told."""
    behind: tuple[str, ...]
    """The members whose bricks lack them."""


class StatusView(View):
    """Where each step of each member stands."""

    name: str
    state: str
    version: int
    leader: str
    done: int
    wanted: int
    notes: tuple[str, ...]
    healing: HealingView | None
    nodes: tuple[MemberView, ...]


class LogView(StepView):
    """One step with its log and its document."""

    log: tuple[str, ...]
    """The newest lines of its newest end."""
    want: dict[str, Any]
    facts: dict[str, Any]


class CheckView(View):
    """What will be looked at."""

    steps: int


def plan_view(planned: Planned) -> PlanView:
    """A plan as the API shows it."""
    lines = tuple(
        LineView(
            node=line.node,
            step=line.step,
            action=line.action.value,
            details=line.details,
            destructive=line.destructive,
        )
        for line in planned.plan.lines
    )
    places = planned.layout.places.values()
    return PlanView(
        cluster=planned.name,
        seen=planned.token,
        changes=len(planned.plan.changes),
        lines=lines,
        waiting=planned.plan.waiting,
        members={place.name: "manager" if place.manager else "worker" for place in places},
        outline=outline(planned.adjusted.of(planned.spec), planned.layout),
    )


def applied_view(applied: Applied) -> AppliedView:
    """What was set going, as the API shows it."""
    return AppliedView(
        cluster=applied.name,
        version=applied.version,
        changed=applied.changed,
        retried=tuple(map(str, applied.retried)),
        mended=tuple(map(str, applied.mended)),
    )


def step_fields(step: views.StepView) -> dict[str, Any]:
    """The fields of StepView."""
    names = ("node", "step", "verb", "status", "reason", "tries", "changed", "progress", "fraction")
    times = ("started", "finished", "next_try")
    return {n: getattr(step, n) for n in names} | {n: getattr(step, n) or None for n in times}


def member_view(node: views.NodeView) -> MemberView:
    """A member as the API shows it."""
    return MemberView(
        name=node.name,
        role=node.role,
        standing=node.standing,
        state=node.state,
        address=node.address,
        leader=node.leader,
        seen=node.seen or None,
        steps=tuple(StepView(**step_fields(step)) for step in node.steps),
        drift=tuple(DriftView(**line) for line in node.drift),
        drift_at=node.drift_at or None,
        frozen=node.frozen,
    )


def healing_view(healing: Healing | None) -> HealingView | None:
    """A volume's healing as the API shows it."""
    if healing is None:
        return None
    return HealingView(volume=healing.volume, entries=healing.entries, behind=healing.behind)


def status_view(status: views.StatusView) -> StatusView:
    """A cluster's status as the API shows it."""
    return StatusView(
        name=status.name,
        state=status.state,
        version=status.version,
        leader=status.leader,
        done=status.done,
        wanted=status.wanted,
        notes=status.notes,
        healing=healing_view(status.healing),
        nodes=tuple(member_view(node) for node in status.nodes),
    )

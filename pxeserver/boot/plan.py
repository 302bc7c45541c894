"""What a machine would get if it booted now, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from pxeserver.boot.architectures import arch_name, default_efi_file, is_uefi
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.identity import Conflict, Identity, Known, Unknown, identify
from pxeserver.boot.lifecycle import CUT_OFF, Life, Trigger, life, pending_once
from pxeserver.boot.model import (
    BootOnce,
    EventKind,
    Machine,
    Node,
    NodeState,
    Phase,
    Profile,
    ProfileKind,
    Reason,
)
from pxeserver.boot.script import LocalDisk, LocalMethod
from pxeserver.boot.values import Values, resolve

_LOCAL_METHODS = {method.value: method for method in LocalMethod}

Record = tuple[EventKind, dict[str, str | int | float]]
"""An event, as kind and detail, that is recorded before the machine has its script."""


class Action(Enum):
    """What a machine gets."""

    SILENT = "silent"
    LOCAL = "local"
    BOOT = "boot"
    INSTALL = "install"
    MENU = "menu"
    HOLD = "hold"
    REFUSED = "refused"
    """What is configured cannot be handed out: the screen says why, then the local disk starts."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a machine gets, with the reason in a sentence and the values it rests on."""

    action: Action
    why: str
    values: Values
    local: LocalDisk
    profile: Profile | None = None
    node: Node | None = None
    code: str = ""
    """For an unknown machine: what `node approve` takes."""
    reason: Reason | None = None
    """For SILENT and HOLD, as logs and counters name it."""
    warnings: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    """What the script's hand-out makes true; empty while it changes nothing."""


def installs(profile: Profile) -> bool:
    """Whether the profile writes to the machine's disks: it then needs an install order."""
    return profile.install or profile.kind is ProfileKind.DISK


def discovery_profile(catalog: Catalog) -> Profile | None:
    """The profile of the discovery system: the one named "discovery", else the first of that kind by name."""
    found = [p for p in catalog.profiles.values() if p.kind is ProfileKind.DISCOVERY]
    return min(found, key=lambda p: (p.name != "discovery", p.name), default=None)


def local_disk(machine: Machine, values: Values) -> LocalDisk:
    """How this machine's local disk is started. "auto" lets the firmware's own boot order go on.

    BIOS goes on after a loader that ends; UEFI goes on only after one that failed, and opens its setup
    after a success.
    """
    return _local_disk(machine.platform, machine.arch, values.get("local_boot"))


@lru_cache(256)
def _local_disk(platform: str, arch: int | None, wanted: str) -> LocalDisk:
    """Few in number, and in every plan."""
    uefi = platform == "efi" or (platform == "" and is_uefi(arch))
    file = default_efi_file(arch)
    method = _LOCAL_METHODS.get(wanted)
    if method is not None:
        return LocalDisk(method, file)
    return LocalDisk(LocalMethod.EXIT1 if uefi else LocalMethod.EXIT, file)


def plan(
    machine: Machine, who: Identity | Node | None, catalog: Catalog, nodes: NodeTable, attempt: str = ""
) -> Plan:
    """What the machine gets now.

    `who` is what `identify` found, a node, or None to find out here. `attempt` is the boot it is decided
    for; without one it is a boot that would begin now.
    """
    if who is None:
        who = identify(machine, nodes)
    match who:
        case Conflict():
            values = resolve(machine, None, catalog)
            return Plan(
                Action.HOLD, who.why, values, local_disk(machine, values), reason=Reason.IDENTITY_CONFLICT,
                records=((EventKind.HELD, {"reason": who.why, "alarm": "identity-conflict"}),),
            )  # fmt: skip
        case Unknown():
            return _unknown(machine, who.code, catalog)
        case Known():
            return _known(machine, who.node, catalog, nodes.state(who.node.id), attempt)
        case _:
            return _known(machine, who, catalog, nodes.state(who.id), attempt)


# ---------------------------------------------------------------------------------------- unknown machines


def _unknown(machine: Machine, code: str, catalog: Catalog) -> Plan:
    """By policy; a group may name another profile, but nothing ever installs on an unknown machine."""
    values = resolve(machine, None, catalog)
    base = Plan(Action.MENU, "", values, local_disk(machine, values), code=code)
    policy = catalog.policy.unknown
    if policy in ("ignore", "observe"):
        reason = Reason.POLICY_IGNORE if policy == "ignore" else Reason.POLICY_OBSERVE
        return replace(
            base, action=Action.SILENT, why=f"unknown machine, and the policy is {policy}", reason=reason
        )
    name, why = _unknown_profile(values, catalog)
    if not name:
        warnings = () if policy == "menu" else (why,)
        return replace(base, why="unknown machine: the menu shows its code", warnings=warnings)
    profile = catalog.profiles.get(name)
    if profile is None or installs(profile):
        fault = "does not exist" if profile is None else "installs, which takes a node with an install order"
        return replace(
            base, why="unknown machine: the menu shows its code", warnings=(f"profile {name} {fault}",)
        )
    return _of_profile(replace(base, why=f"unknown machine, {why}"), machine, profile, catalog)


def _unknown_profile(values: Values, catalog: Catalog) -> tuple[str, str]:
    """The profile's name for an unknown machine, "" for the menu; and why."""
    if values.origin("profile").startswith("group ") and values.get("profile"):
        return values.get("profile"), f"profile of {values.origin('profile')}"
    policy = catalog.policy.unknown
    if policy == "discover":
        found = discovery_profile(catalog)
        return (
            (found.name, "policy discover")
            if found
            else ("", "policy is discover, but no profile is of that kind")
        )
    if policy.startswith("profile:"):
        return policy.removeprefix("profile:"), f"policy {policy}"
    return "", f"policy {policy}"


# ------------------------------------------------------------------------------------------- known machines


def _known(machine: Machine, node: Node, catalog: Catalog, state: NodeState, attempt: str) -> Plan:
    """By the node's hold, its life, and its profile, in this order."""
    once = pending_once(state, node, attempt)
    values = resolve(machine, node, catalog, once)
    local, name = local_disk(machine, values), values.get("profile")
    if node.hold:
        base = Plan(Action.LOCAL, "", values, local, node=node)
        return _held(base, f"held by an operator: {node.hold}")
    profile = catalog.profiles.get(name)
    why = f"profile {name} from {values.origin('profile')}"
    base = Plan(Action.LOCAL, why, values, local, profile, node)
    now = life(state, node, attempt)
    if now is Life.HELD or (now is Life.INSTALLING and attempt != state.attempt):
        return _stopped(base, machine, catalog, state=state, once=once)
    if not name:
        return replace(base, action=Action.MENU, why="no profile is assigned")
    if profile is None:
        return _refused(base, f"profile {name} ({values.origin('profile')}) does not exist")
    if installs(profile):
        return _install(base, machine, catalog, state=state, now=now, once=once)
    return _of_profile(_use(base, once, state), machine, profile, catalog)


def _held(base: Plan, why: str) -> Plan:
    record: Record = (EventKind.HELD, {"reason": why})
    return replace(base, action=Action.HOLD, why=why, reason=Reason.NODE_HELD, records=(record,))


def _stopped(
    base: Plan, machine: Machine, catalog: Catalog, *, state: NodeState, once: BootOnce | None
) -> Plan:
    """An install failed or was cut off: held, but a boot-once order for a system that installs nothing is
    obeyed.
    """
    profile, cut_off = base.profile, state.phase is Phase.INSTALLING
    why = CUT_OFF if cut_off or state.reason == CUT_OFF else f"install failed: {state.reason}"
    held = _held(base, why)
    if cut_off:
        record: Record = (EventKind.HELD, {"reason": CUT_OFF, "trigger": Trigger.RETURNED.value})
        held = replace(held, records=(record,))
    if once is None or profile is None or installs(profile):
        return held
    booted = _use(replace(base, why=f"boot-once, while held: {why}"), once, state)
    booted = _of_profile(replace(booted, records=(*held.records, *booted.records)), machine, profile, catalog)
    return held if booted.action is Action.REFUSED else booted


def _install(
    base: Plan, machine: Machine, catalog: Catalog, *, state: NodeState, now: Life, once: BootOnce | None
) -> Plan:
    """An install profile: handed out once for each order; at all other times the local disk."""
    node, profile = base.node, base.profile
    if node is None or profile is None:
        return base
    if now not in (Life.ARMED, Life.INSTALLING):
        done = "is installed" if now is Life.INSTALLED else "installs, and no install is ordered"
        return _use(replace(base, why=f"profile {profile.name} {done}: the local disk"), once, state)
    foreign = profile.kind is not ProfileKind.DISK
    if foreign and not any(consent.order == node.order for consent in node.consents):
        why = (
            f"profile {profile.name} is an installer that no guard keeps from any disk: it needs a consent "
            f"(pxeserver node consent {node.name} DISK)"
        )
        return _refused(base, why)
    ready = _of_profile(
        replace(base, why=f"install order {node.order}: {base.why}"), machine, profile, catalog
    )
    if ready.action is not Action.BOOT:
        return ready
    ready = replace(ready, action=Action.INSTALL)
    if not foreign or now is Life.INSTALLING:
        return ready  # the agent reports when it begins to write; or this attempt asks again
    record: Record = (
        EventKind.INSTALL_STARTED,
        {"trigger": Trigger.HANDED_OUT.value, "profile": profile.name},
    )
    return _use(replace(ready, records=(record,)), once, state)


def _use(base: Plan, once: BootOnce | None, state: NodeState) -> Plan:
    """The plan with the boot-once order, if one is in force and unused, used up by its hand-out."""
    if once is None or once.number <= state.boot_once:
        return base
    record: Record = (EventKind.BOOT_ONCE_USED, {"boot_once": once.number, "profile": once.profile})
    return replace(base, records=(*base.records, record))


def _refused(base: Plan, why: str) -> Plan:
    return replace(base, action=Action.REFUSED, why=why, records=())


def _of_profile(base: Plan, machine: Machine, profile: Profile, catalog: Catalog) -> Plan:
    """The plan for a profile that may run now: its files have to be there and fit the machine."""
    match profile.kind:
        case ProfileKind.LOCAL:
            return _acting(base, profile, Action.LOCAL)
        case ProfileKind.MENU:
            return _acting(base, profile, Action.MENU)
    fault = missing(profile, catalog) or misfit(profile, machine, catalog)
    if fault:
        return _refused(replace(base, profile=profile), f"profile {profile.name}: {fault}")
    return _acting(base, profile, Action.BOOT)


def _acting(base: Plan, profile: Profile, action: Action) -> Plan:
    """The plan with this profile and action. As `replace` has it, for a fraction: each script comes by."""
    return Plan(
        action, base.why, base.values, base.local, profile, base.node, base.code, base.reason, base.warnings,
        base.records,
    )  # fmt: skip


def missing(profile: Profile, catalog: Catalog) -> str:
    """What a profile lacks to be booted, "" where it is complete."""
    match profile.kind:
        case ProfileKind.KERNEL | ProfileKind.DISCOVERY:
            return _without(catalog, profile.image, "kernel")
        case ProfileKind.EFI:
            return _without(catalog, profile.image, "efi")
        case ProfileKind.DISK:
            system = discovery_profile(catalog)
            fault = _without(catalog, profile.image, "disk")
            return fault or (missing(system, catalog) if system else "no profile is of the kind discovery")
        case ProfileKind.SCRIPT:
            return "" if profile.script.strip() else "it has no script"
        case ProfileKind.CHAIN:
            return "" if profile.url else "it has no URL"
    return ""


def _without(catalog: Catalog, image: str | None, role: str) -> str:
    found = catalog.images.get(image or "")
    if found is None:
        return f"image {image} does not exist" if image else "it names no image"
    return "" if found.by_role(role) else f"image {image} has no file of the role {role}"


def misfit(profile: Profile, machine: Machine, catalog: Catalog) -> str:
    """Why the profile cannot run on this architecture, "" where it can or nothing is known."""
    uefi = machine.platform == "efi" or is_uefi(machine.arch)
    if profile.kind is ProfileKind.EFI and not uefi and (machine.platform or machine.arch is not None):
        return "it is an EFI program, and the machine boots in BIOS mode"
    image = catalog.images.get(profile.image or "")
    wanted = image.labels.get("arch", "") if image else ""
    has = arch_name(machine.arch)
    same = {"bios": ("x64", "x86", "bios"), "x64": ("x64", "x86"), "x86": ("x86",)}.get(has, (has,))
    return f"its image is for {wanted}, the machine is {has}" if wanted and has and wanted not in same else ""

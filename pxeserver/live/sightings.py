"""What events tell of machines: unknown ones are recorded and take the places that await a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pxeserver.boot.identity import Known, Unknown, identify, valid_mac
from pxeserver.boot.model import ClientKind, Event, EventKind, Machine, Node
from pxeserver.live.edit import Edit
from pxeserver.live.edit_nodes import hardware_of
from pxeserver.live.memory import Memory
from pxeserver.storage.machines import Machines

_TELLING = (EventKind.DISCOVERED, EventKind.IGNORED, EventKind.SCRIPT_SENT)
BY = "first-come"
"""Who a binding in order of appearance was made by, in the audit trail."""


@dataclass(slots=True)
class Sighting:
    """An unknown machine that asked, how often, and when last."""

    machine: Machine
    at: float
    times: int = 0


def machine_in(event: Event) -> Machine:
    """The machine as an event tells it.

    Everything there came from the network and is bounded by the sender.
    """
    detail = event.detail
    kind = next((k for k in ClientKind if k.value == detail.get("kind")), None)
    arch = detail.get("arch")
    return Machine(
        mac=event.mac,
        uuid=_text(event, "uuid"),
        serial=_text(event, "serial"),
        arch=arch if isinstance(arch, int) else None,
        kind=kind,
        vendor=_text(event, "vendor") or "",
        product=_text(event, "product") or "",
        address=_text(event, "address"),
        subnet=_text(event, "subnet"),
        platform=_text(event, "platform") or "",
    )


def _text(event: Event, name: str) -> str | None:
    found = event.detail.get(name)
    return found[:256] if isinstance(found, str) and found else None


def sightings(events: Iterable[Event], memory: Memory) -> dict[str, Sighting]:
    """The unknown machines among these events, by code, in order of appearance."""
    found: dict[str, Sighting] = {}
    for event in events:
        if event.kind not in _TELLING or event.node_id is not None or not valid_mac(event.mac):
            continue
        machine = machine_in(event)
        who = identify(machine, memory.nodes)
        if not isinstance(who, Unknown):
            continue
        code = code_of(machine, who.code, memory)
        seen = found.setdefault(code, Sighting(machine, event.at))
        seen.machine = _fuller(seen.machine, machine)
        seen.at = event.at
        seen.times += event.kind is EventKind.DISCOVERED
    return found


def code_of(machine: Machine, code: str, memory: Memory) -> str:
    """The code this machine is listed under: an event that tells less than an earlier one is the same
    machine.
    """
    if machine.uuid is None and machine.serial is None:
        return memory.code_of_mac(machine.mac) or code
    return code


async def store(seen: Mapping[str, Sighting], edit: Edit, machines: Machines, awaiting: int) -> None:
    """Record unknown machines, and give them the `awaiting` places that await one, oldest place first."""
    await machines.seen({code: (s.machine, s.at, s.times) for code, s in seen.items()})
    if awaiting > 0 and seen:
        unknown = await machines.still_unknown(seen)
        await edit.bind({code: s.machine for code, s in seen.items() if code in unknown})


def learnt(events: Iterable[Event], memory: Memory) -> list[Node]:
    """Nodes whose hardware is told differently by these events than their record has it."""
    changed: dict[int, Node] = {}
    for event in events:
        if event.kind not in _TELLING or event.node_id is None:
            continue
        node = changed.get(event.node_id) or memory.nodes.get(event.node_id)
        if node is None:
            continue
        # The sender may have known the machine by an address it no longer has: only surer evidence counts.
        machine = machine_in(event)
        who = identify(machine, memory.nodes)
        told = hardware_of(machine)
        if isinstance(who, Known) and who.node.id == node.id and told.items() - node.hardware.items():
            changed[node.id] = replace(node, hardware={**node.hardware, **told})
    return list(changed.values())


def _fuller(old: Machine, new: Machine) -> Machine:
    """What two sightings of one machine tell together; the newer wins."""
    return replace(
        new,
        uuid=new.uuid or old.uuid,
        serial=new.serial or old.serial,
        arch=old.arch if new.arch is None else new.arch,
        vendor=new.vendor or old.vendor,
        product=new.product or old.product,
        address=new.address or old.address,
        subnet=new.subnet or old.subnet,
    )

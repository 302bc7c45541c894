"""What events tell of machines: unknown ones are recorded and take the places that await a machine."""

from __future__ import annotations

from collections.abc import Iterable
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


def _times(event: Event) -> int:
    """How often it asked: a storm's repetitions are told together, with their number."""
    told = event.detail.get("times", 1)
    return int(told) if event.kind is EventKind.DISCOVERED and isinstance(told, int) and told > 0 else 0


class Seen:
    """Unknown machines of one batch, by code, in order of appearance."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._by_mac: dict[str, str] = {}
        self.machines: dict[str, Sighting] = {}
        self.superseded: set[str] = set()
        """Codes under which a machine was listed before it told its UUID or serial number."""

    def take(self, events: Iterable[Event]) -> None:
        """Add the unknown machines that these events tell of."""
        for event in events:
            if event.kind is EventKind.IGNORED and not {"uuid", "serial"} & event.detail.keys():
                # What it asked for is in the DISCOVERED before. By its MAC alone, the second card of a known
                # machine would be a machine of its own, and take a node's place.
                continue
            if event.kind in _TELLING and event.node_id is None and valid_mac(event.mac):
                self.add(machine_in(event), event.at, times=_times(event))

    def add(self, machine: Machine, at: float, *, times: int = 0) -> None:
        """Add a machine, unless it is a node or in conflict with some."""
        who = identify(machine, self._memory.nodes)
        if not isinstance(who, Unknown):
            return
        code, listed = who.code, self._by_mac.get(machine.mac) or self._memory.code_of_mac(machine.mac)
        if listed is not None and listed != code:
            if machine.uuid is None and machine.serial is None:
                code = listed  # it tells less than before: firmware and loader are not equally talkative
            elif self._tells_only_mac(listed):
                self.superseded.add(listed)
                machine = _fuller(self.machines.pop(listed, Sighting(machine, at)).machine, machine)
        self._by_mac[machine.mac] = code
        seen = self.machines.setdefault(code, Sighting(machine, at))
        seen.machine = _fuller(seen.machine, machine)
        seen.at = at
        seen.times += times

    async def store(self, edit: Edit, machines: Machines) -> None:
        """Record the machines, and give them the places that await one, oldest place first."""
        for code in self.superseded:
            await machines.forget(code)
        await machines.seen({code: (s.machine, s.at, s.times) for code, s in self.machines.items()})
        if self._memory.crowded:
            await machines.trim()
        # In a dry run, machines only look in: nothing that lasts comes of it.
        if self._memory.awaiting > 0 and not self._memory.catalog.policy.dry_run:
            await edit.bind({code: s.machine for code, s in self.machines.items()})

    def remember(self) -> None:
        """Take over into memory what was committed."""
        if self._memory.crowded:
            self._memory.trim()
        for code in self.superseded:
            self._memory.machines.pop(code, None)
        for code, sighting in self.machines.items():
            self._memory.sight(code, sighting.machine, sighting.at, sighting.times)

    def _tells_only_mac(self, code: str) -> bool:
        known = self.machines[code].machine if code in self.machines else self._memory.machines.get(code)
        return known is not None and known.uuid is None and known.serial is None


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

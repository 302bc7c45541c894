"""What a DHCP request makes a machine boot, and the timeline of the attempt that the request belongs to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from pxeserver.boot import decision
from pxeserver.boot.decision import Offer
from pxeserver.boot.model import ClientKind, Event, EventKind, Ignore, Machine
from pxeserver.protocols.dhcp.pxe import PxeRequest

if TYPE_CHECKING:
    from pxeserver.boot.attempts import Attempt
    from pxeserver.servers.plane import Plane

log = logging.getLogger(__name__)

KINDS: Final = {kind.value: kind for kind in ClientKind}


def machine_of(request: PxeRequest, subnet: str) -> Machine:
    """What a request tells of its machine."""
    return Machine(
        request.mac,
        uuid=request.uuid,
        arch=request.arch,
        kind=KINDS[request.kind],
        address=request.ciaddr,
        subnet=subnet,
    )


class Choices:
    """Decides, and tells what was asked and what was answered."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def begin(self, machine: Machine) -> Attempt:
        """The attempt that a DISCOVER of this machine belongs to or begins; it is on its timeline."""
        firmware = machine.kind is not ClientKind.IPXE
        attempt = self._plane.attempts.begin(machine, self._plane.now(), firmware=firmware)
        self.asked(attempt, machine)
        return attempt

    def choose(self, machine: Machine, attempt: Attempt, server: str) -> Offer | Ignore:
        """What the decision gives this machine to start."""
        catalog, nodes = self._plane.catalog(), self._plane.nodes()
        chosen = decision.offer(machine, catalog, nodes, server, attempt.id)
        if isinstance(chosen, Offer):
            attempt.node_id = chosen.node_id
        return chosen

    def asked(self, attempt: Attempt, machine: Machine, at: float | None = None, times: int = 1) -> None:
        """Tell of a DISCOVER; or of several, the last of them at `at`."""
        detail: dict[str, str | int] = {"kind": machine.kind.value if machine.kind else ""}
        detail["subnet"] = machine.subnet or ""
        if machine.arch is not None:
            detail["arch"] = machine.arch
        if machine.uuid is not None:
            detail["uuid"] = machine.uuid
        self._tell(attempt, EventKind.DISCOVERED, detail, at, times)

    def answered(
        self,
        attempt: Attempt,
        chosen: Offer | Ignore,
        step: EventKind = EventKind.OFFERED,
        at: float | None = None,
        times: int = 1,
    ) -> None:
        """Tell of an answer or a silence; or of several alike."""
        detail: dict[str, str | int]
        if isinstance(chosen, Ignore):
            detail = {"reason": chosen.reason.value, "detail": chosen.detail}
            self._tell(attempt, EventKind.IGNORED, detail, at, times)
            if log.isEnabledFor(logging.INFO):
                log.info("mac=%s event=ignored reason=%s", attempt.mac, chosen.reason.name)
            return
        detail = {"file": chosen.file, "server": chosen.server, "why": chosen.why}
        self._tell(attempt, step, detail, at, times)
        if log.isEnabledFor(logging.INFO):
            kind, file = chosen.kind.value, chosen.file
            log.info("mac=%s event=%s kind=%s file=%s", attempt.mac, step.value, kind, file)

    def given(self, attempt: Attempt, address: str) -> None:
        """Tell that full DHCP made a lease; the attempt is known by its address from now on."""
        self._plane.attempts.bind_address(attempt, address)
        self._tell(attempt, EventKind.ADDRESS_GIVEN, {"address": address}, None, 1)

    def _tell(
        self, attempt: Attempt, step: EventKind, detail: dict[str, str | int], at: float | None, times: int
    ) -> None:
        if times > 1:
            detail["times"] = times
        when = self._plane.now() if at is None else at
        self._plane.report(Event(when, step, attempt.id, attempt.mac, attempt.node_id, detail))

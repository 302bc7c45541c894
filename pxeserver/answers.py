"""What a TFTP name leads to: carries boot/decision.py's answer to servers/tftp.py, and notes the attempt."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pxeserver.boot import decision
from pxeserver.boot.attempts import Stage
from pxeserver.boot.decision import FileChoice, Role
from pxeserver.boot.model import EventKind, Ignore, Interface, Reason, Subnet
from pxeserver.servers.plane import Plane
from pxeserver.servers.tftp_content import Resolve, Served

_EVENTS: dict[Role, tuple[EventKind | None, EventKind]] = {
    Role.LOADER: (EventKind.LOADER_STARTED, EventKind.LOADER_SENT),
    Role.SCRIPT: (None, EventKind.SCRIPT_SENT),
    Role.FILE: (EventKind.FILE_STARTED, EventKind.FILE_SENT),
}
"""What a file's role is called on the timeline when it starts and when it was sent."""


def tftp_names(plane: Plane) -> Resolve:
    """What TFTP calls with a name, the client's address and the interface."""

    def resolve(name: str, client: tuple[str, int], interface: Interface) -> Served | Ignore:
        catalog = plane.catalog()
        if catalog.policy.dry_run:
            return Ignore(Reason.DRY_RUN, f"would send {name}")
        base = decision.base_url(
            _own_address(interface, client[0], catalog.policy.subnets), catalog.policy.http_port
        )
        choice = decision.file(name, plane.attempts.by_address(client[0]), base, catalog)
        if isinstance(choice, Ignore):
            return choice
        if choice.role is Role.MANIFEST:
            return Ignore(Reason.NOT_FOUND, "manifests are served by HTTP")
        return _served(plane, choice, client[0])

    return resolve


def _served(plane: Plane, choice: FileChoice, address: str) -> Served:
    attempt = plane.attempts.by_id(choice.attempt)
    role, stage = choice.role, choice.stage
    if (
        attempt is not None
        and choice.file is not None
        and role is Role.FILE
        and decision.is_loader(choice.file, attempt, plane.catalog(), plane.nodes())
    ):
        role, stage = Role.LOADER, Stage.LOADER
    started, sent = _EVENTS[role]
    content = choice.file or choice.text.encode()
    if attempt is None:
        # This process was restarted while the machine boots: it gets its file, its script tells who it is.
        # Names are cheap to make up, and each attempt has a place in a table.
        return Served(content, started=started, sent=sent)
    if attempt.address is None:
        plane.attempts.bind_address(attempt, address)
    plane.attempts.reach(attempt, stage, plane.now())
    return Served(content, attempt.id, attempt.mac, attempt.node_id, started, sent)


def _own_address(interface: Interface, client: str, subnets: Iterable[Subnet]) -> str:
    """How the client reaches us: as its subnet says, else our address in its network, else our first on the
    link.
    """
    told = (s.server for s in subnets if ipaddress.ip_address(client) in ipaddress.ip_network(s.network))
    if server := next(filter(None, told), None):
        return server
    own = [ipaddress.ip_interface(text) for text in interface.networks]
    near = next((i for i in own if ipaddress.ip_address(client) in i.network), None)
    return str((near or own[0]).ip) if own else "0.0.0.0"

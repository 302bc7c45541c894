"""What a TFTP name leads to: carries boot/decision.py's answer to servers/tftp.py, and notes the attempt."""

from __future__ import annotations

import ipaddress

from pxeserver.boot import decision
from pxeserver.boot.decision import FileChoice, Role
from pxeserver.boot.model import EventKind, Ignore, Interface, Machine, Reason
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
        base = decision.base_url(_own_address(interface, client[0]), catalog.policy.http_port)
        choice = decision.file(name, plane.attempts.by_address(client[0]), base, catalog)
        if isinstance(choice, Ignore):
            return choice
        if choice.role is Role.MANIFEST:
            return Ignore(Reason.NOT_FOUND, "manifests are served by HTTP")
        return _served(plane, choice, client[0])

    return resolve


def _served(plane: Plane, choice: FileChoice, address: str) -> Served:
    attempt = plane.attempts.by_id(choice.attempt)
    if attempt is None and choice.attempt:
        # This process was restarted while the machine boots; the script will bring the facts along.
        attempt = plane.attempts.adopt(choice.attempt, Machine("", address=address), plane.now())
    started, sent = _EVENTS[choice.role]
    content = choice.file or choice.text.encode()
    if attempt is None:
        return Served(content, started=started, sent=sent)
    if attempt.address is None:
        plane.attempts.bind_address(attempt, address)
    plane.attempts.reach(attempt, choice.stage, plane.now())
    return Served(content, attempt.id, attempt.mac, attempt.node_id, started, sent)


def _own_address(interface: Interface, client: str) -> str:
    """Our address on this link: the one in the client's network, else the first."""
    own = [ipaddress.ip_interface(text) for text in interface.networks]
    near = next((i for i in own if ipaddress.ip_address(client) in i.network), None)
    return str((near or own[0]).ip) if own else "0.0.0.0"

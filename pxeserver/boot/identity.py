"""Which node a machine is.

The order of evidence is: a valid SMBIOS UUID, then a valid serial number, then the MAC addresses. Firmware
of many vendors ships placeholders for the first two; those count as not told. A MAC address alone never
joins two machines: a dock or a USB adapter carries its address from one machine to the next, so a node that
has a UUID is not recognised by a MAC that comes with another valid UUID.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import Machine, Node

_BAD_UUIDS = frozenset(
    {
        "03000200-0400-0500-0006-000700080009",  # AMI's sample value, on boards of many vendors
        "00020003-0004-0005-0006-000700080009",  # the same, byte order exchanged
        "00020003-0004-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "78563412-3412-7856-90ab-cddeefaabbcc",
        "12345678-1234-1234-1234-123456789abc",
        "00112233-4455-6677-8899-aabbccddeeff",
        "01020304-0506-0708-090a-0b0c0d0e0f10",
        "4c4c4544-0000-2010-8020-80c04f202020",  # Dell without a service tag
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "10000000-0000-8000-0040-000000000000",
    }
)

_BAD_SERIALS = frozenset(
    {
        "",
        "0",
        "00",
        "000",
        "0000",
        "0000000",
        "00000000",
        "0123456789",
        "1234567890",
        "123456789",
        "12345678",
        "to be filled by o.e.m.",
        "to be filled by o.e.m",
        "default string",
        "default",
        "system serial number",
        "serial number",
        "chassis serial number",
        "base board serial number",
        "none",
        "n/a",
        "na",
        "null",
        "unknown",
        "not specified",
        "not applicable",
        "not available",
        "not provided",
        "not present",
        "invalid",
        "empty",
        "oem",
        "o.e.m.",
        "xxxxxxxxxx",
        "xxxxxxxx",
        "system manufacturer",
        "type2 - board serial number",
        "0x00000000",
        "serial",
        "s/n",
        "...",
        "filled by oem",
        "empty string",
        "bad serial",
        "no serial",
        "undefined",
        "test",
        "1",
        "-",
        "--",
        ".",
    }
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TEXTS = 4096
"""Texts whose judgement is kept: each is asked for several times within one request."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Known:
    """The machine is this node; `by` is the evidence: "uuid", "serial" or "mac"."""

    node: Node
    by: str = "uuid"


@dataclass(frozen=True, slots=True)
class Unknown:
    """No node is this machine. `code` is what its menu shows and a person types in `node approve CODE`."""

    code: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """The evidence points at several nodes, or speaks against itself. The machine is held and a person is
    told.
    """

    nodes: tuple[Node, ...]
    why: str


Identity = Known | Unknown | Conflict


@lru_cache(_TEXTS)
def valid_uuid(text: str | None) -> str | None:
    """The UUID in lower case, or None where it is missing, malformed or one of the placeholders vendors
    ship.
    """
    uuid = (text or "").strip().lower()
    if not _UUID.fullmatch(uuid) or uuid in _BAD_UUIDS:
        return None
    digits = uuid.replace("-", "")
    return None if digits == digits[:2] * 16 else uuid  # all bytes the same: 0, f and other fillers


@lru_cache(_TEXTS)
def valid_serial(text: str | None) -> str | None:
    """The serial number without blanks around it, or None where it is missing or a placeholder."""
    serial = (text or "").strip()
    bare = serial.casefold()
    if bare in _BAD_SERIALS or len(set(bare)) == 1:
        return None
    return serial


@lru_cache(_TEXTS)
def valid_mac(text: str | None) -> str | None:
    """The MAC address in lower case with colons, or None where it is missing, malformed, zero or a group
    address.
    """
    mac = (text or "").strip().lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        return None
    return mac


def approve_code(machine: Machine) -> str:
    """Six characters of Crockford's base32 that name an unknown machine to a person.

    Made from the best evidence there is, so that it stays the same over its boots and network cards. It is
    a name, not a secret: approving still takes the rights of an administrator.
    """
    evidence = valid_uuid(machine.uuid) or valid_serial(machine.serial) or machine.mac
    number = int.from_bytes(hashlib.sha256(evidence.encode("utf-8", "replace")).digest()[:8], "big")
    return "".join(_CROCKFORD[(number >> (5 * i)) & 31] for i in range(6))


def normal_code(text: str) -> str:
    """A code as a person typed it, as `approve_code` writes it (Crockford: O is 0, I and L are 1, case and
    hyphens are free).
    """
    bare = text.strip().upper().replace("-", "").replace(" ", "")
    return bare.translate(str.maketrans("OIL", "011"))


def identify(machine: Machine, nodes: NodeTable) -> Identity:
    """Which node this machine is, by UUID, then serial, then MAC addresses."""
    uuid, serial = valid_uuid(machine.uuid), valid_serial(machine.serial)
    by_serial = nodes.with_serial(serial) if serial else ()
    if uuid:
        by_uuid = nodes.with_uuid(uuid)
        if len(by_uuid) > 1:
            return Conflict(by_uuid, f"UUID {uuid} is claimed by {_names(by_uuid)}")
        if by_uuid:
            return _check_serial(by_uuid[0], serial, by_serial)
    if len(by_serial) > 1:
        return Conflict(by_serial, f"serial number {serial} is claimed by {_names(by_serial)}")
    if by_serial:
        node = by_serial[0]
        if uuid and valid_uuid(node.uuid):
            return Conflict(
                by_serial, f"serial number of node {node.name}, but UUID {uuid} is not that node's"
            )
        return Known(node, "serial")
    return _by_mac(machine, uuid, serial, nodes)


def _check_serial(node: Node, serial: str | None, by_serial: tuple[Node, ...]) -> Identity:
    """The UUID names `node`: a serial number that contradicts it means two boards with one UUID."""
    if serial is None:
        return Known(node, "uuid")  # the node's own is not looked at: it lies elsewhere in memory
    others = tuple(n for n in by_serial if n.id != node.id)
    if others:
        return Conflict((node, *others), f"UUID of node {node.name}, but serial number of {_names(others)}")
    own = valid_serial(node.serial)
    if own and own != serial:
        return Conflict(
            (node,), f"UUID of node {node.name}, but serial number {serial} where the node has {own}"
        )
    return Known(node, "uuid")


def _by_mac(machine: Machine, uuid: str | None, serial: str | None, nodes: NodeTable) -> Identity:
    """The last evidence: nodes that own one of the machine's MACs and do not contradict its UUID or serial
    number.
    """
    found: dict[int, Node] = {}
    for mac in (machine.mac, *machine.macs):
        for node in nodes.with_mac(mac):
            contradicted = (uuid and valid_uuid(node.uuid)) or (serial and valid_serial(node.serial))
            if not contradicted:
                found[node.id] = node
    match tuple(found.values()):
        case ():
            return Unknown(approve_code(machine))
        case (node,):
            return Known(node, "mac")
        case several:
            return Conflict(several, f"MAC address {machine.mac} is claimed by {_names(several)}")


def _names(nodes: tuple[Node, ...]) -> str:
    """ "node a and node b", for messages."""
    return " and ".join(f"node {n.name}" for n in nodes)

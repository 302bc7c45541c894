"""What machines report about themselves. It comes from the network, so all of it is hostile until it has
been here: bounded in size, depth and count, checked for type, and free of control characters.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

LARGEST = 1 << 20
"""Bytes of JSON: a machine with 500 disks and 100 cards needs 200 kB."""
MOST_DISKS, MOST_CARDS, MOST_SIGNATURES = 512, 256, 512
LONGEST = 256
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?:(?::[0-9a-f]{2}){14})?\Z")
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
"""Characters that turn the direction of text or break lines without being control characters."""


class BadInventory(Exception):  # noqa: N818 - what is wrong with it, told to the machine and the log
    """An inventory that is not taken. `where` names the field, `why` what is wrong with it."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


def clean(value: object) -> object:
    """Text without control, direction and unprintable characters; anything else as it is."""
    if not isinstance(value, str):
        return value
    kept = (c for c in value if c not in _BIDI and unicodedata.category(c)[0] != "C")
    return " ".join("".join(kept).split())


def _mac(value: object) -> object:
    value = clean(value)
    if isinstance(value, str) and value and not _MAC.match(value.lower()):
        raise ValueError("not a MAC address")
    return value.lower() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(clean), Field(max_length=LONGEST)]
Mac = Annotated[str, BeforeValidator(_mac), Field(max_length=59)]
Size = Annotated[int, Field(ge=0, le=1 << 62)]
Count = Annotated[int, Field(ge=0, le=1 << 20)]


class Part(BaseModel):
    """A part of an inventory. Fields this server does not know are left out: agents may be newer."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class MachineFacts(Part):
    """Who made the machine and how it is told from others."""

    uuid: Text = ""
    serial: Text = ""
    vendor: Text = ""
    product: Text = ""
    board: Text = ""
    board_serial: Text = ""
    asset_tag: Text = ""


class FirmwareFacts(Part):
    """BIOS or UEFI. `secure_boot` is None where the machine could not tell."""

    kind: Literal["bios", "uefi"] = "bios"
    secure_boot: bool | None = None
    vendor: Text = ""
    version: Text = ""
    date: Text = ""


class Cpu(Part):
    """The processors, all of them together."""

    architecture: Text = ""
    model: Text = ""
    sockets: Count = 1
    cores: Count = 1
    threads: Count = 1


class Memory(Part):
    """Memory the kernel has, in bytes."""

    bytes: Size = 0


class Disk(Part):
    """One disk. An empty `signatures` means that it was read and is empty; sizes are in bytes."""

    name: Text
    path: Text = ""
    by_path: Text = ""
    serial: Text = ""
    wwn: Text = ""
    model: Text = ""
    size: Size = 0
    removable: bool = False
    rotational: bool = False
    read_only: bool = False
    transport: Text = ""
    # Without a default: a disk of which nothing is said must not pass for an empty one.
    signatures: Annotated[list[Text], Field(max_length=MOST_SIGNATURES)]
    error: Text = ""


class Neighbour(Part):
    """The switch port at the other end of a cable (LLDP)."""

    chassis: Text = ""
    port: Text = ""
    port_description: Text = ""
    system: Text = ""


class Nic(Part):
    """One network card. `speed` is in Mbit/s."""

    name: Text
    mac: Mac = ""
    driver: Text = ""
    link: bool = False
    speed: Count | None = None
    mtu: Count | None = None
    pci: Text = ""
    vendor_id: Text = ""
    device_id: Text = ""
    boot: bool = False
    lldp: Neighbour | None = None


class Accelerator(Part):
    """A GPU or another accelerator on PCI. `memory` is its largest memory region, in bytes."""

    kind: Text = ""
    pci: Text = ""
    vendor_id: Text = ""
    device_id: Text = ""
    driver: Text = ""
    memory: Size = 0


class InfinibandPort(Part):
    """One port of an InfiniBand or RoCE adapter."""

    name: Text = ""
    port: Text = ""
    guid: Text = ""
    firmware: Text = ""
    state: Text = ""
    rate: Text = ""
    link_layer: Text = ""


class Tpm(Part):
    """A trusted platform module."""

    version: Count | None = None
    driver: Text = ""


class Bmc(Part):
    """The management controller. `device`: whether the running system can talk to it."""

    device: bool = False
    address: Text | None = None
    mac: Mac | None = None


class Inventory(Part):
    """A machine, as its agent saw it."""

    format: Annotated[int, Field(ge=1, le=1)]
    agent: Text = ""
    machine: MachineFacts = Field(default_factory=MachineFacts)
    firmware: FirmwareFacts = Field(default_factory=FirmwareFacts)
    cpu: Cpu = Field(default_factory=Cpu)
    memory: Memory = Field(default_factory=Memory)
    disks: Annotated[list[Disk], Field(max_length=MOST_DISKS)] = Field(default_factory=list)
    nics: Annotated[list[Nic], Field(max_length=MOST_CARDS)] = Field(default_factory=list)
    accelerators: Annotated[list[Accelerator], Field(max_length=MOST_CARDS)] = Field(default_factory=list)
    infiniband: Annotated[list[InfinibandPort], Field(max_length=MOST_CARDS)] = Field(default_factory=list)
    tpm: Tpm | None = None
    bmc: Bmc | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as they are stored and shown."""
        return self.model_dump()


def parse_inventory(data: bytes | Mapping[str, Any]) -> Inventory:
    """Check what a machine reported. BadInventory names the first fault; nothing else is raised."""
    if isinstance(data, bytes):
        data = _decode(data)
    try:
        return Inventory.model_validate(data)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:LONGEST]
        raise BadInventory(str(clean(where)) or "inventory", first["msg"]) from None


def _decode(data: bytes) -> Mapping[str, Any]:
    if len(data) > LARGEST:
        raise BadInventory("inventory", f"{len(data)} bytes, at most {LARGEST} are taken")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise BadInventory("inventory", "it is no JSON") from None
    if not isinstance(found, dict):
        raise BadInventory("inventory", "it is no object")
    return found

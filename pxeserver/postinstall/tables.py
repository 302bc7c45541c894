"""The tables and keys of a cluster file: names, types, ranges, and what each is for. The attribute
docstrings are what faults tell people.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Interface
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pxeserver.config.subnets import Address, Network
from pxeserver.postinstall.spec import HEARTBEAT

Key = Annotated[str, Field(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
Label = Annotated[str, Field(max_length=253)]


def _text_of(kind: object) -> Callable[[str], str]:
    """The check inside an annotated text type of config/subnets.py, for keys that may also be empty."""
    validator = kind.__metadata__[0]  # type: ignore[attr-defined]
    checked: Callable[[str], str] = validator.func
    return checked


_network, _address = _text_of(Network), _text_of(Address)


def _form(pattern: str, what: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"{text!r} is not {what}")
        return text

    return check


def _interface(text: str) -> str:
    try:
        found = IPv4Interface(text)
    except ValueError:
        found = None
    if found is None or "/" not in text:
        raise ValueError(f"{text!r} is not an address with its prefix length such as 10.77.0.100/24")
    return str(found)


def _optional(check: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: check(text) if text else text


NodeName = Annotated[
    str, AfterValidator(_form(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "a name of a node"))
]
LinkName = Annotated[
    str,
    AfterValidator(
        _form(r"[a-z][a-z0-9-]{0,10}[a-z0-9]|[a-z]", "a name of at most 12 characters of a-z, 0-9 and -")
    ),
]
DockerName = Annotated[
    str,
    AfterValidator(_form(r"[a-z0-9][a-z0-9_-]{0,62}", "a name that Docker takes: a-z, 0-9, _ and -")),
]
HostPath = Annotated[
    str, AfterValidator(_form(r"(/[A-Za-z0-9._-]+)+", "an absolute path of letters, digits, . _ and -"))
]
Disk = Annotated[
    str,
    AfterValidator(
        _form(r"loop:[1-9]\d{0,5}[MGT]iB|serial:\S{1,128}|empty", "one of loop:4GiB, serial:A,B,C, empty")
    ),
]
_PORT = r"([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
Check = Annotated[
    str,
    AfterValidator(
        # The path is part of a line of keepalived's configuration.
        _form(
            rf"none|tcp:{_PORT}|http:{_PORT}(/[A-Za-z0-9._~/:%?=&+,@-]{{0,200}})?",
            "one of none, tcp:80, http:80/path",
        )
    ),
]
SshKey = Annotated[
    str,
    AfterValidator(
        # No options in front: `command=` and `environment=` would be for people to read over.
        _form(
            r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
            r" [A-Za-z0-9+/]{40,1200}={0,2}( [\x21-\x7e]{1,100})?",
            "a public key such as `ssh-ed25519 AAAA... name`",
        )
    ),
]
Vrid = Annotated[int, Field(ge=0, le=255)]


class Table(BaseModel):
    """A table of the file; keys it does not know are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, use_attribute_docstrings=True)


class MembersTable(Table):
    """`[members]`: who belongs to the cluster."""

    nodes: tuple[NodeName, ...] = ()
    """The members by name, e.g. ["n1", "n2", "n3"]."""
    select: Annotated[str, AfterValidator(_optional(_form(r"[^=\s]+=\S*", "a label such as rack=r1")))] = ""
    """Members are the nodes with this label, e.g. "rack=r1"."""
    next: Annotated[int, Field(ge=0, le=1000)] = 0
    """Members are the next so many nodes that appear and belong to no cluster."""
    managers: Annotated[int, Field(ge=1, le=7)] = 1
    """How many members are Swarm managers: 1, 3, 5 or 7."""
    labels: dict[Key, Label | dict[Key, Label]] = {}
    """Labels of all members, or under a node's name of that node."""
    drain: tuple[NodeName, ...] = ()
    """Members that get no containers."""
    remove: tuple[NodeName, ...] = ()
    """Nodes that are no members, whatever chose them."""
    lost: tuple[NodeName, ...] = ()
    """Removed nodes that never come back: nothing is undone on them."""
    ssh_keys: tuple[SshKey, ...] = ()
    """Public keys that may log in as root on every member, as they stand in an authorized_keys file."""
    replaces: dict[NodeName, NodeName] = {}
    """New member -> the former member whose place it takes, e.g. {n4 = "n3"}."""


class SwitchTable(Table):
    """`[[switch]]`"""

    name: LinkName
    """The bridge's name on every member."""
    uplink: bool = False
    """Whether the members' network card is a port of this switch; exactly one switch has it."""


class VNetTable(Table):
    """`[[vnet]]`"""

    name: LinkName
    """The network's name: of the interface on each member and of the Docker network."""
    switch: LinkName = "switch-1"
    """The switch it lies on."""
    vlan: Annotated[int, Field(ge=1, le=4093)]
    """The VLAN that keeps it apart on its switch, 1-4093; 4094 is used by the switches themselves."""
    subnet: Annotated[str, AfterValidator(_optional(_network))] = ""
    """Its network, e.g. "10.10.0.0/24"; without one it carries frames only."""
    gateway: Annotated[str, AfterValidator(_optional(_address))] = ""
    """The virtual router's address in the subnet; without one nothing leaves the vNet."""
    nat: bool = False
    """Whether the router translates to its uplink address."""
    reach: tuple[LinkName, ...] = ()
    """Other vNets that the router forwards to, and back."""
    mtu: Annotated[int, Field(ge=0, le=9216)] = 0
    """Bytes; 0: what is left of the uplink's MTU."""
    vrid: Vrid = 0
    """VRRP group of the gateway, 1-255; 0: a free one."""


class StorageTable(Table):
    """`[storage]`"""

    volume: DockerName = "shared"
    """The volume's name."""
    driver: Literal["glusterfs", "nfs"] = "glusterfs"
    """glusterfs: bricks on the members. nfs: an export of a server of yours."""
    replicas: Annotated[int, Field(ge=1, le=9)] = 3
    """Bricks in all, each on a member of its own, the arbiter counted."""
    arbiter: Annotated[int, Field(ge=0, le=1)] = 0
    """1: the last of three bricks holds names and sizes only."""
    disk: Disk = "loop:4GiB"
    """Where the bricks are: "loop:4GiB" (a file), "serial:A,B,C" (on each member
    the disk with one of these serials), "empty" (its smallest empty disk)."""
    path: HostPath = "/srv/shared"
    """Where the volume is mounted on every member."""
    options: dict[Key, Label] = {}
    """Options of the Gluster volume."""
    server: Annotated[str, AfterValidator(_optional(_address))] = ""
    """Driver nfs: the server's address."""
    export: Annotated[str, AfterValidator(_optional(_form(r"/[!-~]*", "an absolute path")))] = ""
    """Driver nfs: the exported path."""


class AddressTable(Table):
    """`[[address]]`: a service address."""

    name: LinkName
    """What it is called."""
    address: Annotated[str, AfterValidator(_interface)]
    """The address with its prefix length, e.g. "10.77.0.100/24"."""
    vnet: Annotated[str, Field(max_length=64)] = ""
    """The vNet it is on; empty or "uplink": on the uplink."""
    check: Check = "none"
    """What its owner must answer: "none", "tcp:80" or "http:80/path"."""
    vrid: Vrid = 0
    """VRRP group, 1-255; 0: a free one."""


class OverlayTable(Table):
    """`[[overlay]]`: a Swarm overlay network."""

    name: DockerName
    """The network's name."""
    subnet: Network
    """Its network, e.g. "10.20.0.0/24"."""
    encrypted: bool = False
    """Whether its traffic between members is encrypted."""


class ComposeTable(Table):
    """`[[compose]]`: a Compose project on one member."""

    name: DockerName
    """The project's name."""
    node: NodeName
    """The member it runs on."""
    file: Annotated[str, Field(min_length=1, max_length=1024)]
    """The Compose file, from the cluster file's directory."""
    env: dict[str, str] = {}
    """Variables for the file."""


class StackTable(Table):
    """`[[stack]]`: a Swarm stack."""

    name: DockerName
    """The stack's name."""
    file: Annotated[str, Field(min_length=1, max_length=1024)]
    """The stack file, from the cluster file's directory."""
    env: dict[str, str] = {}
    """Variables for the file."""


class ImageTable(Table):
    """`[[image]]`"""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """An image of this server's store with a container image in it; loaded on every member."""


class DockerTable(Table):
    """`[docker]`"""

    pool: Annotated[str, AfterValidator(_optional(_network))] = ""
    """Where bridge networks get their subnets from; empty: a /16 that overlaps nothing of the cluster."""
    swarm_pool: Annotated[str, AfterValidator(_optional(_network))] = ""
    """Where overlay networks get their subnets from; empty: another such /16."""
    insecure_registries: tuple[Annotated[str, Field(max_length=253)], ...] = ()
    """Registries that are spoken to without TLS, e.g. ["10.77.0.100:5000"]."""
    heartbeat: Annotated[int, Field(ge=5, le=60)] = HEARTBEAT
    """Seconds between the signs of life of a Swarm's nodes; a node is given up after three. More for slow or
    overloaded machines, which would be given up without need."""


class ClusterTable(Table):
    """A cluster file."""

    name: DockerName
    """The cluster's name."""
    ephemeral: bool = False
    """Accept managers without a state disk: a total loss of power then loses the Swarm's memory."""
    destroy: bool = False
    """Take the cluster down."""
    members: MembersTable
    """Who belongs to the cluster."""
    switch: tuple[SwitchTable, ...] = ()
    """The switches; without any, switch-1 with the uplink."""
    vnet: tuple[VNetTable, ...] = ()
    """The isolated networks."""
    storage: StorageTable | None = None
    """The shared volume."""
    address: tuple[AddressTable, ...] = ()
    """Addresses that fail over between members."""
    overlay: tuple[OverlayTable, ...] = ()
    """Swarm overlay networks."""
    compose: tuple[ComposeTable, ...] = ()
    """Compose projects on single members."""
    stack: tuple[StackTable, ...] = ()
    """Swarm stacks."""
    image: tuple[ImageTable, ...] = ()
    """Container images loaded on every member."""
    packages: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], str] = {}
    """Debian packages pinned to a version, e.g. {"docker.io" = "20.10.24+dfsg1-1"}."""
    docker: DockerTable = DockerTable()
    """Settings of the engines."""

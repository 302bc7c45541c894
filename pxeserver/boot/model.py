"""The values every room speaks: machines, what may be booted on them, and what happened to them.

All of them are frozen and made of plain types (str, int, float, tuple, dict), so that they travel unchanged
through the channel between the control process and the boot worker, the journal and the API. Addresses and
networks are their usual text ("10.0.0.1", "10.0.0.0/24"); MAC addresses are lower case with colons; UUIDs
are lower case with hyphens; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

# --------------------------------------------------------------------------------------- why nothing was sent


class Reason(Enum):
    """Why the boot plane stayed silent or refused. Log, metric, timeline and test all use these names."""

    MALFORMED = "malformed"
    NOT_A_REQUEST = "not-a-request"
    NOT_PXE = "not-pxe"
    NOT_SERVED_HERE = "not-served-here"
    NO_ADDRESS_ON_LINK = "no-address-on-link"
    RELAY_NOT_ALLOWED = "relay-not-allowed"
    OTHER_SERVER = "other-server"
    OTHER_MESSAGE = "other-message"
    OWN_PROBE = "own-probe"
    """From this host: our own search for other servers."""
    NO_ARCHITECTURE = "no-architecture"
    NO_LOADER = "no-loader"
    POLICY_IGNORE = "policy-ignore"
    POLICY_OBSERVE = "policy-observe"
    NODE_HELD = "node-held"
    IDENTITY_CONFLICT = "identity-conflict"
    DRY_RUN = "dry-run"
    DHCP_OFF = "dhcp-off"
    NO_FREE_ADDRESS = "no-free-address"
    NOT_RESERVED = "not-reserved"
    ADDRESS_IN_USE = "address-in-use"
    NOT_FOUND = "not-found"
    ACCESS_DENIED = "access-denied"
    UNKNOWN_ATTEMPT = "unknown-attempt"
    OTHER_MACHINE = "other-machine"
    """The sender's MAC address is none of the machine's whose attempt it names."""
    TOO_MANY_TRANSFERS = "too-many-transfers"
    TOO_LARGE = "too-large"
    UNKNOWN_TRANSFER = "unknown-transfer"
    CONTROL_AWAY = "control-away"
    BUSY = "busy"
    NOT_SENT = "not-sent"
    """The answer was ready and the kernel did not take it: no route, a link that went down, full buffers."""
    JOURNAL_FAILED = "journal-failed"
    STORE_UNAVAILABLE = "store-unavailable"
    """The file is known and could not be read: our fault, never told as a missing file."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Silence as a value: the decision was to answer nothing (or to refuse), and this is why."""

    reason: Reason
    detail: str = ""


# ---------------------------------------------------------------------------------------------- who is asking


class ClientKind(Enum):
    """Which program sent the request; it decides what answer it can use."""

    FIRMWARE_PXE = "firmware-pxe"
    FIRMWARE_HTTP = "firmware-http"
    IPXE = "ipxe"


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of the machine behind one request. Every text in it came from the network: hostile,
    bounded, display-safe.
    """

    mac: str
    uuid: str | None = None
    serial: str | None = None
    arch: int | None = None
    """Client system architecture (RFC 4578 section 2.1, IANA "Processor Architecture Types")."""
    kind: ClientKind | None = None
    vendor: str = ""
    product: str = ""
    address: str | None = None
    subnet: str | None = None
    """The served network the request came from, e.g. "10.77.0.0/24"."""
    macs: tuple[str, ...] = ()
    """Further MACs of the same machine, where it told them."""
    platform: str = ""
    """iPXE's ${platform}: "pcbios" or "efi"; empty when not told."""


# ----------------------------------------------------------------------------------------- what may be booted


@dataclass(frozen=True, slots=True)
class FileRef:
    """One published file: content is found by its sha256, its name is what clients see."""

    name: str
    sha256: str
    size: int
    role: str = "file"
    """One of: kernel, initrd, root, efi, script, disk, file, loader. A root file system is fetched by the
    image's own initrd, which is told its URL, SHA-256 and size on the kernel command line.
    """


@dataclass(frozen=True, slots=True)
class Image:
    """A named set of files that boot together."""

    name: str
    files: tuple[FileRef, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def by_role(self, role: str) -> tuple[FileRef, ...]:
        """The files of one role, in the order they were added (initrds are loaded in this order)."""
        return tuple(f for f in self.files if f.role == role)


@dataclass(frozen=True, slots=True)
class Loader:
    """A network boot program for one client architecture."""

    arch: int
    file: FileRef
    source: str = ""
    version: str = ""
    licence: str = ""


class ProfileKind(Enum):
    """What a profile does with a machine."""

    LOCAL = "local"
    """Start the local disk."""
    KERNEL = "kernel"
    """Kernel, initrds and arguments of an image."""
    EFI = "efi"
    """An EFI binary of an image."""
    SCRIPT = "script"
    """An iPXE script of the operator."""
    CHAIN = "chain"
    """Chain to another server's URL."""
    DISCOVERY = "discovery"
    """The discovery system: inventory, orders."""
    DISK = "disk"
    """The discovery system writes the image's raw disk file to the machine's disk, then it boots locally."""
    MENU = "menu"
    """A menu of profiles that falls through to the local disk."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What to boot, by name. `install` profiles run once for each install order of a node, then the local
    disk boots.
    """

    name: str
    kind: ProfileKind
    image: str | None = None
    args: str = ""
    """Kernel command line; parsed into words, control characters refused."""
    script: str = ""
    url: str = ""
    install: bool = False
    title: str = ""
    """Text in menus; the name where empty."""
    in_menu: bool = True
    values: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


class SelectorKind(Enum):
    """What a group selects machines by, from the least to the most specific (the order of precedence)."""

    ARCH = "arch"
    VENDOR = "vendor"
    MAC_PREFIX = "mac-prefix"
    SUBNET = "subnet"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Group:
    """Values for all machines that a selector matches: arch "7", vendor "QEMU", mac-prefix "52:54:00",
    subnet "10.0.0.0/24", label "rack=r1".
    """

    name: str
    selector: SelectorKind
    match: str
    values: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BootOnce:
    """Boot this profile at the next boot only. `number` grows with each such order, so that one order is
    used once.
    """

    number: int
    profile: str


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's leave to overwrite one disk of one node, as it was seen: serial and signatures must still
    be the same.
    """

    order: int
    disk_serial: str
    signatures: tuple[str, ...]
    by: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A known machine as configured: what people decide about it. What happened to it is its NodeState."""

    id: int
    name: str
    uuid: str | None = None
    serial: str | None = None
    macs: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    """Overrides; the key "profile" assigns a profile."""
    labels: Mapping[str, str] = field(default_factory=dict)
    order: int = 0
    """Number of the newest install order; an install profile runs only while this is above
    NodeState.order.
    """
    boot_once: BootOnce | None = None
    hold: str = ""
    """Why an operator holds the node; empty when not held."""
    consents: tuple[Consent, ...] = ()
    address: str | None = None
    """Reserved IPv4 address for full DHCP."""
    hardware: Mapping[str, str] = field(default_factory=dict)
    """Vendor, product and architecture as last reported: group selectors use them."""
    version: int = 1


# ----------------------------------------------------------------------------------------- the life of a node


class Phase(Enum):
    """Where a node is in the life of its newest install order. The table of moves is boot/lifecycle.py."""

    IDLE = "idle"
    """No install was ever started."""
    INSTALLING = "installing"
    INSTALLED = "installed"
    HELD = "held"
    """An install failed or was cut off; only a new order moves it."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What the boot plane knows has happened to a node. Written by the boot worker alone, through its
    journal.
    """

    node_id: int
    phase: Phase = Phase.IDLE
    order: int = 0
    """The install order this phase belongs to."""
    boot_once: int = 0
    """Number of the newest boot-once order already used."""
    once_attempt: str = ""
    """The attempt that used it: asking again, it gets the same answer."""
    reason: str = ""
    attempt: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """An IPv4 address promised to a client until `expires`."""

    address: str
    mac: str
    client_id: str
    """Hex of option 61, or of htype + MAC where the client sent none (RFC 2131 section 4.2)."""
    expires: float
    hostname: str = ""
    state: str = "bound"
    """bound, released, declined."""


# --------------------------------------------------------------------------------------------- where we serve


class DhcpMode(Enum):
    """What DHCP does on a subnet."""

    PROXY = "proxy"
    FULL = "full"
    RESERVED = "reserved"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Subnet:
    """A served IPv4 network. `pools` are inclusive address ranges for full mode."""

    network: str
    mode: DhcpMode = DhcpMode.PROXY
    pools: tuple[tuple[str, str], ...] = ()
    router: str | None = None
    dns: tuple[str, ...] = ()
    domain: str = ""
    mtu: int | None = None
    ntp: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """Classless static routes (RFC 3442): (destination network, router)."""
    lease_seconds: int = 3600
    server: str | None = None
    """The address machines of this network reach us at; needed for relayed networks, else our own address
    on the link.
    """
    force: bool = False
    """Give addresses also where another DHCP server does."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface the boot plane serves. `networks` are its own addresses with prefix, e.g.
    "10.77.0.2/24".
    """

    index: int
    name: str
    networks: tuple[str, ...]
    mtu: int = 1500
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """The links this worker serves, read from the kernel at start and at link changes."""

    interfaces: tuple[Interface, ...] = ()

    def by_index(self, index: int) -> Interface | None:
        """The served interface with this kernel index."""
        return next((i for i in self.interfaces if i.index == index), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The boot plane's settings that travel with the snapshot."""

    unknown: str = "menu"
    """For unknown machines: menu, discover, observe, ignore, or "profile:NAME"."""
    unknown_chosen: bool = False
    """Somebody chose `unknown`; as a mere default it gives way to "observe" where another boot server
    answers.
    """
    dry_run: bool = False
    menu_timeout: int = 30
    """Seconds until the menu for unknown machines falls through to the local disk."""
    menu_order: tuple[str, ...] = ()
    """Profiles that stand first in menus, in this order; the others follow by their texts."""
    menu_default: str = "local"
    """What a menu starts by itself: a profile, or "local", which stands in for a missing one."""
    relays: tuple[str, ...] = ()
    """Addresses or networks of DHCP relays (giaddr) that are answered."""
    subnets: tuple[Subnet, ...] = ()
    http_port: int = 80
    tftp_port: int = 69
    agents_port: int = 8444
    """Where the control process listens for the agents of nodes."""
    agents_ca: str = ""
    """SHA-256 (hex) of the certificate (DER) that vouches for that listener; "" while there is none."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Site-wide defaults, over the built-in ones (boot/values.py)."""


# ---------------------------------------------------------------------------------------------- what happened


class EventKind(Enum):
    """The steps of an attempt's timeline, in the order they usually come."""

    DISCOVERED = "discovered"
    IGNORED = "ignored"
    OFFERED = "offered"
    ADDRESS_GIVEN = "address-given"
    BOOT_REQUESTED = "boot-requested"
    """A request on port 4011."""
    LOADER_STARTED = "loader-started"
    LOADER_SENT = "loader-sent"
    SCRIPT_SENT = "script-sent"
    WAITING = "waiting"
    """It waits for its turn to load; detail has "place", "of", "seconds" and "text"."""
    FILE_STARTED = "file-started"
    FILE_PROGRESS = "file-progress"
    FILE_SENT = "file-sent"
    FILE_FAILED = "file-failed"
    INVENTORY = "inventory"
    INSTALL_STARTED = "install-started"
    INSTALL_PROGRESS = "install-progress"
    INSTALLED = "installed"
    INSTALL_FAILED = "install-failed"
    BOOTED = "booted"
    LOCAL_BOOT = "local-boot"
    BOOT_ONCE_USED = "boot-once-used"
    """detail has "boot_once", the order's number."""
    HELD = "held"
    CLOSED = "closed"
    """The attempt ended; detail has "diagnosis" and "text"."""


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one attempt. `detail` holds what the step is about, e.g. file, bytes, total, seconds,
    reason, address.
    """

    at: float
    kind: EventKind
    attempt: str
    mac: str
    node_id: int | None = None
    detail: Mapping[str, str | int | float] = field(default_factory=dict)


class PromiseKind(Enum):
    """What the journal keeps."""

    STATE = "state"
    LEASE = "lease"
    NODE = "node"
    """A node's configuration as the control process sent it, kept for restarts while that process is away."""
    NODE_REMOVED = "node-removed"


@dataclass(frozen=True, slots=True)
class Promise:
    """One durable fact. Exactly the field that its kind names is set."""

    kind: PromiseKind
    state: NodeState | None = None
    lease: Lease | None = None
    node: Node | None = None
    node_id: int | None = None
    event: Event | None = None
    """The event that caused a state change; it reaches the timeline even after a crash of either process."""

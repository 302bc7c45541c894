"""The settings, section by section: names, types, ranges, defaults, and what each is for.

The attribute docstrings are the documentation: `pxeserver config schema`, docs/configuration.md and the
error messages are made from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS, Windows
from pxeserver.boot.model import Policy
from pxeserver.boot.values import KEYS, check_value
from pxeserver.config import checking, sources, subnets
from pxeserver.config.admin import AdminSettings
from pxeserver.config.admission import AdmissionSettings
from pxeserver.config.faults import ConfigErrors, Fault
from pxeserver.config.section import Port, Section, WholePath, listed
from pxeserver.config.subnets import Address, SubnetSettings

_UNKNOWN = re.compile(r"menu|discover|observe|ignore|profile:[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _unknown(text: str) -> str:
    if not _UNKNOWN.fullmatch(text):
        raise ValueError(f"{text!r} is not one of menu, discover, observe, ignore, profile:NAME")
    return text


def _relay(text: str) -> str:
    try:
        network = IPv4Network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address or network of relays") from None
    return str(network.network_address) if network.prefixlen == 32 else str(network)


def _interface(text: str) -> str:
    if not re.fullmatch(r"[^\s/:]{1,15}", text):
        raise ValueError(f"{text!r} is not a name of a network interface")
    return text


def _firmware(text: str) -> str:
    if not re.fullmatch(r"firmware-[a-z0-9][a-z0-9.+-]{0,60}", text):
        raise ValueError(f"{text!r} is not a package of firmware: their names begin with firmware-")
    return text


class ServerSettings(Section):
    """The processes and where they keep things."""

    interface: Annotated[tuple[Annotated[str, AfterValidator(_interface)], ...], BeforeValidator(listed)] = ()
    """Network interfaces to serve; empty: every interface with an IPv4 address that is up and is no
    loopback, container or virtual machine bridge."""
    address: Address | None = None
    """The address that machines are told to reach this server at; empty: the server's own on each link."""
    state_dir: WholePath = Path("/var/lib/pxeserver")
    """Database, journal, images, loaders and backups."""
    run_dir: WholePath = Path("/run/pxeserver")
    """Sockets."""
    user: Annotated[str, Field(min_length=1, max_length=32)] = "pxeserver"
    """The user that the server becomes once its ports are open; ignored where it is not started as root."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Boot workers. Only 1 works yet: `pxeserver run` refuses more."""
    event_loop: Literal["asyncio", "uvloop"] = "asyncio"
    """Event loop of the boot workers."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""


class PolicySettings(Section):
    """What machines get that nobody has configured."""

    unknown: Annotated[str, AfterValidator(_unknown)] = "menu"
    """For unknown machines: menu (falls through to the local disk), discover (boot the discovery system),
    observe (record, answer nothing), ignore, or profile:NAME."""
    dry_run: bool = False
    """Listen and record what would be answered, and send nothing."""
    menu_timeout: Annotated[int, Field(ge=0, le=3600)] = 30
    """Seconds until the menu for unknown machines falls through to the local disk; 0: it waits for ever."""
    values: dict[str, str] = Field(default_factory=dict)
    """Defaults of the whole site for the values of nodes, e.g. kernel_args, console, local_boot."""


class DhcpSettings(Section):
    """DHCP and ProxyDHCP."""

    port: Port = 67
    """Server port (RFC 2131)."""
    proxy_port: Port = 4011
    """Port of the boot service discovery (PXE 2.1)."""
    probe: bool = True
    """Look for other boot servers at start and at link-up, and leave unknown machines to them. Never in
    dry-run."""
    probe_seconds: Annotated[float, Field(ge=5, le=86_400)] = 60
    """Where another DHCP server keeps this one from giving addresses: seconds until the next look for it."""
    force: bool = False
    """Give addresses (dhcp = "full" or "reserved" of a subnet) also where the probe finds another DHCP server
    that does. Without it such a subnet gets boot information only, until the other one is gone."""
    relays: Annotated[tuple[Annotated[str, AfterValidator(_relay)], ...], BeforeValidator(listed)] = ()
    """Addresses or networks of DHCP relays that are answered; others are refused."""


class TftpSettings(Section):
    """TFTP (RFC 1350, 2347-2349, 7440)."""

    port: Port = 69
    """The port that requests come to; transfers are answered from it too, unless port_range is given."""
    port_range: tuple[Port, Port] | None = None
    """First and last port for transfers, for firewalls that know classic TFTP only, e.g. [30000, 30999]."""
    max_transfers: Annotated[int, Field(ge=1, le=100_000)] = 4096
    """Transfers at the same time. With port_range each needs two open files: fewer where the limit is low."""
    max_transfers_per_address: Annotated[int, Field(ge=1, le=1000)] = 16
    """Transfers of one address at the same time."""
    max_block_size: Annotated[int, Field(ge=512, le=65464)] = 1468
    """Greatest block size granted, in bytes. 1468 fits an Ethernet frame; it is lowered to the link's MTU."""
    max_window: Annotated[int, Field(ge=1, le=64)] = 64
    """Greatest window granted, in blocks (RFC 7440). After losses a machine gets a smaller one."""


class HttpSettings(Section):
    """The HTTP listener that machines boot from."""

    port: Port = 80
    """Its port."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 2048
    """Connections at the same time."""
    max_connections_per_address: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Connections of one address at the same time."""
    idle_seconds: Seconds = 10.0
    """A connection that sends no request for so long is closed."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = 1 << 20
    """Greatest body that a machine may send (inventory, reports)."""


class ApiSettings(Section):
    """The administration API on the unix socket."""

    socket: WholePath | None = None
    """Path of the socket; empty: api.sock in server.run_dir."""
    group: Annotated[str, Field(max_length=32)] = "pxeserver"
    """Members of this group may use the socket. Empty: the server's user only."""
    max_upload_bytes: Annotated[int, Field(ge=1 << 20)] = 64 << 30
    """Greatest file that may be uploaded into an image."""


class LoadersSettings(Section):
    """Network boot programs."""

    fetch: bool = True
    """Fetch missing loaders from the packages named in the loaders' manifest; false: only what is there or
    imported."""
    mirror: Annotated[str, Field(pattern=r"^(|https?://[!-~]+)$")] = ""
    """Package mirror, e.g. "http://deb.debian.org/debian"; empty: the one that this host uses. What is
    fetched must be signed by the archive, whatever the mirror."""
    cache_dir: WholePath | None = None
    """Where fetched packages are kept; empty: loaders/ in server.state_dir."""
    firmware: Annotated[tuple[Annotated[str, AfterValidator(_firmware)], ...], BeforeValidator(listed)] = ()
    """Debian packages whose firmware files the discovery system gets, e.g. ["firmware-bnx2x"]. They are not
    free software, and few cards need one: see docs/machines.md."""


class NodeImageSettings(Section):
    """The node system, which machines of a cluster run from RAM. It is built on order only: `pxeserver image
    build cluster-node`."""

    release: Literal["bookworm", "trixie"] = "trixie"
    """Debian's release."""
    kernel: Literal["virtual", "physical"] = "virtual"
    """virtual: Debian's cloud kernel, with the drivers of virtual machines only; physical: its usual one."""
    compression: Literal["small", "fast"] = "small"
    """Of the root file system; fast is built in seconds instead of minutes, and takes more of nodes' RAM."""


class BootsSettings(Section):
    """How many seconds a boot may stay silent at each stage before it counts as stopped and `pxeserver boot
    show` says why. The defaults suit real and emulated firmware; systems that start slowly want more."""

    after_offer: Seconds = DEFAULT_WINDOWS.after_offer
    """After our offer, until the machine asks for the boot loader."""
    during_loader: Seconds = DEFAULT_WINDOWS.during_loader
    """While the boot loader is being sent."""
    after_loader: Seconds = DEFAULT_WINDOWS.after_loader
    """After the boot loader was sent, until it asks for its script."""
    after_script: Seconds = DEFAULT_WINDOWS.after_script
    """After the script, until the kernel is asked for."""
    during_file: Seconds = DEFAULT_WINDOWS.during_file
    """While kernel and RAM disks are being sent."""
    after_files: Seconds = DEFAULT_WINDOWS.after_files
    """After kernel and RAM disks, until the started system reports."""
    during_install: Seconds = DEFAULT_WINDOWS.during_install
    """Between two reports of an installer."""

    def windows(self) -> Windows:
        """These times as the diagnosis takes them."""
        return replace(DEFAULT_WINDOWS, **self.model_dump())


class AgentsSettings(Section):
    """The listener for the agents of nodes: claims and the work of the cluster stage, over TLS."""

    enabled: bool = True
    """Listen for agents. Without it no node can join."""
    port: Port = 8444
    """Its TCP port."""


class Settings(Section):
    """Everything. Every part has a default: no file is needed."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    dhcp: DhcpSettings = Field(default_factory=DhcpSettings)
    tftp: TftpSettings = Field(default_factory=TftpSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    admission: AdmissionSettings = Field(default_factory=AdmissionSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    loaders: LoadersSettings = Field(default_factory=LoadersSettings)
    node_image: NodeImageSettings = Field(default_factory=NodeImageSettings)
    agents: AgentsSettings = Field(default_factory=AgentsSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    boots: BootsSettings = Field(default_factory=BootsSettings)
    subnet: tuple[SubnetSettings, ...] = ()
    """Served networks. Without any, the interfaces' own networks are served with ProxyDHCP."""

    _gathered: sources.Gathered = PrivateAttr(default_factory=sources.Gathered)

    @classmethod
    def load(
        cls, path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None
    ) -> Settings:
        """Read the file, then PXESERVER_* of `environ`, then `flags` ("server.interface" -> value); later
        ones win.

        Raises ConfigErrors with every fault at once.
        """
        gathered = sources.gather(cls, path, environ, flags or {})
        checked = checking.validate(cls, gathered)
        faults = [*gathered.faults, *checked.faults]
        if checked.settings is not None:
            for key, what, mend in checked.settings._check(checked.places):
                if not _follows(key, checked.gone):
                    faults.append(Fault(gathered.where(key), checking.dotted(key), what, mend))
        if faults or checked.settings is None:
            raise ConfigErrors(sorted(faults, key=_place))
        checked.settings._gathered = gathered
        return checked.settings

    def _check(self, places: Mapping[str, list[int]]) -> Iterator[tuple[subnets.Where, str, str]]:
        if self.dhcp.port == self.dhcp.proxy_port:
            yield (
                ("dhcp", "proxy_port"),
                "is the same port as dhcp.port",
                "Give each its own; 4011 is the usual one",
            )
        if self.admin.key and not self.admin.certificate:
            yield ("admin", "key"), "stands without a certificate", "Name admin.certificate as well"
        if self.tftp.port_range and self.tftp.port_range[0] > self.tftp.port_range[1]:
            yield ("tftp", "port_range"), "ends before it begins", "Write [first, last]"
        for name, text in self.policy.values.items():
            if fault := check_value(name, text):
                known = f"Known values: {', '.join(KEYS)}"
                yield ("policy", "values", name), fault, "" if name in KEYS else known
        numbered = list(zip(places.get("subnet", range(len(self.subnet))), self.subnet, strict=True))
        for key, what, mend in subnets.check(numbered):
            yield ("subnet", *key), what, mend

    def origin(self, key: str) -> str:
        """Where the value of "section.key" comes from: "default", "file:line", a variable's name, or a flag.

        A subnet is named by its place: "subnet.0.network".
        """
        path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        return self._gathered.where(path) if self._is_given(path) else "default"

    def _is_given(self, path: subnets.Where) -> bool:
        data: Any = self._gathered.data
        for part in path:
            if isinstance(data, list) and isinstance(part, int) and part < len(data):
                data = data[part]
                continue
            if not isinstance(data, dict) or part not in data:
                return False
            data = data[part]
        return True

    @property
    def socket_path(self) -> Path:
        """The API's unix socket."""
        return self.api.socket or self.server.run_dir / "api.sock"

    @property
    def loaders_dir(self) -> Path:
        """Where loaders and fetched packages are kept."""
        return self.loaders.cache_dir or self.server.state_dir / "loaders"

    def policy_model(self) -> Policy:
        """The part that travels to the boot workers with the snapshot."""
        return Policy(
            unknown=self.policy.unknown,
            unknown_chosen=self._is_given(("policy", "unknown")),
            dry_run=self.policy.dry_run,
            menu_timeout=self.policy.menu_timeout,
            relays=self.dhcp.relays,
            subnets=tuple(s.model(force=self.dhcp.force) for s in self.subnet),
            http_port=self.http.port,
            tftp_port=self.tftp.port,
            values=dict(self.policy.values),
        )


def _follows(key: subnets.Where, gone: set[subnets.Where]) -> bool:
    """Whether a finding only follows from a key that was taken away: pools are missing because they are
    faulty."""
    pair = ("dhcp", "pools")
    return key[0] == "subnet" and key[2] in pair and any((*key[:2], name) in gone for name in pair)


def _place(fault: Fault) -> tuple[str, int]:
    name, _, line = fault.where.rpartition(":")
    return (name, int(line)) if name and line.isdigit() else (fault.where, 0)

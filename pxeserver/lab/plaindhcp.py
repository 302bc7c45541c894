"""dnsmasq as the DHCP server that was on the network first: it knows nothing of PXE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_COMMON = (
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--user=root",
    "--log-facility=-",
    "--log-dhcp",
)


def dhcp_words(
    work: Path, address: str, router: str, *, leases: bool, extra: Sequence[str] = ()
) -> list[str]:
    """Leases from .50 to .250 with router, name server and domain (installers stop at a question without
    them).
    """
    words = [
        *_COMMON,
        "--interface=eth0",
        "--bind-dynamic",
        "--no-resolv",
        "--no-hosts",
        f"--pid-file={work}/dhcp.pid",
    ]
    words += ["--enable-ra", "--dhcp-range=fd77::,ra-only", f"--dhcp-leasefile={work}/dhcp.leases"]
    if leases:
        network = address.rpartition(".")[0]
        words += [f"--dhcp-range={network}.50,{network}.250,255.255.255.0,1h", "--dhcp-authoritative"]
        words += [
            f"--dhcp-option=option:router,{router}",
            f"--dhcp-option=option:dns-server,{address}",
            "--domain=lab.test",
        ]
    return [*words, *extra]


def relay_words(work: Path, address: str, servers: Sequence[str]) -> list[str]:
    """A DHCP relay (RFC 1542 section 4) from the network of `address` to each of `servers`."""
    words = [*_COMMON, "--port=0", "--interface=eth1", "--bind-dynamic", f"--pid-file={work}/relay.pid"]
    words += ["--enable-ra", "--dhcp-range=fd77:1::,ra-only", f"--dhcp-leasefile={work}/relay.leases"]
    return [*words, *(f"--dhcp-relay={address},{server}" for server in servers)]

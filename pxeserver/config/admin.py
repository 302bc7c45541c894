"""The settings of the admin plane."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from pxeserver.config.section import Port, Section, WholePath, listed
from pxeserver.config.subnets import Address


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]", text):
        raise ValueError(f"{text!r} is not a host name or an address, without a port")
    return text.lower()


class AdminSettings(Section):
    """The web pages and the API for people and programs, over TLS. Machines boot without it."""

    enabled: bool = True
    """Listen for them. Without it there is the unix socket only."""
    port: Port = 8443
    """TCP port of HTTPS."""
    address: Address = "0.0.0.0"
    """The address that HTTPS listens on; "0.0.0.0": every one of this host."""
    loopback_port: Port = 8080
    """TCP port of plain HTTP on 127.0.0.1, which nobody but this host reaches."""
    certificate: WholePath | None = None
    """PEM file of a certificate with its chain; empty: one by the server's own authority, renewed by
    itself."""
    key: WholePath | None = None
    """PEM file of the certificate's key; empty: it is in the certificate's file."""
    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(listed)] = ()
    """Names and addresses besides this host's own under which it is reached, e.g. ["pxe.example.org"]. A
    request for any other name is refused."""

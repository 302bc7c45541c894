"""The settings as they are, with where each comes from; subnets that are set at run time; backups."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pxeserver.api.schemas.fields import Body, Time, View
from pxeserver.config.subnets import SubnetSettings


class SettingView(View):
    """One setting of the configuration."""

    key: str
    """As "http.port"."""
    value: str
    """In force now, as TOML writes it."""
    default: str
    origin: str
    """default; file:line, a variable or a flag; or "here": set at run time, over all of these."""
    help: str
    live: bool
    """It can be changed at run time."""
    line: str
    """What to write into the configuration file."""


class SubnetChange(SubnetSettings):
    """A network to serve; it holds over the configuration file."""


class SubnetFound(View):
    """A served network, and where it is set."""

    network: str
    dhcp: str
    pools: tuple[str, ...]
    router: str | None
    dns: tuple[str, ...]
    domain: str
    mtu: int | None
    ntp: tuple[str, ...]
    routes: tuple[str, ...]
    server: str | None
    lease_seconds: int
    force: bool
    origin: Literal["file", "here", "over the file"]
    line: str
    """What to write into the configuration file for the same."""


class NetworkQuery(Body):
    """Which network."""

    network: Annotated[str, Field(max_length=18)]


class BackupView(View):
    """A backup on the server."""

    name: str
    kind: Literal["daily", "upgrade", "manual", "uploaded", "other"]
    size: int
    at: Time

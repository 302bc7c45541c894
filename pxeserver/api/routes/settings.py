"""The settings in force with where they come from, and the subnets that are set at run time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any, Literal

from pydantic import BaseModel

from pxeserver.api.access.who import administer, look
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.settings import NetworkQuery, SettingView, SubnetChange, SubnetFound
from pxeserver.boot.model import Policy, Subnet
from pxeserver.config.subnets import SubnetSettings, check
from pxeserver.storage.catalogs import Catalogs

LIVE = ("policy.unknown", "policy.dry_run", "policy.menu_timeout", "policy.values")
"""What people change at run time; it is kept in the database."""


async def list_settings(call: Call) -> list[SettingView]:
    """All settings. What was set at run time is told as it is in force, with the origin "here"."""
    async with call.hall.database.read() as connection:
        stored = set(await Catalogs(connection).settings())
    return list(_settings(call, call.hall.catalog().policy, stored))


def _settings(call: Call, policy: Policy, stored: set[str]) -> Iterator[SettingView]:
    settings = call.rooms.settings
    for section, value in settings:
        if not isinstance(value, BaseModel):
            continue  # subnets have their own list
        for name, info in type(value).model_fields.items():
            key = f"{section}.{name}"
            live = key in LIVE
            now = getattr(policy, name) if live else getattr(value, name)
            here = live and name in stored
            text = toml(dict(now) if isinstance(now, dict) else now)
            yield SettingView(
                key=key,
                value=text,
                default=toml(info.get_default(call_default_factory=True)),
                origin="here" if here else settings.origin(key),
                help=" ".join((info.description or "").split()),
                live=live,
                line=f"[{section}]\n{name} = {text or '…'}",
            )


def toml(value: Any) -> str:
    """A value as TOML writes it; "" for none."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case dict():
            return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }" if value else "{}"
        case list() | tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


# ----------------------------------------------------------------------------------------------- subnets


async def list_subnets(call: Call) -> list[SubnetFound]:
    """The served networks, those of the configuration file and those that were set here."""
    async with call.hall.database.read() as connection:
        stored = set(await Catalogs(connection).subnets())
    return [_found(call, subnet, stored) for subnet in call.hall.catalog().policy.subnets]


async def put_subnet(call: Call) -> SubnetFound:
    """Serve a network, or serve it otherwise. It outlives restarts and wins over the configuration file."""
    body: SubnetChange = call.body
    others = [s for s in call.hall.catalog().policy.subnets if s.network != body.network]
    _check(body, others)
    subnet = body.model(force=call.rooms.settings.dhcp.force)
    async with call.hall.edit(call.by) as edit:
        await edit.put_subnet(subnet)
    return _found(call, subnet, {subnet.network})


async def remove_subnet(call: Call) -> None:
    """Forget what was set here; a network of the configuration file is again as it says."""
    query: NetworkQuery = call.query
    async with call.hall.database.read() as connection:
        stored = await Catalogs(connection).subnets()
    if query.network not in stored:
        if query.network not in _in_file(call):
            raise not_found("subnet", query.network)
        step = "Remove it from the configuration file, or set its mode to off"
        raise Problem(409, f"subnet {query.network} stays", "the configuration file has it", step)
    async with call.hall.edit(call.by) as edit:
        await edit.remove_subnet(query.network)


def _check(body: SubnetChange, others: list[Subnet]) -> None:
    """What the configuration would refuse is refused here as well."""
    faults = {str(where[1]): f"{what}. {mend}" for where, what, mend in check([(0, body)])}
    network = IPv4Network(body.network)
    for other in others:
        if network.overlaps(IPv4Network(other.network)):
            faults["network"] = f"{network} overlaps {other.network}. Give each network once"
    if faults:
        why = "; ".join(f"{name}: {text}" for name, text in faults.items())
        raise Problem(422, "the subnet is refused", why, "Mend the fields that are named", fields=faults)


def _in_file(call: Call) -> set[str]:
    return {subnet.network for subnet in call.rooms.settings.subnet}


def _found(call: Call, subnet: Subnet, stored: set[str]) -> SubnetFound:
    told: dict[str, Any] = {
        "network": subnet.network,
        "dhcp": subnet.mode.value,
        "pools": tuple(f"{low}-{high}" for low, high in subnet.pools),
        "router": subnet.router,
        "dns": subnet.dns,
        "domain": subnet.domain,
        "mtu": subnet.mtu,
        "ntp": subnet.ntp,
        "routes": tuple(f"{to} via {via}" for to, via in subnet.routes),
        "server": subnet.server,
        "lease_seconds": subnet.lease_seconds,
        "force": subnet.force,
    }
    origin: Literal["file", "here", "over the file"] = "file"
    if subnet.network in stored:
        origin = "over the file" if subnet.network in _in_file(call) else "here"
    plain = {name: info.get_default() for name, info in SubnetSettings.model_fields.items()}
    plain["force"] = call.rooms.settings.dhcp.force
    lines = [f"{name} = {toml(value)}" for name, value in told.items() if value != plain[name]]
    return SubnetFound(**told, origin=origin, line="\n".join(["[[subnet]]", *lines]))


ROUTES = (
    Route(
        "GET",
        "/settings",
        list_settings,
        "List settings",
        "policy",
        SettingView,
        many=True,
        need=look("policy"),
    ),
    Route(
        "GET",
        "/subnets",
        list_subnets,
        "List served networks",
        "policy",
        SubnetFound,
        many=True,
        need=look("policy"),
    ),
    Route(
        "PUT",
        "/subnets",
        put_subnet,
        "Serve a network",
        "policy",
        SubnetFound,
        body=SubnetChange,
        need=administer("policy"),
    ),
    Route(
        "DELETE",
        "/subnets",
        remove_subnet,
        "Forget what was set of a network",
        "policy",
        query=NetworkQuery,
        status=204,
        need=administer("policy"),
    ),
)

"""keepalived's configuration, and the program by which it asks whether a service answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.step import StepFailed, Want

CHECK = Path("/usr/local/lib/pxeserver-agent/answers")
CHECK_SECONDS = 2
FALLS, RISES = 2, 1
LOSS = 100
"""A node whose service does not answer counts for so much less: below every node where it does."""
SAFE = re.compile(r"[A-Za-z0-9._~/:%?=&+,@-]*")

_CHECK_TEXT = """#!/bin/bash
# written by the pxeserver agent
# answers tcp|http ADDRESS PORT [PATH]: whether a service answers; for http with a status from 200 to 399.
exec 3<>"/dev/tcp/$2/$3" || exit 1
[ "$1" = tcp ] && exit 0
printf 'GET %s HTTP/1.0\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' "${4:-/}" "$2" >&3
read -r -t 2 _ status _ <&3 || exit 1
[ "$status" -ge 200 ] && [ "$status" -lt 400 ]
"""


def put_check() -> None:
    """Put the program in its place."""
    files.put(CHECK, _CHECK_TEXT, 0o755)


def interfaces(want: Want) -> set[str]:
    """The links that addresses are to stand on."""
    return {r["vnet"] for r in want["routers"]} | {a["interface"] for a in want["addresses"]}


def config(want: Want) -> str:
    """The whole configuration file."""
    uplink = want.get("uplink") or ""
    parts = [
        "global_defs {",
        "  vrrp_version 3",
        "  vrrp_garp_master_delay 1",
        "  vrrp_garp_master_repeat 3",
        "  script_user root",
        "  enable_script_security",
        "  max_auto_priority 0",
        "}",
    ]
    for address in want["addresses"]:
        parts += _script(address)
    for router in want["routers"]:
        # A gateway that leads out is of no use on a node that has lost its uplink.
        tracked = [uplink] if router["nat"] and uplink else []
        name = f"gateway_{router['vnet']}"
        parts += _instance(
            name,
            router["vnet"],
            router,
            router["gateway"],
            advert_ms=want["advert_ms"],
            tracked=tracked,
        )
    for address in want["addresses"]:
        name, link = f"address_{address['name']}", address["interface"]
        parts += _instance(
            name,
            link,
            address,
            address["address"],
            advert_ms=want["advert_ms"],
            tracked=[],
            scripts=[f"answers_{address['name']}"] if address["check"]["kind"] != "none" else [],
        )
    return files.marked("\n".join(parts) + "\n")


def _script(address: Mapping[str, Any]) -> list[str]:
    check = address["check"]
    if check["kind"] == "none":
        return []
    path = str(check.get("path") or "/")
    if check["kind"] not in ("tcp", "http") or not SAFE.fullmatch(path):
        raise StepFailed(f"the check of address {address['name']} is none: {check}", retry=False)
    return [
        f"vrrp_script answers_{address['name']} {{",
        f'  script "{CHECK} {check["kind"]} {address["source"]} {int(check["port"])} {path}"',
        f"  interval {CHECK_SECONDS}",
        f"  timeout {CHECK_SECONDS + 1}",
        f"  fall {FALLS}",
        f"  rise {RISES}",
        f"  weight -{LOSS}",
        "}",
    ]


def _peers(group: Mapping[str, Any]) -> list[str]:
    """To whom a router speaks. One that is alone may not be given an empty list: keepalived refuses it."""
    if not group["peers"]:
        return [f"  mcast_src_ip {group['source']}"]
    peers = (f"    {peer}" for peer in sorted(group["peers"]))
    return [f"  unicast_src_ip {group['source']}", "  unicast_peer {", *peers, "  }"]


def _instance(
    name: str,
    link: str,
    group: Mapping[str, Any],
    address: str,
    *,
    advert_ms: int,
    tracked: Iterable[str],
    scripts: Iterable[str] = (),
) -> list[str]:
    lines = [
        f"vrrp_instance {name} {{",
        "  state BACKUP",
        f"  interface {link}",
        f"  virtual_router_id {int(group['vrid'])}",
        f"  priority {int(group['priority'])}",
        f"  advert_int {advert_ms / 1000:g}",
        *_peers(group),
        "  virtual_ipaddress {",
        f"    {address} dev {link}",
        "  }",
    ]
    others = sorted(set(tracked) - {link})  # its own link is tracked without being named
    if others:
        lines += ["  track_interface {", *(f"    {name}" for name in others), "  }"]
    names = list(scripts)
    if names:
        lines += ["  track_script {", *(f"    {name}" for name in names), "  }"]
    return [*lines, "}"]

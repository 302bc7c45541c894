"""Want documents as a few words for people: what one asks for, and where two of them differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pxeserver.postinstall.work import Json

LONGEST = 60
"""Characters of a value that are shown."""
_NAMED = ("name", "vnet", "node", "node_id")
"""What tells the elements of a list apart, the first that they have."""

_SUMMARY: dict[str, Callable[[Any], list[str]]] = {
    "identity": lambda p: [f"host name {p['hostname']}"],
    "packages": lambda p: [f"{n}={v}" if v else n for n, v in p["packages"].items()],
    "network": lambda p: [
        f"{p['uplink']['mac']} becomes a port of {p['uplink']['switch']} with {p['uplink']['address']}",
        *(f"switch {s['name']}" for s in p["switches"]),
        *(f"vNet {v['name']} VLAN {v['vlan']} {v['address'] or ''}".rstrip() for v in p["vnets"]),
    ],
    "routers": lambda p: [
        *(f"gateway {r['gateway']} of {r['vnet']}{' with NAT' if r['nat'] else ''}" for r in p["routers"]),
        *(f"address {a['address']}" for a in p["addresses"]),
        *(f"vNet {v} kept apart" for v in p.get("vnets", ()) if not p["routers"]),
    ],
    "brick": lambda p: (
        [f"{p['device']['kind']} {p['device']['path']} for volume {p['volume']}"]
        if p["device"]
        else ["glusterd without a brick"]
    ),
    "pool": lambda p: [
        f"volume {p['volume']} of {p['replicas']} bricks"
        f"{' with an arbiter' if p['arbiter'] else ''} on {', '.join(b['node'] for b in p['bricks'])}"
    ],
    "mount": lambda p: [f"{p['driver']} {p['volume']} at {p['path']}"],
    "swarm-init": lambda p: [f"a new Swarm at {p['advertise']}"],
    "swarm-join": lambda p: [f"join at {', '.join(p['managers'])}"],
    "swarm-members": lambda p: [f"{m['name']} {m['role']} {m['availability']}" for m in p["members"]],
    "networks": lambda p: [f"{v['name']} containers {v['range']}" for v in p["vnets"]],
    "swarm-networks": lambda p: [
        *(f"network {n['name']}" for n in p["macvlan"]),
        *(f"overlay {n['name']} {n['subnet']}" for n in p["overlays"]),
    ],
    "images": lambda p: [i["name"] for i in p["images"]],
    "compose": lambda p: [f"project {x['name']}" for x in p["projects"]],
    "stacks": lambda p: [f"stack {s['name']} {s['version']}" for s in p["stacks"]],
}


def summary(step: str, params: Json) -> tuple[str, ...]:
    """What a document asks for."""
    return tuple(_SUMMARY[step](params)) if step in _SUMMARY else ()


def differences(before: Json, after: Json) -> tuple[str, ...]:
    """Where two documents differ: "vnets[web].vlan: 10 -> 20", "peers[n4]: added"."""
    return tuple(_compare("", before, after))


def _compare(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        dot = "." if path else ""
        yield from _entries(
            path, {f"{dot}{k}": v for k, v in before.items()}, {f"{dot}{k}": v for k, v in after.items()}
        )
    elif isinstance(before, list) and isinstance(after, list):
        yield from _entries(path, _by_name(before), _by_name(after))
    elif isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        yield f"{path}: other text"
    else:
        yield f"{path}: {_shown(before)} -> {_shown(after)}"


def _entries(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in [*before, *(k for k in after if k not in before)]:
        if key not in after:
            yield f"{path}{key}: removed"
        elif key not in before:
            yield f"{path}{key}: added{_value(after[key])}"
        else:
            yield from _compare(f"{path}{key}", before[key], after[key])
    shared = [k for k in before if k in after]
    if path and shared != [k for k in after if k in before]:
        yield f"{path}: other order"


def _value(value: Any) -> str:
    return f" {_shown(value)}" if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _by_name(elements: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, element in enumerate(elements):
        name = str(element) if not isinstance(element, dict) else _name(element, number)
        found[f"[{name}]"] = element
    return found


def _name(element: dict[str, Any], number: int) -> str:
    if "peer" in element and "switch" in element:
        return f"{element['switch']} to {element['peer']}"
    return next((str(element[k]) for k in _NAMED if k in element), str(number + 1))


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

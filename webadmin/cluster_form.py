"""The form of a cluster, and the cluster file that it makes.

The form's fields have the names of the file's keys: "vnet.0.vlan" is the key `vnet[1].vlan`, so that a fault
finds its field. Rows that are left empty are left out; what is given is not judged here: the plan does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pxeserver.api.schemas.cluster_files import CandidateView
from pxeserver.api.schemas.clusters import ClusterView
from pxeserver.hostlist import BadHostlist, expand
from pxeserver.tomltext import quoted

ROWS = {
    "switch": ("name", "uplink"),
    "vnet": ("name", "switch", "vlan", "subnet", "gateway", "nat", "reach"),
    "address": ("name", "address", "vnet", "check"),
}
"""Tables that come several times, with the keys that the form has."""
_TICKS = frozenset({"uplink", "nat"})
_NUMBERS = frozenset({"vlan"})
_MOST_ROWS = 40
_USUAL = 3
"""Members, managers and bricks of a first cluster."""
_PLACE = re.compile(r"\[(\d+)\]")
_BETWEEN = re.compile(r",(?![^\[]*\])")
"""Commas between names, not those inside n[1-3,5]."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One refusal: where it stands in the file, and the field of the form that it is about ("" for none)."""

    line: int
    key: str
    text: str
    field: str


def faults(fields: Mapping[str, str]) -> list[Fault]:
    """The faults of a problem's fields, "cluster.toml:28: vnet[1].vlan" -> text."""
    found = []
    for place, text in fields.items():
        where, _, key = place.partition(": ")
        line = where.rpartition(":")[2]
        found.append(Fault(int(line) if line.isdigit() else 0, key, text, field_of(key)))
    return found


def field_of(key: str) -> str:
    """The form's field of a key of the file: vnet[1].vlan -> vnet.0.vlan."""
    name = _PLACE.sub(lambda m: f".{int(m[1]) - 1}", key)
    parts = name.split(".")
    if parts[0] == "members" and len(parts) > 1:
        return f"members.{parts[1]}"  # members.nodes[2] is about the one field of all names
    if len(parts) > 3:
        return ".".join(parts[:3])
    return f"{name}.name" if len(parts) == 2 and parts[0] in ROWS else name


def beside(found: Iterable[Fault]) -> dict[str, str]:
    """The texts by field, for those that are about one."""
    texts: dict[str, str] = {}
    for fault in found:
        if fault.field:
            texts[fault.field] = f"{texts[fault.field]}; {fault.text}" if fault.field in texts else fault.text
    return texts


# ---------------------------------------------------------------------------------------------- defaults


def defaults(candidates: Iterable[CandidateView], clusters: Iterable[ClusterView]) -> dict[str, str]:
    """A form that can be applied as it is, as far as that can be known: three members that are free, one
    network that reaches the outside, one volume with a copy on each.
    """
    free = [one for one in candidates if not one.cluster and one.joined and one.address][:_USUAL]
    taken = {cluster.name for cluster in clusters}
    name = next(n for n in ("lab", *(f"lab{i}" for i in range(2, 10_000))) if n not in taken)
    count = len(free) or _USUAL
    fields = {
        "name": name,
        "how": "nodes" if free else "next",
        "members.nodes": " ".join(one.name for one in free),
        "members.next": str(_USUAL),
        "members.managers": str(count - (count % 2 == 0)),
        "switch.0.name": "switch-1",
        "switch.0.uplink": "1",
        "vnet.0.name": "web",
        "vnet.0.switch": "switch-1",
        "vnet.0.vlan": "10",
        "vnet.0.subnet": "10.10.0.0/24",
        "vnet.0.gateway": "10.10.0.1",
        "vnet.0.nat": "1",
        "storage.driver": "glusterfs",
        "storage.volume": "shared",
        "storage.replicas": str(count),
        "storage.rule": "loop",
        "storage.size": "4",
        "storage.path": "/srv/shared",
    }
    if any(one.diskless for one in free):
        fields["ephemeral"] = "1"
    return fields


def rows_of(fields: Mapping[str, str], table: str) -> int:
    """How many rows of a table the form has."""
    numbers = [int(m[1]) for name in fields if (m := re.fullmatch(rf"{table}\.(\d{{1,3}})\.\w+", name))]
    return min(max(numbers, default=-1) + 1, _MOST_ROWS)


def tidied(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields with the rows that are not empty numbered one after the other."""
    found = {k: v for k, v in fields.items() if k.partition(".")[0] not in ROWS}
    for table, keys in ROWS.items():
        kept = 0
        for row in range(rows_of(fields, table)):
            given = {key: fields.get(f"{table}.{row}.{key}", "").strip() for key in keys}
            if given["name"] or any(given[key] for key in keys if key not in (*_TICKS, "switch", "check")):
                found |= {f"{table}.{kept}.{key}": value for key, value in given.items() if value}
                kept += 1
    return found


# ---------------------------------------------------------------------------------------------- the file


def written(fields: Mapping[str, str]) -> str:
    """The cluster file of tidied fields."""
    return "\n".join(_lines(fields)) + "\n"


def _lines(fields: Mapping[str, str]) -> Iterator[str]:
    yield f"name = {quoted(fields.get('name', '').strip())}"
    if fields.get("ephemeral"):
        yield "ephemeral = true        # managers without a state disk are accepted"
    yield from ("", "[members]", *_members(fields))
    for table, keys in ROWS.items():
        for row in range(rows_of(fields, table)):
            yield from ("", f"[[{table}]]")
            for key in keys:
                if value := fields.get(f"{table}.{row}.{key}", ""):
                    yield f"{key} = {_value(key, value)}"
    if fields.get("storage.driver", "none") != "none":
        yield from ("", "[storage]", *_storage(fields))


def _members(fields: Mapping[str, str]) -> Iterator[str]:
    how = fields.get("how", "nodes")
    if how == "next":
        yield f"next = {_number(fields.get('members.next', ''))}"
    elif how == "select":
        yield f"select = {quoted(fields.get('members.select', '').strip())}"
    else:
        yield f"nodes = {_list(names(fields.get('members.nodes', '')))}"
    yield f"managers = {_number(fields.get('members.managers', '1'))}"


def names(text: str) -> list[str]:
    """The names of a list such as "n[1-3] web"; as they were written where it cannot be read."""
    words = _BETWEEN.sub(" ", text).split()
    try:
        return list(dict.fromkeys(expand(words))) if words else []
    except BadHostlist:
        return words


def _storage(fields: Mapping[str, str]) -> Iterator[str]:
    def given(key: str) -> str:
        return fields.get(f"storage.{key}", "").strip()

    yield f"volume = {quoted(given('volume'))}"
    if given("driver") == "nfs":
        yield 'driver = "nfs"'
        yield f"server = {quoted(given('server'))}"
        yield f"export = {quoted(given('export'))}"
    else:
        yield f"replicas = {_number(given('replicas'))}"
        if given("arbiter"):
            yield "arbiter = 1"
        rule = given("rule")
        disk = {"loop": f"loop:{given('size')}GiB", "serial": f"serial:{given('serials')}"}.get(rule, "empty")
        yield f"disk = {quoted(disk)}"
    yield f"path = {quoted(given('path'))}"


def _value(key: str, value: str) -> str:
    if key in _TICKS:
        return "true"
    if key in _NUMBERS:
        return _number(value)
    return _list(value.replace(",", " ").split()) if key == "reach" else quoted(value)


def _number(text: str) -> str:
    """A number; what is none goes into the file as text, and is refused there beside its field."""
    text = text.strip()
    return str(int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else quoted(text)


def _list(words: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, words))}]"

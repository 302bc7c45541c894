"""Which nodes to show: found by words, filtered, sorted and cut into pages, all of it in memory."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from pxeserver.api.problems import Problem
from pxeserver.api.routes.node_detail import machine_of
from pxeserver.api.routing import Call
from pxeserver.api.schemas.fields import Body, LabelValue, Name
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Group, Node, NodeState, Phase
from pxeserver.boot.values import matches, sort_groups
from pxeserver.hostlist import BadHostlist, expand

States = Literal["idle", "armed", "installing", "installed", "held"]
STATES: tuple[States, ...] = ("held", "installing", "armed", "installed", "idle")
"""What needs somebody comes first."""
_AT_ONCE = 500
"""Nodes that are looked at before others get their turn: a few milliseconds."""
SORTS = ("name", "state", "profile", "address", "since")
_NUMBER = re.compile(r"(\d+)")
_MAC_LIKE = re.compile(r"[0-9a-f]{2}([-:][0-9a-f]{1,2}){1,5}-?|[0-9a-f]{4}(\.[0-9a-f]{1,4}){1,2}")


class NodeFilter(Body):
    """Which nodes, in which order."""

    q: Annotated[str, Field(max_length=400)] = ""
    """Words that all have to be in a node's name, addresses, serial number, hardware or labels; or a list of
    names such as n[001-100]."""
    state: States | None = None
    profile: Name | None = None
    """The profile that holds, wherever it comes from."""
    group: Name | None = None
    label: Annotated[str, Field(max_length=130)] | None = None
    """"key=value", or "key" for any value."""
    line: LabelValue | None = None
    """The value of the label "line"."""
    waiting: bool = False
    """Only places that wait for a machine."""
    sort: Literal["name", "state", "profile", "address", "since"] = "name"
    down: bool = False
    """The other way round."""


class NodesAsked(NodeFilter):
    """Which nodes, and which page of them."""

    page: Annotated[int, Field(ge=1, le=100_000)] = 1
    rows: Annotated[int, Field(ge=10, le=500)] = 50


class Row(NamedTuple):
    """A node as a list shows it."""

    node: Node
    state: NodeState
    condition: States
    profile: str
    origin: str
    """Where its profile comes from: "node", "group NAME", "site policy"; "" where it has none."""
    waiting: bool
    """It is a place for a machine that has not come yet."""


@dataclass(frozen=True, slots=True)
class NodesFound:
    """One page of what was found."""

    rows: tuple[Row, ...]
    total: int
    """Nodes in all."""
    found: int
    page: int
    pages: int
    states: dict[str, int]
    """How many of those that fit all but the state's filter are in each state."""


def condition(node: Node, state: NodeState) -> States:
    """A node's state in one word: what matters most comes first."""
    if node.hold or state.phase is Phase.HELD:
        return "held"
    if state.phase is Phase.INSTALLING:
        return "installing"
    if node.order > state.order:
        return "armed"
    return "installed" if state.phase is Phase.INSTALLED else "idle"


async def find(call: Call, asked: NodesAsked) -> NodesFound:
    """The page that was asked for; the last one where there are fewer."""
    rows = await select(call, asked.model_copy(update={"state": None}))
    states = Counter(row.condition for row in rows)
    if asked.state is not None:
        rows = [row for row in rows if row.condition == asked.state]
    pages = max(1, -(-len(rows) // asked.rows))
    page = min(asked.page, pages)
    start = (page - 1) * asked.rows
    return NodesFound(
        rows=tuple(rows[start : start + asked.rows]),
        total=len(call.hall.nodes()),
        found=len(rows),
        page=page,
        pages=pages,
        states={state: states[state] for state in STATES},
    )


async def select(call: Call, asked: NodeFilter) -> list[Row]:
    """Every node that fits, in order. 422 where the filter names a group that is not there, or the list of
    names cannot be read. Others go on meanwhile: tens of thousands of nodes take a while.
    """
    catalog, table = call.hall.catalog(), call.hall.nodes()
    profile_of = profiles(catalog)
    fits = list(_filters(asked, catalog))
    rows: list[Row] = []
    for number, node in enumerate(list(table)):  # a list of its own: nodes may come and go
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        if not all(fit(node) for fit in fits):
            continue
        profile, origin = profile_of(node)
        if asked.profile is not None and profile != asked.profile:
            continue
        state = table.state(node.id)
        found = condition(node, state)
        if asked.state in (None, found):
            rows.append(Row(node, state, found, profile, origin, _is_place(node)))
    rows.sort(key=key_of(asked), reverse=asked.down)
    return rows


def profiles(catalog: Catalog) -> Callable[[Node], tuple[str, str]]:
    """What tells a node's profile and where it comes from, by the same precedence as boot/values.py, without
    settling all its other values."""
    groups = tuple(g for g in reversed(sort_groups(catalog.groups)) if "profile" in g.values)
    site = catalog.policy.values.get("profile", "")

    def profile_of(node: Node) -> tuple[str, str]:
        own = node.values.get("profile")
        if own is not None:
            return own, "node"
        if groups:
            machine = machine_of(node)
            for group in groups:
                if matches(group, machine, node):
                    return group.values["profile"], f"group {group.name}"
        return site, "site policy" if site else ""

    return profile_of


def _filters(asked: NodeFilter, catalog: Catalog) -> list[Callable[[Node], bool]]:
    fits: list[Callable[[Node], bool]] = []
    if asked.q.strip():
        fits.append(_by_words(asked.q))
    if asked.label:
        key, equals, value = asked.label.partition("=")
        fits.append(lambda n: n.labels.get(key) == value if equals else key in n.labels)
    if asked.line is not None:
        fits.append(lambda n: n.labels.get("line") == asked.line)
    if asked.waiting:
        fits.append(_is_place)
    if asked.group is not None:
        group = _group(asked.group, catalog)
        fits.append(lambda n: matches(group, machine_of(n), n))
    return fits


def _group(name: str, catalog: Catalog) -> Group:
    for group in catalog.groups:
        if group.name == name:
            return group
    why = f"there is no group {name}"
    raise Problem(422, why, why, "Choose another group", fields={"group": why})


def _is_place(node: Node) -> bool:
    return not (node.macs or node.uuid or node.serial)


def _by_words(text: str) -> Callable[[Node], bool]:
    if "[" in text:
        try:
            names = frozenset(expand(text.split()))
        except BadHostlist as error:
            fields = {"q": str(error)}
            raise Problem(422, "the search is refused", str(error), "Correct it", fields=fields) from None
        return lambda node: node.name in names
    words = [_word(word) for word in text.casefold().split()]

    if len(words) == 1:
        only = words[0]
        return lambda node: only in _text(node)
    return lambda node: all(word in _text(node) for word in words)


def _word(word: str) -> str:
    """MAC addresses are found in every usual spelling."""
    if not _MAC_LIKE.fullmatch(word) or word.count(".") == 3:
        return word
    digits = re.sub(r"[^0-9a-f]", "", word)
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


_texts: dict[int, tuple[Node, str]] = {}
"""What is searched in, by the node's number: made once for each version of a node."""
_TEXTS = 50_000


def _text(node: Node) -> str:
    known = _texts.get(node.id)
    if known is not None and known[0] is node:
        return known[1]
    if len(_texts) >= _TEXTS:
        _texts.clear()
    text = _told(node)
    _texts[node.id] = (node, text)
    return text


def _told(node: Node) -> str:
    parts = [node.name, *node.macs, node.address or "", node.serial or "", node.uuid or ""]
    parts += [f"{key}={value}" for key, value in node.labels.items()]
    hardware = node.hardware
    parts += (hardware.get("vendor", ""), hardware.get("product", ""))
    return "\n".join(parts).casefold()


@lru_cache(maxsize=1 << 16)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key for names as people count: n9 comes before n10."""
    parts = _NUMBER.split(name)
    numbers = [int(digits[:18]) for digits in parts[1::2]] + [-1]
    return tuple(zip(parts[0::2], numbers, strict=True))


def key_of(asked: NodeFilter) -> Callable[[Row], tuple[Any, ...]]:
    """What rows are sorted by: no two nodes have the same, so that a page can begin after any of them."""
    if asked.sort == "name":
        return _by_name
    rank = {state: number for number, state in enumerate(STATES)}
    first: dict[str, Callable[[Row], tuple[Any, ...]]] = {
        "state": lambda row: (rank[row.condition],),
        "profile": lambda row: (not row.profile, row.profile),
        "address": lambda row: (row.node.address is None, _number(row.node.address)),
        "since": lambda row: (-row.state.since,),
    }
    by = first[asked.sort]
    return lambda row: (*by(row), *_by_name(row))


def _by_name(row: Row) -> tuple[Any, ...]:
    return natural(row.node.name), row.node.name


def _number(address: str | None) -> int:
    return int(IPv4Address(address)) if address else 0


def label_keys(nodes: Iterable[Node], most: int = 200) -> dict[str, list[str]]:
    """The labels that nodes have, by key, each with its values: for choosing one."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        for key, value in node.labels.items():
            values = found.setdefault(key, set())
            if len(values) < most:
                values.add(value)
    return {key: sorted(found[key], key=natural) for key in sorted(found)[:most]}


def named(call: Call, names: Sequence[str]) -> list[Node]:
    """The nodes of these names; 422 names the ones that are not there."""
    nodes = [(name, call.hall.node(name)) for name in dict.fromkeys(names)]
    missing = [name for name, node in nodes if node is None]
    if missing:
        why = f"there is no node {', '.join(missing[:5])}" + (
            f" and {len(missing) - 5} more" if missing[5:] else ""
        )
        raise Problem(422, "nodes are missing", why, "Load the list again", fields={"nodes": why})
    return [node for _, node in nodes if node is not None]

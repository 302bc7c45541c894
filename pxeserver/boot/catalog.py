"""What the boot plane decides from: an immutable snapshot of the configuration, and the table of nodes
beside it.

The snapshot is replaced whole when a person edits profiles, groups, images or settings. Nodes and their
states are many and change one at a time, so they live in a table that takes deltas: one event of one node
costs the same with ten nodes and with a million.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pxeserver.boot.model import FileRef, Group, Image, Loader, Node, NodeState, Phase, Policy, Profile

_ALIKE_KEPT = 4096
"""Different mappings that are remembered; where every node has its own, none is worth finding again."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The configuration at one moment. `version` grows with each edit."""

    version: int = 0
    policy: Policy = field(default_factory=Policy)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    """In order of precedence: least specific first (boot/values.py sorts them)."""
    images: Mapping[str, Image] = field(default_factory=dict)
    loaders: Mapping[int, Loader] = field(default_factory=dict)
    """By architecture type; the same file may serve several."""

    def find_file(self, image: str, name: str) -> FileRef | None:
        """The file `name` of the image `image`."""
        found = self.images.get(image)
        return next((f for f in found.files if f.name == name), None) if found else None


class Standing(NamedTuple):
    """What the table said of one machine at one moment; `NodeTable.stands` tells whether it would say the
    same again.
    """

    uuid: str
    mac: str
    by_uuid: tuple[Node, ...] | None
    by_mac: tuple[Node, ...] | None
    node_id: int
    state: NodeState | None


class NodeTable:
    """Nodes by id, UUID, serial and MAC, and their states. The one mutable thing decisions read."""

    def __init__(self, nodes: Iterable[Node] = (), states: Iterable[NodeState] = ()) -> None:
        self._nodes: dict[int, Node] = {}
        self._states: dict[int, NodeState] = {}
        # A key that two nodes claim maps to both: identity.py turns that into a conflict, never into a merge.
        # The nodes themselves, not their ids: with many of them each further look-up waits for memory.
        self._by_uuid: dict[str, tuple[Node, ...]] = {}
        self._by_serial: dict[str, tuple[Node, ...]] = {}
        self._by_mac: dict[str, tuple[Node, ...]] = {}
        self._by_address: dict[str, tuple[Node, ...]] = {}
        self._installing: dict[str, int] = {}
        self._alike: dict[frozenset[tuple[str, str]], Mapping[str, str]] = {}
        for node in nodes:
            self.put(node)
        for state in states:
            self.put_state(state)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, node_id: int) -> Node | None:
        """The node with this id."""
        return self._nodes.get(node_id)

    def state(self, node_id: int) -> NodeState:
        """The node's state; a fresh one where nothing has happened yet."""
        return self._states.get(node_id) or NodeState(node_id)

    def states(self) -> Iterator[NodeState]:
        """All states that differ from a fresh one."""
        return iter(self._states.values())

    def with_uuid(self, uuid: str) -> tuple[Node, ...]:
        """The nodes that claim this UUID: none, one, or several in conflict."""
        return self._by_uuid.get(uuid, ())

    def with_serial(self, serial: str) -> tuple[Node, ...]:
        """The nodes that claim this serial number."""
        return self._by_serial.get(serial, ())

    def with_mac(self, mac: str) -> tuple[Node, ...]:
        """The nodes that claim this MAC address."""
        return self._by_mac.get(mac, ())

    def with_address(self, address: str) -> tuple[Node, ...]:
        """The nodes that this IPv4 address is reserved for."""
        return self._by_address.get(address, ())

    def installing(self, attempt: str) -> Node | None:
        """The node whose install this attempt runs.

        An installer may work for hours without a request, over restarts of this process; its end must find
        its node all the same.
        """
        return self._nodes.get(self._installing.get(attempt, 0))

    def standing(self, uuid: str | None, mac: str, node_id: int | None) -> Standing:
        """What a decision rested on for a machine that told this UUID and MAC address and is this node."""
        told, number = uuid or "", node_id or 0
        return Standing(
            told, mac, self._by_uuid.get(told), self._by_mac.get(mac), number, self._states.get(number)
        )

    def stands(self, seen: Standing) -> bool:
        """Whether no node that has this UUID or MAC address, and no state of that node, was put or removed
        since.

        Who is put gets new entries in the indexes, also when they read the same: identity tells it in three
        look-ups, and an edit costs nothing for the machines that it does not touch.
        """
        uuid, mac, by_uuid, by_mac, node_id, state = seen
        return (
            self._by_uuid.get(uuid) is by_uuid
            and self._by_mac.get(mac) is by_mac
            and self._states.get(node_id) is state
        )

    def put(self, node: Node) -> None:
        """Add a node or replace the one with its id."""
        self.remove(node.id, keep_state=True)
        self._share(node)
        self._nodes[node.id] = node
        alone = (node,)
        for index, keys in self._indexes(node):
            for key in keys:
                others = index.get(key)
                index[key] = (*others, node) if others else alone

    def _share(self, node: Node) -> None:
        """Let nodes whose values, labels or hardware are alike have one mapping for all: most of a rack is,
        and a mapping takes more memory than the rest of a node. They are equal and never change, so nobody
        can tell.
        """
        for name in ("values", "labels", "hardware"):
            own = getattr(node, name)
            key = frozenset(own.items())
            alike = self._alike.get(key)
            if alike is None:
                if len(self._alike) >= _ALIKE_KEPT:
                    self._alike.clear()
                alike = self._alike[key] = own
            if alike is not own:
                object.__setattr__(node, name, alike)

    def remove(self, node_id: int, *, keep_state: bool = False) -> None:
        """Forget a node, if it is there."""
        node = self._nodes.pop(node_id, None)
        if node is not None:
            for index, keys in self._indexes(node):
                for key in keys:
                    rest = tuple(other for other in index[key] if other.id != node_id)
                    if rest:
                        index[key] = rest
                    else:
                        del index[key]
        if not keep_state:
            self._forget_install(node_id)
            self._states.pop(node_id, None)

    def put_state(self, state: NodeState) -> None:
        """Replace the state of a node."""
        self._forget_install(state.node_id)
        self._states[state.node_id] = state
        if state.phase is Phase.INSTALLING and state.attempt:
            self._installing[state.attempt] = state.node_id

    def _forget_install(self, node_id: int) -> None:
        old = self._states.get(node_id)
        if old is not None and self._installing.get(old.attempt) == node_id:
            del self._installing[old.attempt]

    def _indexes(self, node: Node) -> tuple[tuple[dict[str, tuple[Node, ...]], tuple[str, ...]], ...]:
        return (
            (self._by_uuid, (node.uuid,) if node.uuid else ()),
            (self._by_serial, (node.serial,) if node.serial else ()),
            (self._by_mac, tuple(dict.fromkeys(node.macs))),
            (self._by_address, (node.address,) if node.address else ()),
        )

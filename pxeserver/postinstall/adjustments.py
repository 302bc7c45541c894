"""What people have said of a running cluster beside its file: who is drained, leaves, is lost or replaced.

It is kept apart from the file, so that applying the file again brings nobody back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pxeserver.postinstall.spec import ClusterSpec


@dataclass(frozen=True, slots=True)
class Adjustments:
    """What is to be changed of a spec."""

    add: tuple[str, ...] = ()
    """Members that the file does not name."""
    drain: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    replaces: Mapping[str, str] = field(default_factory=dict)
    destroy: bool = False

    def of(self, spec: ClusterSpec) -> ClusterSpec:
        """The spec as adjusted."""
        members = spec.members
        out = self.remove | self.lost
        named = dict.fromkeys((*members.nodes, *self.add)) if members.nodes else {}
        return replace(
            spec,
            destroy=spec.destroy or self.destroy,
            members=replace(
                members,
                nodes=tuple(name for name in named if name not in out),
                drain=members.drain | self.drain,
                remove=members.remove | self.remove,
                lost=members.lost | self.lost,
                replaces={n: o for n, o in {**members.replaces, **self.replaces}.items() if n not in out},
            ),
        )

    def added(self, names: Collection[str]) -> Adjustments:
        """These nodes are members beside those that the file names, also where they had left."""
        back = self.brought_back(names)
        return replace(back, add=tuple(dict.fromkeys((*back.add, *names))))

    def drained(self, names: Iterable[str], *, back: bool) -> Adjustments:
        """These members get no containers; `back`: they get some again."""
        given = frozenset(names)
        return replace(self, drain=self.drain - given if back else self.drain | given)

    def removed(self, names: Iterable[str], *, lost: bool) -> Adjustments:
        """These members leave; `lost`: they will not come back, so that nothing is undone on them."""
        given = frozenset(names)
        return replace(
            self,
            add=tuple(name for name in self.add if name not in given),
            remove=self.remove | given,
            lost=self.lost | given if lost else self.lost,
            drain=self.drain - given,
        )

    def replaced(self, old: str, new: str, *, lost: bool) -> Adjustments:
        """`new` takes the place of `old`, which leaves."""
        left = self.removed([old], lost=lost)
        add = (*left.add, new) if new not in left.add else left.add
        return replace(left, add=add, remove=left.remove - {new}, replaces={**self.replaces, new: old})

    def destroyed(self) -> Adjustments:
        """Everything is taken down."""
        return replace(self, destroy=True)

    def brought_back(self, names: Iterable[str]) -> Adjustments:
        """These nodes may be members again."""
        given = frozenset(names)
        return replace(self, remove=self.remove - given, lost=self.lost - given)

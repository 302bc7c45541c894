"""Whether a change would cost the Swarm or the volume its majority.

A Swarm of M managers works while more than M/2 of them do, and so does a volume of its bricks. A change is
refused when those that stay and are heard of would not be that many at any moment of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pxeserver.postinstall.findings import Finding
from pxeserver.postinstall.layout import Layout
from pxeserver.postinstall.leader import promoted
from pxeserver.postinstall.spec import ClusterSpec, Path
from pxeserver.postinstall.work import Facts


def quorum(
    spec: ClusterSpec,
    layout: Layout,
    former: Layout,
    facts: Facts | None,
    *,
    seen: Collection[str],
    healing: Collection[str],
) -> Iterator[Finding]:
    """The findings on the way from `former` to `layout`. `healing` are members whose brick is behind. What
    was laid out but does not stand yet cannot be lost.
    """
    managers, bricks = list(former.managers), True
    if facts is not None:
        standing = promoted(former, facts)
        managers = [n for n in managers if n in standing]
        bricks = any(k.step == "pool" for k in facts.steps.keys() - facts.undone)
    yield from _swarm(spec, layout, managers, seen)
    if bricks:
        yield from _volume(spec, layout, former, seen, healing)


def _swarm(
    spec: ClusterSpec, layout: Layout, before: Collection[str], seen: Collection[str]
) -> Iterator[Finding]:
    going = [n for n in before if not (n in layout.places and layout.places[n].manager)]
    if not going:
        return
    absent = [n for n in before if n not in seen]
    if 2 * (len(before) - len(absent)) <= len(before):
        what = (
            f"{_names(absent)} of the managers {_names(before)} are not heard of: the Swarm has no majority"
        )
        yield _place(spec, going[0]), what, "Bring one of them back before managers are changed"
        return
    # Those that come are promoted first, then the lost are removed, then the others are demoted in any order:
    # one that is absent and not known to be lost may be the last that counts.
    new = [n for n in layout.managers if n not in before]
    present = [n for n in [*before, *new] if n not in going and (n in seen or n in new)]
    counted = [n for n in before if n not in layout.lost and not (n in going and n in seen)]
    if 2 * len(present) <= len(counted) + len(new):
        missing = [n for n in counted if n not in seen]
        what = f"without {_names([n for n in going if n in seen] or going)} the Swarm loses its majority: "
        mend = f"Bring {_names(missing)} back first; a member that never comes back belongs in lost"
        yield _place(spec, going[0]), what + f"{_names(missing)} {_is(missing)} not heard of", mend


def _volume(
    spec: ClusterSpec, layout: Layout, former: Layout, seen: Collection[str], healing: Collection[str]
) -> Iterator[Finding]:
    before = [b.node for b in former.bricks]
    after = {b.node for b in layout.bricks}
    going = [n for n in before if n not in after]
    if not going or not after:
        return
    # What counts is who holds the data now: a new brick is empty until it has healed.
    data = [b.node for b in former.bricks if not b.arbiter]
    good = [n for n in before if n in after and n in seen and n not in healing]
    behind = [n for n in before if n in after and n not in good]
    count = min(len(before), len(after))
    # Of two bricks one may be replaced while the other is well.
    enough = 2 * len(good) > count or (len(before) == count == 2 and not behind)
    if enough and any(n in data for n in good):
        return
    what = f"without {_names(going)} the volume loses its majority of good bricks"
    if behind:
        what += f": {_names(behind)} {_is(behind)} not heard of or not healed"
        mend = f"Bring {_names(behind)} back and wait until it has healed"
    elif len(before) == 1:
        mend = "Write replicas = 2 first, and let the second brick heal"
    else:
        mend = "Replace one brick at a time, and wait until the new one has healed"
    yield _place(spec, going[0]), what, mend


def _place(spec: ClusterSpec, node: str) -> Path:
    if node in spec.members.lost:
        return ("members", "lost")
    return ("members", "remove") if node in spec.members.remove else ("members", "nodes")


def _names(names: Collection[str]) -> str:
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}" if listed else ""


def _is(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"

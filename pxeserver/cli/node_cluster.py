"""Members of clusters: drain them, replace them, let them leave. Each is a plan first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cyclopts import App

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.cluster import Wait, carry_out
from pxeserver.cli.options import DEFAULT, Options, Yes, hosts
from pxeserver.hostlist import fold


def attach(app: App) -> None:
    """Add the commands to the noun `node`."""
    for command, name in ((drain, "drain"), (replace, "replace")):
        app.command(command, name=name)


def members(names: Iterable[str], options: Options) -> dict[str, str]:
    """Those of these nodes that are members of clusters, each with its cluster."""
    with options.client() as client:
        clusters = client.get("clusters")
    wanted = set(names)
    return {name: c["name"] for c in clusters for name in c["members"] if name in wanted}


def _member(name: str, options: Options) -> str:
    found = members([name], options)
    if name not in found:
        step = "`pxeserver cluster list` shows the members of every cluster"
        raise Failure(f"{name} is refused", "it is no member of a cluster", step)
    return found[name]


def _order(cluster: str, body: Mapping[str, Any], options: Options, *, yes: bool, wait: bool = False) -> int:
    with options.client() as client:
        return carry_out(client, options, body, cluster, yes=yes, wait=wait)


def drain(
    *names: str, back: bool = False, yes: Yes = False, wait: Wait = False, options: Options = DEFAULT
) -> int:
    """Move the containers away from members and give them no new ones: `node drain n3`, before work on it.

    Parameters
    ----------
    back
        They may have containers again.
    """
    wanted = hosts(names)
    found = {name: _member(name, options) for name in wanted}
    for cluster in sorted(set(found.values())):
        own = [name for name in wanted if found[name] == cluster]
        code = _order(cluster, {"undrain" if back else "drain": own}, options, yes=yes, wait=wait)
        if code:
            return code
    return 0


def replace(
    old: str,
    new: str,
    /,
    *,
    lost: bool = False,
    yes: Yes = False,
    wait: Wait = False,
    options: Options = DEFAULT,
) -> int:
    """Have the node NEW take the place of the member OLD, which leaves its cluster.

    Parameters
    ----------
    lost
        OLD is gone for good: nothing is undone on it, the other members forget it.
    """
    cluster = _member(old, options)
    return _order(cluster, {"replace": {old: new}, "lost": lost}, options, yes=yes, wait=wait)


def leave(found: Mapping[str, str], options: Options, *, yes: bool, lost: bool) -> int:
    """Have members leave their clusters; they stay nodes until they have left."""
    for cluster in sorted(set(found.values())):
        own = [name for name in found if found[name] == cluster]
        code = _order(cluster, {"remove": own, "lost": lost}, options, yes=yes)
        if code:
            return code
        if options.output == "table":
            again = f"when it has left, `pxeserver node remove {' '.join(own)}` forgets the node"
            screen.say(f"{fold(own)}: leaving cluster {cluster}; {again}")
    return 0

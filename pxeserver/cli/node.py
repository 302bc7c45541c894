"""Nodes: the machines that are known by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pxeserver.cli import records, screen
from pxeserver.cli.client import Failure
from pxeserver.cli.node_show import show_node
from pxeserver.cli.options import DEFAULT, Options, Yes, hosts, noun, pairs
from pxeserver.cli.records import Labels
from pxeserver.cli.screen import Column, column
from pxeserver.hostlist import fold

app = noun("node", "Nodes: the machines that are known by name.")

Macs = Annotated[list[str] | None, Parameter(name="--mac", help="A MAC address; may be given several times.")]


def condition(node: Mapping[str, Any]) -> str:
    """A node's state in one word: what matters most comes first."""
    if node["hold"] or node["state"]["phase"] == "held":
        return "held"
    if node["state"]["phase"] == "installing":
        return "installing"
    return "armed" if node["armed"] else str(node["state"]["phase"])


COLUMNS = (
    column("name"),
    Column("state", condition),
    column("profile"),
    Column("once", lambda n: (n["boot_once"] or {}).get("profile")),
    column("mac", "macs"),
    column("address"),
    column("labels"),
)
MACHINE_COLUMNS = (
    column("code"),
    column("mac"),
    column("vendor"),
    column("product"),
    column("address"),
    column("serial"),
    Column("seen", lambda m: screen.local_time(m["seen"])),
)


@app.command
def add(
    *names: str,
    mac: Macs = None,
    uuid: str | None = None,
    serial: str | None = None,
    address: str | None = None,
    profile: str | None = None,
    value: Annotated[list[str] | None, Parameter(name="--set")] = None,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Add nodes, all or none: `node add n[001-256] --profile compute`, `node add web --mac
    52:54:00:12:34:56`.

    Parameters
    ----------
    names
        Names or ranges such as n[001-256].
    uuid
        SMBIOS UUID of the machine; for one node.
    serial
        Serial number of the machine; for one node.
    address
        Reserved IPv4 address, where this server does full DHCP; for one node.
    profile
        What to boot.
    value
        A value, key=value; may be given several times.
    """
    wanted = hosts(names)
    single = {"macs": mac or None, "uuid": uuid, "serial": serial, "address": address}
    given = {k: v for k, v in single.items() if v is not None}
    if given and len(wanted) > 1:
        why = f"{', '.join(given)} belong to one machine, and {len(wanted)} nodes are named"
        raise Failure("the nodes are not added", why, "Add those nodes one by one", exit_code=2)
    values = pairs(value or ()) | ({"profile": profile} if profile else {})
    labels = pairs(label or ())
    body = {"nodes": [{"name": n, "values": values, "labels": labels, **given} for n in wanted]}
    with options.client() as client:
        added = client.post("nodes", body=body)
    if options.output != "table":
        screen.dump(added, options.output)
    else:
        screen.say(f"{fold(n['name'] for n in added)}: added")
    return 0


@app.command(name="list")
def list_nodes(
    *names: str,
    unknown: bool = False,
    label: str | None = None,
    profile: str | None = None,
    phase: Literal["idle", "armed", "installing", "installed", "held"] | None = None,
    options: Options = DEFAULT,
) -> None:
    """List nodes, or with --unknown the machines that are no node yet.

    Parameters
    ----------
    names
        Only these; names or ranges.
    unknown
        Machines that asked for a boot and are no node, each with its code for `node approve`.
    label
        Only nodes with this label, key=value.
    profile
        Only nodes with this profile.
    phase
        Only nodes in this state.
    """
    with options.client() as client:
        if unknown:
            empty = "no unknown machine has asked for a boot yet"
            screen.rows(client.get("machines"), MACHINE_COLUMNS, options.output, empty)
            return
        nodes = client.every("nodes", label=label, profile=profile, state=phase)
    if names:
        wanted = set(hosts(names))
        nodes = [n for n in nodes if n["name"] in wanted]
        if missing := wanted - {n["name"] for n in nodes}:
            screen.warn(f"no such node: {fold(missing)}")
    empty = "no node; `pxeserver node add NAME --mac MAC` adds one, `node list --unknown` shows who asked"
    screen.rows(nodes, COLUMNS, options.output, empty)


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show a node: what it would get now and why, where its values come from, its machine, its last boots."""
    if node := records.found("nodes", name, options):
        show_node(node, condition(node))
        with options.client() as client:
            _agents.show_agent(client, name)


@app.command(name="set")
def set_values(
    *words: str,
    mac: Macs = None,
    uuid: str | None = None,
    serial: str | None = None,
    address: str | None = None,
    name: str | None = None,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Change nodes: `node set n[1-4] profile=compute console=ttyS0 --label rack=r1`.

    Parameters
    ----------
    words
        Names or ranges, and values as key=value; "key=" takes a value away.
    uuid
        SMBIOS UUID; "" takes it away. For one node.
    serial
        Serial number; "" takes it away. For one node.
    address
        Reserved IPv4 address; "" takes it away. For one node.
    name
        A new name. For one node.
    """
    names = hosts(w for w in words if "=" not in w)
    single = {"macs": mac, "uuid": uuid, "serial": serial, "address": address, "name": name}
    own = [key for key, value in single.items() if value is not None]
    if own and len(names) > 1:
        why = f"{', '.join(own)} belong to one machine, and {len(names)} nodes are named"
        raise Failure("the nodes are not changed", why, "Change those nodes one by one", exit_code=2)
    values = pairs((w for w in words if "=" in w), unset=True)
    body = {**single, "values": values, "labels": pairs(label or (), unset=True)}
    return records.changed("nodes", names, body, options)


@app.command
def remove(*names: str, yes: Yes = False, lost: bool = False, options: Options = DEFAULT) -> int:
    """Remove nodes: their machines are unknown again. Members of a cluster leave it first, by a plan.

    Parameters
    ----------
    lost
        Members that are gone for good: nothing is undone on them, the other members forget them.
    """
    wanted = hosts(names)
    question = _removal(wanted)
    if not (yes or sys.stdin.isatty()):
        screen.confirm(question, yes=False)  # nobody can be asked: that is said first
    if members := _cluster.members(wanted, options):
        code = _cluster.leave(members, options, yes=yes, lost=lost)
        wanted = [name for name in wanted if name not in members]
        if code or not wanted:
            return code
        question = _removal(wanted)
    return records.removed("nodes", wanted, question, options, yes=yes)


def _removal(names: Sequence[str]) -> str:
    count = f" ({len(names)} nodes)" if len(names) > 1 else ""
    return f"Remove {fold(names)}{count}?"


@app.command
def approve(code: str, name: str, /, *, profile: str | None = None, options: Options = DEFAULT) -> None:
    """Make the unknown machine that shows CODE a node called NAME.

    Parameters
    ----------
    profile
        What to boot.
    """
    with options.client() as client:
        node = client.post("approvals", body={"code": code, "name": name, "profile": profile})
    if options.output != "table":
        screen.dump(node, options.output)
    else:
        screen.say(f"{node['name']}: approved")


# The orders are a file of their own; their commands hang on the same noun.
from pxeserver.cli import node_agents as _agents  # noqa: E402
from pxeserver.cli import node_cluster as _cluster  # noqa: E402
from pxeserver.cli import node_orders as _orders  # noqa: E402

_orders.attach(app)
_agents.attach(app)
_cluster.attach(app)

"""What clusters look like to people: plans, and where each step stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from pxeserver.cli import screen
from pxeserver.cli.screen import safe
from pxeserver.hostlist import fold

Json = Mapping[str, Any]
_SIGNS = {
    "create": ("+", "green"),
    "change": ("~", "yellow"),
    "remove": ("-", "red"),
    "finish": ("…", "cyan"),
}
STYLES = {
    "done": "green",
    "ready": "green",
    "gone": "dim",
    "running": "cyan",
    "working": "cyan",
    "checking": "cyan",
    "undoing": "cyan",
    "destroying": "cyan",
    "failed": "bold red",
    "away": "yellow",
    "frozen": "bold red",
    "drifted": "yellow",
    "stopped": "yellow",
    "waiting": "dim",
}


def styled(word: str) -> Text:
    """A state in its colour."""
    return Text(safe(word), style=STYLES.get(word, ""))


# ---------------------------------------------------------------------------------------------- plans


def show_plan(plan: Json) -> None:
    """A plan as lines, node by node, with what is alike on several nodes told once."""
    roles = plan["members"]
    managers = [n for n, role in roles.items() if role == "manager"]
    workers = [n for n, role in roles.items() if role != "manager"]
    said = [(f"{fold(managers)}", "managers" if len(managers) > 1 else "manager")] if managers else []
    said += [(fold(workers), "workers" if len(workers) > 1 else "worker")] if workers else []
    screen.fields([("cluster", plan["cluster"]), *((role, names) for names, role in said)])
    changes = [line for line in plan["lines"] if line["action"] != "nothing"]
    for nodes, lines in _alike(changes):
        screen.heading(nodes)
        screen.stdout().print(_lines(lines))
    for text in plan["waiting"]:
        screen.stdout().print(Text(f"\n{safe(text)}", style="yellow"))
    screen.stdout().print(Text(f"\n{summed_up(changes)}", style="bold"))


def _alike(changes: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    """Nodes with the same steps and actions together; then what differs is told by the details of the
    first alone, so only those whose details are the same are put together.
    """
    by_node: dict[str, list[Json]] = {}
    for line in changes:
        by_node.setdefault(line["node"], []).append(line)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for node, lines in by_node.items():
        key = tuple((x["step"], x["action"], tuple(x["details"]), x["destructive"]) for x in lines)
        groups.setdefault(key, []).append(node)
    return [(fold(nodes), by_node[nodes[0]]) for nodes in groups.values()]


def _lines(lines: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for ratio in (None, None, 1):
        table.add_column(ratio=ratio, overflow="fold", no_wrap=ratio is None)
    for line in lines:
        sign, style = _SIGNS.get(line["action"], (" ", ""))
        details = [safe(detail) for detail in line["details"]]
        if line["action"] == "change":
            told = "\n".join(details)
        else:
            # Names alone are a list; anything longer is a clause.
            told = (", " if all(" " not in detail for detail in details) else "; ").join(details)
        text = Text(told, style="dim")
        if line["destructive"]:
            text.append("\nthe data on it goes with it", style="bold red")
        table.add_row(Text(f"  {sign}", style=style), Text(safe(line["step"])), text)
    return table


def summed_up(changes: Iterable[Json]) -> str:
    """How much of what, in a line."""
    counts: dict[str, int] = {}
    for line in changes:
        counts[line["action"]] = counts.get(line["action"], 0) + 1
    if not counts:
        return "nothing to change"
    many = "steps" if sum(counts.values()) > 1 else "step"
    return f"{many}: " + ", ".join(f"{count} to {action}" for action, count in sorted(counts.items()))


# ---------------------------------------------------------------------------------------------- status


def seconds(step: Json, now: datetime | None = None) -> str:
    """How long a step took, or has been running."""
    if not step["started"] or step["status"] == "waiting":
        return ""
    begun = datetime.fromisoformat(step["started"])
    if step["status"] == "running":
        ended = now or datetime.now(UTC)
    elif step["finished"]:
        ended = datetime.fromisoformat(step["finished"])
    else:
        return ""
    return f"{max((ended - begun).total_seconds(), 0):.1f} s"


def note(step: Json) -> Text:
    """What there is to say of a step."""
    if step["status"] == "running" and (step["progress"] or step["fraction"] is not None):
        share = f"{step['fraction']:.0%} " if step["fraction"] is not None else ""
        return Text(f"{share}{safe(step['progress'])}".strip())
    if step["status"] == "failed":
        return Text(safe(step["reason"]), style="red")
    if step["reason"]:
        return Text(safe(step["reason"]), style="dim")
    if step["status"] == "done" and not step["changed"]:
        return Text("was as wanted", style="dim")
    return Text("")


def head(status: Json) -> Text:
    """A cluster in one line."""
    told = Text.assemble((safe(status["name"]), "bold"), "  ", styled(status["state"]))
    told.append(f"  {status['done']} of {status['wanted']} steps done")
    if status["leader"]:
        told.append(f", led by {safe(status['leader'])}", style="dim")
    if heals := healing(status):
        told.append(f"  {heals}", style="yellow")
    return told


def healing(status: Json) -> str:
    """How much of the volume waits to be healed; "" where nothing does."""
    found = status.get("healing")
    if not found or not found["entries"]:
        return ""
    many = found["entries"]
    what = (
        "it cannot be told what waits"
        if many < 0
        else f"{many} {'entry waits' if many == 1 else 'entries wait'}"
    )
    whom = f" on {fold(found['behind'])}" if found["behind"] else ""
    return f"volume {safe(found['volume'])}: {what} to be healed{whom}"


def who(node: Json) -> Text:
    """A member in one line."""
    told = Text.assemble((safe(node["name"]), "bold"), "  ", styled(node["state"]))
    words = [node["role"], node["address"]]
    if node["standing"] != "active":
        words.append(node["standing"])
    if node["state"] == "away":
        words.append(
            f"not heard of since {screen.local_time(node['seen'])}" if node["seen"] else "not heard of"
        )
    told.append("  " + "  ".join(safe(word) for word in words if word), style="dim")
    if node.get("frozen"):
        why = f"  {safe(node['frozen'])}; `pxeserver node thaw {safe(node['name'])}` once you have looked"
        told.append(why, style="red")
    return told


def steps_table(nodes: Sequence[Json], now: datetime | None = None) -> Table:
    """The steps of members, each member under a line of its own."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for ratio in (None, None, None, 1):
        table.add_column(ratio=ratio, overflow="fold", no_wrap=ratio is None)
    for node in nodes:
        for step in node["steps"]:
            verb = "" if step["verb"] == "apply" else f"{step['verb']} "
            tries = f" (try {step['tries']})" if step["tries"] > 1 and step["status"] != "done" else ""
            table.add_row(
                Text(f"  {verb}{safe(step['step'])}"),
                styled(step["status"]),
                Text(seconds(step, now), justify="right"),
                note(step).append(tries, style="dim"),
            )
    return table


def show_status(status: Json) -> None:
    """A cluster's status."""
    out = screen.stdout()
    out.print(head(status))
    for text in status["notes"]:
        out.print(Text(safe(text), style="yellow"))
    for node in status["nodes"]:
        out.print()
        out.print(who(node))
        out.print(steps_table([node]))
        show_drift(node)


def show_drift(node: Json) -> None:
    """What has drifted on a member."""
    for line in node["drift"]:
        text = f"  drifted  {safe(line['step'])}: {safe(line['what'])}"
        told = Text(text, style="yellow")
        told.append(f" is {safe(line['have']) or 'nothing'}, wanted {safe(line['want'])}", style="dim")
        screen.stdout().print(told)

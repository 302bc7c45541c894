"""Boots: what happened, and what happens now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pxeserver.cli import screen
from pxeserver.cli.options import DEFAULT, Options, noun
from pxeserver.cli.screen import Column, column
from pxeserver.cli.watch import follow

app = noun("boot", "Boots: what happened, and what happens now.")


def _who(row: Any) -> object:
    return row["node"] or row["mac"]


COLUMNS = (
    column("id"),
    Column("machine", _who),
    column("address"),
    Column("started", lambda a: screen.local_time(a["started"])),
    column("stage"),
    Column("ended", lambda a: screen.local_time(a["closed"])),
    Column("result", lambda a: a["text"] or a["diagnosis"]),
)


_PLUMBING = frozenset({"sha256", "uuid"})
"""Said elsewhere, or only of use to programs: -o json has it."""


def detail_text(detail: Any) -> str:
    """A step's detail in one line."""
    shown = {key: value for key, value in detail.items() if key not in _PLUMBING}
    for key in ("bytes", "total"):
        if key in shown:
            shown[key] = screen.size(shown[key])
    return " ".join(f"{k}={v}" for k, v in shown.items())


def _steps(timeline: list[Any]) -> tuple[Column, ...]:
    begin = datetime.fromisoformat(timeline[0]["at"]) if timeline else datetime.now(UTC)

    def after(event: Any) -> str:
        return f"{(datetime.fromisoformat(event['at']) - begin).total_seconds():7.1f} s"

    return (
        Column("after", after),
        column("step", "kind"),
        Column("detail", lambda e: detail_text(e["detail"])),
    )


@app.command(name="list")
def list_boots(*, node: str | None = None, limit: int = 50, options: Options = DEFAULT) -> None:
    """List boots, the newest first.

    Parameters
    ----------
    node
        Only those of this node.
    limit
        How many at most.
    """
    with options.client() as client:
        boots = client.get("boots", limit=limit, node=node)
    screen.rows(
        boots,
        COLUMNS,
        options.output,
        "no machine has asked for a boot yet; `pxeserver boot watch` waits for one",
    )


@app.command
def show(boot: str, /, *, options: Options = DEFAULT) -> None:
    """Show one boot step by step, and what stopped it.

    Parameters
    ----------
    boot
        Its id, from `boot list`.
    """
    with options.client() as client:
        found = client.get("boots", boot)
    if options.output != "table":
        screen.dump(found, options.output)
        return
    pairs = [(name, found[name]) for name in ("id", "node", "mac", "address")]
    pairs.append(("started", screen.local_time(found["started"])))
    if found["text"]:
        pairs += [("result", found["text"]), ("next step", found["next_step"])]
    screen.fields(pairs)
    screen.heading("Steps")
    screen.rows(found["timeline"], _steps(found["timeline"]), "table", "none")


@app.command
def watch(*, node: str | None = None, options: Options = DEFAULT) -> None:
    """Watch machines boot, live, until Ctrl-C. With -o json: one event a line.

    Parameters
    ----------
    node
        Only this node.
    """
    with options.client() as client:
        if node is not None:
            client.get("nodes", node)  # a slip of the pen would be a watch without end
        follow(client, node, options.output)

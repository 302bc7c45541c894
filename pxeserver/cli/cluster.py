"""Clusters: booted nodes that join networks, storage, routers and the Swarm by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure
from pxeserver.cli.cluster_view import head, show_plan, show_status
from pxeserver.cli.cluster_watch import follow
from pxeserver.cli.options import DEFAULT, Options, Yes, hosts, noun
from pxeserver.cli.screen import Column, column
from pxeserver.hostlist import fold

app = noun("cluster", "Clusters: nodes that become one system, and stay it.")
app.command(
    "pxeserver.cli.cluster_stack:app",
    name="stack",
    help="Versions of a stack's file: look at them, go back to one.",
)
Wait = Annotated[bool, Parameter(name="--wait", help="Wait until it stands or has failed, and show how.")]
Readmit = Annotated[
    list[str] | None,
    Parameter(name="--readmit", help="A node that was removed and may be a member again; several times."),
]
COLUMNS = (
    column("name"),
    column("state"),
    Column("managers", lambda c: fold(c["managers"])),
    Column("members", lambda c: fold(c["members"])),
    Column("steps", lambda c: f"{c['done']}/{c['wanted']}"),
    Column("changed", lambda c: screen.local_time(c["updated_at"])),
    column("by", "updated_by"),
)


def read_file(path: Path, readmit: list[str] | None) -> dict[str, Any]:
    """The body of a plan or an apply: the cluster file, and the files that it names beside it."""
    from pxeserver.postinstall.specfile import files_of  # noqa: PLC0415 - costs 0.1 s

    try:
        text = path.read_text()
        named = {name: path.parent / name for name in files_of(text)}
        # One that is missing is told by the server, with its line.
        files = {name: file.read_text() for name, file in named.items() if file.is_file()}
    except (OSError, UnicodeDecodeError) as error:
        step = "Name a cluster file (TOML)"
        raise Failure(f"{path} cannot be read", str(error), step, exit_code=2) from None
    return {"text": text, "name": path.name, "files": files, "readmit": readmit or []}


def explained(failure: Failure) -> Failure:
    """A refusal with one line for each fault."""
    if failure.fields:
        screen.fail(Failure(failure.what, "", ""))
        for place, text in failure.fields.items():
            screen.say(f"  {place}: {text}")
        raise SystemExit(failure.exit_code)
    return failure


def planned(client: Client, body: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """Ask for a plan; where it is refused, every fault is shown."""
    try:
        plan: dict[str, Any] = client.post("clusters", *path, "plan", body=body)
    except Failure as failure:
        raise explained(failure) from None
    return plan


@app.command
def plan(file: Path, /, *, readmit: Readmit = None, options: Options = DEFAULT) -> None:
    """Show what applying a cluster file would change. Nothing is touched.

    Parameters
    ----------
    file
        The cluster file (TOML). Compose and stack files that it names are read from beside it.
    """
    body = read_file(file, readmit)
    with options.client() as client:
        found = planned(client, body)
    if options.output != "table":
        screen.dump(found, options.output)
    else:
        show_plan(found)


@app.command
def apply(
    target: str,
    /,
    *,
    yes: Yes = False,
    mend: bool = False,
    wait: Wait = False,
    readmit: Readmit = None,
    options: Options = DEFAULT,
) -> int:
    """Make a cluster what its file says; failed steps are tried again.

    Parameters
    ----------
    target
        The cluster file (TOML); or the name of a cluster, to go on with what was applied last.
    mend
        Apply again also what `cluster check` found to have drifted.
    """
    path = Path(target)
    with options.client() as client:
        if path.suffix or path.exists():
            body = read_file(path, readmit)
            return carry_out(client, options, body, yes=yes, mend=mend, wait=wait)
        body = {"readmit": readmit or []}
        return carry_out(client, options, body, target, yes=yes, mend=mend, wait=wait)


def carry_out(
    client: Client,
    options: Options,
    body: Mapping[str, Any],
    *cluster: str,
    yes: bool,
    mend: bool = False,
    wait: bool = False,
    question: str = "",
) -> int:
    """Plan, show, ask, apply, and say what was done."""
    found = planned(client, body, *cluster)
    name = found["cluster"]
    if options.output == "table":
        show_plan(found)
    if found["changes"]:
        screen.confirm(question or f"Apply this to cluster {name}?", yes=yes)
    ordered = {**body, "seen": found["seen"], "mend": mend}
    where = ("clusters", *cluster, "change") if cluster else ("clusters",)
    done = client.post(*where, body=ordered)
    if options.output == "table":
        _say_done(done, found)
    elif not wait:
        screen.dump(done, options.output)
    if not wait:
        return 0
    state = follow(client, name, options.output, until_settled=True)
    return 0 if state in ("ready", "gone") else 1


def _say_done(done: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    name = done["cluster"]
    if done["retried"]:
        screen.say(f"tried again: {', '.join(done['retried'])}")
    if done["mended"]:
        screen.say(f"mended: {', '.join(done['mended'])}")
    if found["changes"] or done["retried"] or done["mended"]:
        screen.say(f"{name}: at work; `pxeserver cluster watch {name}` shows it")
    else:
        screen.say(f"{name}: nothing was changed, everything is as the file says")


@app.command(name="list")
def list_clusters(*, options: Options = DEFAULT) -> None:
    """List clusters."""
    with options.client() as client:
        empty = "no cluster; `pxeserver cluster apply FILE` makes one"
        screen.rows(client.get("clusters"), COLUMNS, options.output, empty)


def beside(adjusted: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What was ordered beside the file."""
    kinds = (("drained", "drain"), ("removed", "remove"), ("lost", "lost"))
    told: list[tuple[str, object]] = [(word, fold(adjusted[key])) for word, key in kinds if adjusted[key]]
    if adjusted["replaces"]:
        told.append(("replaced", ", ".join(f"{old} by {new}" for new, old in adjusted["replaces"].items())))
    return told


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show a cluster: who is what, its addresses, and the file it was made from."""
    with options.client() as client:
        found = client.get("clusters", name)
    if options.output != "table":
        screen.dump(found, options.output)
        return
    screen.stdout().print(head(found))
    changed = f"version {found['version']}, {screen.local_time(found['updated_at'])}"
    screen.fields([("applied", changed), ("by", found["updated_by"]), *beside(found["adjusted"])])
    places = list(found["layout"]["places"].values())
    bricks = {brick["node"] for brick in found["layout"]["bricks"]}
    screen.heading("Members")
    columns = (
        column("name"),
        Column("role", lambda p: "manager" if p["manager"] else "worker"),
        column("address"),
        Column("router", lambda p: p["router"]),
        Column("brick", lambda p: p["name"] in bricks),
        Column("on the vNets", lambda p: {v: s["address"] for v, s in p["shares"].items()}),
    )
    screen.rows(places, columns, "table", "none yet")
    if leaving := list(found["layout"]["leaving"]):
        screen.fields([("leaving", fold(leaving))])
    if found["stacks"]:
        screen.heading("Stacks")
        stacks = (column("name"), column("version"), Column("file", lambda s: s["sha256"][:12]))
        screen.rows(found["stacks"], stacks, "table", "none")
    screen.heading("File")
    for text in found["text"].splitlines():
        screen.stdout().print(screen.safe(text), style="dim")


@app.command
def status(name: str, /, *, options: Options = DEFAULT) -> int:
    """Show where each step of each member stands. Exit code 1 where something has failed."""
    with options.client() as client:
        found = client.get("clusters", name, "status")
    if options.output != "table":
        screen.dump(found, options.output)
    else:
        show_status(found)
    return 1 if found["state"] == "failed" else 0


@app.command
def watch(name: str, /, *, until_settled: bool = False, options: Options = DEFAULT) -> int:
    """Watch a cluster at work, live, until Ctrl-C. With -o json: one event a line.

    Parameters
    ----------
    until_settled
        End when it stands (exit code 0), or goes no further by itself (1).
    """
    with options.client() as client:
        try:
            state = follow(client, name, options.output, until_settled=until_settled)
        except KeyboardInterrupt:
            return 0
    return 0 if state in ("ready", "gone") else 1


@app.command
def logs(name: str, node: str, step: str, /, *, options: Options = DEFAULT) -> None:
    """Show what a step said when it ended last, and why it failed.

    Parameters
    ----------
    step
        As `cluster status` names it, e.g. network.
    """
    with options.client() as client:
        found = client.get("clusters", name, "logs", node, step)
    if options.output != "table":
        screen.dump(found, options.output)
        return
    pairs = [(key, found[key]) for key in ("node", "step", "status", "tries", "reason")]
    times = [(key, screen.local_time(found[key])) for key in ("started", "finished")]
    screen.fields([*pairs, *times])
    screen.heading("Log")
    for text in found["log"]:
        screen.stdout().print(screen.safe(text))
    if not found["log"]:
        screen.say("it has said nothing")


@app.command
def check(name: str, /, *nodes: str, options: Options = DEFAULT) -> None:
    """Have members look whether everything is still as it was applied.

    Parameters
    ----------
    nodes
        Only these; names or ranges.
    """
    with options.client() as client:
        found = client.post("clusters", name, "check", body={"nodes": hosts(nodes) if nodes else []})
    if options.output != "table":
        screen.dump(found, options.output)
    else:
        step = f"`pxeserver cluster status {name}` shows what has drifted"
        screen.say(f"{name}: {found['steps']} steps are looked at; {step}")


@app.command
def add(
    name: str,
    /,
    *nodes: str,
    yes: Yes = False,
    wait: Wait = False,
    options: Options = DEFAULT,
) -> int:
    """Let nodes in as members beside those that the cluster's file names: `cluster add lab n4`.

    Parameters
    ----------
    nodes
        Names or ranges. One that had left is taken back.
    """
    with options.client() as client:
        return carry_out(client, options, {"add": hosts(nodes)}, name, yes=yes, wait=wait)


@app.command
def stop(name: str, /, *, options: Options = DEFAULT) -> None:
    """Begin nothing more and leave what is at work; `cluster apply NAME` goes on."""
    with options.client() as client:
        found = client.post("clusters", name, "stop")
    if options.output != "table":
        screen.dump(found, options.output)
    else:
        screen.say(f"{name}: stopped; `pxeserver cluster apply {name}` goes on")


@app.command
def destroy(
    name: str,
    /,
    *,
    yes: Yes = False,
    wait: Wait = False,
    forget: bool = False,
    options: Options = DEFAULT,
) -> int:
    """Take a cluster down: everything that was done on its members is undone.

    Parameters
    ----------
    forget
        Undo nothing, only forget the cluster: for members that will never come back.
    """
    with options.client() as client:
        if forget:
            screen.confirm(f"Forget cluster {name}, and leave its members as they are?", yes=yes)
            client.delete("clusters", name)
            screen.say(f"{name}: forgotten")
            return 0
        question = f"Destroy cluster {name}, its volume and all data on it?"
        return carry_out(client, options, {"destroy": True}, name, yes=yes, wait=wait, question=question)

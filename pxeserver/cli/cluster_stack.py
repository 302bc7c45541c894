"""The stacks of a cluster in all the versions that were applied."""

from __future__ import annotations

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.cluster import Wait, carry_out
from pxeserver.cli.options import DEFAULT, Options, Yes, noun
from pxeserver.cli.screen import Column, column

app = noun("stack", "Versions of a stack's file: look at them, go back to one.")
_COLUMNS = (
    column("version"),
    Column("now", lambda v: v["current"]),
    Column("file", lambda v: v["sha256"][:12]),
    Column("since", lambda v: screen.local_time(v["created_at"])),
    column("by", "created_by"),
)


@app.command
def versions(name: str, stack: str, /, *, options: Options = DEFAULT) -> None:
    """List the versions of a stack's file, the newest first.

    Parameters
    ----------
    name
        The cluster.
    """
    with options.client() as client:
        found = client.get("clusters", name, "stacks", stack)
    screen.rows(found, _COLUMNS, options.output, "none")


@app.command
def show(name: str, stack: str, version: int, /, *, options: Options = DEFAULT) -> None:
    """Print one version of a stack's file, e.g. to compare it with another.

    Parameters
    ----------
    name
        The cluster.
    """
    with options.client() as client:
        found = client.get("clusters", name, "stacks", stack)
    wanted = next((one for one in found if one["version"] == version), None)
    if wanted is None:
        why = f"there are the versions {', '.join(str(one['version']) for one in found)}"
        raise Failure(f"no version {version} of stack {stack}", why, "Name one of them")
    if options.output != "table":
        screen.dump(wanted, options.output)
    else:
        print(wanted["file"], end="")


@app.command
def rollback(
    name: str,
    stack: str,
    version: int,
    /,
    *,
    yes: Yes = False,
    wait: Wait = False,
    options: Options = DEFAULT,
) -> int:
    """Deploy an earlier version of a stack's file again. It becomes the newest version, so that this can be
    taken back the same way. The next apply of the cluster file brings the file beside it.

    Parameters
    ----------
    name
        The cluster.
    """
    question = f"Go back to version {version} of stack {stack} in cluster {name}?"
    with options.client() as client:
        body = {"stacks": {stack: version}}
        return carry_out(client, options, body, name, yes=yes, wait=wait, question=question)

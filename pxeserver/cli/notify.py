"""Notifications: who is told of alarms."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, noun
from pxeserver.cli.screen import Column, column

app = noun("notify", "Notifications: who is told of alarms.")
COLUMNS = (
    column("name"),
    column("kind"),
    column("to", "hint"),
    Column("alarms", lambda t: ", ".join(t["alarms"]) or "all"),
    Column("on", lambda t: "yes" if t["enabled"] else "no"),
    column("sent"),
    column("failed"),
    column("dropped"),
    column("waiting"),
    Column("last", lambda t: t["last"]["text"] if t["last"] else ""),
)


@app.command(name="list")
def list_targets(*, options: Options = DEFAULT) -> None:
    """List who is told, without addresses and secrets."""
    with options.client() as client:
        found = client.get("notifications")
    screen.rows(found, COLUMNS, options.output, "nobody is told; `pxeserver notify add NAME webhook`")


@app.command
def add(
    name: str,
    kind: Literal["webhook", "apprise"],
    /,
    *,
    alarm: Annotated[list[str] | None, Parameter(name="--alarm")] = None,
    options: Options = DEFAULT,
) -> int:
    """Tell somebody of alarms. The address is asked for, or read from the standard input: it may hold a
    password.

    Parameters
    ----------
    kind
        webhook: a signed POST to an address such as https://hooks.example.org/boot. apprise: mail, chats and
        more, by an address such as mailtos://user:password@example.org.
    alarm
        A kind to tell; may be given several times. Without one: all.
    """
    url = getpass.getpass("Address: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not url.strip():
        raise Failure("nothing was added", "no address was given", "Type it, or pipe it in", exit_code=2)
    body: dict[str, Any] = {"name": name, "kind": kind, "url": url.strip(), "alarms": alarm or []}
    with options.client() as client:
        made = client.post("notifications", body=body)
    if options.output != "table":
        screen.dump(made, options.output)
        return 0
    screen.say(f"{name}: added; `pxeserver notify test {name}` sends a message")
    if made["secret"]:
        screen.say("its messages are signed with this secret, which is shown this once:")
        print(screen.safe(made["secret"]))
    return 0


@app.command
def test(name: str, /, *, options: Options = DEFAULT) -> int:
    """Send a test message now, and say what came of it."""
    with options.client() as client:
        result = client.post("notifications", name, "test")
    if options.output != "table":
        screen.dump(result, options.output)
    elif result["ok"]:
        screen.say(f"{name}: {result['text']}, after {result['seconds']:.1f} s")
    else:
        step = "Correct its address, or look at the receiver"
        raise Failure(f"{name} was not told", result["text"], step)
    return 0 if result["ok"] else 1


@app.command
def remove(name: str, /, *, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Tell it nothing any more."""
    screen.confirm(f"Remove {name}?", yes=yes)
    with options.client() as client:
        client.delete("notifications", name)
    screen.say(f"{name}: removed")
    return 0

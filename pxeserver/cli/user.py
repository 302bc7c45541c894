"""Users: who may log in to the web pages, and what they may do."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pxeserver.cli import records, screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, noun, pairs
from pxeserver.cli.records import Labels
from pxeserver.cli.screen import Column, column

app = noun("user", "Users: who may log in to the web pages, and what they may do.")
Role = Literal["viewer", "operator", "admin"]
FromInput = Annotated[
    bool, Parameter(name="--password-stdin", help="Read the password's line from the standard input.")
]
COLUMNS = (
    column("name"),
    column("role"),
    column("limited to", "labels"),
    Column("login", lambda u: "demo" if u["demo"] else "password" if u["has_password"] else "tokens only"),
    column("sessions"),
    column("tokens"),
)


@app.command
def add(
    name: str,
    role: Role = "viewer",
    /,
    *,
    label: Labels = None,
    tokens_only: bool = False,
    password_stdin: FromInput = False,
    options: Options = DEFAULT,
) -> int:
    """Add a user: `user add alice operator --label line=development`.

    Parameters
    ----------
    role
        viewer looks, operator boots and changes machines, admin does everything.
    label
        Only what carries it may be changed: key=value; may be given several times.
    tokens_only
        No password: for programs, which get tokens (`token add`).
    """
    body: dict[str, Any] = {"name": name, "role": role, "labels": pairs(label or ())}
    if not tokens_only:
        body["password"] = new_password(name, from_input=password_stdin)
    return records.added("users", body, options)


@app.command(name="list")
def list_users(*, options: Options = DEFAULT) -> None:
    """List users."""
    records.listed("users", COLUMNS, "no user; `pxeserver user add NAME admin` adds one", options)


@app.command
def passwd(name: str, /, *, password_stdin: FromInput = False, options: Options = DEFAULT) -> int:
    """Set a user's password; all their sessions end."""
    body = {"password": new_password(name, from_input=password_stdin)}
    return records.changed("users", [name], body, options)


@app.command(name="set")
def set_role(
    name: str,
    role: Role | None = None,
    /,
    *,
    label: Labels = None,
    everything: bool = False,
    options: Options = DEFAULT,
) -> int:
    """Change what a user may do: `user set alice admin --everything`. They have to log in again.

    Parameters
    ----------
    label
        In place of the labels so far: key=value; may be given several times.
    everything
        No limit by labels any more.
    """
    labels = {} if everything else pairs(label) if label else None
    body = {key: value for key, value in (("role", role), ("labels", labels)) if value is not None}
    if not body:
        raise Failure("nothing to change", "no role and no label is given", "Name one", exit_code=2)
    with options.client() as client:
        changed = client.patch("users", name, body=body)
    if options.output == "table":
        screen.say(f"{name}: changed")
    else:
        screen.dump(changed, options.output)
    return 0


@app.command
def remove(*names: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Remove users with their sessions and tokens."""
    return records.removed("users", names, f"Remove user {', '.join(names)}?", options, yes=yes)


@app.command
def code(*, options: Options = DEFAULT) -> int:
    """Show the set-up code: with it the first password can be set from another machine."""
    with options.client() as client:
        found = client.get("setup-code")
    if options.output != "table":
        screen.dump(found, options.output)
    elif found["code"]:
        screen.fields([("set-up code", found["code"])])
    else:
        screen.say("none is needed: a password was set; `pxeserver user passwd NAME` sets another")
    return 0


def new_password(name: str, *, from_input: bool) -> str:
    """A new password, typed twice or read from the standard input; never an argument, which others see."""
    if from_input or not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass(f"New password of {name}: ")
    if getpass.getpass("Once more: ") != first:
        raise Failure("no password was set", "the two are not the same", "Type it again", exit_code=2)
    return first

"""API tokens: what programs log in with."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, noun
from pxeserver.cli.screen import Column, column

app = noun("token", "API tokens: what programs log in with.")
COLUMNS = (
    column("user"),
    column("name"),
    column("role"),
    column("scopes"),
    Column("expires", lambda t: screen.local_time(t["expires"]) if t["expires"] else "never"),
    Column("used", lambda t: screen.local_time(t["seen"]) if t["seen"] else "never"),
    column("from", "address"),
)


@app.command
def add(
    user: str,
    name: str,
    /,
    *,
    scope: Annotated[list[str] | None, Parameter(name="--scope")] = None,
    role: Literal["viewer", "operator", "admin"] | None = None,
    days: int = 90,
    options: Options = DEFAULT,
) -> int:
    """Make a token and print its secret, once: `token add alice ci --scope node:write --scope boot:read`.

    Parameters
    ----------
    scope
        AREA:read or AREA:write; may be given several times. Without one: *:read. An area is server, policy,
        node, boot, lease, group, profile, image, loader, cluster, audit, access, or * for all.
    role
        At most this; without it the user's own role.
    days
        How long it can be used; 0: until it is revoked.
    """
    body = {"name": name, "user": user, "scopes": scope or ["*:read"], "days": days or None, "role": role}
    with options.client() as client:
        made = client.post("tokens", body={k: v for k, v in body.items() if v is not None or k == "days"})
    if options.output != "table":
        screen.dump(made, options.output)
        return 0
    screen.say(f"token {name} of {user}; this is the only time that it is shown:")
    print(screen.safe(made["secret"]))
    return 0


@app.command(name="list")
def list_tokens(user: str | None = None, /, *, options: Options = DEFAULT) -> None:
    """List tokens, without their secrets."""
    with options.client() as client:
        found = client.get("tokens", user=user)
    screen.rows(found, COLUMNS, options.output, "no token; `pxeserver token add USER NAME` makes one")


@app.command
def revoke(user: str, name: str, /, *, yes: Yes = False, options: Options = DEFAULT) -> int:
    """End a token at once."""
    with options.client() as client:
        found = [t for t in client.get("tokens", user=user) if t["name"] == name]
        if not found:
            step = f"`pxeserver token list {user}` shows them"
            raise Failure(f"no token {name}", f"{user} has none of this name", step)
        screen.confirm(f"Revoke token {name} of {user}?", yes=yes)
        client.delete("tokens", str(found[0]["id"]))
    screen.say(f"{user}/{name}: revoked")
    return 0

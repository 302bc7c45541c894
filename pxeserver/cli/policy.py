"""Policy: what unknown machines get."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, noun, pairs
from pxeserver.cli.screen import column

app = noun("policy", "Policy: what unknown machines get.")
SUBNETS = (
    column("network"),
    column("dhcp"),
    column("pools"),
    column("router"),
    column("dns"),
    column("server"),
    column("lease_seconds"),
)


def _print(policy: dict[str, Any], options: Options) -> None:
    if options.output != "table":
        screen.dump(policy, options.output)
        return
    subnets = policy.pop("subnets")
    screen.fields((key.replace("_", " "), value) for key, value in policy.items())
    if subnets:
        screen.heading("Subnets")
        screen.rows(subnets, SUBNETS, "table", "none")


@app.command
def show(*, options: Options = DEFAULT) -> None:
    """Show the policy in force: the configuration's, with what was set over it."""
    with options.client() as client:
        _print(client.get("policy"), options)


@app.command(name="set")
def set_policy(
    *values: str,
    unknown: str | None = None,
    dry_run: Annotated[bool | None, Parameter(negative_bool="no-", negative=None)] = None,
    menu_timeout: int | None = None,
    options: Options = DEFAULT,
) -> None:
    """Change the policy: `policy set --unknown discover`. It outlives restarts and wins over the
    configuration.

    Parameters
    ----------
    values
        Defaults for all machines, key=value; "key=" takes one away.
    unknown
        For unknown machines: menu, discover, observe, ignore, or profile:NAME.
    dry_run
        Listen and record what would be answered, and send nothing.
    menu_timeout
        Seconds until the menu starts the local disk; 0: it waits for ever.
    """
    body: dict[str, Any] = {"unknown": unknown, "dry_run": dry_run, "menu_timeout": menu_timeout}
    body["values"] = pairs(values, unset=True) or None
    body = {k: v for k, v in body.items() if v is not None}
    if not body:
        raise Failure(
            "nothing to change", "no option is given", "See `pxeserver policy set --help`", exit_code=2
        )
    with options.client() as client:
        _print(client.patch("policy", body=body), options)

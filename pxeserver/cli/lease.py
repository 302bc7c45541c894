"""Leases: the addresses promised by DHCP."""

from __future__ import annotations

from pxeserver.cli import screen
from pxeserver.cli.options import DEFAULT, Options, Yes, each, noun
from pxeserver.cli.screen import Column, column

app = noun("lease", "Leases: the addresses promised by DHCP.")
COLUMNS = (
    column("address"),
    column("mac"),
    column("hostname"),
    column("state"),
    Column("expires", lambda r: screen.local_time(r["expires"])),
)


@app.command(name="list")
def list_leases(*, options: Options = DEFAULT) -> None:
    """List leases."""
    with options.client() as client:
        empty = 'no lease; addresses are given where a subnet has dhcp = "full" or "reserved"'
        screen.rows(client.get("leases"), COLUMNS, options.output, empty)


@app.command
def release(*addresses: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Free addresses at once; the machines do not hear of it, so do this only for machines that are gone."""
    screen.confirm(f"Free {', '.join(addresses)}?", yes=yes)
    with options.client() as client:
        return each(list(addresses), lambda a: client.delete("leases", a), "freed", options)

"""Leases: the addresses promised by DHCP."""

from __future__ import annotations

from pxeserver.cli import records, screen
from pxeserver.cli.options import DEFAULT, Options, Yes, noun
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
    empty = 'no lease; addresses are given where a subnet has dhcp = "full" or "reserved"'
    records.listed("leases", COLUMNS, empty, options)


@app.command
def release(*addresses: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Free addresses at once; the machines do not hear of it, so do this only for machines that are gone."""
    return records.removed(
        "leases", addresses, f"Free {', '.join(addresses)}?", options, yes=yes, done="freed"
    )

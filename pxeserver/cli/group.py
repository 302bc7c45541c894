"""Groups: values for all machines that a selector matches."""

from __future__ import annotations

from typing import Literal

from pxeserver.cli import records, screen
from pxeserver.cli.options import DEFAULT, Options, Yes, noun, pairs
from pxeserver.cli.records import Labels
from pxeserver.cli.screen import column
from pxeserver.cli.versions import add_versions

app = noun("group", "Groups: values for all machines that a selector matches.")
Selector = Literal["arch", "vendor", "mac-prefix", "subnet", "label"]
COLUMNS = (column("name"), column("selector"), column("match"), column("values"), column("labels"))


@app.command
def add(
    name: str,
    selector: Selector,
    match: str,
    /,
    *values: str,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Add a group: `group add rack1 label rack=r1 console=ttyS0`, `group add arm arch arm64 profile=arm`.

    Parameters
    ----------
    selector
        What machines are selected by; later ones in this list win over earlier ones.
    match
        Architecture (x64, or its number), beginning of the vendor's name, MAC prefix, network, or key=value.
    values
        Values as key=value.
    """
    body = {
        "name": name,
        "selector": selector,
        "match": match,
        "values": pairs(values),
        "labels": pairs(label or ()),
    }
    return records.added("groups", body, options)


@app.command(name="list")
def list_groups(*, options: Options = DEFAULT) -> None:
    """List groups in order of precedence: the last one that sets a value wins."""
    records.listed("groups", COLUMNS, "no group; `pxeserver group add --help` shows how to add one", options)


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show a group."""
    if group := records.found("groups", name, options):
        screen.fields(group.items())


@app.command(name="set")
def set_values(
    name: str,
    /,
    *values: str,
    selector: Selector | None = None,
    match: str | None = None,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Change a group: `group set rack1 console=ttyS1`.

    Parameters
    ----------
    values
        Values as key=value; "key=" takes a value away.
    """
    body = {
        "selector": selector,
        "match": match,
        "values": pairs(values, unset=True),
        "labels": pairs(label or (), unset=True),
    }
    return records.changed("groups", [name], body, options)


@app.command
def remove(*names: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Remove groups."""
    return records.removed("groups", names, f"Remove group {', '.join(names)}?", options, yes=yes)


add_versions(app, "groups")

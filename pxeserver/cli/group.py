"""Groups: values for all machines that a selector matches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, each, noun, pairs
from pxeserver.cli.screen import column

app = noun("group", "Groups: values for all machines that a selector matches.")
Selector = Literal["arch", "vendor", "mac-prefix", "subnet", "label"]
LabelOptions = Annotated[
    list[str] | None, Parameter(name="--label", help="key=value; may be given several times.")
]
COLUMNS = (column("name"), column("selector"), column("match"), column("values"), column("labels"))


@app.command
def add(
    name: str,
    selector: Selector,
    match: str,
    /,
    *values: str,
    label: LabelOptions = None,
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
    with options.client() as client:
        return each([name], lambda _: client.post("groups", body=body), "added", options)


@app.command(name="list")
def list_groups(*, options: Options = DEFAULT) -> None:
    """List groups in order of precedence: the last one that sets a value wins."""
    with options.client() as client:
        empty = "no group; `pxeserver group add --help` shows how to add one"
        screen.rows(client.get("groups"), COLUMNS, options.output, empty)


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show a group."""
    with options.client() as client:
        group = client.get("groups", name)
    if options.output != "table":
        screen.dump(group, options.output)
    else:
        screen.fields(group.items())


@app.command(name="set")
def set_values(
    name: str,
    /,
    *values: str,
    selector: Selector | None = None,
    match: str | None = None,
    label: LabelOptions = None,
    options: Options = DEFAULT,
) -> int:
    """Change a group: `group set rack1 console=ttyS1`.

    Parameters
    ----------
    values
        Values as key=value; "key=" takes a value away.
    """
    body: dict[str, Any] = {"selector": selector, "match": match}
    body["values"] = pairs(values, unset=True) or None
    body["labels"] = pairs(label or (), unset=True) or None
    body = {k: v for k, v in body.items() if v is not None}
    if not body:
        raise Failure("nothing to change", "no value is given", "Write key=value, or an option", exit_code=2)
    with options.client() as client:
        return each([name], lambda n: client.patch("groups", n, body=body), "changed", options)


@app.command
def remove(*names: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Remove groups."""
    screen.confirm(f"Remove group {', '.join(names)}?", yes=yes)
    with options.client() as client:
        return each(list(names), lambda n: client.delete("groups", n), "removed", options)

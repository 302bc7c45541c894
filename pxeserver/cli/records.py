"""What the commands of every kind of record do alike: list, add, change, remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import Options, each
from pxeserver.cli.screen import Column

Labels = Annotated[list[str] | None, Parameter(name="--label", help="key=value; may be given several times.")]


def listed(path: str, columns: Sequence[Column], empty: str, options: Options) -> None:
    """Print all records; `empty` where there is none."""
    with options.client() as client:
        screen.rows(client.get(path), columns, options.output, empty)


def found(path: str, name: str, options: Options) -> dict[str, Any] | None:
    """One record for a table; None where it was printed for a program already."""
    with options.client() as client:
        record: dict[str, Any] = client.get(path, name)
    if options.output == "table":
        return record
    screen.dump(record, options.output)
    return None


def added(path: str, body: Mapping[str, Any], options: Options) -> int:
    """Add a record; returns the exit code."""
    with options.client() as client:
        return each([body["name"]], lambda _: client.post(path, body=body), "added", options)


def given(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be changed: the fields that are neither None nor empty mappings; Failure where none is."""
    fields = {key: value for key, value in body.items() if value is not None and value != {}}
    if not fields:
        raise Failure("nothing to change", "no value is given", "Write key=value, or an option", exit_code=2)
    return fields


def changed(path: str, names: list[str], body: Mapping[str, Any], options: Options) -> int:
    """Change records by what is `given`; returns the exit code."""
    fields = given(body)
    with options.client() as client:
        return each(names, lambda name: client.patch(path, name, body=fields), "changed", options)


def removed(
    path: str, names: Sequence[str], question: str, options: Options, *, yes: bool, done: str = "removed"
) -> int:
    """Remove records after the question; returns the exit code."""
    screen.confirm(question, yes=yes)
    with options.client() as client:
        return each(list(names), lambda name: client.delete(path, name), done, options)

"""Profiles: what to boot, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pxeserver.cli import records, screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, noun, pairs
from pxeserver.cli.records import Labels
from pxeserver.cli.screen import column
from pxeserver.cli.versions import add_versions

app = noun("profile", "Profiles: what to boot, by name.")
Kind = Literal["local", "kernel", "efi", "script", "chain", "discovery", "disk", "menu"]
Maybe = Annotated[bool | None, Parameter(negative_bool="no-", negative=None)]
COLUMNS = (
    column("name"),
    column("kind"),
    column("image"),
    column("install"),
    column("in_menu"),
    column("args"),
    column("title"),
)


def _script(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(
            f"{file} cannot be read", str(reason), "Check the name of the file", exit_code=2
        ) from None


@app.command
def add(
    name: str,
    /,
    *values: str,
    kind: Kind = "kernel",
    image: str | None = None,
    args: str = "",
    script: Path | None = None,
    url: str = "",
    install: bool = False,
    title: str = "",
    in_menu: Maybe = True,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Add a profile: `profile add live --image debian --args "boot=live"`, `profile add disk --kind local`.

    Parameters
    ----------
    values
        Values as key=value, e.g. console=ttyS0.
    kind
        What it does: start the local disk; kernel, initrds and arguments of an image; an EFI program of an
        image; an iPXE script; chain to another server; the discovery system; write an image's disk file; a
        menu.
    image
        The image that holds its files.
    args
        The kernel command line.
    script
        File with an iPXE script, for kind script.
    url
        Where to chain to, for kind chain.
    install
        It installs: run once for each install order, then boot the local disk.
    title
        Text in menus.
    in_menu
        Offer it in menus.
    """
    body = {
        "name": name,
        "kind": kind,
        "image": image,
        "args": args,
        "script": _script(script) or "",
        "url": url,
        "install": install,
        "title": title,
        "in_menu": bool(in_menu),
        "values": pairs(values),
        "labels": pairs(label or ()),
    }
    return records.added("profiles", body, options)


@app.command(name="list")
def list_profiles(*, options: Options = DEFAULT) -> None:
    """List profiles."""
    empty = "no profile; `pxeserver profile add --help` shows how to add one"
    records.listed("profiles", COLUMNS, empty, options)


@app.command
def show(name: str, /, *, options: Options = DEFAULT) -> None:
    """Show a profile."""
    profile = records.found("profiles", name, options)
    if profile is None:
        return
    script = profile.pop("script")
    screen.fields(profile.items())
    if script:
        screen.heading("Script")
        for line in script.splitlines():
            screen.fields([(line, screen.cell(" "))])


@app.command(name="set")
def set_values(
    name: str,
    /,
    *values: str,
    kind: Kind | None = None,
    image: str | None = None,
    args: str | None = None,
    script: Path | None = None,
    url: str | None = None,
    install: Maybe = None,
    title: str | None = None,
    in_menu: Maybe = None,
    label: Labels = None,
    options: Options = DEFAULT,
) -> int:
    """Change a profile: `profile set live --args "boot=live quiet" console=`.

    Parameters
    ----------
    values
        Values as key=value; "key=" takes a value away.
    """
    body = {
        "kind": kind,
        "image": image,
        "args": args,
        "script": _script(script),
        "url": url,
        "install": install,
        "title": title,
        "in_menu": in_menu,
        "values": pairs(values, unset=True),
        "labels": pairs(label or (), unset=True),
    }
    return records.changed("profiles", [name], body, options)


@app.command
def remove(*names: str, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Remove profiles that nothing uses."""
    return records.removed("profiles", names, f"Remove profile {', '.join(names)}?", options, yes=yes)


add_versions(app, "profiles")

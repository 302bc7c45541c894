"""Loaders: the network boot program of each architecture."""

from __future__ import annotations

from pathlib import Path

from pxeserver.cli import records, screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, each, noun
from pxeserver.cli.screen import Column, column
from pxeserver.cli.transfer import receive, send, upload_blocks

app = noun("loader", "Loaders: the network boot program of each architecture.")
COLUMNS = (
    column("arch"),
    column("name", "arch_name"),
    Column("file", lambda r: r["file"]["name"]),
    Column("size", lambda r: screen.size(r["file"]["size"])),
    column("release"),
    column("licence"),
    column("source"),
    Column("sha256", lambda r: r["file"]["sha256"][:12]),
)


@app.command(name="list")
def list_loaders(*, options: Options = DEFAULT) -> None:
    """List loaders."""
    records.listed(
        "loaders", COLUMNS, "no loader; `pxeserver loader add --help` shows how to add one", options
    )


@app.command
def add(
    file: str,
    /,
    *,
    arch: list[int],
    version: str = "",
    licence: str = "",
    sha256: str | None = None,
    options: Options = DEFAULT,
) -> int:
    """Use your own build as a loader: `loader add ipxe.efi --arch 7 --arch 9`.

    Parameters
    ----------
    file
        A path here, a URL, or import:NAME.
    arch
        Client system architecture that gets it (0 BIOS, 7 and 9 x64 UEFI, 11 arm64 UEFI, 16 x64 UEFI HTTP
        boot); may be given several times.
    version
        Its version, for the list.
    licence
        Its licence, for the list.
    sha256
        What the file must be.
    """
    with options.client() as client:
        sent = send(client, file, "loader", sha256)
        body = {"name": sent["name"], "sha256": sent["sha256"], "version": version, "licence": licence}
        done = f"{sent['name']} is its loader now"
        return each([str(a) for a in arch], lambda a: client.put("loaders", a, body=body), done, options)


@app.command
def remove(*archs: int, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Give up added loaders: the server's own serve these architectures again, where it has one.

    Parameters
    ----------
    archs
        Architectures, as `loader list` shows them.
    """
    names = [str(arch) for arch in archs]
    question = f"Remove the loader of architecture {', '.join(names)}?"
    return records.removed("loaders", names, question, options, yes=yes)


@app.command(name="export")
def export_bundle(file: Path, /, *, options: Options = DEFAULT) -> None:
    """Save all loaders into one file, for a server without a way to the Internet."""
    with options.client() as client:
        size = receive(client, file, "loaders", "bundle")
    screen.say(f"{file}: {screen.size(size)}")


@app.command(name="import")
def import_bundle(file: Path, /, *, options: Options = DEFAULT) -> None:
    """Take the loaders of a file that `loader export` made."""
    with options.client() as client, upload_blocks(file, file.name) as (blocks, size):
        loaders = client.upload("loaders", "bundle", blocks=blocks, size=size)
    if not loaders:
        raise Failure("nothing was taken in", f"{file} holds no loader", "Choose another file")
    screen.rows(loaders, COLUMNS, options.output, "none")

"""Replace everything by a backup's content."""

from __future__ import annotations

from pathlib import Path

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, noun
from pxeserver.cli.transfer import upload_blocks

app = noun("restore", "Replace everything by a backup's content.")


@app.default
def restore(
    file: Path | None = None, /, *, empty: bool = False, yes: Yes = False, options: Options = DEFAULT
) -> None:
    """Replace nodes, groups, profiles and images by those of FILE; image files that are missing are named.

    Parameters
    ----------
    file
        What `pxeserver backup` wrote.
    empty
        No FILE: after the database was lost or damaged, go on with an empty or with the newer one. The boot
        worker forgets the nodes that are not in it.
    """
    if empty == (file is not None):
        raise Failure("nothing was restored", "either a FILE or --empty is needed", "", exit_code=2)
    if file is None:
        screen.confirm("Go on without the nodes that the database has lost?", yes=yes)
        with options.client() as client:
            result = client.post("restore", "empty")
    else:
        screen.confirm(f"Replace everything on the server by {file}?", yes=yes)
        with options.client() as client, upload_blocks(file, file.name) as (blocks, size):
            result = client.upload("restore", blocks=blocks, size=size)
    if options.output != "table":
        screen.dump(result, options.output)
        return
    screen.say(f"restored: {result['nodes']} nodes, {result['profiles']} profiles")
    for name in result["missing_files"]:
        screen.warn(f"image file {name} is not in the store: import its image again")

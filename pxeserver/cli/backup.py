"""Save everything but the image files into one file."""

from __future__ import annotations

from pathlib import Path

from pxeserver.cli import screen
from pxeserver.cli.options import DEFAULT, Options, noun
from pxeserver.cli.transfer import receive

app = noun("backup", "Save everything but the image files into one file.")


@app.default
def backup(file: Path, /, *, options: Options = DEFAULT) -> None:
    """Save everything but the image files into FILE, while the server runs."""
    with options.client() as client:
        size = receive(client, file, "backup")
    screen.say(f"{file}: {screen.size(size)}")

"""Where the files that belong to pxeserver but are not Python lie: boot menus, image recipes, systemd
units, and what monitoring systems load.

In a source tree they stand beside the package; in an installed wheel they travel inside it
(`pxeserver/_data`).
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
FOLDERS = ("bootmenus", "images", "monitoring", "systemd")


def folder(name: str) -> Path:
    """The folder `name` (one of FOLDERS) of this installation; FileNotFoundError names both places that
    were looked at.
    """
    if name not in FOLDERS:
        raise ValueError(f"no such data folder: {name} (one of {', '.join(FOLDERS)})")
    places = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"the folder {name} is at neither of {places[0]} and {places[1]}: install pxeserver again"
    )

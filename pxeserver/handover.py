"""What a process of the server begins with: its command line, and the settings in its environment."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxeserver.config import Settings

_CONFIG = "PXESERVER__CONFIG"
_FLAGS = "PXESERVER__FLAGS"
_SOURCE = str(Path(__file__).resolve().parent.parent)


def command(module: str, *words: str) -> list[str]:
    """The command line that runs a module of this package by this interpreter, whatever the working folder
    is.
    """
    return [sys.executable, "-P", "-m", module, *words]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which `command` finds the same code, also in a source tree that is not installed."""
    others = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", _SOURCE)]
    return {**environ, "PYTHONPATH": os.pathsep.join([_SOURCE, *others])}


def give(config: Path | None, flags: Mapping[str, Any]) -> dict[str, str]:
    """The part of the environment by which `settings` finds the same: the file that was named, and the
    command line's flags.
    """
    named = {_CONFIG: str(config.absolute())} if config is not None else {}
    return {**named, _FLAGS: json.dumps(dict(flags))}


def settings(environ: Mapping[str, str]) -> Settings:
    """The settings that were handed down, or those of the host where none were. ConfigErrors as
    Settings.load.
    """
    named = environ.get(_CONFIG)
    return Settings.load(Path(named) if named else None, environ, json.loads(environ.get(_FLAGS, "{}")))

"""The configuration: check it, show it, describe it. Needs no running server."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, noun
from pxeserver.cli.screen import column
from pxeserver.config import DEFAULT_FILE, ConfigErrors, Settings

app = noun("config", "The configuration: check it, show it, describe it.")
File = Annotated[Path | None, Parameter(name=("--config", "-c"), env_var="PXESERVER_CONFIG")]
COLUMNS = (column("setting", "key"), column("value"), column("from", "origin"))
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_NAMES = re.compile(r"password|secret|token|private", re.IGNORECASE)


def load(path: Path | None, flags: dict[str, Any] | None = None) -> Settings:
    """The settings; Failure with every fault and exit code 2."""
    try:
        return Settings.load(path, os.environ, flags)
    except ConfigErrors as errors:
        for fault in errors.faults:
            screen.say(str(fault))
        count = len(errors.faults)
        what = f"the configuration has {count} fault{'s' if count > 1 else ''}"
        step = "Mend what is named above; `pxeserver config check` tells whether all is well"
        raise Failure(what, "see above", step, exit_code=2) from None


@app.command
def check(*, config: File = None, options: Options = DEFAULT) -> None:
    """Check the configuration: every fault with its place and how to mend it. Exit code 2 where there is one.

    Parameters
    ----------
    config
        The file; /etc/pxeserver/config.toml by default.
    """
    if options.output != "table":
        try:
            Settings.load(config, os.environ)
            faults: list[dict[str, str]] = []
        except ConfigErrors as errors:
            faults = [{"where": f.where, "key": f.key, "what": f.what, "mend": f.mend} for f in errors.faults]
        screen.dump({"ok": not faults, "faults": faults}, options.output)
        if faults:
            raise Failure("the configuration has faults", "see the output", "Mend them", exit_code=2)
        return
    load(config)
    file = config or DEFAULT_FILE
    screen.say(f"{file}: no fault" if file.exists() else "no file: the defaults hold")


@app.command
def show(*, config: File = None, options: Options = DEFAULT) -> None:
    """Show every setting with its value and where that comes from; secrets are left out.

    Parameters
    ----------
    config
        The file; /etc/pxeserver/config.toml by default.
    """
    settings = load(config)
    found = [{"key": k, "value": v, "origin": settings.origin(o)} for k, v, o in _values(settings)]
    if options.output == "table":
        found = [{**row, "value": _text(row["value"])} for row in found]
    screen.rows(found, COLUMNS, options.output, "none")


@app.command
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    screen.dump(json_schema(), "json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}


def _values(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """(key as shown, value, key of the origin)."""
    for section, part in settings:
        if isinstance(part, BaseModel):
            for name, value in part.model_dump(mode="json").items():
                yield f"{section}.{name}", redacted(name, value), f"{section}.{name}"
    for number, subnet in enumerate(settings.subnet):
        for name, value in subnet.model_dump(mode="json", exclude_defaults=True).items():
            yield f"subnet[{number + 1}].{name}", value, f"subnet.{number}.{name}"


def redacted(name: str, value: Any) -> Any:
    """A value without secrets: credentials in URLs, and whatever is called a password, secret or token."""
    if _SECRET_NAMES.search(name) and value:
        return "(hidden)"
    return _CREDENTIALS.sub("(hidden)", value) if isinstance(value, str) else value


def _text(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value

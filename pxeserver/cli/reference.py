"""Writes docs/cli.md and docs/configuration.md from the program itself: `python -m pxeserver.cli.reference
docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pxeserver.boot.values import KEYS
from pxeserver.cli import build
from pxeserver.config import Settings, SubnetSettings

_GENERATED = (
    "<!-- Written by `python -m pxeserver.cli.reference docs`; change the program, not this file. -->\n"
)
_COMMON = re.compile(r"\*\*Common options\*\*:\n\n((?:\* .*\n)+)\n?")
_CLI = """\
# The command line

`pxeserver NOUN VERB`. Everything but `run` and `config` is a client of the API on the server's unix socket;
members of the group `pxeserver` may use it.

- **Host lists**: `n1`, `n[001-256]`, `n[1-4,7]`, `r[1-2]n[1-8]`, `login,n[1-4]`, wherever several nodes may
  be named. Put them in quotes: brackets mean something to most shells.
- **Values**: `key=value`; `key=` takes a value away. The values are listed below.
- **Output**: a table for people, `-o json` or `-o yaml` for programs. Results go to stdout, everything else
  to stderr. `NO_COLOR` is obeyed; without a terminal there is no colour and no cut line.
- **Destructive commands** ask first; `--yes` answers for scripts.
- **Errors** say what, why and the next step. `--debug` adds the program's traceback.
- **Exit codes**: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 the server cannot be reached,
  130 interrupted.

## A first machine

```console
$ sudo pxeserver run &
$ pxeserver boot watch                            # the machine asks, and its code is shown
$ pxeserver node list --unknown
$ pxeserver image add debian --kernel vmlinuz --initrd initrd.img
$ pxeserver profile add live --image debian --args "boot=live"
$ pxeserver node approve 7H3K9Q web1 --profile live
$ pxeserver node show web1                        # what it gets now, and why
```
"""
_CONFIGURATION = """\
# Configuration

No file is needed. What is set comes, later ones winning, from

1. the defaults below,
2. `/etc/pxeserver/config.toml`, or the file given with `--config` or `PXESERVER_CONFIG`,
3. the environment: `PXESERVER_SECTION__KEY`, e.g. `PXESERVER_SERVER__INTERFACE=eth0,eth1`; lists are
   separated by commas or written as in TOML,
4. the options of `pxeserver run`.

An unknown key is a fault. All faults are told at once, each with its file and line or its variable:
`pxeserver config check`. `pxeserver config show` names the origin of every value; `pxeserver config schema`
prints a JSON Schema for editors. What is set with `pxeserver policy set` is kept in the database and wins
over the file.

```toml
[server]
interface = "eth0"

[policy]
unknown = "discover"

[[subnet]]
network = "10.77.0.0/24"
dhcp = "full"
pools = ["10.77.0.100-10.77.0.199"]
router = "10.77.0.1"
```
"""


def command_line() -> str:
    """docs/cli.md."""
    text = _generated()
    common = _COMMON.search(text)
    text = _COMMON.sub("", text)
    text = text.partition("**Commands**:")[2].partition("\n### ")[2]
    values = [f"| `{k.name}` | `{k.default}` | {k.help} |" for k in KEYS.values()]
    parts = [
        _GENERATED + _CLI,
        "## Common options\n\nOf every command that speaks with the server:\n\n"
        + (common.group(1) if common else ""),
        "## Values\n\n| Value | Default | What it is |\n|---|---|---|\n" + "\n".join(values) + "\n",
        "## Commands\n\n### " + text,
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _generated() -> str:
    # cyclopts writes this process's own arguments into some usage lines.
    argv, sys.argv = sys.argv, ["pxeserver"]
    try:
        return str(build().generate_docs(heading_level=2))
    finally:
        sys.argv = argv


def configuration() -> str:
    """docs/configuration.md."""
    parts = [_GENERATED + _CONFIGURATION]
    for name, info in Settings.model_fields.items():
        section = SubnetSettings if name == "subnet" else info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            title = f"`[[{name}]]`" if name == "subnet" else f"`[{name}]`"
            about = info.description if name == "subnet" else section.__doc__
            rows = "\n".join(_rows(section))
            parts.append(
                f"## {title}\n\n{_flat(about)}\n\n| Key | Default | What it is |\n|---|---|---|\n{rows}\n"
            )
    return "\n".join(parts)


def _rows(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        default = (
            "needed" if field.is_required() else f"`{_toml(field.get_default(call_default_factory=True))}`"
        )
        yield f"| `{name}` | {default} | {_flat(field.description)} |"


def _flat(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _toml(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    return str(value) if isinstance(value, (int, float, dict)) else f'"{value}"'


DOCUMENTS = {"cli.md": command_line, "configuration.md": configuration}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for document, write in DOCUMENTS.items():
        (folder / document).write_text(write())

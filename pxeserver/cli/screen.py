"""What is shown: tables for people, JSON and YAML for programs; results on stdout, everything else on stderr.

Every text may come from the network (a machine's vendor, a DHCP host name), so each passes `safe` and a rich
Text: no escape sequence reaches the terminal and no markup is read out of it.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pxeserver.cli.client import Failure

Output = Literal["table", "json", "yaml"]

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_WIDE = 100_000
_STYLES = {
    "installed": "green",
    "booted": "green",
    "ok": "green",
    "armed": "yellow",
    "installing": "yellow",
    "held": "red",
    "degraded": "red",
}


def safe(value: object) -> str:
    """A text without anything that a terminal obeys: control, format and line-break characters are shown as
    escapes."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in _ESCAPED else ascii(c)[1:-1] for c in text)


def stdout() -> Console:
    """The console of results. Not a terminal: no colour, no wrapping to some assumed width."""
    return _console(stderr=False)


def stderr() -> Console:
    """The console of messages, questions and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(
        stderr=stderr, markup=False, emoji=False, highlight=False, width=width, soft_wrap=not stream.isatty()
    )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and how a row is shown in it."""

    title: str
    cell: Callable[[Mapping[str, Any]], object]


def column(title: str, key: str | None = None) -> Column:
    """A column that shows a field as it is."""
    name = key or title
    return Column(title, lambda row: row.get(name))


def cell(value: object) -> Text:
    """One value for people."""
    if value is None or (isinstance(value, (str, Sequence, Mapping)) and not value):
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, Mapping):
        return Text(" ".join(f"{safe(k)}={safe(v)}" for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return Text(", ".join(safe(v) for v in value))
    text = safe(value)
    return Text(text, style=_STYLES.get(text, ""))


def rows(data: Sequence[Mapping[str, Any]], columns: Sequence[Column], output: Output, empty: str) -> None:
    """A list of things; `empty` teaches what to do where there are none."""
    if output != "table":
        dump(data, output)
        return
    if not data:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for part in columns:
        table.add_column(part.title.upper().replace("_", " "), overflow="fold")
    for row in data:
        table.add_row(*(cell(part.cell(row)) for part in columns))
    stdout().print(table)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), value if isinstance(value, Text) else cell(value))
    stdout().print(table)


def heading(text: str) -> None:
    """A line above a part of the output."""
    stdout().print(Text(f"\n{safe(text)}", style="bold"))


def dump(data: object, output: Output) -> None:
    """Data for programs. Both writers escape whatever is not ASCII."""
    if output == "yaml":
        import yaml  # noqa: PLC0415 - most calls do not need it

        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=False, default_flow_style=False))
    else:
        sys.stdout.write(json.dumps(data, indent=2) + "\n")


def say(text: str) -> None:
    """A message for the person, on stderr."""
    stderr().print(Text(safe(text)))


def warn(text: str) -> None:
    """A warning, on stderr."""
    stderr().print(Text(f"warning: {safe(text)}", style="yellow"))


def fail(failure: Failure) -> None:
    """A failure: what, why, and the next step."""
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), safe(failure.what)))
    if failure.why and failure.why != failure.what:
        console.print(Text.assemble(("  why:  ", "bold"), safe(failure.why)))
    if failure.next_step:
        console.print(Text.assemble(("  next: ", "bold"), safe(failure.next_step)))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; Failure where the answer is no, or nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure("this needs your leave", question, "Say it with --yes", exit_code=2)
    stderr().print(Text(f"{safe(question)} [y/N] "), end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was changed", "you did not say yes", "")


def local_time(stamp: str | None) -> str:
    """A time of the API in the local zone, to the second; "-" where there is none."""
    if not stamp:
        return "-"
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return stamp


def size(count: object) -> str:
    """Bytes in binary units."""
    if not isinstance(count, (int, float)):
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"

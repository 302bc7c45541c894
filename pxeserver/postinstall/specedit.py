"""Entries of `[[stack]]` and `[[compose]]` put into the text of a cluster file, or taken out of it; all else
stays as it was written, comments included.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pxeserver.config.locate import locate
from pxeserver.tomltext import quoted


class CannotEdit(ValueError):  # noqa: N818 - it says what the text is
    """The text is written in a way that only a person can change."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stack, or a Compose project on the member `node`."""

    kind: str
    """stack or compose."""
    name: str
    node: str = ""
    file: str = ""
    env: Mapping[str, str] = field(default_factory=dict)

    def is_of(self, table: Mapping[str, Any]) -> bool:
        """Whether the table of a file is about this one."""
        return table.get("name") == self.name and (self.kind == "stack" or table.get("node") == self.node)


def put(text: str, entry: Entry) -> str:
    """The text with this entry: as it was where it says the same already, else at its end."""
    found = next((t for t in _tables(text, entry.kind) if entry.is_of(t)), None)
    wanted = _data(entry)
    if found is not None:
        if {key: found[key] for key in found if found[key] or key != "env"} == wanted:
            return text
        text = take(text, entry)
    lines = [f"[[{entry.kind}]]"]
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            pairs = ", ".join(f"{quoted(k)} = {quoted(v)}" for k, v in value.items())
            lines.append(f"{key} = {{ {pairs} }}")
        else:
            lines.append(f"{key} = {quoted(value)}")
    made = text.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"
    _same_but(text, made, entry.kind, added=True)
    return made


def take(text: str, entry: Entry) -> str:
    """The text without this entry. LookupError where there is none."""
    tables = _tables(text, entry.kind)
    index = next((i for i, table in enumerate(tables) if entry.is_of(table)), None)
    if index is None:
        raise LookupError(entry.name)
    places = locate(text)
    own = (entry.kind, index)
    first = places[own]
    lines = text.split("\n")
    if not lines[first - 1].lstrip().startswith("[["):
        raise CannotEdit(f"{entry.kind} {entry.name} is written in one line with others")
    after = [line for path, line in places.items() if line > first and path[:2] != own]
    last = min(after, default=len(lines) + 1) - 1
    while last > first and (not (line := lines[last - 1].strip()) or line.startswith("#")):
        last -= 1  # comments above what follows are about that
    made = "\n".join([*lines[: first - 1], *lines[last:]]).rstrip("\n") + "\n"
    _same_but(text, made, entry.kind, added=False)
    return made


def _data(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {"name": entry.name}
    if entry.kind == "compose":
        data["node"] = entry.node
    data["file"] = entry.file
    return data | ({"env": dict(entry.env)} if entry.env else {})


def _tables(text: str, kind: str) -> list[dict[str, Any]]:
    found = tomllib.loads(text).get(kind, [])
    return found if isinstance(found, list) else []


def _same_but(before: str, after: str, kind: str, *, added: bool) -> None:
    """CannotEdit where something else than one entry has changed."""
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise CannotEdit(f"the file is written so that no {kind} can be put in or out: {error}") from None
    counts = len(old.pop(kind, [])), len(new.pop(kind, []))
    if old != new or counts[1] - counts[0] != (1 if added else -1):
        raise CannotEdit(f"the file is written so that no {kind} can be put in or out")

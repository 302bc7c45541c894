"""Menus on the screens of machines: Jinja2 templates arrange them, nothing else.

A template prints lines of a small language (bootmenus/README.md), never commands of a boot loader. What
machines tell of themselves is made printable before a template sees it, and each text is encoded once more
where the script is written (boot/render_ipxe.py).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pxeserver.boot.render_ipxe import encode_text
from pxeserver.boot.script import Entry, Heading, LocalDisk, LocalMethod, Menu
from pxeserver.resources import folder

log = logging.getLogger(__name__)

MAX_LINES = 200
"""Lines of one menu; a template that prints more is wrong."""


class BadMenu(ValueError):  # noqa: N818 - the text says what is wrong
    """A template that does not print a menu; the message names the file and the fault."""


class Menus:
    """The templates of one directory, read when first used. `directory` is bootmenus/ where none is given."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or folder("bootmenus")
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(self._directory),
            undefined=StrictUndefined,
            autoescape=False,  # the output is no HTML; its texts are encoded by the script's renderer
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )

    def arrange(self, menu: Menu) -> Menu:
        """The menu as its template lays it out; a plain list where the template fails, which the log says."""
        try:
            return self.laid_out(menu)
        except BadMenu as error:
            log.warning("event=menu-template-failed %s", error)
            return replace(menu, rows=_plain(menu))

    def laid_out(self, menu: Menu) -> Menu:
        """The menu as its template lays it out. Raises BadMenu where the template is missing or fails."""
        name = f"{menu.layout}.menu"
        facts = {key: encode_text(text) for key, text in menu.facts}
        entries = [{"name": entry.name, "title": encode_text(entry.title)} for entry in menu.entries]
        try:
            text = self._environment.get_template(name).render(**facts, entries=entries)
        except TemplateError as error:
            raise BadMenu(f"template={name} error={type(error).__name__}: {error}") from error
        return _parsed(text, menu, name)

    def check(self) -> list[str]:
        """What is wrong with the templates, one sentence each; empty where both work."""
        faults = []
        for layout in ("unknown", "known"):
            try:
                self.laid_out(sample(layout))
            except BadMenu as error:
                faults.append(str(error))
        return faults


def sample(layout: str) -> Menu:
    """A menu with every fact and two entries, to try a template with."""
    keys = ("name", "code", "mac", "uuid", "serial", "vendor", "product", "address", "arch", "server")
    entries = (
        Entry("local", "Start the local disk", None, "l"),
        Entry("demo", "Demo", "http://192.0.2.1/menu/demo"),
    )
    facts = tuple((key, key) for key in keys)
    return Menu("pxeserver", entries, LocalDisk(LocalMethod.EXIT), layout=layout, facts=facts)


def _parsed(text: str, menu: Menu, name: str) -> Menu:
    """The menu that a template's lines describe. Raises BadMenu for lines that are none."""
    known = {entry.name: entry for entry in menu.entries}
    rows: list[Heading | Entry] = []
    title = menu.title
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > MAX_LINES:
        raise BadMenu(f"template={name} error=more than {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        word, _, rest = line.partition(" ")
        match word:
            case "":
                continue
            case "title":
                title = rest
            case "text":
                rows.append(Heading(rest))
            case "entry":
                entry_name, _, entry_title = rest.partition(" ")
                if entry_name not in known:
                    raise BadMenu(f"template={name} line={number} error=no entry {entry_name[:40]!r}")
                rows.append(replace(known[entry_name], title=entry_title or known[entry_name].title))
            case _:
                raise BadMenu(f"template={name} line={number} error=not title, text or entry: {word[:40]!r}")
    if not any(isinstance(row, Entry) and row.url is None for row in rows):
        raise BadMenu(f"template={name} error=no entry starts the local disk")
    return replace(menu, title=title, rows=tuple(rows))


def _plain(menu: Menu) -> tuple[Heading | Entry, ...]:
    """The rows without a template: the approve code where there is one, then the entries."""
    code = dict(menu.facts).get("code", "")
    head = (Heading(f"pxeserver node approve {code} NAME"), Heading()) if code else ()
    return (*head, *menu.entries)

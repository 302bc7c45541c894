"""The forms of boot scripts: what is the same for every machine of a profile is composed and rendered once.

A form is a whole rendered script in which the places of the attempt's id, the MAC address and the node's name
are known. They are not looked for by their looks: the script is rendered twice by the renderer, with two sets
of stand-ins, and only where both texts differ in nothing but these is there a form. What is put in is checked
against the same alphabet that the stand-ins are from, so that the renderer would have written nothing else;
every other text that comes from the network goes through the renderer itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from pxeserver.boot import compose
from pxeserver.boot.admission import Turn
from pxeserver.boot.attempts import ATTEMPT_ID
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.identity import valid_mac
from pxeserver.boot.model import Machine, ProfileKind
from pxeserver.boot.plan import Plan
from pxeserver.boot.render_ipxe import lines_of, render, say
from pxeserver.boot.values import NAME

_MOST = 1024
"""Forms kept: some for each profile."""
_KINDS = frozenset({ProfileKind.KERNEL, ProfileKind.DISCOVERY, ProfileKind.DISK, ProfileKind.EFI})
_VALUES = ("kernel_args", "console", "state_disk", "admission")
"""The values that a script of these kinds is made of, beside its profile."""
_FIRST = ("aaaaaaaaaa", "02:00:00:00:00:0a", "form-first")
_SECOND = ("bbbbbbbbbb", "02:00:00:00:00:0b", "form-second")
_PLACES = re.compile("(" + "|".join(map(re.escape, _FIRST)) + ")")

Own = tuple[str, str, str]
"""The attempt's id, the MAC address, the node's name."""
Parts = tuple[str | int, ...]
"""Texts, and between them the places in Own of what is put there."""


@dataclass(frozen=True, slots=True)
class Form:
    """The text after the first step, which says why; `size` is what compose.download_size says."""

    parts: Parts
    size: int


class Forms:
    """The forms of one catalog; another catalog begins anew."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._known: dict[object, Form | None] = {}

    def write(
        self, machine: Machine, found: Plan, base: str, attempt: str, catalog: Catalog
    ) -> tuple[str, int] | None:
        """The script's text and the bytes it makes the machine fetch; None where there is no form for it.
        Raises ValueError as composing and rendering do.
        """
        profile, node = found.profile, found.node
        if profile is None or profile.kind not in _KINDS or not ATTEMPT_ID.fullmatch(attempt):
            return None
        mac, name = machine.mac, "" if node is None else node.name
        if valid_mac(mac) != mac or not (node is None or NAME.fullmatch(name)):
            return None
        get = found.values.get
        key = (profile.name, node is None, found.local, base, *[get(value) for value in _VALUES])
        if catalog is not self._catalog or len(self._known) >= _MOST:
            self._catalog, self._known = catalog, {}
        try:
            form = self._known[key]
        except KeyError:
            form = self._known[key] = _learnt(machine, found, base, catalog)
        if form is None:
            return None
        rest = _filled(form.parts, (attempt, mac, name))
        return f"#!ipxe\n# attempt {attempt}\n{say(f'pxeserver: {found.why}')}\n{rest}", form.size


def hello(base: str, attempt: str) -> str | None:
    """The first script (compose.hello) by its form; None where it has none."""
    parts = _hello(base) if ATTEMPT_ID.fullmatch(attempt) else None
    return None if parts is None else f"#!ipxe\n# attempt {attempt}\n{_filled(parts, (attempt, '', ''))}"


def waiting(turn: Turn, base: str, attempt: str) -> str | None:
    """The script of a machine that waits for its boot (compose.waiting) by its form, as above."""
    parts = _waiting(base) if ATTEMPT_ID.fullmatch(attempt) else None
    if parts is None:
        return None
    said, slept = "\n".join(lines_of(compose.told(turn))), _filled(parts, (attempt, "", ""))
    return f"#!ipxe\n# attempt {attempt}\n{said}\n{slept}"


@lru_cache(64)
def _hello(base: str) -> Parts | None:
    return _parts(lambda own: render(compose.hello(base, own[0])), 2)


@lru_cache(64)
def _waiting(base: str) -> Parts | None:
    turn, machine = Turn(1, 1, 1, None), Machine("")
    return _parts(lambda own: render(compose.waiting(turn, base, own[0], machine)), 4)


def _learnt(machine: Machine, found: Plan, base: str, catalog: Catalog) -> Form | None:
    """The form of this plan's script; None where its texts hold what looks like a stand-in."""

    def rendered(own: Own) -> str:
        attempt, mac, name = own
        node = replace(found.node, name=name) if found.node is not None else None
        plan = replace(found, node=node, why="")
        script = compose.script(replace(machine, mac=mac), plan, base, attempt, catalog)
        return render(script)

    parts = _parts(rendered, 3)
    return None if parts is None else Form(parts, compose.download_size(found, catalog))


def _parts(rendered: Callable[[Own], str], skipped: int) -> Parts | None:
    """The form of what is rendered after so many lines, which are the machine's own."""
    first, second = (rendered(own).split("\n", skipped)[skipped] for own in (_FIRST, _SECOND))
    parts: Parts = tuple(_FIRST.index(part) if part in _FIRST else part for part in _PLACES.split(first))
    return parts if _filled(parts, _SECOND) == second else None


def _filled(parts: Parts, own: Own) -> str:
    return "".join([part if isinstance(part, str) else own[part] for part in parts])

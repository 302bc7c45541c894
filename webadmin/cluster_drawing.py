"""A cluster as a drawing: members side by side, and across them switches, vNets, volume, addresses, stacks.

Only numbers and texts are worked out here; the template writes them as SVG without any style of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pxeserver.api.schemas.cluster_outline import (
    OutlineMember,
    OutlineView,
    ServiceView,
    SwitchView,
    VNetView,
)
from webadmin.catalogues import Language

MOST = 8
"""Members that are drawn; of more it is told how many there are."""
_LEFT, _COLUMN, _GAP, _RIGHT = 198, 122, 12, 12
_HEADER, _SWITCH, _VNET, _ADDRESS, _VOLUME, _PROJECT = 66, 24, 42, 24, 46, 26
_MOST_PROJECTS = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle. `kind` is its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A small sign: dot (a member's port), diamond (an address that moves), disk or half (a brick)."""

    x: float
    y: float
    kind: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    kind: str = ""
    anchor: str = "start"


@dataclass(slots=True)
class Drawing:
    """What is to be drawn, each kind in its order: boxes below lines below marks below texts."""

    width: float = 0
    height: float = 0
    title: str = ""
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)


def draw(outline: OutlineView, speech: Language) -> Drawing:
    """The drawing of an outline, with its words in this language."""
    return _Sketch(outline, speech).drawn()


def short(text: str, length: int) -> str:
    """At most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


class _Sketch:
    def __init__(self, outline: OutlineView, speech: Language) -> None:
        self.outline, self.speech, self.on = outline, speech, Drawing()
        members = list(outline.members)
        self.more = max(0, len(members) - MOST)
        self.members = members[: MOST - 1] if self.more else members
        self.more += len(members[:MOST]) - len(self.members)
        self.columns = len(self.members) + bool(self.more) or 1
        self.right = _LEFT + self.columns * (_COLUMN + _GAP) - _GAP
        self.y = 30.0

    def drawn(self) -> Drawing:
        found, text = self.outline, self.speech.text
        top = self.y
        self.on.lines.append(Line(_LEFT - 14, top, self.right + _RIGHT - 2, top, "site"))
        self._label(text("The site's network"), text("as it is, untagged"), top)
        self.y += 22
        for address in found.addresses:
            if not address.vnet:
                self._address(address)
        boxes_from = self.y + 8
        self.y = boxes_from + _HEADER
        for switch in found.switches:
            self._switch(switch)
        self._volume()
        self._projects()
        self._members(boxes_from, top)
        # What lies across the members is drawn above them.
        self.on.boxes.sort(key=lambda box: not box.kind.startswith("member"))
        self.on.width, self.on.height = self.right + _RIGHT, self.y + 14
        self.on.title = text(
            "{name}: {members} members, {switches} switches, {vnets} virtual networks",
            name=found.name,
            members=len(found.members),
            switches=len(found.switches),
            vnets=len(found.vnets),
        )
        return self.on

    # ------------------------------------------------------------------------------------ places

    def _left_of(self, column: int) -> float:
        return _LEFT + column * (_COLUMN + _GAP)

    def _middle_of(self, column: int) -> float:
        return self._left_of(column) + _COLUMN / 2

    def _label(self, name: str, about: str, y: float, kind: str = "name") -> None:
        self.on.words.append(Words(10, y + (0 if about else 4), short(name, 28), kind))
        if about:
            self.on.words.append(Words(10, y + 15, short(about, 36), "about"))

    def _across(self, height: float, kind: str) -> None:
        self.on.boxes.append(Box(4, self.y, self.right + _RIGHT - 8, height, kind))

    # ------------------------------------------------------------------------------------ members

    def _members(self, y: float, site: float) -> None:
        end, text = self.y + 8, self.speech.text
        for column, member in enumerate(self.members):
            x = self._left_of(column)
            known = bool(member.address)
            self.on.boxes.append(
                Box(x, y, _COLUMN, end - y, "member" if known else "member unknown", member.name)
            )
            self.on.lines.append(Line(x + _COLUMN / 2, site, x + _COLUMN / 2, y, "card"))
            name = short(member.name, 15) or text("the next one")
            self.on.words.append(Words(x + 10, y + 21, name, "who"))
            role = text(member.role) if member.role else text("not known yet")
            self.on.words.append(Words(x + 10, y + 38, role, "about"))
            self.on.words.append(Words(x + 10, y + 55, member.address, "mono"))
        if self.more or not self.members:
            x = self._left_of(len(self.members))
            self.on.boxes.append(Box(x, y, _COLUMN, end - y, "member unknown"))
            told = (
                text("and {n} more", n=self.more)
                if self.more
                else short(self.outline.select, 15) or text("nobody yet")
            )
            self.on.words.append(Words(x + 10, y + 21, told, "who"))
        self.y = end

    # ------------------------------------------------------------------------------------ networks

    def _switch(self, switch: SwitchView) -> None:
        vnets = [vnet for vnet in self.outline.vnets if vnet.switch == switch.name]
        lying = [[a for a in self.outline.addresses if a.vnet == vnet.name] for vnet in vnets]
        height = _SWITCH + len(vnets) * _VNET + sum(map(len, lying)) * _ADDRESS
        self._across(height, "switch")
        kind = self.speech.text("the members' cards") if switch.uplink else self.speech.text("internal")
        self.on.words.append(Words(10, self.y + 17, switch.name, "switch"))
        self.on.words.append(Words(_LEFT - 16, self.y + 17, kind, "about", "end"))
        self.y += _SWITCH
        for vnet, addresses in zip(vnets, lying, strict=True):
            self._vnet(vnet)
            for address in addresses:
                self._address(address)
        self.y += 8

    def _vnet(self, vnet: VNetView) -> None:
        y = self.y + 14
        about = vnet.subnet or self.speech.text("frames only")
        if vnet.gateway:
            about += f" · gw .{vnet.gateway.rpartition('.')[2]}{' · NAT' if vnet.nat else ''}"
        if vnet.reach:
            about += f" ⇄ {', '.join(vnet.reach)}"
        self._label(f"{vnet.name} · VLAN {vnet.vlan}", about, y)
        self.on.lines.append(Line(_LEFT - 14, y - 2, self.right + 4, y - 2, "vnet"))
        for column, member in enumerate(self.members):
            self.on.marks.append(Mark(self._middle_of(column), y - 2, "dot"))
            if share := member.shares.get(vnet.name, ""):
                self.on.words.append(Words(self._middle_of(column), y + 16, share, "mono", "middle"))
        self.y += _VNET

    def _address(self, address: ServiceView) -> None:
        """One address: on one of those that are marked, and on another when that one is gone."""
        y = self.y + 8
        self._label(f"◆ {address.name} {address.address}", "", y, "address")
        places = [i for i, member in enumerate(self.members) if member.router]
        if places:
            self.on.lines.append(Line(self._middle_of(places[0]), y, self._middle_of(places[-1]), y, "moves"))
        self.on.marks += [Mark(self._middle_of(place), y, "diamond") for place in places]
        self.y += _ADDRESS

    # ------------------------------------------------------------------------------------ volume, stacks

    def _volume(self) -> None:
        volume = self.outline.volume
        if volume is None:
            return
        self._across(_VOLUME, "volume")
        y = self.y + 19
        self._label(f"{volume.name} · {volume.path}", f"{volume.driver} · {volume.source}", y)
        for column, member in enumerate(self.members):
            self._brick(column, member, y)
        self.y += _VOLUME + 8

    def _brick(self, column: int, member: OutlineMember, y: float) -> None:
        x, text = self._middle_of(column), self.speech.text
        told = {"data": text("a copy"), "arbiter": text("arbiter")}.get(member.brick, text("mounted"))
        if member.brick:
            self.on.marks.append(Mark(x - 34, y, "disk" if member.brick == "data" else "half"))
        self.on.words.append(Words(x + (8 if member.brick else 0), y + 5, told, "about", "middle"))

    def _projects(self) -> None:
        shown = self.outline.projects[:_MOST_PROJECTS]
        names = [member.name for member in self.members]
        for project in shown:
            y = self.y + 4
            self._label(project.name, "", y + 7)
            if project.kind == "stack":
                self._pill(0, self.columns, y, self.speech.text("stack, where the Swarm puts it"))
            elif project.node in names:
                self._pill(names.index(project.node), 1, y, self.speech.text("project"))
            self.y += _PROJECT
        if len(self.outline.projects) > len(shown):
            self._label(
                self.speech.text("and {n} more", n=len(self.outline.projects) - len(shown)), "", self.y + 10
            )
            self.y += _PROJECT

    def _pill(self, column: int, count: int, y: float, told: str) -> None:
        left, right = self._left_of(column) + 10, self._left_of(column + count - 1) + _COLUMN - 10
        self.on.boxes.append(Box(left, y, right - left, 20, "project"))
        self.on.words.append(Words((left + right) / 2, y + 14, short(told, 18 * count), "about", "middle"))

"""What the boot servers ask: an offer for a request, a file for a path, a script for a machine.

Pure functions of their arguments. `plan` (boot/plan.py) is the one place that decides; these turn its
answer into what DHCP, TFTP and HTTP send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from pxeserver.boot import compose, forms
from pxeserver.boot.admission import Turn
from pxeserver.boot.architectures import arch_name, family
from pxeserver.boot.attempts import ATTEMPT_ID, Attempt, Stage
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.identity import Known, identify
from pxeserver.boot.model import ClientKind, EventKind, FileRef, Ignore, Loader, Machine, Reason
from pxeserver.boot.plan import Action, Plan, Record, plan
from pxeserver.boot.render_ipxe import render
from pxeserver.boot.script import Menu, Script
from pxeserver.boot.values import Values

__all__ = [
    "Action", "FileChoice", "Offer", "Plan", "Role", "ScriptChoice", "base_url", "boot_script",
    "chosen_script",
    "file", "hello_script", "is_loader", "loader_for", "offer", "plan", "waiting_script",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """What DHCP tells a machine to load."""

    file: str
    """For PXE firmware the TFTP name without leading slash; for HTTP firmware and iPXE an absolute URL."""
    server: str
    """The boot server's IPv4 address as the machine reaches it."""
    kind: ClientKind
    node_id: int | None = None
    why: str = ""


def base_url(server: str, port: int) -> str:
    """The boot HTTP server's URL without a path: "http://10.0.0.2" or "http://10.0.0.2:8080"."""
    return f"http://{server}" if port == 80 else f"http://{server}:{port}"


def offer(
    machine: Machine, catalog: Catalog, nodes: NodeTable, site_address: str, attempt: str
) -> Offer | Ignore:
    """The answer to a DHCP request of this machine, or why there is none.

    Held nodes and those whose local disk boots are answered too: their script says so on the screen, and a
    firmware without an answer would wait for minutes. `attempt` is the id that becomes part of every name
    and URL.
    """
    who = identify(machine, nodes)
    found = plan(machine, who, catalog, nodes, attempt)
    if found.action is Action.SILENT and found.reason is not None:
        return Ignore(found.reason, found.why)
    kind = machine.kind or ClientKind.FIRMWARE_PXE
    base = base_url(site_address, catalog.policy.http_port)
    if kind is ClientKind.IPXE:
        name = f"{base}/a/{attempt}/boot.ipxe"
    else:
        loader = loader_for(machine.arch, found.values, catalog)
        if isinstance(loader, Ignore):
            return loader
        name = f"a/{attempt}/{_loader_path(loader, found.values)}"
        if kind is ClientKind.FIRMWARE_HTTP:
            name = f"{base}/{name}"
    if catalog.policy.dry_run:
        return Ignore(Reason.DRY_RUN, f"would offer {name}: {found.why}")
    return Offer(name, site_address, kind, who.node.id if isinstance(who, Known) else None, found.why)


def loader_for(arch: int | None, values: Values, catalog: Catalog) -> FileRef | Ignore:
    """The boot loader for an architecture: the one the value `loader` names, else the one listed for it."""
    if arch is None:
        return Ignore(Reason.NO_ARCHITECTURE, "the request names no architecture (option 93)")
    wanted = values.get("loader")
    if "/" in wanted:
        image, _, name = wanted.partition("/")
        own = catalog.find_file(image, name)
        return own or Ignore(Reason.NO_LOADER, f"loader {wanted} ({values.origin('loader')}) does not exist")
    listed = _listed(arch, catalog)
    if wanted != "auto":
        named = [
            loader.file
            for loader in catalog.loaders.values()
            if loader.file.name == wanted and family(loader.arch) == family(arch)
        ]
        listed = named[0] if named else None
        if listed is None:
            return Ignore(Reason.NO_LOADER, f"loader {wanted} is not there for {arch_name(arch)}")
    return listed or Ignore(Reason.NO_LOADER, f"no boot loader for architecture {arch} ({arch_name(arch)})")


def _loader_path(loader: FileRef, values: Values) -> str:
    """A listed loader's bare name, or f/IMAGE/FILE for one of an image."""
    own = values.get("loader")
    return f"f/{own}" if "/" in own else loader.name


def is_loader(file: FileRef, attempt: Attempt, catalog: Catalog, nodes: NodeTable) -> bool:
    """Whether a file of an image is the boot loader that this attempt's machine was offered and now loads."""
    if attempt.stage >= Stage.SCRIPT:
        return False
    image, slash, name = plan(attempt.machine, None, catalog, nodes).values.get("loader").partition("/")
    return bool(slash) and catalog.find_file(image, name) == file


def _listed(arch: int, catalog: Catalog) -> FileRef | None:
    """The loader listed under this number, or under another number of the same architecture."""
    exact: Loader | None = catalog.loaders.get(arch) or catalog.loaders.get(family(arch))
    if exact is None:
        kin = sorted(number for number in catalog.loaders if family(number) == family(arch))
        exact = catalog.loaders[kin[0]] if kin else None
    return exact.file if exact else None


# ---------------------------------------------------------------------------------------------------- scripts


@dataclass(frozen=True, slots=True)
class ScriptChoice:
    """A script, and what has to be durable before the machine has it."""

    text: str
    plan: Plan
    records: tuple[Record, ...] = ()
    size: int = 0
    """Bytes that the machine fetches with it; 0 where it does not wait for its turn (boot/admission.py)."""

    def detail(self) -> dict[str, str | int | float]:
        """For the timeline: action, profile, why."""
        detail: dict[str, str | int | float] = {"action": self.plan.action.value, "why": self.plan.why}
        if self.plan.profile is not None:
            detail["profile"] = self.plan.profile.name
        if self.plan.code:
            detail["code"] = self.plan.code
        return detail


Arrange = Callable[[Menu], Menu]


_FORMS = forms.Forms()
"""What is the same in the scripts of many machines; they would be the same without it."""


def hello_script(base: str, attempt: str) -> str:
    """The script that comes back with the machine's facts; it changes nothing, and any request may have
    it.
    """
    return forms.hello(base, attempt) or render(compose.hello(base, attempt))


def waiting_script(turn: Turn, base: str, attempt: str, machine: Machine, choice: str = "") -> str:
    """The script of a machine that has to wait before it may load."""
    known = None if choice else forms.waiting(turn, base, attempt)
    return known or render(compose.waiting(turn, base, attempt, machine, choice))


def boot_script(
    machine: Machine,
    attempt: str,
    base: str,
    catalog: Catalog,
    nodes: NodeTable,
    *,
    arrange: Arrange | None = None,
) -> ScriptChoice | Ignore:
    """What this machine boots now. `arrange` lays out menus (bootmenu.py); without it entries stand alone."""
    found = plan(machine, None, catalog, nodes, attempt)
    if found.action is Action.SILENT:
        return Ignore(found.reason or Reason.POLICY_IGNORE, found.why)
    return _written(machine, found, base, attempt, catalog, arrange=arrange)


def chosen_script(
    machine: Machine, attempt: str, base: str, catalog: Catalog, nodes: NodeTable, *, choice: str
) -> ScriptChoice | Ignore:
    """What a menu's entry boots, decided anew: a menu on a screen does not outlive a hold or a changed
    profile.
    """
    found = plan(machine, None, catalog, nodes, attempt)
    if found.action is not Action.MENU:
        return boot_script(machine, attempt, base, catalog, nodes)
    if choice == compose.LOCAL_CHOICE:
        found = replace(found, action=Action.LOCAL, why="chosen in the menu: the local disk")
        return _written(machine, found, base, attempt, catalog)
    profile = catalog.profiles.get(choice)
    if profile is None or not compose.may_choose(profile, machine, catalog):
        return Ignore(Reason.NOT_FOUND, f"no menu entry {choice[:64]!r}")
    found = replace(found, action=Action.BOOT, profile=profile, why=f"chosen in the menu: profile {choice}")
    return _written(machine, found, base, attempt, catalog)


def _written(
    machine: Machine,
    found: Plan,
    base: str,
    attempt: str,
    catalog: Catalog,
    *,
    arrange: Arrange | None = None,
) -> ScriptChoice:
    """The plan's script as text. What cannot be written is explained on the screen, and then changes no
    state.
    """
    booting = found.action in (Action.BOOT, Action.INSTALL)
    try:
        text, size = (_FORMS.write(machine, found, base, attempt, catalog) if booting else None) or (
            render(arranged(compose.script(machine, found, base, attempt, catalog), arrange)),
            compose.download_size(found, catalog) if booting else 0,
        )
    except ValueError as error:
        name = found.profile.name if found.profile else ""
        why = f"profile {name}: {error}" if name else str(error)
        return ScriptChoice(
            render(compose.explain(why, found.local, attempt)), replace(found, action=Action.REFUSED, why=why)
        )
    records = found.records
    if found.action is Action.LOCAL:
        records = (*records, (EventKind.LOCAL_BOOT, {"method": found.local.method.value}))
    return ScriptChoice(text, found, records, size)


def arranged(script: Script, arrange: Arrange | None) -> Script:
    """The script with its menus laid out."""
    if arrange is None:
        return script
    return replace(script, steps=tuple(arrange(s) if isinstance(s, Menu) else s for s in script.steps))


# ------------------------------------------------------------------------------------------------------ files


class Role(Enum):
    """What a file is to the machine that asks for it."""

    LOADER = "loader"
    SCRIPT = "script"
    FILE = "file"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class FileChoice:
    """The answer to a path: a published file, or a generated text."""

    role: Role
    file: FileRef | None = None
    text: str = ""
    attempt: str = ""
    """The attempt's id, from the path or from the machine; "" where neither is known."""
    stage: Stage = Stage.DHCP
    """How far the attempt has come when this has been sent."""
    detail: Mapping[str, str] = field(default_factory=dict)


_SCRIPT_NAMES = ("boot.ipxe", "autoexec.ipxe")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def file(path: str, attempt: Attempt | None, base: str, catalog: Catalog) -> FileChoice | Ignore:
    """The file behind a path of the boot plane, for TFTP and HTTP alike. The file system is never asked.

    `attempt` is the one found by the client's address; an id in the path goes before it. Doubled and
    leading slashes are what some loaders send and mean nothing; anything else unusual is no path of ours.
    """
    steps = [step for step in path.split("/") if step]
    if ".." in steps or "\\" in path or "\0" in path:
        return Ignore(Reason.ACCESS_DENIED, "the path leads elsewhere")
    own = attempt.id if attempt is not None else ""
    match steps:
        case ["a", attempt_id, *rest] if rest:
            if not ATTEMPT_ID.fullmatch(attempt_id):
                return Ignore(Reason.UNKNOWN_ATTEMPT, "no attempt's id")
            return _of_attempt(rest, attempt_id, base, catalog)
        case ["b", sha256] | ["b", sha256, "manifest"] if _SHA256.fullmatch(sha256):
            role = Role.MANIFEST if len(steps) == 3 else Role.FILE
            files = (f for image in catalog.images.values() for f in image.files)
            return _found(next((f for f in files if f.sha256 == sha256), None), role, own)
        case _:
            return _of_attempt(steps, own, base, catalog)


def _of_attempt(steps: list[str], attempt: str, base: str, catalog: Catalog) -> FileChoice | Ignore:
    match steps:
        case [name] if name in _SCRIPT_NAMES:
            if not attempt:
                return Ignore(Reason.UNKNOWN_ATTEMPT, "no boot of this address is known")
            return FileChoice(
                Role.SCRIPT, text=hello_script(base, attempt), attempt=attempt, stage=Stage.LOADER
            )
        case [name]:
            return _found(_loader_file(name, catalog), Role.LOADER, attempt)
        case ["f", image, name]:
            found = catalog.find_file(image, name)
            if found is None and name.endswith(".manifest"):
                return _found(
                    catalog.find_file(image, name.removesuffix(".manifest")), Role.MANIFEST, attempt
                )
            return _found(found, Role.FILE, attempt)
    return Ignore(Reason.NOT_FOUND, "/".join(steps)[:100])


def _loader_file(name: str, catalog: Catalog) -> FileRef | None:
    """A listed loader by its file name."""
    return next((item.file for item in catalog.loaders.values() if item.file.name == name), None)


def _found(ref: FileRef | None, role: Role, attempt: str) -> FileChoice | Ignore:
    if ref is None:
        return Ignore(Reason.NOT_FOUND, "no such file")
    stage = Stage.LOADER if role is Role.LOADER else Stage.FILES if role is Role.FILE else Stage.DHCP
    return FileChoice(
        role, file=ref, attempt=attempt, stage=stage, detail={"file": ref.name, "role": ref.role}
    )

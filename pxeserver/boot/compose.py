"""From a plan to the steps of its script."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, urlencode, urlsplit

from pxeserver.boot.admission import Turn
from pxeserver.boot.architectures import arch_name
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.identity import valid_mac, valid_uuid
from pxeserver.boot.model import FileRef, Machine, Profile, ProfileKind
from pxeserver.boot.plan import Action, Plan, discovery_profile, installs, misfit, missing
from pxeserver.boot.script import (
    AfterFailure,
    BootEfi,
    BootKernel,
    ConfigureNetwork,
    Entry,
    Identify,
    LocalDisk,
    Menu,
    Operator,
    Pause,
    RunScript,
    Say,
    Script,
    Source,
    Step,
    Wait,
    kernel_words,
    operator_lines,
)
from pxeserver.boot.values import NAME

HOLD_SECONDS = 30
"""How long the reason of a hold or a refusal stays on the screen before the local disk starts."""

NOT_LOADED = "report/not-loaded"

_quoted = lru_cache(1024)(quote)
"""Names of images and their files: few, and in every script."""


def attempt_url(base: str, attempt: str) -> str:
    """The address under which an attempt finds all that is its own. `base` is "http://address[:port]"."""
    return f"{base}/a/{attempt}"


def hello(base: str, attempt: str) -> Script:
    """The first script: it gets an address where the loader has none yet, then comes back with the
    machine's facts.
    """
    url = f"{attempt_url(base, attempt)}/boot.ipxe"
    return Script((ConfigureNetwork(), Identify(url)), attempt, AfterFailure.REBOOT)


def waiting(turn: Turn, base: str, attempt: str, machine: Machine, choice: str = "") -> Script:
    """The script of a machine that waits for its turn: it shows its place, sleeps, and asks again: for its
    boot, or for the menu's entry `choice`. While it sleeps it asks nobody, so no time-out runs.
    """
    own = attempt_url(base, attempt)
    again: Step = Identify(f"{own}/boot.ipxe")
    if choice:
        again = RunScript(_choice_url(own, choice, machine), f"menu entry {choice}")
    return Script((*told(turn), again), attempt, AfterFailure.REBOOT)


def told(turn: Turn) -> tuple[Say, Pause]:
    """The machine's place on its screen, and its sleep."""
    about = f", about {turn.expected} s" if turn.expected is not None else ""
    said = f"pxeserver: others load their systems; this machine is number {turn.place} of {turn.of}{about}."
    return Say(said), Pause(turn.seconds)


def download_size(found: Plan, catalog: Catalog) -> int:
    """Bytes that the machine fetches to start what was planned; 0 where that is not known, or where its value
    `admission` says that it never waits.
    """
    profile = found.profile
    if profile is None or found.values.get("admission") != "auto":
        return 0
    if profile.kind is ProfileKind.DISK:
        profile = discovery_profile(catalog) or profile
    image = catalog.images.get(profile.image or "")
    roles = _FETCHED.get(profile.kind)
    return sum(file.size for file in image.files if file.role in roles) if image and roles else 0


_FETCHED = {
    ProfileKind.KERNEL: ("kernel", "initrd", "root"),
    ProfileKind.DISCOVERY: ("kernel", "initrd", "root"),
    ProfileKind.EFI: ("efi",),
}


def script(machine: Machine, found: Plan, base: str, attempt: str, catalog: Catalog) -> Script:
    """The script of a plan. Raises ValueError where a configured text cannot stand in a script."""
    own = attempt_url(base, attempt)
    known = found.node is not None
    steps: tuple[Step, ...]
    match found.action:
        case Action.LOCAL:
            steps = (Say(f"pxeserver: {found.why}"), found.local)
        case Action.MENU:
            steps = (menu(machine, found, own, catalog),)
        case Action.BOOT | Action.INSTALL if found.profile is not None:
            steps = (
                Say(f"pxeserver: {found.why}"),
                *boot_steps(found.profile, found, own, catalog, machine.mac),
            )
        case _:
            steps = _explained(found)
    after = (
        AfterFailure.REBOOT if known and found.action in (Action.BOOT, Action.INSTALL) else AfterFailure.LOCAL
    )
    return Script(steps, attempt, after, found.local, f"{own}/{NOT_LOADED}")


def _explained(found: Plan) -> tuple[Step, ...]:
    """A hold or a refusal: the screen says why and what a person can do, then the local disk starts."""
    name = found.node.name if found.node else ""
    lines = [f"pxeserver: {'node ' + name if name else 'this machine'} is not booted from the network."]
    lines += [found.why[i : i + 70] for i in range(0, len(found.why), 70)][:3]
    if name:
        lines.append(f"See: pxeserver node show {name}")
    wait = Wait(HOLD_SECONDS, f"The local disk starts in {HOLD_SECONDS} seconds.")
    return (*(Say(line) for line in lines), wait, found.local)


def boot_steps(profile: Profile, found: Plan, own: str, catalog: Catalog, mac: str = "") -> tuple[Step, ...]:
    """The steps that start a profile. Raises ValueError where its texts cannot stand in a script.

    `mac` is the card the machine boots from: the discovery system tries it first.
    """
    agent = (f"pxeserver.url={own}", *((f"pxeserver.mac={mac}",) if valid_mac(mac) else ()))
    match profile.kind:
        case ProfileKind.KERNEL:
            return (_kernel(profile, found, own, catalog, _root_words(profile, found, own, catalog, agent)),)
        case ProfileKind.DISCOVERY:
            return (_kernel(profile, found, own, catalog, agent),)
        case ProfileKind.DISK:
            system = discovery_profile(catalog)
            return (_kernel(system or profile, found, own, catalog, agent),)
        case ProfileKind.EFI:
            file = catalog.images[profile.image or ""].by_role("efi")[0]
            return (BootEfi(_source(own, profile.image or "", file)),)
        case ProfileKind.CHAIN:
            return (RunScript(profile.url, f"profile {profile.name}"),)
        case ProfileKind.SCRIPT:
            return (Operator(operator_lines(profile.script)), found.local)
        case _:
            return (found.local,)


def _kernel(
    profile: Profile, found: Plan, own: str, catalog: Catalog, first: tuple[str, ...] = ()
) -> BootKernel:
    """Kernel, initial RAM disks and the command line: ours, the profile's, the values', the consoles."""
    name = profile.image or ""
    image = catalog.images[name]
    consoles = tuple(f"console={word}" for word in found.values.get("console").split(" ") if word)
    words = kernel_words(*first, profile.args, found.values.get("kernel_args"), *consoles)
    return BootKernel(
        _source(own, name, image.by_role("kernel")[0]),
        tuple(_source(own, name, file) for file in image.by_role("initrd")),
        tuple(_filled(word, found, own) for word in words),
    )


def _root_words(
    profile: Profile, found: Plan, own: str, catalog: Catalog, agent: tuple[str, ...]
) -> tuple[str, ...]:
    """What an image with a root file system is told: where that lies and what it must be, the state disk, its
    name, and how its agent reaches the control process. An installer is told the last alone, for the agent
    of the system that it installs; other images nothing.
    """
    name = profile.image or ""
    root = next(iter(catalog.images[name].by_role("root")), None)
    if root is None:
        words = list(_agent_words(own, catalog)) if profile.install else []
        return (*agent, *words) if words else ()
    words = [*agent, f"pxeserver.root={_source(own, name, root).url}"]
    words += [f"pxeserver.root_sha256={root.sha256}", f"pxeserver.root_size={root.size}"]
    if found.node is not None and NAME.fullmatch(found.node.name):
        words.append(f"pxeserver.name={found.node.name}")
    if (state := found.values.get("state_disk")) != "auto":
        words.append(f"pxeserver.state={state}")
    return (*words, *_agent_words(own, catalog))


def _agent_words(own: str, catalog: Catalog) -> tuple[str, ...]:
    """How an agent reaches the control process, and whom it is to trust there."""
    policy = catalog.policy
    if not policy.agents_ca:
        return ()
    host = urlsplit(own).hostname
    return (f"pxeserver.agent={host}:{policy.agents_port}", f"pxeserver.ca={policy.agents_ca}")


def _filled(word: str, found: Plan, own: str) -> str:
    """A word with {url}, {server}, {name} replaced: the attempt's URL, the server's, the node's name."""
    node = found.node.name if found.node and NAME.fullmatch(found.node.name) else "unknown"
    server = own.rsplit("/a/", 1)[0]
    return word.replace("{url}", own).replace("{server}", server).replace("{name}", node)


def _source(own: str, image: str, file: FileRef) -> Source:
    return Source(f"{own}/f/{_quoted(image)}/{_quoted(file.name)}", file.name)


# ------------------------------------------------------------------------------------------------- the menu

LOCAL_CHOICE = "local"


def menu(machine: Machine, found: Plan, own: str, catalog: Catalog) -> Menu:
    """The local disk first, then every profile of the menus that is complete, fits the machine and installs
    nothing.
    """
    entries = [Entry(LOCAL_CHOICE, "Start the local disk", None, "l")]
    for profile in menu_order(catalog):
        if may_choose(profile, machine, catalog):
            url = _choice_url(own, profile.name, machine)
            entries.append(Entry(profile.name, profile.title or profile.name, url))
    node = found.node
    facts = {
        "name": node.name if node else "",
        "code": found.code,
        "mac": machine.mac,
        "uuid": machine.uuid or "",
        "serial": machine.serial or "",
        "vendor": machine.vendor,
        "product": machine.product,
        "address": machine.address or "",
        "arch": arch_name(machine.arch),
        "server": own.rsplit("/a/", 1)[0],
    }
    return Menu(
        title="pxeserver",
        entries=tuple(entries),
        local=found.local,
        seconds=found.values.seconds("menu_timeout", catalog.policy.menu_timeout),
        layout="known" if node else "unknown",
        facts=tuple(facts.items()),
        keyboard=found.values.get("keyboard"),
        default=catalog.policy.menu_default,
    )


def menu_order(catalog: Catalog) -> list[Profile]:
    """All profiles in the order of menus: those that the policy puts first, then by their texts."""
    first = {name: place for place, name in enumerate(catalog.policy.menu_order)}
    last = len(first)
    return sorted(
        catalog.profiles.values(), key=lambda p: (first.get(p.name, last), (p.title or p.name).casefold())
    )


def _choice_url(own: str, name: str, machine: Machine) -> str:
    """The script of a menu's entry. A menu may wait for hours: the URL says who asks, for a server that was
    restarted meanwhile.
    """
    told = urlencode({"mac": valid_mac(machine.mac) or "", "uuid": valid_uuid(machine.uuid) or ""})
    return f"{own}/menu/{quote(name)}?{told}"


def may_choose(profile: Profile, machine: Machine, catalog: Catalog) -> bool:
    """Whether a person at the machine may start this profile: never one that writes disks, that takes an
    order.
    """
    if not profile.in_menu or installs(profile) or profile.kind in (ProfileKind.MENU, ProfileKind.LOCAL):
        return False
    return not missing(profile, catalog) and not misfit(profile, machine, catalog)


def explain(why: str, local: LocalDisk, attempt: str) -> Script:
    """A script for what could not be written: it shows why, then starts the local disk."""
    lines = (Say("pxeserver: this machine's configuration cannot be written as a boot script."), Say(why))
    wait = Wait(HOLD_SECONDS, f"The local disk starts in {HOLD_SECONDS} seconds.")
    return Script((*lines, wait, local), attempt, AfterFailure.LOCAL, local)

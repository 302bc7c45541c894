"""The values a machine boots with, and where each comes from.

Precedence, weakest first: built-in default, site policy, profile, groups (architecture, vendor, MAC prefix,
subnet, label; by name within one kind), node, boot-once. The "profile" value is settled first, without the
profile layer.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pxeserver.boot.architectures import arch_name, family
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.cmdline import BadCommandLine, parse_words
from pxeserver.boot.model import BootOnce, Group, Machine, Node, SelectorKind

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of profiles, images, nodes and groups: they appear in URLs, menus and scripts."""

_CONSOLE = re.compile(r"[A-Za-z0-9]+(,[A-Za-z0-9]+)?")
_INSTALL_DISK = re.compile(r"smallest-empty|(serial|path):[A-Za-z0-9/][A-Za-z0-9._:/+-]{0,127}")
_LOADER = re.compile(r"auto|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_STATE_DISK = re.compile(r"auto|none|empty(:[A-Za-z0-9][A-Za-z0-9._+-]{0,63})?")
_ADMISSION = re.compile(r"auto|at-once")
_KEYBOARD = re.compile(r"[a-z]{2}(-[a-z]+)?|")

LOCAL_BOOTS = ("auto", "exit", "exit1", "sanboot", "efi")


@dataclass(frozen=True, slots=True)
class Key:
    """One value a person can set: `check` returns what is wrong with a text, or "" where it is right."""

    name: str
    default: str
    help: str
    check: Callable[[str], str]


def _profile(text: str) -> str:
    return (
        ""
        if not text or NAME.fullmatch(text)
        else "is not a profile name (letters, digits, dot, dash, underscore)"
    )


def _kernel_args(text: str) -> str:
    try:
        parse_words(text)
    except BadCommandLine as error:
        return str(error)
    return ""


def _console(text: str) -> str:
    bad = [word for word in text.split(" ") if word and not _CONSOLE.fullmatch(word)]
    return f"has no console name in {bad[0]!r} (write for example: tty0 ttyS0,115200n8)" if bad else ""


def _local_boot(text: str) -> str:
    return "" if text in LOCAL_BOOTS else f"is none of {', '.join(LOCAL_BOOTS)}"


def _menu_timeout(text: str) -> str:
    good = not text or (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= 3600)
    return "" if good else "is not a number of seconds from 0 to 3600"


def _pattern(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    return lambda text: "" if pattern.fullmatch(text) else f"is not {expected}"


KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("profile", "", "what to boot: the name of a profile", _profile),
        Key("kernel_args", "", "words added to the kernel command line", _kernel_args),
        Key("console", "", "consoles of started systems, blanks between: tty0 ttyS0,115200n8", _console),
        Key(
            "local_boot", "auto", "how to start the local disk: auto, exit, exit1, sanboot, efi", _local_boot
        ),
        Key(
            "menu_timeout", "", "seconds until a menu starts the local disk; 0 waits for a key", _menu_timeout
        ),
        Key(
            "install_disk",
            "smallest-empty",
            "the disk to install to: smallest-empty, serial:TEXT, path:/dev/...",
            _pattern(_INSTALL_DISK, "smallest-empty, serial:TEXT or path:/dev/NAME"),
        ),
        Key(
            "state_disk",
            "auto",
            "where a node system keeps what has to last: auto (a disk that is one already), none, "
            "empty (format the first empty disk), empty:SERIAL",
            _pattern(_STATE_DISK, "auto, none, empty or empty:SERIAL"),
        ),
        Key(
            "loader",
            "auto",
            "boot loader: auto, the name of a known loader, or IMAGE/FILE",
            _pattern(_LOADER, "auto, a file name or IMAGE/FILE"),
        ),
        Key(
            "keyboard",
            "",
            "keyboard layout in menus, where the loader has it: de, fr, ...",
            _pattern(_KEYBOARD, "like de or fr"),
        ),
        Key(
            "admission",
            "auto",
            "whether the machine waits for its turn where many load at once: auto, at-once (never)",
            _pattern(_ADMISSION, "auto or at-once"),
        ),
    )
}


def check_value(key: str, text: str) -> str:
    """What is wrong with setting `key` to `text`, as a sentence; "" where it is right."""
    known = KEYS.get(key)
    if known is None:
        return f"{key} is not a value this server knows; it knows {', '.join(KEYS)}"
    fault = known.check(text)
    return f"{key} {text[:80]!r} {fault}" if fault else ""


@dataclass(frozen=True, slots=True)
class Layer:
    """One origin and what it sets."""

    origin: str
    values: Mapping[str, str]


class Values:
    """The settled values of one machine. `get` of a key in KEYS always has an answer."""

    __slots__ = ("layers",)

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        """Weakest first."""

    def get(self, key: str) -> str:
        """The value that holds; KeyError for a key that no layer has."""
        for layer in reversed(self.layers):  # as _layer does, without the call: it is asked for very often
            values = layer.values
            if key in values:
                return values[key]
        raise KeyError(key)

    def origin(self, key: str) -> str:
        """Where it comes from: "default", "site policy", "profile NAME", "group NAME", "node NAME",
        "boot-once 3".
        """
        return self._layer(key).origin

    def seconds(self, key: str, default: int) -> int:
        """The value as a whole number; `default` where it is empty or no number."""
        text = self.get(key)
        return int(text) if text.isascii() and text.isdigit() else default

    def trail(self, key: str) -> tuple[tuple[str, str], ...]:
        """Every (origin, value) that was set for this key, weakest first; the last one holds."""
        return tuple((layer.origin, layer.values[key]) for layer in self.layers if key in layer.values)

    def as_dict(self) -> dict[str, tuple[str, str]]:
        """{key: (value, origin)} for all known keys."""
        return {key: (self.get(key), self.origin(key)) for key in KEYS}

    def _layer(self, key: str) -> Layer:
        for layer in reversed(self.layers):
            if key in layer.values:
                return layer
        raise KeyError(key)


_DEFAULTS = Layer("default", {key.name: key.default for key in KEYS.values()})
_ORDER = {kind: number for number, kind in enumerate(SelectorKind)}


def sort_groups(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Groups in order of precedence, least specific first: by kind of selector, then by name."""
    return tuple(sorted(groups, key=lambda group: (_ORDER[group.selector], group.name)))


def resolve(machine: Machine, node: Node | None, catalog: Catalog, once: BootOnce | None = None) -> Values:
    """The values of this machine. `node` is None for an unknown one; `once` is the boot-once order in
    force, if any.
    """
    upper: list[Layer] = []
    if catalog.groups:
        groups = sort_groups(group for group in catalog.groups if matches(group, machine, node))
        upper += [Layer(f"group {group.name}", group.values) for group in groups]
    if node is not None:
        upper.append(Layer(f"node {node.name}", node.values))
    if once is not None:
        upper.append(Layer(f"boot-once {once.number}", {"profile": once.profile}))
    lower = [_DEFAULTS, Layer("site policy", catalog.policy.values)]
    name = Values((*lower, *upper)).get("profile")
    profile = catalog.profiles.get(name)
    if profile is not None and profile.values:
        own = {key: text for key, text in profile.values.items() if key != "profile"}
        lower.append(Layer(f"profile {name}", own))
    return Values((*lower, *upper))


def matches(group: Group, machine: Machine, node: Node | None) -> bool:
    """Whether the group's selector holds for this machine. What a request does not tell is taken from the
    node's record.
    """
    hardware = node.hardware if node is not None else {}
    match group.selector:
        case SelectorKind.ARCH:
            return _arch_matches(group.match, machine.arch, hardware.get("arch", ""))
        case SelectorKind.VENDOR:
            vendor = machine.vendor or hardware.get("vendor", "")
            return bool(group.match) and vendor.casefold().startswith(group.match.casefold())
        case SelectorKind.MAC_PREFIX:
            prefix = group.match.lower().replace("-", ":").rstrip(":") + ":"
            return len(prefix) > 1 and (machine.mac + ":").startswith(prefix)
        case SelectorKind.SUBNET:
            return _in_subnet(group.match, machine)
        case SelectorKind.LABEL:
            key, _, value = group.match.partition("=")
            return node is not None and node.labels.get(key) == value


def _arch_matches(wanted: str, arch: int | None, recorded: str) -> bool:
    """The selector may be a number or a name ("7", "x64"); all numbers of one architecture are the same
    machine.
    """
    if arch is None:
        if not recorded.isdigit():
            return bool(recorded) and wanted == recorded
        arch = int(recorded)
    return wanted == arch_name(arch) or (wanted.isdigit() and family(int(wanted)) == family(arch))


def _in_subnet(network: str, machine: Machine) -> bool:
    if machine.subnet == network:
        return True
    if machine.address is None:
        return False
    span, number = _span(network), _number(machine.address)
    return span is not None and number is not None and span[0] <= number <= span[1]


@lru_cache(maxsize=4096)
def _span(network: str) -> tuple[int, int] | None:
    """First and last address of a network, as numbers; None where the text is none. Kept: it is on the
    packet path.
    """
    try:
        parsed = ipaddress.IPv4Network(network)
    except ValueError:
        return None
    return int(parsed.network_address), int(parsed.broadcast_address)


@lru_cache(maxsize=4096)
def _number(address: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(address))
    except ValueError:
        return None

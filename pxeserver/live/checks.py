"""What an edit must satisfy before it reaches the database. Every refusal says what to type instead."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pxeserver.boot.cmdline import BadCommandLine, parse_words
from pxeserver.boot.identity import valid_mac, valid_serial, valid_uuid
from pxeserver.boot.model import Group, Node, Profile, ProfileKind, SelectorKind, Subnet
from pxeserver.boot.values import NAME, check_value
from pxeserver.live.errors import Refused

_LABEL_LENGTH = 256
_NEEDS_IMAGE = (ProfileKind.KERNEL, ProfileKind.EFI, ProfileKind.DISK)


def name(noun: str, text: str) -> str:
    """The name, where it can stand in URLs, menus and scripts."""
    if not NAME.fullmatch(text):
        raise Refused(
            f"{noun} name {text[:80]!r} is refused",
            "it has up to 64 letters, digits, dots, dashes, underscores, and begins with a letter or digit",
            "choose another name",
        )
    return text


def values(given: Mapping[str, str]) -> dict[str, str]:
    """The values, where the boot decision understands each."""
    faults = [fault for key, text in given.items() if (fault := check_value(key, text))]
    if faults:
        raise Refused("a value is refused", "; ".join(faults), "correct it")
    return dict(given)


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """The labels, where each is a name and one short printable line."""
    for key, text in given.items():
        if not NAME.fullmatch(key) or len(text) > _LABEL_LENGTH or not text.isprintable():
            why = f"{key[:80]!r} has to be a name, and its text one line of up to {_LABEL_LENGTH} characters"
            raise Refused("a label is refused", why, "correct it")
    return dict(given)


def node(given: Node) -> Node:
    """The node in its normal form."""
    return replace(
        given,
        name=name("node", given.name),
        uuid=_told("UUID", given.uuid, valid_uuid(given.uuid)),
        serial=_told("serial number", given.serial, valid_serial(given.serial)),
        macs=macs(given.macs),
        values=values(given.values),
        labels=labels(given.labels),
        address=address(given.address),
    )


def macs(given: Iterable[str]) -> tuple[str, ...]:
    """MAC addresses in lower case with colons, each once."""
    found = []
    for text in given:
        mac = valid_mac(text)
        if mac is None:
            why = "it is not six bytes in hexadecimal of one network card"
            raise Refused(f"MAC address {text[:40]!r} is refused", why, "write it like 52:54:00:12:34:56")
        found.append(mac)
    return tuple(dict.fromkeys(found))


def address(text: str | None) -> str | None:
    """An IPv4 address, or None where none is given."""
    if not text:
        return None
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise Refused(f"address {text[:40]!r} is refused", str(error), "write it like 192.0.2.7") from None


def profile(given: Profile, images: Iterable[str]) -> Profile:
    """The profile, where it names an image that is there and its command line can be parsed."""
    name("profile", given.name)
    if given.image is not None and given.image not in set(images):
        why = f"there is no image {given.image}"
        raise Refused(f"profile {given.name} is refused", why, "`pxeserver image list` shows them")
    if given.kind in _NEEDS_IMAGE and given.image is None:
        why = f"a {given.kind.value} profile boots an image, and none is named"
        raise Refused(f"profile {given.name} is refused", why, "name one with --image")
    try:
        parse_words(given.args)
    except BadCommandLine as error:
        step = "correct the kernel arguments"
        raise Refused(f"profile {given.name} is refused", str(error), step) from None
    return replace(given, values=values(given.values), labels=labels(given.labels))


def group(given: Group) -> Group:
    """The group, where its selector can match something."""
    name("group", given.name)
    fault = _selector_fault(given.selector, given.match)
    if fault:
        raise Refused(f"group {given.name} is refused", fault, "correct the selector")
    return replace(given, values=values(given.values), labels=labels(given.labels))


def subnet(given: Subnet) -> Subnet:
    """The subnet, where its network, pools and addresses fit together."""
    try:
        network = ipaddress.IPv4Network(given.network)
        for first, last in given.pools:
            low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
            if low > high or low not in network or high not in network:
                raise ValueError(f"pool {first}-{last} is not a range inside {network}")
        for text in (given.router, given.server, *given.dns):
            if text:
                ipaddress.IPv4Address(text)
    except ValueError as error:
        what = f"subnet {given.network[:40]} is refused"
        raise Refused(what, str(error), "write it like 192.0.2.0/24") from None
    return replace(given, network=str(network))


def _told(noun: str, given: str | None, valid: str | None) -> str | None:
    if given and valid is None:
        why = "it is malformed, or one of the placeholders that many machines share"
        raise Refused(f"{noun} {given[:80]!r} is refused", why, f"leave the {noun} out, or correct it")
    return valid


def _selector_fault(kind: SelectorKind, match: str) -> str:
    if not match or not match.isprintable() or len(match) > _LABEL_LENGTH:
        return "the selector is empty or not one short line"
    if kind is SelectorKind.SUBNET:
        try:
            ipaddress.ip_network(match)
        except ValueError as error:
            return str(error)
    if kind is SelectorKind.LABEL and not match.partition("=")[1]:
        return f"label selector {match!r} is not KEY=VALUE"
    return ""

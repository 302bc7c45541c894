"""People who are limited to labels, such as line=development: what they may change. All may look at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pxeserver.api.access.origin import SAFE
from pxeserver.api.problems import Problem
from pxeserver.boot.model import Group, Profile, SelectorKind

if TYPE_CHECKING:
    from pxeserver.api.routing import Call


def touch(call: Call, what: str, labels: Mapping[str, str]) -> None:
    """403 where the caller is limited to labels, and this, which is to be changed, does not carry them."""
    if call.request.method not in SAFE and not call.who.may_touch(labels):
        raise _outside(call, f"{what} does not carry that")


def _outside(call: Call, why: str) -> Problem:
    limit = ", ".join(f"{key}={value}" for key, value in call.who.labels)
    why = f"{call.who.name} is limited to {limit}, and {why}"
    return Problem(403, "you may not change this", why, "Ask an administrator, or give it the label")


def group(call: Call, wanted: Group) -> None:
    """A group reaches every machine that it selects: for the limited, those of their own label alone."""
    if not call.who.labels:
        return
    touch(call, f"group {wanted.name}", wanted.labels)
    own = [f"{key}={value}" for key, value in call.who.labels]
    if wanted.selector is not SelectorKind.LABEL or own != [wanted.match]:
        raise _outside(
            call, f"group {wanted.name} selects machines by {wanted.selector.value} {wanted.match}"
        )


def profile(call: Call, wanted: Profile) -> None:
    """A profile reaches every machine that boots it."""
    if not call.who.labels:
        return
    touch(call, f"profile {wanted.name}", wanted.labels)
    catalog = call.hall.catalog()
    if wanted.name in (catalog.policy.unknown.removeprefix("profile:"), catalog.policy.values.get("profile")):
        raise _outside(call, f"profile {wanted.name} is what unknown machines get")
    for node in call.hall.nodes():
        if node.values.get("profile") == wanted.name and not call.who.may_touch(node.labels):
            raise _outside(call, f"node {node.name}, which boots profile {wanted.name}, does not carry that")
    for found in catalog.groups:
        if found.values.get("profile") == wanted.name:
            group(call, found)


def nodes(call: Call, names: Iterable[str]) -> None:
    """Nodes by their names, such as a cluster's members."""
    if not call.who.labels:
        return
    for name in names:
        known = call.hall.node(name)
        touch(call, f"node {name}", known.labels if known is not None else {})

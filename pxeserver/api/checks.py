"""What a schema cannot check: values that the boot decision understands, and names that must exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

from pxeserver.api.access import limits
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routing import Call, revision
from pxeserver.boot.model import Node, Profile
from pxeserver.boot.values import check_value

T = TypeVar("T")


def values(call: Call, given: Mapping[str, str | None]) -> None:
    """Refuse unknown keys, values they cannot have, and profiles that do not exist (422)."""
    faults = {
        key: fault for key, text in given.items() if text is not None and (fault := check_value(key, text))
    }
    name = given.get("profile")
    if name and "profile" not in faults and name not in call.hall.catalog().profiles:
        faults["profile"] = f"there is no profile {name}"
    if faults:
        fields = {f"values.{key}": fault for key, fault in faults.items()}
        why = "; ".join(faults.values())
        step = "Correct it; docs/cli.md lists the values"
        if set(faults) == {"profile"}:
            step = "`pxeserver profile list` shows the profiles, `pxeserver profile add` makes one"
        raise Problem(422, "a value is refused", why, step, fields=fields)


def profile(call: Call, name: str) -> Profile:
    """The profile of this name; 422 where there is none, since it is named in a body."""
    found = call.hall.catalog().profiles.get(name)
    if found is None:
        why = f"there is no profile {name}"
        raise Problem(422, why, why, "`pxeserver profile list` shows them", fields={"profile": why})
    return found


def node(call: Call) -> Node:
    """The node that the path names; 404 where there is none, 403 where it is to be changed and the caller is
    limited to others."""
    name = call.part("name")
    found = call.hall.node(name)
    if found is None:
        raise not_found("node", name)
    limits.touch(call, f"node {name}", found.labels)
    return found


def named(call: Call, noun: str, records: Mapping[str, T]) -> T:
    """The record that the path names; 404 where there is none."""
    name = call.part("name")
    if name not in records:
        raise not_found(noun, name)
    return records[name]


def new(noun: str, name: str, records: Mapping[str, object], step: str = "") -> None:
    """Refuse a second record of one name (409); to be called inside the edit."""
    if name in records:
        step = step or f"`pxeserver {noun} set {name}` changes it"
        raise Problem(409, f"{noun} {name} exists", "names are unique", step)


def unchanged(call: Call, view: BaseModel) -> None:
    """Refuse a change of something that is no longer what If-Match says (409); to be called inside the
    edit."""
    wanted = f'"{call.seen}"' if call.seen else call.request.headers.get("If-Match", "*").strip()
    now = f'"{revision(view)}"'
    if wanted not in ("*", now):
        why = f"If-Match is {wanted}, it is {now} now"
        raise Problem(409, "it has been changed meanwhile", why, "Look at it again, then repeat the change")

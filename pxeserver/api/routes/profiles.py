"""Profiles: what to boot, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from pxeserver.api import checks, versions
from pxeserver.api.access import limits
from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.catalog import ProfileChange, ProfileNew, ProfileView, profile_view
from pxeserver.api.schemas.fields import merged
from pxeserver.boot.cmdline import BadCommandLine, parse_words
from pxeserver.boot.model import Profile, ProfileKind

_NEEDS_IMAGE = frozenset({ProfileKind.KERNEL, ProfileKind.EFI, ProfileKind.DISK})
_ROLE = {ProfileKind.KERNEL: "kernel", ProfileKind.EFI: "efi", ProfileKind.DISK: "disk"}


def _find(call: Call) -> Profile:
    return checks.named(call, "profile", call.hall.catalog().profiles)


def _check(call: Call, profile: Profile) -> None:
    limits.profile(call, profile)
    checks.values(call, profile.values)
    wrong = faults(call, profile)
    if wrong:
        why = "; ".join(wrong.values())
        step = "`pxeserver profile add --help` explains the fields"
        if "image" in wrong:
            step = "`pxeserver image list` shows the images, `pxeserver image add` makes one"
        raise Problem(422, f"profile {profile.name} is refused", why, step, fields=wrong)


def faults(call: Call, profile: Profile) -> dict[str, str]:
    """What is wrong with a profile, by field; empty where it can be stored."""
    found: dict[str, str] = {}
    kind = profile.kind.value
    image = call.hall.catalog().images.get(profile.image) if profile.image else None
    if profile.image and image is None:
        found["image"] = f"there is no image {profile.image}"
    elif profile.kind in _NEEDS_IMAGE and image is None:
        found["image"] = f"a profile of kind {kind} needs an image"
    elif image is not None and (role := _ROLE.get(profile.kind)) and not image.by_role(role):
        found["image"] = f"image {image.name} has no {role} file, which a profile of kind {kind} needs"
    if profile.kind is ProfileKind.SCRIPT and not profile.script.startswith("#!ipxe"):
        found["script"] = "a profile of kind script needs an iPXE script that begins with #!ipxe"
    if profile.kind is ProfileKind.CHAIN and not profile.url:
        found["url"] = "a profile of kind chain needs a URL"
    # What the kind never reads would silently do nothing.
    if profile.script and profile.kind is not ProfileKind.SCRIPT:
        found["script"] = f"does nothing in a profile of kind {kind}"
    if profile.url and profile.kind is not ProfileKind.CHAIN:
        found["url"] = f"does nothing in a profile of kind {kind}"
    try:
        parse_words(profile.args)
    except BadCommandLine as error:
        found["args"] = str(error)
    return found


async def list_profiles(call: Call) -> list[ProfileView]:
    """All profiles, by name."""
    profiles = call.hall.catalog().profiles
    return [profile_view(profiles[name]) for name in sorted(profiles)]


async def show_profile(call: Call) -> ProfileView:
    """One profile."""
    return profile_view(_find(call))


async def add_profile(call: Call) -> ProfileView:
    """Add a profile."""
    body: ProfileNew = call.body
    profile = Profile(**{**body.model_dump(), "kind": ProfileKind(body.kind)})
    async with call.hall.edit(call.by) as edit:
        checks.new("profile", profile.name, call.hall.catalog().profiles)
        _check(call, profile)
        await edit.put_profile(profile)
    return profile_view(profile)


async def change_profile(call: Call) -> ProfileView:
    """Change what the body names."""
    body: ProfileChange = call.body
    changes: dict[str, Any] = body.model_dump(exclude_none=True, exclude={"values", "labels"})
    if "kind" in changes:
        changes["kind"] = ProfileKind(changes["kind"])
    if "image" in changes:
        changes["image"] = changes["image"] or None

    def change(profile: Profile) -> Profile:
        values, labels = merged(profile.values, body.values), merged(profile.labels, body.labels)
        return replace(profile, **changes, values=values, labels=labels)

    return await _changed(call, change)


async def _changed(call: Call, change: Callable[[Profile], Profile]) -> ProfileView:
    async with call.hall.edit(call.by) as edit:
        profile = _find(call)
        limits.profile(call, profile)
        checks.unchanged(call, profile_view(profile))
        changed = change(profile)
        _check(call, changed)
        await edit.put_profile(changed)
    return profile_view(changed)


async def _put_back(call: Call, body: Mapping[str, Any]) -> ProfileView:
    return await _changed(call, lambda _: msgspec.convert(body, Profile))


VERSIONS = versions.Shelf("profile", versions.of_record("profiles", _find), _put_back)
"""Former states of profiles."""


async def remove_profile(call: Call) -> None:
    """Remove a profile that no node, group or policy names."""
    async with call.hall.edit(call.by) as edit:
        profile = _find(call)
        limits.profile(call, profile)
        await edit.remove_profile(profile.name)


ROUTES = (
    Route(
        "GET",
        "/profiles",
        list_profiles,
        "List profiles",
        "profile",
        ProfileView,
        many=True,
        need=look("profile"),
    ),
    Route(
        "POST",
        "/profiles",
        add_profile,
        "Add a profile",
        "profile",
        ProfileView,
        body=ProfileNew,
        status=201,
        need=operate("profile", within_labels=True),
    ),
    Route(
        "GET",
        "/profiles/{name}",
        show_profile,
        "Show a profile",
        "profile",
        ProfileView,
        need=look("profile"),
    ),
    Route(
        "PATCH",
        "/profiles/{name}",
        change_profile,
        "Change a profile",
        "profile",
        ProfileView,
        body=ProfileChange,
        need=operate("profile", within_labels=True),
    ),
    Route(
        "DELETE",
        "/profiles/{name}",
        remove_profile,
        "Remove a profile",
        "profile",
        status=204,
        need=operate("profile", within_labels=True),
    ),
    *versions.routes("/profiles/{name}", VERSIONS, ProfileView, operate("profile", within_labels=True)),
)

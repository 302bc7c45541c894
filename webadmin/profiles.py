"""Profiles: the list; one profile as a form, with the script that follows from it as one types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pxeserver.api import checks
from pxeserver.api.access.who import look, operate
from pxeserver.api.node_boot import script_with
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import profiles
from pxeserver.api.routing import revision
from pxeserver.api.schemas.catalog import ProfileChange, ProfileNew, ProfileView, profile_view
from pxeserver.boot.model import Profile, ProfileKind
from pxeserver.boot.values import KEYS
from webadmin import catalog
from webadmin.fields import Fields, faults_of, form_of, labels_of, labels_text
from webadmin.render import language_of, redirect, render
from webadmin.routing import Nav, Page, call, checked, wants_fragment

NEW = "-"
"""Stands in a path for a profile that is not there yet; no profile can have this name."""
_TEXTS = ("kind", "image", "args", "script", "url", "title")
_TICKS = ("install", "in_menu")
KINDS = {
    "kernel": "Kernel and RAM disks of an image",
    "efi": "EFI program of an image",
    "disk": "Write an image to the machine's disk",
    "script": "iPXE script of your own",
    "chain": "Another server's program or script",
    "discovery": "Discovery system",
    "menu": "Boot menu",
    "local": "Local disk",
}


async def page(request: web.Request) -> web.Response:
    """All profiles, and who uses each."""
    found = await profiles.list_profiles(call(request))
    hall = call(request).hall
    users = Counter(node.values["profile"] for node in hall.nodes() if "profile" in node.values)
    groups = [(g.values["profile"], g.name) for g in hall.catalog().groups if "profile" in g.values]
    return render(
        request, "catalog/profiles.html", profiles=found, kinds=KINDS, users=users, groups=groups,
        unknown=hall.catalog().policy.unknown,
    )  # fmt: skip


async def form(request: web.Request) -> web.Response:
    """A profile's form; an empty one, or the copy of another, for a new one."""
    name = request.match_info.get("name", NEW)
    if name != NEW:
        return _form(request, _fields(await profiles.show_profile(call(request))))
    like = call(request).hall.catalog().profiles.get(request.query.get("like", ""))
    if like is None:
        return _form(request, {"kind": "kernel", "in_menu": "1", "install": ""})
    return _form(request, _fields(profile_view(like)) | {"name": "", "seen": ""})


async def save(request: web.Request) -> web.Response:
    """Store what the form says; refused where somebody else has changed the profile meanwhile."""
    fields = await form_of(request)
    name = request.match_info.get("name", NEW)
    try:
        with as_problems():
            told = _told(fields, name)
            if name == NEW:
                await profiles.add_profile(call(request, body=checked(ProfileNew, told)))
            else:
                stored = checks.named(call(request), "profile", call(request).hall.catalog().profiles)
                del told["name"]
                for key in ("values", "labels"):
                    told[key] = catalog.wanted_values(getattr(stored, key), told[key])
                body = checked(ProfileChange, {**told, "image": told["image"] or ""})
                await profiles.change_profile(call(request, body=body, seen=fields.get("seen", "")))
    except Problem as problem:
        return await _refused(request, fields, problem)
    name = fields["name"].strip() if name == NEW else name
    return redirect(f"/profiles/{name}", language_of(request).text("Saved"))


async def _refused(request: web.Request, fields: dict[str, str], problem: Problem) -> web.Response:
    """The form once more: as it was filled in, beside what is stored now where somebody else was quicker."""
    view, more = catalog.refusal(problem), {}
    if problem.status == 409 and request.match_info.get("name", NEW) != NEW:
        stored = _fields(await profiles.show_profile(call(request)))
        more = {
            "conflict": catalog.conflict(stored, fields),
            "newest": await catalog.newest(request, profiles.VERSIONS),
        }
        fields = {**fields, "seen": stored["seen"]}
    return _form(request, fields, view, **more)


async def preview(request: web.Request) -> web.Response:
    """What the form, which is not saved, would boot on a node: the part of the page, or all of it."""
    fields = await form_of(request)
    if not wants_fragment(request):
        return _form(request, fields)
    return render(request, "catalog/preview.html", **_shown(request, fields))


def _shown(request: web.Request, fields: Mapping[str, str]) -> dict[str, Any]:
    """The script that follows from these fields, what changes by them, and what is wrong with them."""
    name = request.match_info.get("name", NEW)
    node, unknown = catalog.preview_node(request, fields.get("node", ""))
    saved = call(request).hall.catalog().profiles.get(name)
    wrong: Mapping[str, str] = {}
    draft = None
    try:
        told = _told({**fields, "name": fields.get("name", "").strip() or "new"}, name)
        profile = _profile(checked(ProfileNew, told))
        wrong = profiles.faults(call(request), profile)
        checks.values(call(request), profile.values)
        draft = script_with(call(request), node, profile)
    except Problem as problem:
        if problem.status != 422:
            raise
        wrong = {**wrong, **problem.view.fields}
    before = script_with(call(request), node, saved) if saved else None
    return {**catalog.compared(before, draft), "wrong": wrong, "node_fault": unknown, "node": node}


def _profile(body: ProfileNew) -> Profile:
    return Profile(**{**body.model_dump(), "kind": ProfileKind(body.kind)})


def _fields(view: ProfileView) -> dict[str, str]:
    fields = {key: getattr(view, key) or "" for key in ("name", *_TEXTS)}
    fields |= {key: "1" if getattr(view, key) else "" for key in _TICKS}
    fields |= {"labels": labels_text(view.labels), "seen": revision(view)}
    return fields | catalog.values_fields(view.values)


def _told(fields: Mapping[str, str], name: str) -> dict[str, Any]:
    """A form's fields as the schemas take them."""
    told: dict[str, Any] = {key: fields.get(key, "").strip() for key in _TEXTS}
    told |= {"name": fields.get("name", "").strip() if name == NEW else name, "image": told["image"] or None}
    told |= {key: bool(fields.get(key)) for key in _TICKS}
    if told["script"]:
        told["script"] += "\n"
    return told | {"values": catalog.values_of(fields), "labels": labels_of(fields.get("labels", ""))}


def _form(
    request: web.Request, fields: dict[str, str], problem: ProblemView | None = None, **more: Any
) -> web.Response:
    name = request.match_info.get("name", NEW)
    shown = call(request).hall.catalog()
    return render(
        request,
        "catalog/profile.html",
        status=problem.status if problem else 200,
        name="" if name == NEW else name,
        fields=Fields(fields),
        problem=problem,
        faults=faults_of(problem),
        kinds=KINDS,
        images=sorted(shown.images),
        keys={key: about for key, about in KEYS.items() if key != "profile"},
        nodes=catalog.node_names(request),
        **_shown(request, fields),
        **{"conflict": [], "newest": None, **more},
    )


async def remove(request: web.Request) -> web.Response:
    """Remove a profile that nothing uses, once it has been asked for."""
    return await catalog.removal(request, "profile", profiles.show_profile, profiles.remove_profile)


_CHANGE = operate("profile", within_labels=True)
PAGES = (
    Page(
        "GET",
        "/profiles",
        page,
        look("profile"),
        Nav("Profiles", "profiles", 50, section="What boots", key="p"),
    ),
    Page("GET", "/profiles/-/add", form, _CHANGE),
    Page("POST", "/profiles/-/add", save, _CHANGE),
    Page("POST", "/profiles/-/preview", preview, look("profile")),
    Page("GET", "/profiles/{name}", form, look("profile")),
    Page("POST", "/profiles/{name}", save, _CHANGE),
    Page("POST", "/profiles/{name}/preview", preview, look("profile")),
    Page("GET", "/profiles/{name}/remove", remove, _CHANGE),
    Page("POST", "/profiles/{name}/remove", remove, _CHANGE),
    *catalog.version_pages("/profiles/{name}", profiles.VERSIONS, _CHANGE),
)

"""Templates into answers: what every page has (who looks, language, theme, token) is added here."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import jinja2
from aiohttp import web

from pxeserver.api.access.who import CSRF, WHO
from webadmin import assets, catalogues, diagnoses, words
from webadmin.catalogues import Language
from webadmin.routing import Nav

THEMES = ("auto", "light", "dark")
NAVIGATION: web.AppKey[tuple[tuple[str, Nav], ...]] = web.AppKey("navigation", tuple)
"""The pages of the navigation with their paths, in order."""
FLASH = "flash"
_FLASH_BYTES = 3000


def environment() -> jinja2.Environment:
    """The templates: escaped always, and an unknown name is an error, not an empty place."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("webadmin"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    found.filters |= {
        "size": words.size,
        "rate": words.rate,
        "duration": words.duration,
        "clock": words.clock,
        "iso": words.iso,
    }
    found.globals["static"] = assets.url
    return found


_ENVIRONMENT = environment()


def render(request: web.Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
    """A page, or a part of one, as an answer."""
    response = web.Response(
        text=text(request, template, **context),
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Vary": "Cookie, HX-Request, Accept-Language"},
    )
    if FLASH in request.cookies and request.headers.get("HX-Request") != "true":
        response.del_cookie(FLASH, path="/")
    response.enable_compression()
    return response


def text(request: web.Request, template: str, **context: Any) -> str:
    """A template filled in, as text: for parts that go through a stream."""
    speech = language_of(request)
    shared = {
        "request": request,
        "path": request.path,
        "who": request.get(WHO),
        "csrf": request.get(CSRF, ""),
        "csrf_token": request.get(CSRF, ""),  # for the macro that is called csrf itself
        "locale": speech.code,
        "languages": catalogues.NAMES,
        "theme": theme_of(request),
        "themes": THEMES,
        "navigation": request.app[NAVIGATION],
        "flash": flash_of(request),
        "now": time.time(),
        "_": speech.text,
        "_n": speech.count,
        "diagnosed": partial(diagnoses.told, speech),
    }
    return _ENVIRONMENT.get_template(template).render(shared | context)


def language_of(request: web.Request) -> Language:
    """The language of whoever asks."""
    return catalogues.chosen(request.cookies.get("lang", ""), request.headers.get("Accept-Language", ""))


def theme_of(request: web.Request) -> str:
    """light, dark, or auto: as the browser's own setting."""
    asked = request.cookies.get("theme", "auto")
    return asked if asked in THEMES else "auto"


def redirect(where: str, said: str = "", *, tone: str = "ok", undo: str = "") -> web.Response:
    """303 to a page of ours, which shows `said` once; `undo` is a token of webadmin.undo."""
    response = web.Response(status=303, headers={"Location": local(where)})
    if said:
        note = json.dumps({"text": said[:400], "tone": tone, "undo": undo}, ensure_ascii=False).encode()
        value = base64.urlsafe_b64encode(note).decode()
        response.set_cookie(FLASH, value, path="/", max_age=60, httponly=True, samesite="Strict")
    return response


def local(where: str, otherwise: str = "/") -> str:
    """The path and query of an address, as far as it can only lead to ourselves; else `otherwise`."""
    parts = urlsplit(where)
    path = parts.path
    if not path.startswith("/") or path.startswith("//") or "\\" in where or not where.isprintable():
        return otherwise
    return path + (f"?{parts.query}" if parts.query else "")


def flash_of(request: web.Request) -> Mapping[str, str] | None:
    """What the page before wanted to be said here; None where nothing or nonsense is there."""
    value = request.cookies.get(FLASH, "")[:_FLASH_BYTES]
    if not value:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(value))
    except (ValueError, binascii.Error):
        return None
    if not isinstance(found, dict) or not found.get("text"):
        return None
    return {name: str(found.get(name, "")) for name in ("text", "tone", "undo")}

"""Static files under an address that changes with their content, in memory with their compressed form."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).resolve().parent / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes | None
    """gzip, where that is smaller."""
    media: str


@cache
def assets() -> dict[str, Asset]:
    """All files by their path under static/."""
    return {
        path.relative_to(FOLDER).as_posix(): _read(path)
        for path in sorted(FOLDER.rglob("*"))
        if path.is_file() and path.suffix in (*_TYPES, ".LICENSE")
    }


@cache
def revision() -> str:
    """12 characters that change whenever one of the files does. One for all of them, so that modules and
    style sheets can name each other relatively.
    """
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(asset.body).digest())
    return digest.hexdigest()[:12]


def url(name: str) -> str:
    """The address of a file, e.g. "css/base.css"; KeyError where there is none of that name."""
    if name not in assets():
        raise KeyError(name)
    return f"/static/{revision()}/{name}"


async def serve(request: web.Request) -> web.Response:
    """A static file. An address of another release is answered with today's file, and not to be kept."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    current = request.match_info["revision"] == revision()
    headers = {
        "Cache-Control": _FOR_EVER if current else "no-store",
        "Vary": "Accept-Encoding",
        "Content-Type": asset.media,
        "X-Content-Type-Options": "nosniff",
    }
    if asset.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.packed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=asset.body, headers=headers)


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0)
    media = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    charset = "; charset=utf-8" if media.startswith("text/") else ""
    return Asset(body, packed if len(packed) < len(body) else None, media + charset)

"""The addresses of a list: what is asked for lives in them, so that each can be linked and gone back to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from pydantic import BaseModel

Link = Callable[..., str]


def links(path: str, asked: BaseModel, kept: Collection[str]) -> Link:
    """What makes the list's address with something changed; "" takes it away, and the list begins anew.
    `kept` are the fields of the query that stay.
    """
    told = asked.model_dump(mode="json", exclude_defaults=True, include=set(kept))
    told = {key: "1" if value is True else value for key, value in told.items()}

    def link(where: str = path, /, **changes: Any) -> str:
        parts = {key: value for key, value in {**told, **changes}.items() if value not in ("", None)}
        return where + (f"?{urlencode(parts)}" if parts else "")

    return link


def follow(request: web.Request, response: web.Response, where: str) -> web.Response:
    """Have the browser's address follow a part of a page that htmx asked for: links are steps to go back
    to, each letter of a search is none.
    """
    step = request.headers.get("HX-Boosted") == "true"
    response.headers["HX-Push-Url" if step else "HX-Replace-Url"] = where
    return response

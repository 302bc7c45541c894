"""What each browser chooses for itself: colours and language, kept in cookies that hold nothing else."""

from __future__ import annotations

from aiohttp import web

from pxeserver.api.access.who import PUBLIC
from webadmin.catalogues import NAMES
from webadmin.render import THEMES, local
from webadmin.routing import Page

_YEAR = 365 * 86_400


async def choose(request: web.Request) -> web.Response:
    """Set the cookie of whatever is chosen, and go back."""
    fields = await request.post()
    response = web.Response(status=303)
    for name, allowed in (("theme", THEMES), ("lang", tuple(NAMES))):
        value = fields.get(name)
        if isinstance(value, str) and value in allowed:
            # Not HttpOnly: the theme switch sets the same cookie without loading the page anew.
            response.set_cookie(name, value, path="/", max_age=_YEAR, samesite="Strict")
    back = fields.get("back")
    response.headers["Location"] = local(back if isinstance(back, str) else "/")
    return response


PAGES = (Page("POST", "/preferences", choose, need=PUBLIC),)

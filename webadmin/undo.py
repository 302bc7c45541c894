"""Acts that can be taken back: whoever carries one out says how, and the page that follows offers it."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from pxeserver.api.access.who import Need, Role, who_of
from pxeserver.api.problems import Problem
from webadmin.render import language_of, redirect
from webadmin.routing import Page

KEPT = 200
"""Acts that can be taken back at once, in all; the oldest go first."""
SECONDS = 600.0
"""How long an act can be taken back."""

Back = Callable[[web.Request], Awaitable[str]]
"""Takes an act back on behalf of the request's user; returns what to say then, in the user's language."""


@dataclass(frozen=True, slots=True)
class Offer:
    """How an act is taken back, by whom, until when (monotonic seconds), and the page to return to."""

    back: Back
    by: str
    until: float
    page: str


class Undo:
    """The acts of the last minutes, in memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offers: OrderedDict[str, Offer] = OrderedDict()

    def keep(self, by: str, page: str, back: Back) -> str:
        """Remember how to take an act back; the token that does it."""
        token = secrets.token_urlsafe(12)
        self._offers[token] = Offer(back, by, self._clock() + SECONDS, page)
        while len(self._offers) > KEPT:
            self._offers.popitem(last=False)
        return token

    def take(self, token: str, by: str) -> Offer | None:
        """The offer of this token, once, for the one who acted; None where it is over."""
        offer = self._offers.get(token)
        if offer is None or offer.by != by:
            return None
        del self._offers[token]
        return offer if offer.until > self._clock() else None


UNDO = web.AppKey("undo", Undo)


def undoable(request: web.Request, back: Back, *, page: str = "") -> str:
    """Remember how the act of this request is taken back; the token is for `redirect(..., undo=token)`."""
    return request.app[UNDO].keep(who_of(request).by, page or request.path, back)


async def take_back(request: web.Request) -> web.Response:
    """The button of the message."""
    offer = request.app[UNDO].take(request.match_info["token"], who_of(request).by)
    if offer is None:
        raise Problem(
            410,
            "this cannot be taken back any more",
            "it was done already, or more than ten minutes have passed",
            "Change it by hand",
        )
    said = await offer.back(request)
    return redirect(offer.page, said or language_of(request).text("Taken back"))


PAGES = (Page("POST", "/undo/{token}", take_back, need=Need(Role.OPERATOR, within_labels=True)),)

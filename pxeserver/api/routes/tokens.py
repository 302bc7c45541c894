"""API tokens: make, list, revoke. A token never makes another."""

from __future__ import annotations

from typing import Any

from pxeserver.api.access.who import Need, Role
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routes.session import role_name
from pxeserver.api.routes.users import find, register_of
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import TokenMade, TokenNew, TokenQuery, TokenView
from pxeserver.storage.access import Token, User

_DAY = 86_400.0
KEPT = 100
"""Tokens of one user."""
_PEOPLE = Need(Role.VIEWER)
"""For people, who see and make their own; no token will do."""


def _sees_all(call: Call) -> bool:
    return call.who.kind == "local" or (call.who.role == Role.ADMIN and not call.who.labels)


async def list_tokens(call: Call) -> list[TokenView]:
    """The caller's own tokens; for administrators all of them, or those of one user."""
    query: TokenQuery = call.query
    register = await register_of(call)
    wanted = query.user if _sees_all(call) else call.who.name
    found = sorted(register.tokens.values(), key=lambda t: t.id)
    return [
        TokenView(**_fields(token, register.users[token.user_id]))
        for token in found
        if wanted in (None, register.users[token.user_id].name)
    ]


def _fields(token: Token, owner: User) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": owner.name,
        "name": token.name,
        "role": role_name(min(token.role, owner.role)),
        "scopes": token.scopes,
        "created_by": token.created_by,
        "created_at": token.created_at,
        "expires": token.expires,
        "seen": token.seen,
        "address": token.address,
    }


async def make_token(call: Call) -> TokenMade:
    """Make a token; its secret is in this answer and nowhere else."""
    body: TokenNew = call.body
    register = await register_of(call)
    name = body.user or call.who.name
    if name != call.who.name and not _sees_all(call):
        why = "only administrators make tokens for others"
        raise Problem(403, "no token was made", why, "Leave the user away")
    if call.who.kind == "local" and body.user is None:
        why = "the command line is nobody's account"
        raise Problem(422, "no token was made", why, "Name a user", fields={"user": why})
    owner = find(register, name)
    mine = [t for t in register.tokens.values() if t.user_id == owner.id]
    if any(t.name == body.name for t in mine):
        step = f"Choose another name, or `pxeserver token revoke {owner.name} {body.name}` first"
        raise Problem(409, f"token {body.name} of {owner.name} exists", "names are unique", step)
    if len(mine) >= KEPT:
        raise Problem(409, "no token was made", f"{owner.name} has {KEPT} already", "Revoke some")
    now = register.clock()
    role = int(Role[body.role.upper()]) if body.role else owner.role
    expires = now + body.days * _DAY if body.days is not None else None
    token = Token(
        0, owner.id, body.name, "", min(role, owner.role), tuple(body.scopes), call.by, now, expires
    )
    token, secret = await register.add_token(token, call.by, owner)
    return TokenMade(**_fields(token, owner), secret=secret)


async def revoke_token(call: Call) -> None:
    """End a token at once."""
    register = await register_of(call)
    number = call.part("id")
    for token in register.tokens.values():
        owner = register.users[token.user_id]
        if str(token.id) == number and (_sees_all(call) or owner.name == call.who.name):
            await register.revoke(token, call.by, owner.name)
            return
    raise not_found("token", number)


ROUTES = (
    Route(
        "GET",
        "/tokens",
        list_tokens,
        "List API tokens",
        "access",
        TokenView,
        many=True,
        query=TokenQuery,
        need=_PEOPLE,
    ),
    Route(
        "POST",
        "/tokens",
        make_token,
        "Make an API token",
        "access",
        TokenMade,
        body=TokenNew,
        status=201,
        need=_PEOPLE,
    ),
    Route(
        "DELETE",
        "/tokens/{id}",
        revoke_token,
        "Revoke an API token",
        "access",
        status=204,
        need=_PEOPLE,
    ),
)

"""Users: add, list, show, change, remove."""

from __future__ import annotations

from dataclasses import replace

from pxeserver.api.access.login import is_last_admin, stamped
from pxeserver.api.access.register import Register
from pxeserver.api.access.who import Role, administer
from pxeserver.api.problems import Problem, not_found
from pxeserver.api.routes.session import access, role_name
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import UserChange, UserNew, UserView
from pxeserver.storage.access import User
from pxeserver.storage.records import Stamp


async def register_of(call: Call) -> Register:
    """Who is known, as the database has it now."""
    register = access(call).register
    await register.load()
    return register


async def list_users(call: Call) -> list[UserView]:
    """All users, by name."""
    register = await register_of(call)
    return [user_view(register, user) for user in sorted(register.users.values(), key=lambda u: u.name)]


async def show_user(call: Call) -> UserView:
    """One user."""
    register = await register_of(call)
    return user_view(register, find(register, call.part("name")))


def find(register: Register, name: str) -> User:
    """The user of this name; 404 where there is none."""
    user = register.user(name)
    if user is None:
        raise not_found("user", name)
    return user


def user_view(register: Register, user: User) -> UserView:
    """A user as the API shows them."""
    return UserView(
        name=user.name,
        role=role_name(user.role),
        labels=dict(user.labels),
        has_password=bool(user.password),
        demo=user.demo,
        sessions=sum(1 for s in register.sessions.values() if s.user_id == user.id),
        tokens=sum(1 for t in register.tokens.values() if t.user_id == user.id),
        created_by=user.stamp.created_by,
        created_at=user.stamp.created_at,
        updated_by=user.stamp.updated_by,
        updated_at=user.stamp.updated_at,
        version=user.stamp.version,
    )


async def add_user(call: Call) -> UserView:
    """Add a user."""
    body: UserNew = call.body
    register, passwords, now = await register_of(call), access(call).passwords, access(call).register.clock()
    stored = await passwords.hash(body.password) if body.password is not None else ""
    if register.user(body.name) is not None:
        step = f"`pxeserver user passwd {body.name}` sets another password"
        raise Problem(409, f"user {body.name} exists", "names are unique", step)
    stamp = Stamp(call.by, call.by, now, now)
    user = User(0, body.name, Role[body.role.upper()], stored, stamp, labels=dict(body.labels))
    return user_view(register, await register.put_user(user, call.by, "add"))


async def change_user(call: Call) -> UserView:
    """Change what the body names. Every session of the user ends."""
    body: UserChange = call.body
    mine, register = access(call), await register_of(call)
    seen = call.version(body.version)
    user = find(register, call.part("name"))
    stored = await mine.passwords.hash(body.password) if body.password is not None else user.password
    user = find(register, user.name)
    if seen is not None and seen != user.stamp.version:
        why = f"it is version {user.stamp.version} now, you saw {seen}"
        raise Problem(409, f"user {user.name} has been changed meanwhile", why, "Look at it again")
    changed = replace(
        user,
        role=int(Role[body.role.upper()]) if body.role is not None else user.role,
        labels=dict(body.labels) if body.labels is not None else user.labels,
        password=stored,
        demo=user.demo and body.password is None,
        stamp=stamped(user.stamp, call.by, register.clock()),
    )
    if is_last_admin(register, user) and (changed.role != Role.ADMIN or changed.labels):
        raise _last(user)
    verb = "password" if body.password is not None else "change"
    changed = await register.put_user(changed, call.by, verb, ends_tokens=user.demo and not changed.demo)
    if user.demo and not changed.demo:
        register.demo.end()
    return user_view(register, changed)


async def remove_user(call: Call) -> None:
    """Remove a user with all sessions and tokens."""
    register = await register_of(call)
    user = find(register, call.part("name"))
    if is_last_admin(register, user):
        raise _last(user)
    await register.remove_user(user, call.by)
    if user.demo:
        register.demo.end()


def _last(user: User) -> Problem:
    why = "nobody else could administer the server through the pages"
    return Problem(409, f"user {user.name} stays an administrator", why, "Make another administrator first")


ROUTES = (
    Route(
        "GET", "/users", list_users, "List users", "access", UserView, many=True, need=administer("access")
    ),
    Route(
        "POST",
        "/users",
        add_user,
        "Add a user",
        "access",
        UserView,
        body=UserNew,
        status=201,
        need=administer("access"),
    ),
    Route("GET", "/users/{name}", show_user, "Show a user", "access", UserView, need=administer("access")),
    Route(
        "PATCH",
        "/users/{name}",
        change_user,
        "Change a user",
        "access",
        UserView,
        body=UserChange,
        need=administer("access"),
    ),
    Route(
        "DELETE",
        "/users/{name}",
        remove_user,
        "Remove a user",
        "access",
        status=204,
        need=administer("access"),
    ),
)

"""Agents: who speaks for a node, and who may claim it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pxeserver.api.schemas.fields import Address, Body, Time, View

Seconds = Annotated[int, Field(ge=60, le=86_400)]


class Arm(Body):
    """Let the node's next boot claim it, once."""

    ask: bool = False
    """A person has to compare the claimant's code (`node admit`)."""
    seconds: Seconds = 1800
    """How long it stays armed."""


class JoinOrder(Body):
    """Make a join command."""

    ask: bool = False
    """A person has to compare the claimant's code (`node admit`)."""
    seconds: Seconds = 1800
    """How long it can be used."""
    address: Address | None = None
    """The server's address as the machine reaches it; left away: the first of the served ones."""


class Admit(Body):
    """A person has compared the code."""

    code: Annotated[str, Field(min_length=12, max_length=20)]
    """As the machine shows it."""


class Thaw(Body):
    """A person has looked at a frozen node."""

    forget: bool = False
    """Drop its agent as well: it has to claim anew, and be armed for it."""


class ClaimView(View):
    """A permission to claim, and what became of it."""

    kind: str
    state: str
    armed_by: str
    armed_at: Time
    expires: Time
    attempt: str
    used_at: Time | None
    address: str
    why: str
    code: str
    """Of the claimant, where one has come."""
    facts: dict[str, Any]
    """What the claimant told of its machine; nobody has checked it."""


class AgentView(View):
    """A node's agent and its claims, newest first."""

    node: str
    joined: bool
    """An agent speaks for it."""
    frozen: bool
    why: str
    """Why it is frozen."""
    claimed_at: Time | None
    seen: Time | None
    address: str
    rung: int
    """1: its claim was armed; 2: a person compared its code."""
    code: str
    """What its key is told by."""
    facts: dict[str, Any]
    claims: tuple[ClaimView, ...]


class JoinView(View):
    """A join command. Its line holds a secret: it is shown once."""

    node: str
    line: str
    expires: Time

"""Where the change that is being made came from. The API sets it for each request; whatever notes a change
in the audit trail on the way, also in tasks that the request began, finds it here."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Origin:
    """One request."""

    address: str
    """An IP address, or "unix"; "" for what the server does by itself."""
    noted: int = 0
    """Changes that the audit trail has got of it."""


ORIGIN: ContextVar[Origin | None] = ContextVar("origin", default=None)


def here() -> str:
    """The address of the request that is being answered; "" outside of any."""
    origin = ORIGIN.get()
    return origin.address if origin is not None else ""

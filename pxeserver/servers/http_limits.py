"""What one client, and all of them together, may hold of the boot HTTP listener."""

from __future__ import annotations

from dataclasses import dataclass, field

from pxeserver.servers.sendfile import Pace


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the boot HTTP listener; times in seconds. A request's head has its own (http_parse.py)."""

    idle_timeout: float = 10.0
    """From the connection, or the end of the last answer, to the end of the next request's header."""
    per_address: int = 64
    connections: int = 2048
    first_request: float = 1.0
    """A new connection is not taken for idle before this: its request is on its way."""
    surplus: int = 1024
    """Connections over the limit that are still told 503 before they are closed; further ones are reset."""
    pace: Pace = field(default_factory=Pace)
    """The least a reader of a file must take."""
    answer_timeout: float = 60.0
    """For a reader to take an answer that is no file."""
    body_bytes: int = 1024 * 1024
    """Longest JSON body."""
    body_timeout: float = 60.0
    body_grace: float = 10.0
    """After this a body must have come at `body_rate` bytes a second on average."""
    body_rate: int = 1024
    lingering: float = 2.0
    """How long the rest of a refused body is read and thrown away, so that its sender gets to read why."""
    shutdown: float = 5.0
    """How long transfers may go on after stop() was called."""

    @property
    def look_every(self) -> float:
        """How often to look for what has taken too long: well within the shortest of these times."""
        return min(1.0, self.idle_timeout / 4, self.pace.window / 4, self.lingering / 2)

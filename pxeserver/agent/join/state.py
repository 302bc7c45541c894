"""What the agent keeps on disk: its key, its token, and what was wanted of each step last.

Everything is in one folder that only root reads, and each file is replaced whole. Secrets of a want stay
sealed there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.secret import Secret
from pxeserver.agent.join.step import StepFailed

FOLDER = Path("/var/lib/pxeserver-agent")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class Membership:
    """What a claim brought."""

    token: Secret
    node: str
    cluster: str | None


@dataclass(frozen=True, slots=True)
class LastWant:
    """The newest want that was applied to a step; `sealed` holds its secrets."""

    step: str
    want: Mapping[str, Any]
    sealed: str | None


class State:
    """The folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._wants = folder / "wants"
        self._wants.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)

    def key(self) -> str | None:
        """The private key, base64; None before it was made."""
        return files.read(self.folder / "key") or None

    def keep_key(self, key: str) -> None:
        """Keep a new private key."""
        files.put(self.folder / "key", key, 0o600)

    def membership(self) -> Membership | None:
        """What the last claim brought; None before one was granted."""
        body = self._json(self.folder / "agent.json")
        if not isinstance(body.get("token"), str) or not isinstance(body.get("node"), str):
            return None
        return Membership(Secret(body["token"]), body["node"], body.get("cluster"))

    def keep_membership(self, membership: Membership) -> None:
        """Keep what a claim brought."""
        body = {
            "token": membership.token.reveal(),
            "node": membership.node,
            "cluster": membership.cluster,
        }
        files.put(self.folder / "agent.json", json.dumps(body), 0o600)

    def forget_membership(self) -> None:
        """The server no longer knows the token."""
        files.remove(self.folder / "agent.json")

    def trusted_boot(self) -> str:
        """The kernel's boot id under which the server was last spoken to with trust; "" before that."""
        return (files.read(self.folder / "boot") or "").strip()

    def keep_trusted_boot(self, boot: str) -> None:
        """The server was spoken to with trust in this boot."""
        files.put(self.folder / "boot", boot + "\n", 0o600)

    def tell(self, status: str) -> None:
        """Leave a line for whoever looks at this node."""
        try:
            files.put(self.folder / "status", status + "\n", 0o600)
        except StepFailed:
            return

    # ------------------------------------------------------------------------------------------ wants

    def wants(self) -> list[LastWant]:
        """Every step's last want, in the order in which they were applied first."""
        kept: list[tuple[int, LastWant]] = []
        for path in self._wants.glob("*.json"):
            body = self._json(path)
            if isinstance(body.get("want"), dict):
                want = LastWant(path.stem, body["want"], body.get("sealed"))
                kept.append((int(body.get("number") or 0), want))
        return [want for _, want in sorted(kept, key=lambda pair: (pair[0], pair[1].step))]

    def want(self, step: str) -> LastWant | None:
        """The last want of one step."""
        return next((want for want in self.wants() if want.step == step), None)

    def keep_want(self, want: LastWant) -> None:
        """A want was applied."""
        path = self._path(want.step)
        number = self._json(path).get("number") or 1 + max(
            (int(self._json(p).get("number") or 0) for p in self._wants.glob("*.json")), default=0
        )
        body = {"number": number, "want": want.want, "sealed": want.sealed}
        files.put(path, json.dumps(body, sort_keys=True), 0o600)

    def forget_want(self, step: str) -> None:
        """A step was undone."""
        files.remove(self._path(step))

    def forget_wants(self) -> None:
        """Another server is in charge."""
        for path in self._wants.glob("*.json"):
            files.remove(path)

    def _path(self, step: str) -> Path:
        if not _NAME.fullmatch(step):
            raise StepFailed(f"{step!r} is no name of a step", retry=False)
        return self._wants / f"{step}.json"

    @staticmethod
    def _json(path: Path) -> dict[str, Any]:
        try:
            body = json.loads(files.read(path) or "{}")
        except ValueError:
            return {}  # a file of another release, or a damaged disk: as if it were not there
        return body if isinstance(body, dict) else {}

"""The login of a fresh installation: demo, with the password demo.

From this host it does everything; from elsewhere it looks. Whoever sets a real password from elsewhere has to
know the set-up code, which the server prints where it was started. What is kept of it lies beside the
database and not in it: a restored backup brings neither the well-known password nor an old code back.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from pxeserver import durable

NAME = PASSWORD = "demo"  # noqa: S105 - well known on purpose
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter is taken for a digit."""
_LENGTH = 12


class Demo:
    """The set-up code and the mark that the well-known password is over, in one folder. Blocks a little."""

    def __init__(self, folder: Path) -> None:
        self._code, self._over = folder / "setup-code", folder / "demo-is-over"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def over(self) -> bool:
        """Whether a real password was set, once and for all."""
        return self._over.exists()

    def end(self) -> None:
        """Mark that; the code is of no use any more."""
        durable.put(self._over, b"")
        self._code.unlink(missing_ok=True)

    def code(self) -> str:
        """The set-up code, such as "7KQ2-M4XD-91ZB"; made where there is none. "" where all is over."""
        if self.over:
            return ""
        try:
            found = self._code.read_text().strip()
        except FileNotFoundError:
            found = ""
        if len(_plain(found)) != _LENGTH:
            letters = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
            found = "-".join(letters[i : i + 4] for i in range(0, _LENGTH, 4))
            durable.put(self._code, (found + "\n").encode())
        return found

    def is_code(self, typed: str) -> bool:
        """Whether this is the code, in whatever case and with or without its dashes."""
        wanted = _plain(self.code())
        return bool(wanted) and hmac.compare_digest(wanted.encode(), _plain(typed).encode())


def _plain(text: str) -> str:
    return (
        text.upper().replace("-", "").replace(" ", "").replace("O", "0").replace("I", "1").replace("L", "1")
    )

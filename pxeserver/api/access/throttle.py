"""How often one may try: a few failures are free, then each costs twice the time of the one before."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

_REMEMBERED = 10_000
_FORGOTTEN_AFTER = 3600.0
"""Seconds without a failure after which all is forgiven."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`free` failures, then `first` seconds, twice as many after each further one, at most `longest`."""

    free: int
    first: float
    longest: float


PAIR = Limit(5, 1.0, 900.0)
"""One user from one address."""
ADDRESS = Limit(20, 1.0, 900.0)
"""One address, whatever the user: trying names."""
ACCOUNT = Limit(50, 1.0, 30.0)
"""One user from everywhere. Short: nobody must be able to keep somebody else out."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


class Throttle:
    """Counts failures. Times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[str, str], _Record] = OrderedDict()

    def wait(self, user: str, address: str, now: float) -> float:
        """Seconds until this user may be tried from this address; 0: now."""
        waits = [0.0]
        for key, _ in _keys(user, address):
            record = self._records.get(key)
            if record is not None and now - record.last < _FORGOTTEN_AFTER:
                waits.append(record.until - now)
        return max(waits)

    def failed(self, user: str, address: str, now: float) -> None:
        """A password was wrong."""
        for key, limit in _keys(user, address):
            record = self._records.pop(key, None) or _Record()
            if now - record.last >= _FORGOTTEN_AFTER:
                record = _Record()
            record.failures, record.last = record.failures + 1, now
            beyond = record.failures - limit.free
            if beyond >= 0:
                record.until = now + min(limit.longest, limit.first * 2.0 ** min(beyond, 20))
            self._records[key] = record
        while len(self._records) > _REMEMBERED:
            self._records.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        """The password was right: this user from this address begins anew."""
        self._records.pop((user, address), None)


def _keys(user: str, address: str) -> tuple[tuple[tuple[str, str], Limit], ...]:
    return ((user, address), PAIR), (("", address), ADDRESS), ((user, ""), ACCOUNT)

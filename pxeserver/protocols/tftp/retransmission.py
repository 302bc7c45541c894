"""How long to wait for an acknowledgement (the estimator of RFC 6298, with times that fit a LAN).

Fixed timers of one to five seconds, which RFC 1350 leaves to the implementer and most servers use, turn one
lost packet in a hundred into minutes for a boot file.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, except `lossy_after`, `patient_tries`, `plain_tries` and `offer_tries`."""

    first: float = 0.2
    """The wait before anything was measured."""
    floor: float = 0.02
    """Never resend sooner: clients that are busy for a scheduler tick are not lost packets."""
    lossy_floor: float = 0.005
    """The same where the path was seen to lose packets and the client to answer at once."""
    lossy_after: int = 3
    """So many packets in a row that were lost, and not late, are seeing it."""
    cap: float = 0.4
    """The longest wait of the first `patient_tries` tries: back-off must not turn a lossy link into a stalled
    one."""
    patient_tries: int = 8
    last_cap: float = 2.0
    """The longest wait afterwards."""
    give_up: float = 30.0
    """Without progress for this long the transfer ends."""
    half_open: float = 10.0
    """The same before the client's first answer."""
    offer_tries: int = 6
    """How often an unanswered OACK is sent: it goes to an address nothing has proven yet."""
    plain_tries: int = 2
    """How often the first block of a transfer without options is sent before the first ACK, for the same
    reason."""


class Retransmission:
    """Smoothed round trip time, its variation, and the back-off. No wait is longer than `longest` seconds."""

    __slots__ = (
        "_floor", "_guess", "_longest", "_lost", "_timing", "_tries", "_variation", "base", "smoothed",
    )  # fmt: skip

    def __init__(self, timing: Timing, longest: float | None = None) -> None:
        self._timing = timing
        self._longest = timing.last_cap if longest is None else min(longest, timing.last_cap)
        self.smoothed: float | None = None
        self._guess: float | None = None
        self._variation = 0.0
        self._tries = 0
        self._floor = timing.floor
        self._lost = 0
        self.base = timing.first
        """The wait without back-off, seconds."""

    def measured(self, round_trip: float) -> None:
        """A block that was sent exactly once was acknowledged (Karn's rule); ends the back-off."""
        smoothed = self.smoothed
        if smoothed is None:
            smoothed = round_trip
            self._variation = round_trip / 2
        else:
            difference = round_trip - smoothed
            self._variation += (abs(difference) - self._variation) / 4
            smoothed += difference / 8
        self.smoothed = smoothed
        base = smoothed + 4 * self._variation
        if base < self._floor:  # noqa: PLR1730 - a call of max() for every block
            base = self._floor
        self.base = base if base < self._longest else self._longest
        self._tries = 0

    def answered(self, since_last: float) -> None:
        """A block that was sent more than once was acknowledged, `since_last` seconds after the last send.

        Which of the sends was answered is unknown, so it is no measurement (Karn's rule). But an answer about
        one known round trip after the last send was a lost packet on an unchanged path: the back-off ends.
        Sooner or later than that, the path may have become longer: the back-off stays, or the longer round
        trip would never be measured. Before anything was measured, two answers that agree although the waits
        before them differed are believed.
        """
        if self.smoothed is not None:
            if self.smoothed / 2 <= since_last <= self.base:
                self._tries = 0
                self._lost += 1
            elif since_last < self.smoothed / 2:
                self._lost = 0  # the answer to the send before: it was late, and the wait too short
            lossy = self._lost >= self._timing.lossy_after
            self._floor = self._timing.lossy_floor if lossy else self._timing.floor
            self.base = min(max(self.smoothed + 4 * self._variation, self._floor), self._longest)
        elif self._guess is None:
            self._guess = since_last
        elif self._guess / 2 <= since_last <= self._guess * 2:
            self.measured(since_last)

    def plausible(self, round_trip: float) -> bool:
        """Whether this can be a round trip of the path as it is known, and nothing that waited somewhere."""
        return round_trip <= self.base

    def expired(self) -> None:
        """A wait ended without an answer."""
        self._tries += 1

    def suspicion(self) -> float:
        """Seconds in which a client that has just answered acknowledges what is on its way to it.

        Two round trips rather than one, and a millisecond at least: event loops' clocks are that coarse.
        """
        if self.smoothed is None:
            return self.base
        return min(self.base, max(0.001, 2 * self.smoothed + 4 * self._variation))

    def wait(self) -> float:
        """Seconds from a send to the next resend."""
        if not self._tries:
            return self.base
        cap = self._timing.cap if self._tries <= self._timing.patient_tries else self._longest
        # The exponent is bounded: the cap is reached long before, and floats must not overflow.
        return max(self.base, min(self.base * (1 << min(self._tries, 10)), cap))

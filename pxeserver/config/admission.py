"""The settings of admission: who waits where many machines load at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pxeserver.boot.bandwidth import Rules
from pxeserver.config.section import Section

_USUAL = Rules()


class AdmissionSettings(Section):
    """Where many machines load at once, as many as the link serves well do so, and the others wait in their
    boot script and see their place. A node with the value `admission=at-once` never waits."""

    enabled: bool = _USUAL.enabled
    """Let machines wait. false: all load at once, whatever comes of it."""
    seconds: Annotated[float, Field(gt=0, le=3600)] = _USUAL.seconds
    """A machine's download should take about so long; larger: more machines load at the same time, slower."""
    small_bytes: Annotated[int, Field(ge=0)] = _USUAL.small
    """What a machine fetches never waits where it is smaller than this."""
    least_rate: Annotated[float, Field(ge=1000)] = _USUAL.least_rate
    """Bytes a second that each download gets, of a link that has them, before more may begin."""

    def rules(self) -> Rules:
        """These settings as the boot plane takes them."""
        return Rules(
            enabled=self.enabled,
            small=self.small_bytes,
            seconds=self.seconds,
            least_rate=self.least_rate,
            most_rate=max(self.least_rate, _USUAL.most_rate),
        )

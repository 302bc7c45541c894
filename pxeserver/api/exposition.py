"""Prometheus' text format, version 0.0.4: what `/metrics` is written in.

By hand: it is thirty lines, and the client library would keep a second copy of counts that are already here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pxeserver.live.totals import Histogram

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["counter", "gauge", "histogram"]


class Exposition:
    """Metrics, one after the other. All names begin with the prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lines: list[str] = []

    def text(self) -> str:
        """Everything that was added."""
        return "\n".join((*self._lines, ""))

    def one(self, name: str, kind: Kind, told: str, value: float, **labels: str) -> None:
        """A metric with one sample."""
        self._head(name, kind, told)
        self._sample(name, labels, value)

    def some(self, name: str, kind: Kind, told: str, value: float | None) -> None:
        """A metric with one sample, where there is one to tell."""
        self._head(name, kind, told)
        if value is not None:
            self._sample(name, {}, value)

    def many(self, name: str, kind: Kind, told: str, label: str, values: Iterable[tuple[str, float]]) -> None:
        """A metric with a sample for each value of one label; its head alone where there is none yet."""
        self._head(name, kind, told)
        for which, value in values:
            self._sample(name, {label: which}, value)

    def histograms(self, name: str, told: str, label: str, found: Mapping[str, Histogram]) -> None:
        """A histogram for each value of one label."""
        self._head(name, "histogram", told)
        for which, histogram in found.items():
            counts = histogram.cumulative()
            for bound, count in zip((*map(_number, histogram.bounds), "+Inf"), counts, strict=True):
                self._sample(f"{name}_bucket", {label: which, "le": bound}, count)
            self._sample(f"{name}_sum", {label: which}, histogram.sum)
            self._sample(f"{name}_count", {label: which}, counts[-1])

    def _head(self, name: str, kind: Kind, told: str) -> None:
        full = f"{self._prefix}_{name}"
        self._lines += (f"# HELP {full} {told}", f"# TYPE {full} {kind}")

    def _sample(self, name: str, labels: Mapping[str, str], value: float) -> None:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self._lines.append(f"{self._prefix}_{name}{f'{{{told}}}' if told else ''} {_number(value)}")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))

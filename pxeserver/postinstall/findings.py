"""Findings of the checks, and how they become faults with a place in the cluster file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from pxeserver.config.checking import dotted
from pxeserver.config.faults import Fault
from pxeserver.postinstall.spec import ClusterSpec, Path

Finding = tuple[Path, str, str]
"""The key it is about, what is wrong, how to mend it."""


def faults(spec: ClusterSpec, findings: Iterable[Finding]) -> list[Fault]:
    """The findings with their places, in the order of the file."""
    found = [Fault(spec.source.where(path), dotted(path), what, mend) for path, what, mend in findings]
    return sorted(found, key=_place)


def _place(fault: Fault) -> int:
    line = fault.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """How to mend a name that is not known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]}?"
    return f"There are: {', '.join(sorted(known)[:12])}" if known else "There is none"

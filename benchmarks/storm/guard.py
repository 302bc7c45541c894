"""The storm stays in the lab: it would be an attack anywhere else."""

from __future__ import annotations

from pathlib import Path

from pxeserver.lab.netns import PREFIX

NAMED = Path("/run/netns")


class NotTheLab(Exception):  # noqa: N818 - it is told to a person as it is
    """This process is in none of the lab's network namespaces."""


def in_the_lab(named: Path = NAMED, own: Path = Path("/proc/self/ns/net")) -> bool:
    """Whether this process is in a network namespace that the lab has made."""
    here = own.stat().st_ino
    return any(path.stat().st_ino == here for path in named.glob(f"{PREFIX}-*"))


def require_lab(*, allow: bool = False, named: Path = NAMED, own: Path = Path("/proc/self/ns/net")) -> None:
    """NotTheLab where a storm would hit a real network and nobody has allowed that in so many words."""
    if not allow and not in_the_lab(named, own):
        raise NotTheLab(
            "a boot storm is sent into the lab's namespaces only; on a network of your own, which serves"
            " nobody else, --this-network-is-mine-alone permits it"
        )

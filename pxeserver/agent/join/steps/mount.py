"""Step mount: the shared volume in its place, from whichever server answers."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want

LOOK_SECONDS = 8.0
"""A look at a file system whose servers are away may hang for ever."""


class Mount:
    """The step."""

    name = "mount"

    def check(self, want: Want) -> list[Drift]:
        """Whether the wanted volume is mounted and answers."""
        what = f"shared volume at {want['path']}"
        have = _mounted(want["path"])
        if have is None:
            return [Drift(what, "mounted", "not mounted")]
        if have not in _sources(want):
            return [Drift(what, _sources(want)[0], have)]
        return [] if _answers(want["path"]) else [Drift(what, "answering", "not answering")]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Mount it, after a former or dead mount was taken away."""
        have = _mounted(want["path"])
        if have is not None and (have not in _sources(want) or not _answers(want["path"])):
            tell(f"{want['path']} is {have} and does not answer, or is another one: unmounting it")
            need("umount", "--lazy", want["path"], timeout=30)
            have = None
        if have is None:
            tell(f"mounting {_sources(want)[0]}")
            Path(want["path"]).mkdir(parents=True, exist_ok=True)
            _mount(want)
        if not _answers(want["path"]):
            raise StepFailed(f"{want['path']} is mounted and does not answer")
        return {}

    def undo(self, want: Want, tell: Tell) -> None:
        """Unmount it."""
        while _mounted(want["path"]) is not None:
            tell(f"unmounting {want['path']}")
            need("umount", "--lazy", want["path"], timeout=30)
        with contextlib.suppress(OSError):
            Path(want["path"]).rmdir()


def _sources(want: Want) -> list[str]:
    """What may stand in the mount table: the volume by any of its servers."""
    if want["driver"] == "nfs":
        return [f"{want['servers'][0]}:{want['export']}"]
    return [f"{server}:{form}{want['volume']}" for server in want["servers"] for form in ("/", "")]


def _mount(want: Want) -> None:
    if want["driver"] == "nfs":
        need(
            "mount",
            "-t",
            "nfs",
            "-o",
            "vers=4.2,noatime,softreval",
            _sources(want)[0],
            want["path"],
            timeout=60,
        )
        return
    first, *rest = want["servers"]
    options = "log-level=WARNING,direct-io-mode=disable"
    if rest:
        options += f",backup-volfile-servers={':'.join(rest)}"
    need("mount", "-t", "glusterfs", "-o", options, f"{first}:/{want['volume']}", want["path"], timeout=90)


def _mounted(path: str) -> str | None:
    """The source of the topmost file system that is mounted at `path`; None where there is none."""
    found = None
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, where = line.split(" ")[:2]
        if where.replace("\\040", " ") == path:
            found = source
    return found


def _answers(path: str) -> bool:
    """Whether the file system answers in time; asked by another process, which may hang in our place."""
    try:
        return run("stat", "--file-system", "--format=%T", path, timeout=LOOK_SECONDS).ok
    except StepFailed:
        return False

"""The contenders of a run: started when a row needs them, and ended with the group of rows that did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import peers
from benchmarks.appliance import Appliance
from benchmarks.peers import Peer, Unpacked
from benchmarks.stage import Stage

_SETTLE = 0.5
"""Seconds for a peer to open its ports; it says nothing when it has."""


@dataclass(slots=True)
class Contender:
    """One side of a comparison. `path` gives the name by which it serves a file, over TFTP and HTTP."""

    name: str
    ours: bool
    stage: Stage
    pid: int
    settings: str
    processes: str
    appliance: Appliance | None = None
    prefix: str = ""
    """What comes before a file's name."""

    def path(self, file: str) -> str:
        """The name by which it serves a file."""
        return f"{self.prefix}{file}"


@dataclass(slots=True)
class Cast:
    """Starts contenders in `folder`; a context manager that ends them. `files` is what all of them serve."""

    folder: Path
    files: Path
    unpacked: Unpacked
    wire: bool = False
    unknown: str = "menu"
    members: dict[str, Contender] = field(default_factory=dict)
    _ours: list[Appliance] = field(default_factory=list)
    _peers: list[Peer] = field(default_factory=list)

    def appliance(self, event_loop: str = "asyncio") -> Contender:
        """The appliance, started with its defaults; it serves the files as the image "bench"."""
        folder = self.folder / f"pxeserver-{event_loop}-{len(self._ours)}"
        made = Appliance(
            folder, self.files / "snponly.efi", wire=self.wire, event_loop=event_loop, unknown=self.unknown
        )
        self._ours.append(made)
        made.start()
        names = sorted(path for path in self.files.iterdir() if path.suffix != ".ipxe")
        made.add_image(
            "bench", self.files / "snponly.efi", None, [n for n in names if n.name != "snponly.efi"]
        )
        ours = event_loop == "asyncio"
        return self._member(
            Contender(made.name, ours, made.stage, made.pid, made.settings, made.processes, made, "f/bench/")
        )

    def peer(self, name: str) -> Contender:
        """One of the programs we are compared with."""
        folder = self.folder / name
        match name:
            case "nginx":
                made = peers.nginx(self.unpacked, folder, self.files, wire=self.wire)
            case "dnsmasq":
                made = peers.dnsmasq(folder, self.files, wire=self.wire)
            case "tftpd-hpa":
                made = peers.tftpd_hpa(self.unpacked, folder, self.files, wire=self.wire)
            case _:
                made = peers.atftpd(self.unpacked, folder, self.files, wire=self.wire)
        self._peers.append(made)
        time.sleep(_SETTLE)
        return self._member(
            Contender(made.name, False, made.stage, made.process.pid, made.settings, made.processes)
        )

    def _member(self, contender: Contender) -> Contender:
        self.members[contender.name] = contender
        return contender

    def close(self) -> None:
        """End all of them."""
        for ours in self._ours:
            ours.close()
        for peer in self._peers:
            peer.close()
        self._ours.clear()
        self._peers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""GlusterFS's own command line, asked in XML; one question at a time, since the pool takes one at a time."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import StepFailed

INFO = Path("/var/lib/glusterd/glusterd.info")
PEERS = Path("/var/lib/glusterd/peers")
SERVICE = "glusterd.service"
SECONDS = 60
TRIES, PAUSE = 15, 2.0
_BUSY = ("Another transaction is in progress", "Locking failed", "Please try again after sometime")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Peer:
    """One other member of the pool. `state` is the text that glusterd gives it, e.g. "Peer in Cluster"."""

    uuid: str
    address: str
    connected: bool
    state: str

    @property
    def ready(self) -> bool:
        """Whether it takes part in what the pool decides."""
        return self.connected and self.state == "Peer in Cluster"


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume; bricks as host:path, in their order."""

    id: str
    status: str
    bricks: tuple[str, ...]
    replicas: int
    arbiter: int
    options: dict[str, str]


def start(uuid: str) -> None:
    """Start glusterd as this member of the pool. StepFailed where it is another one already."""
    have = own_uuid()
    if uuid and have != uuid:
        if have and PEERS.is_dir() and any(PEERS.iterdir()):
            raise StepFailed(
                f"this node is already member {have} of another GlusterFS pool: take it out of that first, "
                "with `gluster peer detach` on one of its members",
                retry=False,
            )
        run("systemctl", "stop", SERVICE, timeout=60)
        rest = "".join(
            f"{line}\n" for line in (files.read(INFO) or "").splitlines() if not line.startswith("UUID=")
        )
        files.put(INFO, f"UUID={uuid}\n" + (rest or "operating-version=100000\n"), 0o600)
    need("systemctl", "start", SERVICE, timeout=180)
    until(lambda: run("gluster", "--mode=script", "pool", "list", timeout=20).ok, 60, "glusterd is silent")


def remember(members: Iterable[str], tell: Callable[[str], None]) -> None:
    """Come back into a pool that knows this node while the node has forgotten the pool: it lost its disk.

    The pool rejects a member that does not know it; so the other members are written down as they were, and
    the volumes come when glusterd starts anew. A node that no pool knows is left as it is.
    """
    if peers():
        return
    for member in members:
        others = _pool_of(member)
        if own_uuid() in others:
            others.pop(own_uuid())
            tell(f"the pool at {member} knows this node: coming back as one of {len(others) + 1}")
            run("systemctl", "stop", SERVICE, timeout=60)
            for uuid, address in others.items():
                files.put(PEERS / uuid, f"uuid={uuid}\nstate=3\nhostname1={address}\n", 0o600)
            need("systemctl", "start", SERVICE, timeout=180)
            until(lambda: any(peer.ready for peer in peers().values()), 60, f"{member} does not take us back")
            return


def _pool_of(member: str) -> dict[str, str]:
    """The members of the pool that this member is of, with their addresses; empty where it does not tell.

    Whoever has that address answers: what is neither a UUID nor a host is no member, and no file's name.
    """
    words = ("gluster", f"--remote-host={member}", "--mode=script", "pool", "list")
    found = {}
    for line in run(*words, timeout=20).out.splitlines()[1:]:
        uuid, address, *_ = [*line.split(), ""]
        if _UUID.fullmatch(uuid) and _HOST.fullmatch(address):
            found[uuid] = member if address == "localhost" else address
    return found


def running() -> bool:
    """Whether glusterd runs."""
    return run("systemctl", "is-active", "--quiet", SERVICE, timeout=10).ok


def own_uuid() -> str:
    """The name by which the pool knows this node; "" before glusterd ran."""
    for line in (files.read(INFO) or "").splitlines():
        if line.startswith("UUID="):
            return line.removeprefix("UUID=").strip()
    return ""


def command(*words: str, timeout: float = SECONDS) -> str:
    """Carry out a command; tried again while another node holds the pool's lock. StepFailed."""
    for attempt in range(TRIES):
        done = run("gluster", "--mode=script", *words, timeout=timeout)
        if done.ok:
            return done.out
        if not any(text in done.err + done.out for text in _BUSY) or attempt == TRIES - 1:
            raise StepFailed(f"gluster {' '.join(words[:3])}: {done.said}")
        time.sleep(PAUSE)
    raise AssertionError


def ask(*words: str) -> ET.Element:
    """The answer to a question. StepFailed, also where the answer says so itself."""
    text = command(*words, "--xml")
    try:
        root = ET.fromstring(text)  # noqa: S314 - what our own glusterd says
    except ET.ParseError as wrong:
        raise StepFailed(f"gluster {' '.join(words[:2])} said what nobody understands: {wrong}") from wrong
    if root.findtext("opRet", "0") != "0":
        raise StepFailed(f"gluster {' '.join(words[:3])}: {root.findtext('opErrstr', 'it failed')}")
    return root


def peers() -> dict[str, Peer]:
    """The other members by their UUID."""
    found = [
        Peer(
            row.findtext("uuid", ""),
            row.findtext("hostname", ""),
            row.findtext("connected") == "1",
            row.findtext("stateStr", ""),
        )
        for row in ask("peer", "status").iter("peer")
    ]
    return {peer.uuid: peer for peer in found}


def volume(name: str) -> Volume | None:
    """A volume; None where there is none of this name."""
    for row in ask("volume", "info").iter("volume"):
        if row.findtext("name") != name:
            continue
        options = {o.findtext("name", ""): o.findtext("value", "") for o in row.iter("option")}
        bricks = tuple(brick.findtext("name", "") for brick in row.iter("brick"))
        return Volume(
            row.findtext("id", ""),
            row.findtext("statusStr", ""),
            bricks,
            int(row.findtext("replicaCount", "1")),
            int(row.findtext("arbiterCount", "0")),
            options,
        )
    return None


def online(name: str) -> dict[str, bool]:
    """Whether each brick of a started volume (host:path) serves."""
    found = {}
    for node in ask("volume", "status", name).iter("node"):
        host, path = node.findtext("hostname", ""), node.findtext("path", "")
        if path.startswith("/"):
            found[f"{host}:{path}"] = node.findtext("status") == "1"
    return found


def until(true: Callable[[], T], seconds: float, what: str) -> T:
    """Wait for the first true answer; StepFailed saying `what` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise StepFailed(f"{what} after {seconds:.0f} s")
        time.sleep(0.5)

"""What the steps of the Swarm share: which Swarm this node is in, how it leaves, and what to do about a
Swarm that cannot decide.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.command import run
from pxeserver.agent.join.step import StepFailed, Tell
from pxeserver.agent.join.steps.engine import Engine, EngineRefused

CERTIFICATE = Path("/var/lib/docker/swarm/certificates/swarm-node.crt")
KEPT = Path("/var/lib/pxeserver-agent/swarm.json")
"""Which Swarm the agent brought this node into."""
PORT = 2377
ACTIVE, INACTIVE, PENDING, ERROR = "active", "inactive", "pending", "error"
LEAVE_SECONDS = 60.0
_POLL = 0.3
_ORGANISATION = b"\x06\x03\x55\x04\x0a"
"""OID 2.5.4.10 in DER: in a node's certificate it names the Swarm; its authority has none."""


@dataclass(frozen=True, slots=True)
class Place:
    """This node's place in a Swarm, by its own engine."""

    state: str
    """inactive, pending, active, error or locked."""
    node_id: str
    address: str
    manager: bool
    error: str
    managers: tuple[str, ...]
    """Addresses of the managers it knows."""
    swarm_id: str
    """"" where it cannot be told."""

    @property
    def active(self) -> bool:
        """Whether it is in a Swarm and working."""
        return self.state == ACTIVE


def place(engine: Engine) -> Place:
    """Where this node stands. StepFailed where the engine is silent."""
    info = engine.info()["Swarm"]
    return Place(
        state=info.get("LocalNodeState") or INACTIVE,
        node_id=info.get("NodeID") or "",
        address=info.get("NodeAddr") or "",
        manager=bool(info.get("ControlAvailable")),
        error=info.get("Error") or "",
        managers=tuple(sorted(m["Addr"] for m in info.get("RemoteManagers") or ())),
        swarm_id=(info.get("Cluster") or {}).get("ID") or _certified(),
    )


def _certified() -> str:
    """The Swarm's id in this node's certificate: the only place where a worker finds it."""
    text = files.read(CERTIFICATE) or ""
    with contextlib.suppress(ValueError):
        import ssl  # noqa: PLC0415 - a slow import that only workers need

        return organisation(ssl.PEM_cert_to_DER_cert(text[: text.index("-----END") + 26]))
    return ""


def organisation(der: bytes) -> str:
    """The organisation that a certificate names; "" where it names none."""
    at = der.find(_ORGANISATION)
    if at < 0 or len(der) < at + 7:
        return ""
    length = der[at + 6]
    return der[at + 7 : at + 7 + length].decode("ascii", "replace")


def keep(swarm_id: str) -> None:
    """Note that the agent brought this node into a Swarm."""
    files.put(KEPT, json.dumps({"swarm_id": swarm_id}) + "\n", 0o600)


def kept() -> str:
    """The Swarm that the agent brought this node into; "" for none."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(files.read(KEPT) or "{}")["swarm_id"])
    return ""


def leave(engine: Engine, tell: Tell) -> None:
    """Leave the Swarm that this node is in, if any, with its tasks and its share of the managers' log."""
    if place(engine).state == INACTIVE:
        files.remove(KEPT)
        return
    tell("leaving the Swarm")
    try:
        engine.post("/swarm/leave", query={"force": True}, timeout=LEAVE_SECONDS)
    except EngineRefused as why:
        if "not part of a swarm" not in why.reason:
            raise
    wait_for(engine, INACTIVE, LEAVE_SECONDS)
    files.remove(KEPT)


def wait_for(engine: Engine, state: str, seconds: float) -> Place:
    """Wait until this node is in `state`; where it stands then, be it there or not."""
    end = time.monotonic() + seconds
    while (found := place(engine)).state != state and time.monotonic() < end:
        time.sleep(_POLL)
    return found


def explained(reason: str, address: str = "") -> str:
    """The engine's words, and what they come from where that is known."""
    text = reason.strip()
    if "address already in use" in text:
        return f"{text}\nanother program has the port: {_holder(text) or f'see `ss -ltnup` on {address}'}"
    if "invalid join token" in text or "join token" in text:
        return f"{text}\nthe token is no longer valid: it was changed since; the next try brings the new one"
    if "certificate has expired or is not yet valid" in text or "not yet valid" in text:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return f"{text}\nthe clocks differ: this node's is at {now} UTC"
    if "connection refused" in text or "Unavailable" in text or "no route to host" in text:
        return (
            f"{text}\nno manager answers on port {PORT}: is one switched on, and does the network reach it?"
        )
    return text


def _holder(text: str) -> str:
    """Who listens on the TCP port that these words name."""
    port = text.partition(": bind:")[0].rsplit(":", 1)[-1].strip()
    return holder(int(port), "tcp") if port.isdigit() else ""


def holder(port: int, protocol: str) -> str:
    """Who has a port of this node, as `ss` says; "" where nobody has."""
    found = run("ss", "-Hlnp", f"--{protocol}", f"sport = :{port}", timeout=10).out.strip().splitlines()
    return " ".join(found[0].split()) if found else ""


def quorum_lost(where: Place, reason: str) -> StepFailed:
    """What a person does about managers that cannot decide."""
    others = ", ".join(where.managers) or "unknown"
    return StepFailed(
        f"the Swarm has lost its quorum ({reason.strip().rstrip('.')}). Managers: {others}. More than half "
        "of them have to be on: switch them on again. Only if they are gone for good, on one manager that is "
        f"left: `docker swarm init --force-new-cluster --advertise-addr {where.address or 'ITS-ADDRESS'}`, "
        "then remove the lost ones from the cluster. Containers that run go on running meanwhile"
    )


def spec_of(thing: dict[str, Any]) -> dict[str, Any]:
    """A copy of an object's Spec, to be changed and sent back, with mappings where the engine leaves them
    out.
    """
    spec = dict(thing["Spec"])
    spec["Labels"] = dict(spec.get("Labels") or {})
    return spec

"""Step docker: the engine's settings, and the engine running with them.

The engine is started by this step and not at boot: its containers need the network and the shared volume,
which other steps bring about first.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps.engine import Engine

SETTINGS = Path("/etc/docker/daemon.json")
PENDING = Path("/var/lib/pxeserver-agent/docker-restart")
"""There while the engine has yet to be started with settings that were written."""
SERVICES = ("docker.socket", "docker.service")
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
START_SECONDS = 240.0
ANSWER_SECONDS = 30.0
TOLD_LINES = 8
LINKS = ("docker0", "docker_gwbridge")
OFFLINE = "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE"
"""With this in its environment the engine asks no registry, before each start of a task, for an image that
it has: without a way out it would wait for names that nobody resolves.
"""


class DockerEngine:
    """The step."""

    name = "docker"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """Whether the settings are the wanted ones and the engine runs with them."""
        drift = _settings_drift(want)
        if not _running():
            drift.append(Drift("Docker engine", "running", _state()))
        elif not self._engine.answers():
            drift.append(Drift("Docker engine", "answers", "silent"))
        if PENDING.exists():
            drift.append(Drift("Docker engine", "started with the written settings", "not yet"))
        return drift

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Write the settings and start the engine; it is restarted only when they changed."""
        text = json.dumps(want["daemon"], indent=2, sort_keys=True) + "\n"
        if _settings_drift(want):
            files.put(PENDING, "")
            files.put(SETTINGS, text)
            tell(f"wrote {SETTINGS}")
        _forward()
        if "enabled" in run("systemctl", "is-enabled", *SERVICES, timeout=20).out.split():
            # Not without need: it has systemd read all of its units again, three times.
            run("systemctl", "disable", "--quiet", *SERVICES, timeout=60)
        if PENDING.exists() or not _running():
            tell("starting the Docker engine")
            _restart()
        _wait_for(self._engine)
        files.remove(PENDING)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The engine's version and id."""
        info = self._engine.info()
        return {"version": info["ServerVersion"], "engine_id": info["ID"]}

    def undo(self, want: Want, tell: Tell) -> None:
        """Stop the engine and take its settings, links and rules away. What lies in its folder stays: volumes
        there may hold somebody's only copy.
        """
        if run("systemctl", "cat", "docker.service", timeout=20).ok:
            self._remove_bridge()
            tell("stopping the Docker engine")
            need("systemctl", "stop", *SERVICES, "containerd.service", timeout=120)
        run("systemctl", "unset-environment", OFFLINE, timeout=20)
        files.remove(SETTINGS)
        files.remove(PENDING)
        for link in LINKS:
            run("ip", "link", "delete", "dev", link, timeout=20)
        _remove_rules()

    def _remove_bridge(self) -> None:
        """The bridge that a Swarm leaves behind."""
        if not self._engine.answers():
            return
        bridge = self._engine.find("/networks/docker_gwbridge")
        if bridge is not None and not bridge.get("Containers"):
            self._engine.delete("/networks/docker_gwbridge")


def _settings_drift(want: Want) -> list[Drift]:
    text = files.read(SETTINGS)
    if text is None:
        return [Drift(str(SETTINGS), "there", "missing")]
    try:
        have = json.loads(text)
    except ValueError as error:
        return [Drift(str(SETTINGS), "JSON", str(error))]
    if not isinstance(have, dict):
        return [Drift(str(SETTINGS), "settings", "something else")]
    wanted = want["daemon"]
    names = sorted(key for key in {*wanted, *have} if wanted.get(key) != have.get(key))
    return [
        Drift(f"{key} in {SETTINGS}", json.dumps(wanted.get(key)), json.dumps(have.get(key))) for key in names
    ]


def _running() -> bool:
    return run("systemctl", "is-active", "--quiet", "docker.service", timeout=10).ok


def _state() -> str:
    return run("systemctl", "is-active", "docker.service", timeout=10).out.strip() or "unknown"


def _forward() -> None:
    """An engine that turns forwarding on itself also lets iptables drop whatever is not Docker's, and the
    virtual routers with it.
    """
    try:
        if FORWARD.read_text().strip() != "1":
            FORWARD.write_text("1\n")
    except OSError as error:
        raise StepFailed(f"forwarding cannot be turned on: {error.strerror}") from error


def _restart() -> None:
    # After a few failed starts systemd refuses more, also when their cause is gone.
    run("systemctl", "reset-failed", "docker.service", "docker.socket", timeout=20)
    begin = time.time()
    need("systemctl", "start", "containerd.service", timeout=60)
    need("systemctl", "set-environment", f"{OFFLINE}=1", timeout=20)
    if not run("systemctl", "restart", "docker.service", timeout=START_SECONDS).ok:
        raise StepFailed(f"the Docker engine does not start:\n{_journal(begin)}\n{SETTINGS} may be at fault")


def _journal(since: float) -> str:
    """What the engine itself said last, without systemd's lines around it."""
    words = ("-u", "docker.service", f"--since=@{since - 1:.0f}", "-o", "cat", "--no-pager", "_COMM=dockerd")
    said = run("journalctl", *words, timeout=20).out.strip()
    if not said:
        said = run("journalctl", *words[:-1], timeout=20).out.strip()
    return "\n".join(said.splitlines()[-TOLD_LINES:]) or "its journal is empty"


def _wait_for(engine: Engine) -> None:
    end = time.monotonic() + ANSWER_SECONDS
    while not engine.answers():
        if time.monotonic() > end:
            raise StepFailed(f"the Docker engine runs and does not answer:\n{_journal(time.time() - 300)}")
        time.sleep(0.2)


def _remove_rules() -> None:
    """The engine leaves its packet filter rules behind when it stops."""
    for tool in ("iptables", "ip6tables"):
        saved = run(f"{tool}-save", timeout=20)
        if not saved.ok or "docker" not in saved.out.lower():
            continue
        kept = [line for line in saved.out.splitlines() if "docker" not in line.lower()]
        kept = [line for line in kept if not (line.startswith("-A") and _from_pool(line))]
        run(f"{tool}-restore", input="\n".join(kept) + "\n", timeout=20)


def _from_pool(line: str) -> bool:
    """Whether a rule is about a bridge that the engine named by itself."""
    return " br-" in line

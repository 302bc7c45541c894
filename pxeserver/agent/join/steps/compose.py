"""Step compose: Compose projects of this node alone.

The command line is asked to bring a project about; whether it still stands is looked up in the engine, by
what was there when it had come up.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want
from pxeserver.agent.join.steps.engine import Engine

HOME = Path("/var/lib/pxeserver-agent/compose")
FILE, VARIABLES, RECORD = "compose.yml", "variables", "up.json"
PROJECT, SERVICE, HASH = (f"com.docker.compose.{name}" for name in ("project", "service", "config-hash"))
UP_SECONDS = 500.0
STEADY_SECONDS = 60.0
"""Until every container of a project has to run, or to have ended well."""
ENDED_SECONDS = 5.0
"""Until one that has ended with an error is not started again by the engine."""
SETTLED_SECONDS = 2.0
"""A program that cannot go on runs for a moment before it ends."""
_POLL = 0.5
TOLD_LINES = "8"
Containers = dict[str, dict[str, str]]


class Compose:
    """The step."""

    name = "compose"

    def __init__(self, engine: Engine | None = None, home: Path = HOME) -> None:
        self._engine, self._home = engine or Engine(), home

    def check(self, want: Want) -> list[Drift]:
        """Whether each project stands as it was brought up."""
        drift = []
        for project in want["projects"]:
            drift += self._drift(project)
        names = {project["name"] for project in want["projects"]}
        return drift + [
            Drift(f"project {name}", "none", "there") for name in self._known() if name not in names
        ]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring up what has drifted, take down what is no longer wanted."""
        names = {project["name"] for project in want["projects"]}
        for name in self._known():
            if name not in names:
                self._down(name, tell)
        for project in want["projects"]:
            if self._drift(project):
                self._up(project, tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """How many containers each project has."""
        return {"projects": {p["name"]: len(self._containers(p["name"])) for p in want["projects"]}}

    def undo(self, want: Want, tell: Tell) -> None:
        """Take the projects down. Named volumes stay: they may hold somebody's only copy."""
        for name in self._known():
            self._down(name, tell)
        shutil.rmtree(self._home, ignore_errors=True)

    def _drift(self, project: Mapping[str, Any]) -> list[Drift]:
        name = project["name"]
        record = self._record(name)
        if record.get("digest") != digest(project):
            return [Drift(f"project {name}", "as in its file", "another file" if record else "missing")]
        have, wanted = self._containers(name), record["containers"]
        drift = []
        for container in sorted({*wanted, *have}):
            good, now = wanted.get(container), have.get(container)
            if good is None or now is None:
                drift.append(
                    Drift(
                        f"container {container}",
                        "none" if good is None else "there",
                        "missing" if now is None else "there",
                    )
                )
            elif good["hash"] != now["hash"]:
                drift.append(Drift(f"container {container}", "as in its file", "changed by hand"))
            elif not _well(now["state"]):
                drift.append(Drift(f"container {container}", good["state"], now["state"]))
        return drift

    def _up(self, project: Mapping[str, Any], tell: Tell) -> None:
        name = project["name"]
        folder = self._home / name
        files.put(folder / FILE, project["file"])
        variables = "".join(f"{key}={value}\n" for key, value in sorted(project.get("env", {}).items()))
        files.put(folder / VARIABLES, variables, 0o600)
        # Without a record it counts as not brought up: an agent killed from here on begins again.
        files.remove(folder / RECORD)
        tell(f"bringing up project {name}")
        done = run(*self._words(name), "up", "-d", "--remove-orphans", "--no-build", timeout=UP_SECONDS)
        if not done.ok:
            raise StepFailed(f"project {name}: {done.said}")
        self._steady(name)
        record = {"digest": digest(project), "containers": self._containers(name)}
        files.put(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")

    def _steady(self, name: str) -> None:
        """Wait until all its containers run; one that has ended with an error is told with its last words."""
        begin = well_since = time.monotonic()
        while True:
            bad = {c: one["state"] for c, one in self._containers(name).items() if not _well(one["state"])}
            now = time.monotonic()
            if bad:
                well_since = now
            elif now - well_since >= SETTLED_SECONDS:
                return
            else:
                time.sleep(_POLL)
                continue
            passed = now - begin
            ended = any(state.startswith("exited") for state in bad.values())
            if passed > (ENDED_SECONDS if ended else STEADY_SECONDS):
                first = min(bad, key=lambda name: (not bad[name].startswith("exited"), name))
                said = run("docker", "logs", "--tail", TOLD_LINES, first, timeout=20)
                words = (said.out + said.err).strip()
                raise StepFailed(
                    f"project {name}: container {first} is {bad[first]}; its last words:\n{words}"
                )
            time.sleep(_POLL)

    def _down(self, name: str, tell: Tell) -> None:
        folder = self._home / name
        if self._engine.answers() and (folder / FILE).exists():
            tell(f"taking down project {name}")
            need(*self._words(name), "down", "--remove-orphans", timeout=UP_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)

    def _words(self, name: str) -> tuple[str, ...]:
        folder = self._home / name
        files_of = ("-p", name, "--env-file", str(folder / VARIABLES), "-f", str(folder / FILE))
        return (*program(), *files_of)

    def _containers(self, name: str) -> Containers:
        found = self._engine.listed("/containers/json", {"all": True}, label=f"{PROJECT}={name}")
        return {
            one["Names"][0].lstrip("/"): {
                "service": one["Labels"].get(SERVICE, ""),
                "hash": one["Labels"].get(HASH, ""),
                "state": _state(one),
            }
            for one in found
        }

    def _known(self) -> list[str]:
        return sorted(path.name for path in self._home.glob("*") if path.is_dir())

    def _record(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(files.read(self._home / name / RECORD) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def digest(project: Mapping[str, Any]) -> str:
    """Names a project's file and variables."""
    text = json.dumps([project["file"], project.get("env", {})], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def program() -> tuple[str, ...]:
    """The engine's Compose plugin, or the program of its own that Debian 12 has. StepFailed without both."""
    if run("docker", "compose", "version", timeout=20).ok:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise StepFailed("Compose is not on this node: install docker-compose", retry=False)


def _state(container: Mapping[str, Any]) -> str:
    """running, or how it ended: "exited (1)"."""
    state = str(container["State"])
    if state != "exited":
        return state
    status = str(container.get("Status", ""))
    return f"exited ({status.partition('(')[2].partition(')')[0]})"


def _well(state: str) -> bool:
    """A task that is done is as good as a service that runs."""
    return state in ("running", "exited (0)")

"""Step stacks, on the leading manager: the Swarm's stacks, from files that are kept in all their versions on
the shared volume, where any manager finds them.

What the Swarm made of a stack's file is noted beside it: what differs from that later was changed by hand.
"""

from __future__ import annotations

import contextlib
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
from pxeserver.agent.join.steps import swarm
from pxeserver.agent.join.steps.engine import Engine, QuorumLost
from pxeserver.agent.join.steps.swarm_bindings import Bindings, start_again

RECORD = "deployed.json"
STACK = "com.docker.stack.namespace"
DEPLOY_SECONDS = 120.0
STEADY_SECONDS = 300.0
"""Until every service of a stack has to run as often as it should."""
GONE_SECONDS = 60.0
_POLL = 2.0
Service = dict[str, Any]


class Stacks:
    """The step."""

    name = "stacks"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()

    def check(self, want: Want) -> list[Drift]:
        """Whether each stack is deployed as in its file, and runs."""
        self._manager()
        home = Path(want["path"])
        drift = []
        for stack in want["stacks"]:
            drift += self._changed(home, stack) or self._missing(stack["name"])
        names = {stack["name"] for stack in want["stacks"]}
        return drift + [Drift(f"stack {name}", "none", "there") for name in _known(home) if name not in names]

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Deploy what has changed, wait until it runs, take away what is no longer wanted."""
        self._manager()
        home = Path(want["path"])
        names = {stack["name"] for stack in want["stacks"]}
        for name in _known(home):
            if name not in names:
                self._remove(home, name, tell)
        for stack in want["stacks"]:
            if self._changed(home, stack):
                self._deploy(home, stack, tell)
        for stack in want["stacks"]:
            self._settle(stack, float(want.get("steady", STEADY_SECONDS)), tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The version of each stack, and of each service how many tasks run."""
        return {
            "stacks": {
                stack["name"]: {
                    "version": stack["version"],
                    "services": {s["Spec"]["Name"]: _running(s) for s in self._services(stack["name"])},
                }
                for stack in want["stacks"]
            }
        }

    def undo(self, want: Want, tell: Tell) -> None:
        """Take the stacks away, and their files. Data that services keep on the shared volume stays."""
        home = Path(want["path"])
        if self._engine.answers() and swarm.place(self._engine).state != swarm.INACTIVE:
            self._manager()
            for name in sorted({*_known(home), *(stack["name"] for stack in want["stacks"])}):
                self._remove(home, name, tell)
        for name in _known(home):
            shutil.rmtree(home / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            home.rmdir()

    # ------------------------------------------------------------------------------------------ comparing

    def _changed(self, home: Path, stack: Mapping[str, Any]) -> list[Drift]:
        name = stack["name"]
        record = _record(home, name)
        if record.get("version") != _version(stack):
            return [Drift(f"stack {name}", _version(stack), record.get("version", "missing"))]
        if files.read(home / name / file_name(stack)) != stack["file"]:
            return [Drift(f"file of stack {name}", stack["version"], "missing or changed")]
        have = {service["Spec"]["Name"]: service for service in self._services(name)}
        drift = []
        for service, noted in sorted(record["services"].items()):
            if service not in have:
                drift.append(Drift(f"service {service}", "there", "missing"))
            elif (now := _note(have[service])) != noted:
                drift.append(Drift(f"service {service}", *_difference(noted, now)))
        spare = sorted(have.keys() - record["services"].keys())
        return drift + [Drift(f"service {service}", "none", "there") for service in spare]

    def _missing(self, name: str) -> list[Drift]:
        """Services of which less runs than should, or is found by others."""
        drift, bindings = [], Bindings(self._engine)
        for service in self._services(name):
            what = f"tasks of {service['Spec']['Name']}"
            if not _stands(service):
                drift.append(Drift(what, f"{_desired(service)} running", str(_running(service))))
            elif late := bindings.lost(service)[0]:
                drift.append(Drift(what, "known to their networks", f"{len(late)} unknown"))
        return drift

    def _services(self, name: str) -> list[Service]:
        try:
            return self._engine.listed("/services", {"status": True}, label=f"{STACK}={name}")
        except QuorumLost as why:
            raise swarm.quorum_lost(swarm.place(self._engine), why.reason) from why

    def _manager(self) -> None:
        where = swarm.place(self._engine)
        if not where.manager:
            raise StepFailed(f"this node is no manager of a Swarm ({where.error or where.state})")

    # --------------------------------------------------------------------------------------- bringing about

    def _deploy(self, home: Path, stack: Mapping[str, Any], tell: Tell) -> None:
        name = stack["name"]
        path = home / name / file_name(stack)
        files.put(path, stack["file"])
        files.remove(home / name / RECORD)
        tell(f"deploying stack {name}, version {stack['version']}")
        # No registry is asked what an image's name stands for now: nodes were given the images they need.
        words = ("docker", "stack", "deploy", "--prune", "--resolve-image", "never", "-c", str(path), name)
        done = run(*words, timeout=DEPLOY_SECONDS, env=stack.get("env") or {})
        if not done.ok:
            raise StepFailed(f"stack {name}: {done.said}")
        services = self._services(name)
        _make_folders(services, home.parent)
        noted = {service["Spec"]["Name"]: _note(service) for service in services}
        record = {"version": _version(stack), "file": path.name, "services": noted}
        files.put(home / name / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")

    def _settle(self, stack: Mapping[str, Any], seconds: float, tell: Tell) -> None:
        """Wait until its services run."""
        end, told = time.monotonic() + seconds, ""
        while True:
            services = self._services(stack["name"])
            for service in services:
                status = service.get("UpdateStatus") or {}
                if status.get("State") in ("paused", "rollback_paused"):
                    why = f"{status.get('Message', 'paused')}\n{self._faults([service])}"
                    raise StepFailed(f"service {service['Spec']['Name']}: {why}")
            waiting = [service for service in services if not _stands(service)]
            if not waiting and not (waiting := self._unknown(services, tell)):
                return
            now = ", ".join(f"{s['Spec']['Name']} {_running(s)}/{_desired(s)}" for s in waiting)
            if now != told:
                tell(f"waiting for {now}")
                told = now
            if time.monotonic() > end:
                raise StepFailed(f"stack {stack['name']} does not come up: {now}\n{self._faults(waiting)}")
            time.sleep(_POLL)

    def _unknown(self, services: list[Service], tell: Tell) -> list[Service]:
        """Services with tasks that run unknown to their networks; after too long they are started again."""
        bindings, found = Bindings(self._engine), []
        for service in services:
            late, early = bindings.lost(service)
            if late:
                tell(f"{service['Spec']['Name']} runs and its networks do not know it: starting it again")
                start_again(self._engine, service)
            if late or early:
                found.append(service)
        return found

    def _faults(self, services: list[Service]) -> str:
        """What the newest tasks of these services say."""
        nodes = {n["ID"]: n["Description"].get("Hostname", "") for n in self._engine.listed("/nodes")}
        lines = []
        for service in services:
            tasks = self._engine.listed("/tasks", service=service["ID"])
            tasks.sort(key=lambda task: task["UpdatedAt"], reverse=True)
            said = {
                f"{service['Spec']['Name']} on {nodes.get(task.get('NodeID', ''), 'no node')}: {why}"
                for task in tasks[:4]
                if (why := task["Status"].get("Err") or task["Status"].get("Message"))
            }
            lines += sorted(said)
        return "\n".join(lines)

    def _remove(self, home: Path, name: str, tell: Tell) -> None:
        tell(f"removing stack {name}")
        need("docker", "stack", "rm", name, timeout=DEPLOY_SECONDS)
        end = time.monotonic() + GONE_SECONDS
        while left := self._left(name):
            if time.monotonic() > end:
                raise StepFailed(f"stack {name}: still there are {', '.join(left)}")
            time.sleep(_POLL)
        shutil.rmtree(home / name, ignore_errors=True)

    def _left(self, name: str) -> list[str]:
        """What a stack that is being removed still has: tasks need a moment to end."""
        found = [service["Spec"]["Name"] for service in self._services(name)]
        found += [network["Name"] for network in self._engine.listed("/networks", label=f"{STACK}={name}")]
        containers = self._engine.listed("/containers/json", label=f"{STACK}={name}")
        return found + [container["Names"][0].lstrip("/") for container in containers]


def file_name(stack: Mapping[str, Any]) -> str:
    """The file of a stack's version, in the stack's folder."""
    return f"{stack['version']}.yml"


def _version(stack: Mapping[str, Any]) -> str:
    """The version with its variables: other values are another deployment of the same file."""
    if not stack.get("env"):
        return str(stack["version"])
    text = json.dumps(stack["env"], sort_keys=True)
    return f"{stack['version']}+{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _known(home: Path) -> list[str]:
    return sorted({path.parent.name for path in home.glob("*/*.yml")})


def _record(home: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(files.read(home / name / RECORD) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _note(service: Service) -> dict[str, Any]:
    """What is compared of a service: two things that a person knows it by, and all of its specification."""
    spec = json.loads(json.dumps(service["Spec"]))
    spec["TaskTemplate"].pop("ForceUpdate", None)
    mode = spec.get("Mode", {})
    return {
        "image": spec["TaskTemplate"].get("ContainerSpec", {}).get("Image", ""),
        "replicas": mode.get("Replicated", {}).get("Replicas"),
        "digest": hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest(),
    }


def _difference(noted: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    for key in ("replicas", "image"):
        if noted.get(key) != now[key]:
            return f"{key} {noted.get(key)}", f"{key} {now[key]}"
    return "as in its file", "changed by hand"


def _running(service: Service) -> int:
    return int((service.get("ServiceStatus") or {}).get("RunningTasks") or 0)


def _desired(service: Service) -> int:
    return int((service.get("ServiceStatus") or {}).get("DesiredTasks") or 0)


def _stands(service: Service) -> bool:
    updating = (service.get("UpdateStatus") or {}).get("State") in ("updating", "rollback_started")
    idle = (service["Spec"].get("Mode", {}).get("Replicated") or {}).get("Replicas") == 0
    return not updating and (idle or _running(service) >= max(1, _desired(service)))


def _make_folders(services: list[Service], shared: Path) -> None:
    """A folder on the shared volume that a service binds has to be there before its task starts."""
    for service in services:
        for mount in service["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Mounts") or ():
            source = Path(mount.get("Source", ""))
            if mount.get("Type") == "bind" and source.is_relative_to(shared) and ".." not in source.parts:
                source.mkdir(parents=True, exist_ok=True)

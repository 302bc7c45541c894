"""Installing the agent on a machine that runs already: what a join command does once it has the file.

Debian bookworm and trixie with systemd; elsewhere it refuses, and says why, before anything is changed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import sys
import time
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import run
from pxeserver.agent.join.facts import os_release
from pxeserver.agent.join.secret import Secret
from pxeserver.agent.join.state import FOLDER, State
from pxeserver.agent.join.step import StepFailed

RELEASES = ("bookworm", "trixie")
PROGRAM = Path("/usr/local/lib/pxeserver-agent/agent.pyz")
CONFIG = Path("/etc/pxeserver-agent.json")
UNIT = Path("/etc/systemd/system/pxeserver-agent.service")
_SYSTEMD = Path("/run/systemd/system")
_PATIENCE = 45.0
"""Seconds that the claim is waited for before the line returns; the service goes on by itself."""
_APT = {"DEBIAN_FRONTEND": "noninteractive"}


class JoinRefused(Exception):  # noqa: N818 - it is told to a person as it is
    """This machine cannot join as it is; the text says why."""


def join_here(server: str, ca: str, token: Secret) -> int:
    """Install, start, and wait a little for the claim; the exit status. JoinRefused."""
    check_machine()
    if not token.reveal():
        raise JoinRefused("no token came on standard input: paste the whole line")
    source = Path(sys.argv[0])
    if not source.is_file():
        raise JoinRefused("this is to be run from the agent's own file")
    try:
        have_nacl()
        install(source, server, ca, token)
    except StepFailed as failed:
        raise JoinRefused(failed.reason) from failed
    return follow()


def check_machine() -> None:
    """JoinRefused where this is no machine for it."""
    if os.geteuid() != 0:
        raise JoinRefused("it needs root: paste the line into a root shell (sudo -i)")
    release = os_release()
    name = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or name not in RELEASES:
        what = release.get("PRETTY_NAME") or "a system without a name"
        raise JoinRefused(f"it runs {what}; supported are Debian {' and '.join(RELEASES)}")
    if not _SYSTEMD.is_dir():
        raise JoinRefused("systemd does not run it, and the agent is a systemd service")


def have_nacl() -> None:
    """Install python3-nacl where it is missing. StepFailed."""
    if importlib.util.find_spec("nacl") is not None:
        return
    print("installing python3-nacl", flush=True)
    words = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends")
    if not run(*words, "python3-nacl", timeout=600, env=_APT).ok:
        run("apt-get", "-q", "update", timeout=300, env=_APT)
        done = run(*words, "python3-nacl", timeout=600, env=_APT)
        if not done.ok:
            raise StepFailed(f"python3-nacl cannot be installed: {done.said}")


def install(source: Path, server: str, ca: str, token: Secret) -> None:
    """Put program, configuration and unit in their places, and start the service. StepFailed."""
    run("systemctl", "stop", UNIT.name, timeout=60)
    before = _config()
    state = State(FOLDER)
    state.forget_membership()
    if before.get("ca") not in (None, ca):
        # What another server wanted is none of this one's business.
        state.forget_wants()
    state.tell("starting")
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    beside = PROGRAM.with_name(".agent.pyz.new")
    beside.write_bytes(source.read_bytes())
    beside.chmod(0o755)
    beside.replace(PROGRAM)
    body = {"server": server, "ca": ca, "token": token.reveal()}
    files.put(CONFIG, json.dumps(body) + "\n", 0o600)
    files.put(UNIT, unit())
    for words in (("daemon-reload",), ("enable", UNIT.name), ("restart", UNIT.name)):
        done = run("systemctl", *words, timeout=60)
        if not done.ok:
            raise StepFailed(f"systemctl {words[0]}: {done.said}")


def unit() -> str:
    """The service's unit for a machine that got the agent as one file."""
    text = (pkgutil.get_data("pxeserver.agent", "pxeserver-agent.service") or b"").decode()
    lines = [
        f"ExecStart=/usr/bin/python3 {PROGRAM} run" if line.startswith("ExecStart=") else line
        for line in text.splitlines()
    ]
    return files.marked("\n".join(lines) + "\n")


def follow() -> int:
    """Tell what the service says until the machine is a node; the exit status."""
    status, told = FOLDER / "status", ""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        joined = State(FOLDER).membership()
        if joined is not None:
            print(f"this machine is node {joined.node}; the agent is {UNIT.name}", flush=True)
            return 0
        said = (files.read(status) or "").strip()
        if said and said not in (told, "starting"):
            told = said
            print(said, flush=True)
        time.sleep(0.3)
    print(f"not joined yet; it goes on by itself: journalctl -u {UNIT.name}", flush=True)
    return 0


def _config() -> dict[str, str]:
    try:
        body = json.loads(files.read(CONFIG) or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

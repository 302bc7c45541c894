"""Installing the agent on a machine that runs already: what a join command does once it has the file; and in
a system that an installer has just put on a disk, which runs for the first time later.

Debian bookworm and trixie with systemd; elsewhere it refuses, and says why, before anything is changed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import run
from pxeserver.agent.join.facts import gather, os_release
from pxeserver.agent.join.secret import Secret
from pxeserver.agent.join.state import FOLDER, Membership, State
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
    if not (token.reveal() and server and ca):
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


def join_installed(words: Mapping[str, str], patience: float) -> int:
    """Install in the system of this root, which does not run yet, and claim with the installer's own boot:
    later it is over. `words` are those of the kernel command line; the exit status. JoinRefused.
    """
    check_machine(runs=False)
    if not (words.get("agent") and words.get("ca") and words.get("url")):
        raise JoinRefused(
            "the kernel command line names no pxeserver.agent: is this an install of pxeserver?"
        )
    try:
        have_nacl()
        joined = _claimed(words, State(FOLDER), patience)
        _put(Path(sys.argv[0]), {"server": words["agent"], "ca": words["ca"]})
        _systemctl("enable")
    except StepFailed as failed:
        raise JoinRefused(failed.reason) from failed
    print(f"this machine is node {joined.node}; its agent starts with the installed system", flush=True)
    return 0


def _claimed(words: Mapping[str, str], state: State, patience: float) -> Membership:
    """The claim of this boot, waited for. JoinRefused."""
    # Not before: PyNaCl may have been installed just now.
    from pxeserver.agent.join.claim import Keys, NotYet, claim  # noqa: PLC0415
    from pxeserver.agent.join.client import Away, Client, Refused  # noqa: PLC0415
    from pxeserver.agent.join.clock import Clock  # noqa: PLC0415

    attempt = words["url"].rstrip("/").rsplit("/a/", 1)[-1]
    try:
        client = Client(words["agent"], words["ca"], Clock(), lambda text: print(text, flush=True))
    except ValueError as wrong:
        raise JoinRefused(f"the kernel command line is not understood: {wrong}") from wrong
    keys, end, told = Keys(state), time.monotonic() + patience, ""
    while True:
        pause, why = 2.0, ""
        try:
            if not client.met:
                client.meet(may_step=True)
            joined = claim(client, keys, gather(), attempt=attempt)
            state.keep_membership(joined)
            return joined
        except NotYet as not_yet:
            pause, why = min(not_yet.seconds, 5.0), str(not_yet)
        except Away as away:
            why = str(away)
        except Refused as refused:
            raise JoinRefused(str(refused)) from refused
        if why != told:
            told = why
            print(f"waiting: {why}", flush=True)
        if time.monotonic() + pause > end:
            raise JoinRefused(f"{why}; once it runs, paste the line of `pxeserver node join-command` there")
        time.sleep(pause)


def check_machine(*, runs: bool = True) -> None:
    """JoinRefused where this is no machine for it. `runs`: it is the system that runs."""
    if os.geteuid() != 0:
        raise JoinRefused("it needs root: paste the line into a root shell (sudo -i)")
    release = os_release()
    name = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or name not in RELEASES:
        what = release.get("PRETTY_NAME") or "a system without a name"
        raise JoinRefused(f"it runs {what}; supported are Debian {' and '.join(RELEASES)}")
    if runs and not _SYSTEMD.is_dir():
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
    _put(source, {"server": server, "ca": ca, "token": token.reveal()})
    for verb in ("daemon-reload", "enable", "restart"):
        _systemctl(verb)


def _put(source: Path, body: Mapping[str, str]) -> None:
    """Program, configuration and unit into their places."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    beside = PROGRAM.with_name(".agent.pyz.new")
    beside.write_bytes(source.read_bytes())
    beside.chmod(0o755)
    beside.replace(PROGRAM)
    files.put(CONFIG, json.dumps(dict(body)) + "\n", 0o600)
    files.put(UNIT, unit())


def _systemctl(verb: str) -> None:
    done = run("systemctl", verb, *(() if verb == "daemon-reload" else (UNIT.name,)), timeout=60)
    if not done.ok:
        raise StepFailed(f"systemctl {verb}: {done.said}")


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

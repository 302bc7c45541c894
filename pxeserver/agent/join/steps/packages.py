"""Step packages: the programs a cluster needs, from Debian's own archive, on machines that came without them.

What is installed stays at its version (apt_preferences(5)) until the plan says otherwise. Services do not
start while their packages are installed: each has a step that configures it first. On the node image, which
has everything, nothing is left to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import abandoned, need, run
from pxeserver.agent.join.facts import os_release
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want

RELEASES = ("bookworm", "trixie")
PINS = Path("etc/apt/preferences.d/pxeserver-agent.pref")
POLICY = Path("usr/sbin/policy-rc.d")
ADDED = Path("var/lib/pxeserver-agent/packages.json")
"""Which packages came with this step: `undo` takes those away and no others."""
BEFORE = Path("var/lib/pxeserver-agent/packages-before.json")
"""What was installed before the installation that is under way, or was cut off."""
LOCK = Path("var/lib/dpkg/lock-frontend")
LOCK_SECONDS = 900.0
"""An installation that goes on after its agent was killed is waited for so long."""
_ENV = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none"}
_APT = (
    "apt-get",
    "-q",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=180",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
)
_GSYNCD = ("usr/lib/x86_64-linux-gnu/glusterfs/gsyncd", "usr/libexec/glusterfs/gsyncd")
_ASIDE = ".pxeserver-off"


class Packages:
    """`root` is where the system's files are, / but in tests."""

    name = "packages"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def check(self, want: Want) -> list[Drift]:
        """Compare versions, pins, and what must not run. StepFailed on systems that are not supported."""
        self._check_release(want)
        wanted = _wanted(want)
        have = installed(tuple(wanted))
        found = [
            Drift(f"package {name}", version or "installed", have.get(name) or "missing")
            for name, version in wanted.items()
            if name not in have or (version and have[name] != version)
        ]
        if not found and (files.read(self._root / PINS) or "") != _pins(wanted, have):
            found.append(Drift("pinned versions", "those that are installed", "others"))
        if (files.read(self._root / POLICY) or "").startswith(f"#!/bin/sh\n{files.MARK}"):
            found.append(Drift("services", "may start", "held back since an installation was cut off"))
        found += [Drift("gsyncd", "off", "on") for path in _GSYNCD if (self._root / path).exists()]
        return found

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Install what is missing, pin it, keep geo-replication from running. StepFailed."""
        self._check_release(want)
        self._wait_for_others(tell)
        self._remember()
        wanted = _wanted(want)
        have = installed(tuple(wanted))
        missing = {n: v for n, v in wanted.items() if n not in have or (v and have[n] != v)}
        with self._services_held_back():
            # What an installation that was cut off has left; quick where there is nothing.
            need("dpkg", "--configure", "-a", "--force-confdef", "--force-confold", timeout=600, env=_ENV)
            if missing:
                self._install(missing, tell)
        self._switch_off_gsyncd(tell)
        files.put(self._root / PINS, _pins(wanted, installed(tuple(wanted))))
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """The versions that are installed."""
        return {"versions": dict(sorted(installed(tuple(_wanted(want))).items()))}

    def undo(self, want: Want, tell: Tell) -> None:
        """Purge what this step has brought, with its dependencies; what was there before stays."""
        files.remove(self._root / PINS)
        for path in _GSYNCD:
            if (self._root / (path + _ASIDE)).exists():
                run("dpkg-divert", "--local", "--rename", "--remove", f"/{path}")
        added = sorted(_removable(self._added()))
        if added:
            tell(f"removing {len(added)} packages")
            need(*_APT, "remove", *added, timeout=900, env=_ENV)
            purged = run(*_APT, "purge", *added, timeout=900, env=_ENV)
            if not purged.ok:
                # Their programs are gone; a folder that is a mount point, for one, cannot be removed.
                tell(f"some of their files stay: {purged.said}")
                run("dpkg", "--configure", "-a", timeout=600, env=_ENV)
        files.remove(self._root / ADDED)
        files.remove(self._root / BEFORE)

    # ------------------------------------------------------------------------------------------ parts

    def _check_release(self, want: Want) -> None:
        release = os_release(self._root / "etc/os-release")
        name = release.get("VERSION_CODENAME", "")
        if release.get("ID") != "debian" or name not in RELEASES:
            what = release.get("PRETTY_NAME") or "a system without a name"
            raise StepFailed(
                f"this node runs {what}; packages are installed on Debian {' and '.join(RELEASES)} alone",
                retry=False,
            )
        if want.get("release") and want["release"] != name:
            raise StepFailed(f"this node runs {name}, and the cluster wants {want['release']}", retry=False)

    def _install(self, missing: Mapping[str, str | None], tell: Tell) -> None:
        files.put(self._root / BEFORE, json.dumps(sorted(installed())), 0o600)
        words = [f"{name}={version}" if version else name for name, version in sorted(missing.items())]
        tell(f"installing {' '.join(words)}")
        files.remove(self._root / PINS)  # they would forbid a version that is wanted now
        install = (*_APT, "install", "--no-install-recommends", "--allow-downgrades", *words)
        try:
            done = run(*install, timeout=1800, env=_ENV)
            if not done.ok:
                tell("reading the package lists again")
                need(*_APT, "update", timeout=600, env=_ENV)
                done = run(*install, timeout=1800, env=_ENV)
        finally:
            self._remember()
        if not done.ok:
            raise StepFailed(f"apt-get install: {done.said}")

    def _wait_for_others(self, tell: Tell) -> None:
        """Until no package is being installed by anybody: by our own apt-get of before the agent was killed,
        or by the system's nightly upgrade. StepFailed.
        """
        path = self._root / LOCK
        end = time.monotonic() + LOCK_SECONDS
        if not path.exists():
            return
        with path.open("r+b") as lock:
            told = False
            while time.monotonic() < end and not abandoned():
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    if not told:
                        tell("waiting for another installation on this node to end")
                    told = True
                    time.sleep(1.0)
                    continue
                return
        raise StepFailed("another installation on this node does not end: `ps -ef | grep -e apt -e dpkg`")

    def _remember(self) -> None:
        """Note what the newest installation has brought, also one that was cut off."""
        try:
            before = set(json.loads(files.read(self._root / BEFORE) or "null") or ())
        except ValueError:
            before = set()
        if not before:
            return
        new = set(installed()) - before
        if new - self._added():
            files.put(self._root / ADDED, json.dumps(sorted(self._added() | new)), 0o600)
        files.remove(self._root / BEFORE)

    def _added(self) -> set[str]:
        try:
            return {str(name) for name in json.loads(files.read(self._root / ADDED) or "[]")}
        except ValueError:
            return set()

    @contextlib.contextmanager
    def _services_held_back(self) -> Iterator[None]:
        """No service starts while its package is installed (invoke-rc.d(8)); another's policy stays."""
        path = self._root / POLICY
        text = f"#!/bin/sh\n{files.MARK}\nexit 101\n"
        there = files.read(path)
        if there is None or there == text:
            files.put(path, text, 0o755)
        try:
            yield
        finally:
            if files.read(path) == text:
                files.remove(path)

    def _switch_off_gsyncd(self, tell: Tell) -> None:
        """glusterd runs it a dozen times at each start, for geo-replication, which nobody uses here: on a
        slow machine that takes minutes. Diverted, not deleted: an upgrade must not bring it back.
        """
        for path in _GSYNCD:
            if (self._root / path).exists():
                tell(f"switching off /{path}")
                need(
                    "dpkg-divert", "--local", "--rename", "--divert", f"/{path}{_ASIDE}", "--add", f"/{path}"
                )


def _wanted(want: Want) -> dict[str, str | None]:
    return {str(name): version for name, version in sorted(dict(want["packages"]).items())}


def _pins(wanted: Mapping[str, str | None], have: Mapping[str, str]) -> str:
    parts = [
        f"Package: {name}\nPin: version {have[name]}\nPin-Priority: 1001\n" for name in wanted if name in have
    ]
    return files.marked("\n" + "\n".join(parts))


def installed(names: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of the packages that are installed, of these names or all. StepFailed."""
    done = run(
        "dpkg-query", "-W", "-f", "${Package}\\t${db:Status-Status}\\t${Version}\\n", *names, timeout=60
    )
    rows = (line.split("\t") for line in done.out.splitlines())
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def _removable(added: set[str]) -> set[str]:
    """Those of these that are installed and that no essential package needs: what came as a dependency may
    be a part of the system by now (e2fsprogs in trixie).
    """
    part = "${Essential}${Important}${Protected}"
    form = f"${{Package}}\\t${{db:Status-Status}}\\t{part}\\t${{Pre-Depends}}, ${{Depends}}\\n"
    rows = (line.split("\t") for line in run("dpkg-query", "-W", "-f", form, timeout=60).out.splitlines())
    needs: dict[str, set[str]] = {}
    stays: list[str] = []
    for row in rows:
        if len(row) == 4 and row[0] in added and row[1] == "installed":
            words = row[3].replace("|", ",").split(",")
            needs[row[0]] = {word.split("(")[0].split(":")[0].strip() for word in words}
            stays += [row[0]] if "yes" in row[2] else []
    kept: set[str] = set()
    while stays:
        name = stays.pop()
        if name not in kept:
            kept.add(name)
            stays += needs[name] & needs.keys()
    return needs.keys() - kept

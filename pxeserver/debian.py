"""Debian packages without touching the machine's own package state: a private apt with its own lists, cache
and sources.

The signatures of the archive are checked against Debian's own keys. The mirror is the one the machine
already uses, and its apt settings (proxies, hooks, credentials) apply, because only directories and sources
are set here.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
SECURITY_MIRROR = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_PATIENCE = 900.0
"""Seconds after which an apt command is given up: a kernel package is 100 MB, a slow line 200 kB/s."""
_SUITE = re.compile(r"[a-z][a-z0-9-]*\Z")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+\Z")


class PackagesUnavailable(Exception):  # noqa: N818 - what happened, in the words the caller shows
    """apt could not do it; the text holds its own last words."""


@dataclass(frozen=True, slots=True)
class Deb:
    """A downloaded package."""

    package: str
    version: str
    source: str
    architecture: str
    path: Path


def host_mirrors(etc: Path = Path("/etc/apt")) -> tuple[str, str]:
    """The archive and the security mirror in the machine's apt sources, else deb.debian.org."""
    archive, security = MIRROR, SECURITY_MIRROR
    for uri in reversed(list(_source_uris(etc))):  # the first one named wins
        bare = uri.rstrip("/")
        if bare.endswith("debian-security"):
            security = bare
        elif bare.endswith("/debian"):
            archive = bare
    return archive, security


def _source_uris(etc: Path) -> Iterator[str]:
    one_line = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)")
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for path in lists:
        if path.is_file():
            matches = (one_line.match(line) for line in path.read_text(errors="replace").splitlines())
            yield from (match[1] for match in matches if match)
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("URIs:"):
                yield from line.removeprefix("URIs:").split()


class Archive:
    """One Debian suite for one architecture, with an apt state of its own below `root`."""

    def __init__(self, root: Path, suite: str, architecture: str = "amd64", mirror: str = "") -> None:
        if not _SUITE.match(suite) or not _SUITE.match(architecture):
            raise ValueError(f"not a suite and architecture: {suite!r} {architecture!r}")
        self.suite, self.architecture = suite, architecture
        self.root = root / f"{suite}-{architecture}"
        archive, security = host_mirrors()
        self.mirror = mirror.rstrip("/") or archive
        # A mirror of one's own often has the security archive beside it, and often has not.
        self.security = (f"{self.mirror}-security", security) if mirror else (security,)

    def update(self, *, components: Sequence[str] = ("main",)) -> None:
        """Fetch and check the package lists; PackagesUnavailable when that fails."""
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        if not KEYRING.exists():
            raise PackagesUnavailable(f"{KEYRING} is missing: install debian-archive-keyring")
        for security in self.security[:-1]:
            with suppress(PackagesUnavailable):
                self._update(security, components)
                return
        self._update(self.security[-1], components)

    def _update(self, security: str, components: Sequence[str]) -> None:
        words = f"[signed-by={KEYRING}]"
        parts = " ".join(components)
        (self.root / "sources.list").write_text(
            f"deb {words} {self.mirror} {self.suite} {parts}\n"
            f"deb {words} {self.mirror} {self.suite}-updates {parts}\n"
            f"deb {words} {security} {self.suite}-security {parts}\n"
        )
        self._apt("apt-get", "-qq", "--error-on=any", "update")

    def candidate(self, package: str) -> str:
        """The version that would be downloaded; PackagesUnavailable where the suite has no such package."""
        for line in self._apt("apt-cache", "policy", _named(package)).splitlines():
            key, _, value = line.strip().partition(": ")
            if key == "Candidate" and value != "(none)":
                return value
        raise PackagesUnavailable(f"{package} is not in {self.suite}/{self.architecture}")

    def depends(self, package: str, pattern: str) -> str:
        """The dependency of a package that matches `pattern`: a meta package's way to its newest real one."""
        for line in self._apt("apt-cache", "depends", _named(package)).splitlines():
            kind, _, name = line.strip().partition(": ")
            if kind == "Depends" and re.fullmatch(pattern, name):
                return name
        raise PackagesUnavailable(f"{package} depends on nothing like {pattern}")

    def download(self, packages: Sequence[str], folder: Path) -> list[Deb]:
        """Download packages (without dependencies) into `folder`; those already there are kept."""
        folder.mkdir(parents=True, exist_ok=True)
        names = [_named(package) for package in packages]
        self._apt("apt-get", "-qq", "download", *names, cwd=folder)
        found = []
        for name in names:
            version = self.candidate(name).replace(":", "%3a")
            paths = list(folder.glob(f"{name}_{version}_*.deb"))
            if len(paths) != 1:
                raise PackagesUnavailable(f"apt downloaded {name} {version} to {len(paths)} files")
            found.append(describe(paths[0]))
        return found

    def _apt(self, *words: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::State": self.root / "state",
            "Dir::State::status": self.root / "status",
            "Dir::Cache": self.root / "cache",
            "Dir::Etc::sourcelist": self.root / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Architecture": self.architecture,
            "Acquire::Languages": "none",
            # A mirror that cannot be reached is given up soon: there is a fallback for each use.
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
            "Acquire::Retries": "1",
            # Our folders are private to us, so apt's own user could not write there.
            "APT::Sandbox::User": "",
        }
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return _run([words[0], *given, "-o", f"APT::Architectures::={self.architecture}", *words[1:]], cwd)


def host_download(package: str, folder: Path) -> Deb:
    """Download a package by the machine's own apt lists and sources, as `apt-get download` does."""
    folder.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", _named(package)], folder)
    newest = max(folder.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise PackagesUnavailable(f"apt downloaded no {package}")
    return describe(newest)


def describe(path: Path) -> Deb:
    """What a package file says of itself."""
    fields = ("Package", "Version", "Source", "Architecture")
    package, version, source, architecture = (
        _run(["dpkg-deb", "-f", str(path), name]).strip() for name in fields
    )
    return Deb(package, version, source.split(" ")[0] or package, architecture, path)


def unpack(deb: Deb, folder: Path) -> Path:
    """Unpack a package's files into `folder` (nothing of it is run) and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _run(["dpkg-deb", "-x", str(deb.path), str(folder)])
    return folder


def _named(package: str) -> str:
    if not _PACKAGE.match(package):
        raise ValueError(f"not a package name: {package!r}")
    return package


def _run(argv: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=APT_PATIENCE
        )
    except FileNotFoundError as missing:
        raise PackagesUnavailable(f"{argv[0]} is not installed") from missing
    except subprocess.TimeoutExpired as late:
        raise PackagesUnavailable(f"{argv[0]} took longer than {APT_PATIENCE:.0f} s") from late
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise PackagesUnavailable("; ".join(words[-3:]) or f"{argv[0]} failed with {done.returncode}")
    return done.stdout

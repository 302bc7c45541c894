"""Installing the server as a systemd service, and removing it: what `make install` and `make uninstall` run.

    python3 -m pxeserver.install install [--wheel dist/pxeserver-0.1.0-py3-none-any.whl] [--state-from FOLDER]
    python3 -m pxeserver.install uninstall [--purge]

Each release gets a virtual environment of its own under /opt/pxeserver/releases, and /opt/pxeserver/venv is
a link to the one in use: an upgrade switches it in one step, and the release before stays for going back.
A release that cannot be made changes nothing. Before an upgrade the database is copied to the state
directory's backups/. With a `root` other than "/" files are only put in place.

The services go on with what is in /var/lib/pxeserver, also what a server that was started by hand left there;
what one kept in another folder is copied there with --state-from.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pxeserver import resources
from pxeserver.installstate import (
    InstallFailed,
    back_up_database,
    check_taking,
    given_to_services,
    in_use,
    take_state,
)

OPT = Path("opt/pxeserver")
UNITS = Path("etc/systemd/system")
SYSUSERS = Path("etc/sysusers.d/pxeserver.conf")
TMPFILES = Path("etc/tmpfiles.d/pxeserver.conf")
CONFIG = Path("etc/pxeserver/config.toml")
COMMAND = Path("usr/local/bin/pxeserver")
STATE = Path("var/lib/pxeserver")
RUNTIME = Path("run/pxeserver")
_BOOTED = Path("/run/systemd/system")
"""There where systemd runs the machine, see sd_booted(3)."""
SOCKETS = tuple(
    f"pxeserver-{name}.socket"
    for name in ("dhcp", "proxydhcp", "tftp", "http", "channel", "api", "agents", "admin", "pages", "builder")
)
SERVICES = ("pxeserver-worker.service", "pxeserver-control.service")
AGENT = "pxeserver-agent.service"
"""Of the nodes, not of the server."""
BUILDER = "pxeserver-builder.service"
"""Started by its socket alone, and ends by itself."""

_DEFAULT_CONFIG = """\
# pxeserver: every setting has a default, and `pxeserver config schema` lists them all.
# `pxeserver config check` after a change, then `systemctl restart pxeserver-worker pxeserver-control`.

[server]
# interface = ["eth1"]        # default: the one with the default route

[policy]
# unknown = "menu"            # menu, discover, observe, ignore or profile:NAME
"""


def install(
    root: Path | str = "/",
    *,
    wheel: Path | None = None,
    wheels: Path | None = None,
    state_from: Path | None = None,
) -> list[str]:
    """Install or upgrade; returns what was done, a line a step. InstallFailed where a step fails.

    `wheel` is the built package; without it a root other than "/" gets the files only. `wheels` is a
    folder with the wheels of everything else, for hosts without a package index. `state_from` is the state
    directory of a server that was started by hand, to go on with.
    """
    check_host(root)
    top = Path(root)
    done: list[str] = []
    if state_from is not None:
        check_taking(state_from, top / STATE)
    release = make_release(top, wheel, wheels) if wheel is not None else None
    try:
        if state_from is not None:
            take_state(state_from, top / STATE)
            done.append(f"state copied from {state_from}")
        backup = back_up_database(top / STATE)
    except InstallFailed:
        if release is not None:
            shutil.rmtree(release)
        raise
    if backup:
        done.append(f"database copied to {backup}")
    changed = put_files(top)
    done += [f"installed {path}" for path in changed]
    before = switch_to(top, release) if release is not None else None
    if release is not None:
        done.append(f"release at {release}")
    if top == Path("/"):
        done += _switch_on([path.name for path in changed if path.suffix == ".socket"], before, backup)
    if release is not None:
        done += [f"removed {old}" for old in _remove_releases(top, {release, before})]
    return done


def check_host(root: Path | str) -> None:
    """InstallFailed, with what to do instead, where this is not the place to install below `root`."""
    if Path(root) != Path("/"):
        return
    if os.geteuid() != 0:
        raise InstallFailed("installing needs root: run it with sudo")
    if not _BOOTED.is_dir():
        raise InstallFailed(
            "systemd does not run this machine: `make run` starts the server without installing it, and "
            "`python3 -m pxeserver.install install --root FOLDER` only puts the files into a folder"
        )
    if in_use(Path("/") / STATE):
        try:
            _run("systemctl", "is-active", "--quiet", SERVICES[0])
        except InstallFailed:
            raise InstallFailed("a server that was started by hand runs here: end it with Ctrl-C") from None


def put_files(top: Path) -> list[Path]:
    """Copy units, sysusers, tmpfiles and, where there is none, a configuration; returns the paths of those
    that are new or different now.
    """
    source = resources.folder("systemd")
    pairs = [
        (unit, top / UNITS / unit.name)
        for unit in sorted(source.iterdir())
        if unit.suffix != ".conf" and unit.name != AGENT
    ]
    pairs += [
        (source / "pxeserver.sysusers.conf", top / SYSUSERS),
        (source / "pxeserver.tmpfiles.conf", top / TMPFILES),
    ]
    written = []
    for origin, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != origin.read_bytes():
            shutil.copyfile(origin, target)
            written.append(target)
        target.chmod(0o644)
    config = top / CONFIG
    if not config.exists():
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(_DEFAULT_CONFIG)
        config.chmod(0o644)
        written.append(config)
    return written


def build_wheel(folder: Path) -> Path:
    """Build this source tree's wheel into `folder`; InstallFailed where this is no source tree."""
    source = Path(__file__).resolve().parent.parent
    if not (source / "pyproject.toml").exists():
        raise InstallFailed("this is no source tree: name the built package with --wheel")
    _run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)
    )
    return next(folder.glob("pxeserver-*.whl"))


def make_release(top: Path, wheel: Path, wheels: Path | None = None) -> Path:
    """Make a virtual environment with this wheel, which nobody uses yet; returns its path.

    InstallFailed where that fails; then nothing is left of it.
    """
    version = wheel.name.split("-")[1]
    release = top / OPT / "releases" / f"{version}-{time.strftime('%Y%m%d-%H%M%S')}"
    release.parent.mkdir(parents=True, exist_ok=True)
    index = ["--no-index", "--find-links", str(wheels)] if wheels else []
    try:
        _run(sys.executable, "-m", "venv", str(release))
        _run(str(release / "bin/python"), "-m", "pip", "install", "--quiet", *index, str(wheel))
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise
    return release


def switch_to(top: Path, release: Path) -> Path | None:
    """Put this release in use; returns the one that was in use before."""
    link = top / OPT / "venv"
    before = release.with_name(link.readlink().name) if link.is_symlink() else None
    _point(link, release, top)
    (top / COMMAND).parent.mkdir(parents=True, exist_ok=True)
    _point(top / COMMAND, link / "bin/pxeserver", top)
    return before if before is not None and before.exists() else None


def _remove_releases(top: Path, keep: set[Path | None]) -> list[Path]:
    """Remove all releases but those in `keep`; returns what was removed."""
    old = [path for path in sorted((top / OPT / "releases").iterdir()) if path not in keep]
    for path in old:
        shutil.rmtree(path)
    return old


def _point(link: Path, target: Path, top: Path) -> None:
    """Let `link` lead to `target`, in one step: whoever starts meanwhile gets the old or the new one."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(Path("/") / target.relative_to(top))
    new.replace(link)


def _switch_on(sockets: Sequence[str], before: Path | None, backup: Path | None) -> list[str]:
    """Start or restart the services; `sockets` are new or changed units, `before` and `backup` the way back.

    Sockets that did not change stay open, so that requests wait in them for the new release.
    """
    steps: list[tuple[str, ...]] = [
        ("systemd-sysusers", SYSUSERS.name),
        *given_to_services(Path("/") / STATE),
        ("systemd-tmpfiles", "--create", TMPFILES.name),
        ("systemctl", "daemon-reload"),
        ("systemctl", "enable", "pxeserver.target", *SERVICES, *SOCKETS),
        ("systemctl", "stop", BUILDER),
        # One transaction: a socket is not opened anew while its service runs, and between two transactions
        # a request in another socket would start the service.
        ("systemctl", "restart", *sockets, *SERVICES),
        ("systemctl", "start", *SOCKETS, "pxeserver.target"),
    ]
    try:
        for words in steps:
            _run(*words)
    except InstallFailed as error:
        way_back = f"; the release before is at {before}" if before else ""
        copied = f", its database at {backup}" if before and backup else ""
        raise InstallFailed(f"{error}{way_back}{copied}") from error
    return ["services started: `systemctl status 'pxeserver*'`, `pxeserver status`"]


def uninstall(root: Path | str = "/", *, purge: bool = False) -> list[str]:
    """Stop and remove everything `install` put in place; returns what was done, a line a step.

    Configuration, state directory and user stay, unless `purge`: then configuration and state go too.
    """
    top = Path(root)
    live = top == Path("/")
    if live and os.geteuid() != 0:
        raise InstallFailed("removing needs root: run it with sudo")
    if live and _BOOTED.is_dir() and (top / UNITS / "pxeserver.target").exists():
        _run("systemctl", "disable", "--now", "pxeserver.target", *SERVICES, *SOCKETS)
        _run("systemctl", "stop", BUILDER)
    gone = [path for path in (top / UNITS).glob("pxeserver*") if path.is_file()]
    gone += [
        path for path in (top / SYSUSERS, top / TMPFILES, top / COMMAND) if path.exists() or path.is_symlink()
    ]
    for path in gone:
        path.unlink()
    folders = [top / OPT, top / RUNTIME, *((top / CONFIG.parent, top / STATE) if purge else ())]
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)
            gone.append(folder)
    if live and _BOOTED.is_dir():
        _run("systemctl", "daemon-reload")
    kept = [f"kept {path}" for path in (top / CONFIG.parent, top / STATE) if path.exists()]
    return [f"removed {path}" for path in gone] + kept or ["nothing is installed"]


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InstallFailed(f"{words[0]} is not on this host: a systemd service needs it") from error
    if done.returncode:
        raise InstallFailed(f"`{' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `make install`; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python3 -m pxeserver.install", description=(__doc__ or "").split("\n", 1)[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    adding = verbs.add_parser("install", help="install or upgrade")
    adding.add_argument("--wheel", type=Path, help="the built package; default: built from this source tree")
    adding.add_argument(
        "--wheels", type=Path, help="folder with the wheels it needs, instead of a package index"
    )
    adding.add_argument(
        "--state-from", type=Path, help="state directory of a server started by hand, to go on with"
    )
    removing = verbs.add_parser("uninstall", help="remove")
    removing.add_argument(
        "--purge", action="store_true", help="also configuration, database, journal and images"
    )
    for verb in (adding, removing):
        verb.add_argument(
            "--root", type=Path, default=Path("/"), help="put files below this folder, start nothing"
        )
    given = parser.parse_args(arguments)
    os.umask(0o022)  # a stricter one of root's would hide the release from the services' user
    try:
        if given.verb == "install":
            check_host(given.root)  # before minutes of building
            with tempfile.TemporaryDirectory(prefix="pxeserver-wheel-") as scratch:
                wheel = given.wheel or build_wheel(Path(scratch))
                done = install(given.root, wheel=wheel, wheels=given.wheels, state_from=given.state_from)
        else:
            done = uninstall(given.root, purge=given.purge)
    except InstallFailed as error:
        print(f"pxeserver: {error}", file=sys.stderr)
        return 1
    print("\n".join(done))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`pxeserver run`: look before starting, bind the ports, say in a few lines what will happen, then
supervise.

Whatever a person can mend is told in one or two lines and ends with an exit code: 2 for the
configuration, 1 otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pxeserver import __version__, forked, handover, logs, netif, privileges, sockets
from pxeserver.claim import InUse, claim
from pxeserver.config import ConfigErrors, Settings
from pxeserver.config.admin import AdminSettings
from pxeserver.notify import REPORT
from pxeserver.sockets import PortError, Want
from pxeserver.supervisor import EXIT_CONFIGURATION, Child, Supervisor

DEFAULT_USER = "pxeserver"
STATE_FOLDERS = ("journal", "images", "loaders", "import", "backups", "agents")
_START_SECONDS = 20.0
"""How long the start-up lines wait for a first word of both processes: a second, more on a busy machine."""
_SETTLED_SECONDS = 6.0
"""How long after it they wait for what both find out: other servers, and the loaders."""


class CannotStart(Exception):  # noqa: N818 - it is told to a person as it is
    """The server cannot be started as things are; the text says why and what to do."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(slots=True)
class Reports:
    """What the children have said so far."""

    worker: dict[str, Any] = field(default_factory=dict)
    control: dict[str, Any] = field(default_factory=dict)
    control_status: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, name: str, fields: Mapping[str, str]) -> None:
        """Take up one notification."""
        if REPORT in fields:
            setattr(self, name, json.loads(fields[REPORT]))
        if name == "control":
            self.control_status = fields.get("STATUS", self.control_status)
        self.news.set()

    def begun(self) -> bool:
        """Whether both processes have said something."""
        return "now" in self.worker and "loaders" in self.control

    def complete(self) -> bool:
        """Whether the first lines can say everything."""
        if not self.control.get("settled") or not self.worker.get("probed") or not self.worker.get("catalog"):
            return False
        # The loaders are in the database before they are in the worker's snapshot.
        return bool(self.control["loaders"]) or bool(self.worker["loaders"])


def main() -> int:
    """Run the server in the foreground until Ctrl-C, with the settings that were handed over; returns the
    exit code.
    """
    try:
        settings = handover.settings(os.environ)
        logs.start("supervisor", settings.server.log_level)
        return _run(settings)
    except ConfigErrors as error:
        return _told(error, EXIT_CONFIGURATION)
    except CannotStart as error:
        return _told(error, error.exit_code)
    except PortError as error:
        return _told(error, 1)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("PXESERVER_DEBUG", "") not in ("", "0"):
            raise
        print(f"pxeserver: {type(error).__name__}: {error}", file=sys.stderr)
        print("pxeserver: run it again with --debug and report what it shows", file=sys.stderr)
        return 1


def _told(error: Exception, exit_code: int) -> int:
    for line in str(error).splitlines():
        print(f"pxeserver: {line}", file=sys.stderr)
    return exit_code


def _run(settings: Settings) -> int:
    server = settings.server
    if server.workers > 1:
        raise CannotStart(
            "server.workers above 1 is not available yet: remove it, one worker serves every port", 2
        )
    choice, links = _choose(settings)
    owner = _owner(server.user)
    _prepare_folders(settings, owner)
    bound = sockets.bind_all(wanted(settings))
    _give_sockets(settings, owner)
    reports = Reports()
    serve_as = _warm_up()
    children = (
        Child(
            "worker",
            handover.command("pxeserver.app", "worker"),
            ("dhcp", "proxydhcp", "tftp", "http", "worker"),
            longest_pause=1.0,
            heard=reports.heard,
            entry=serve_as("worker"),
        ),
        Child(
            "control",
            handover.command("pxeserver.app", "control"),
            ("api", "agents", "admin", "pages"),
            longest_pause=5.0,
            heard=reports.heard,
            entry=serve_as("control"),
        ),
    )
    supervisor = Supervisor(children, bound, server.run_dir, owner)
    try:
        code = asyncio.run(supervisor.run(_introduce(settings, choice, links, reports)))
    finally:
        _clean_up(settings, bound)
    forked.leave(code)


def _warm_up() -> Callable[[str], Callable[[], int]]:
    """Load what the boot worker consists of, so that each child has it from its first moment and all of
    them share the memory; returns how to become the child of a name.
    """
    from pxeserver import app, app_worker  # noqa: PLC0415 - not before the ports are ours

    del app_worker
    forked.prepare()
    return lambda name: lambda: app.main([name])


def own_name() -> str:
    """What a person types for this program: its name where the shell finds it, else its path."""
    if shutil.which("pxeserver"):
        return "pxeserver"
    script = Path(sys.executable).with_name("pxeserver")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m pxeserver"


def wanted(settings: Settings) -> list[Want]:
    """Every socket of the server, in the order in which faults are told."""
    any_address = "0.0.0.0"
    return [
        Want("dhcp", "udp", any_address, settings.dhcp.port, share=True),
        Want("proxydhcp", "udp", any_address, settings.dhcp.proxy_port),
        Want("tftp", "udp", any_address, settings.tftp.port),
        Want("http", "tcp", any_address, settings.http.port),
        *([Want("agents", "tcp", any_address, settings.agents.port)] if settings.agents.enabled else []),
        *(_admin(settings.admin) if settings.admin.enabled else []),
        Want("worker", "unix", str(settings.server.run_dir / "worker.sock")),
        Want("api", "unix", str(api_socket(settings)), mode=0o660 if settings.api.group else 0o600),
    ]


def _admin(admin: AdminSettings) -> list[Want]:
    return [
        Want("admin", "tcp", admin.address, admin.port),
        Want("pages", "tcp", "127.0.0.1", admin.loopback_port),
    ]


def api_socket(settings: Settings) -> Path:
    """Path of the API's socket."""
    return settings.api.socket or settings.server.run_dir / "api.sock"


def _choose(settings: Settings) -> tuple[netif.Choice, tuple[netif.Link, ...]]:
    links = netif.read_links()
    try:
        return netif.choose(links, settings.server.interface), links
    except netif.NoInterface as error:
        if settings.server.interface:
            raise CannotStart(str(error), EXIT_CONFIGURATION) from error
        return netif.Choice((), f"{error}; waiting for a link"), links


def _owner(user: str) -> tuple[int, int] | None:
    try:
        entry = privileges.account(user)
    except LookupError:
        if user == DEFAULT_USER and _made_user(user):
            return _owner(user)
        create = f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}"
        raise CannotStart(f"there is no user {user}: create it with `{create}`") from None
    return (entry.pw_uid, entry.pw_gid) if entry else None


def _made_user(user: str) -> bool:
    """Create the system user; whether that worked."""
    words = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", user]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    if done.returncode == 0:
        print(f"pxeserver: created the system user {user}, which the server runs as")
    return done.returncode == 0


def _prepare_folders(settings: Settings, owner: tuple[int, int] | None) -> None:
    state, run_dir = settings.server.state_dir.absolute(), settings.server.run_dir.absolute()
    try:
        for path, mode in ((run_dir, 0o755), (state, 0o750)):
            if not path.is_dir():
                path.mkdir(parents=True, mode=mode)
                path.chmod(mode)
        claim(state)  # held until this process ends
        for name in STATE_FOLDERS:
            (state / name).mkdir(mode=0o750, exist_ok=True)
        if owner is not None and (state.stat().st_uid, state.stat().st_gid) != owner:
            _give_tree(state, owner)
        if owner is not None:
            for name in STATE_FOLDERS:
                os.chown(state / name, *owner, follow_symlinks=False)
    except InUse:
        step = "stop that one, or choose another --state-dir"
        raise CannotStart(f"another pxeserver keeps its data in {state}: {step}") from None
    except OSError as error:
        raise CannotStart(f"cannot prepare {error.filename}: {error.strerror}") from error


def _give_tree(top: Path, owner: tuple[int, int]) -> None:
    """Give a folder that was another user's (an earlier start as root) to the server's user, links left
    alone.
    """
    for _, folders, files, fd in os.fwalk(top):
        for name in (*folders, *files):
            os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
    os.chown(top, *owner)


def _give_sockets(settings: Settings, owner: tuple[int, int] | None) -> None:
    if owner is None:
        return
    os.chown(settings.server.run_dir / "worker.sock", *owner)
    group = owner[1]
    if settings.api.group:
        with contextlib.suppress(KeyError):
            group = grp.getgrnam(settings.api.group).gr_gid
    os.chown(api_socket(settings), owner[0], group)


def _clean_up(settings: Settings, bound: Mapping[str, socket.socket]) -> None:
    for sock in bound.values():
        sock.close()
    for path in (settings.server.run_dir / "worker.sock", api_socket(settings)):
        with contextlib.suppress(OSError):
            path.unlink()


async def _introduce(
    settings: Settings, choice: netif.Choice, links: tuple[netif.Link, ...], reports: Reports
) -> None:
    """Print the start-up lines once the children have said what they do, or after a while with what is
    known.
    """
    for heard, seconds in ((Reports.begun, _START_SECONDS), (Reports.complete, _SETTLED_SECONDS)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not heard(reports):
                    reports.news.clear()
                    await reports.news.wait()
    for line in introduction(settings, choice, links, reports):
        print(line)
    sys.stdout.flush()


def introduction(
    settings: Settings,
    choice: netif.Choice,
    links: tuple[netif.Link, ...],
    reports: Reports,
) -> list[str]:
    """The start-up lines."""
    report, control_status = reports.worker, reports.control_status
    site = netif.site(links, choice.names, settings.server.address)
    served = ", ".join(f"{i.name} {i.networks[0]}" for i in site.interfaces) or "no interface"
    others = [
        link.name for link in links if link.up and link.interface.networks and link.name not in choice.names
    ]
    more = f"; others: {', '.join(others)} (--interface)" if others and not settings.server.interface else ""
    ports = (
        f"DHCP {settings.dhcp.port} and {settings.dhcp.proxy_port}, TFTP {settings.tftp.port},"
        f" HTTP {settings.http.port}"
    )
    if settings.agents.enabled:
        ports += f", agents of nodes {settings.agents.port}"
    dry = " (dry run: nothing is sent)" if settings.policy.dry_run else ""
    rows = [
        ("serving", f"{served}: {choice.why}{more}"),
        ("ports", ports + dry),
        ("DHCP", report.get("dhcp", "ProxyDHCP beside the network's own DHCP server")),
        (
            "unknown",
            f"{report.get('unknown', settings.policy.unknown)}: {report.get('why', 'not known yet')}",
        ),
        ("now", report.get("now", "the boot worker has not started yet; look at the lines below")),
        ("loaders", reports.control.get("loaders") or report.get("loaders") or "not known yet"),
        ("data", str(settings.server.state_dir)),
        ("API", f"{api_socket(settings)}{f' ({control_status})' if control_status else ''}"),
        *_web(settings, [i.networks[0] for i in site.interfaces], reports.control.get("admin", {})),
        ("next", f"{own_name()} boot watch   (in another terminal; Ctrl-C here ends the server)"),
    ]
    return [f"pxeserver {__version__}", *(f"  {key:<9}{logs.escape(str(text))}" for key, text in rows)]


def _web(settings: Settings, networks: Sequence[str], told: Mapping[str, str]) -> list[tuple[str, str]]:
    """Where the web pages are, what browsers will ask about, and how the first password is set."""
    if not settings.admin.enabled:
        return []
    address = settings.server.address or (networks[0].partition("/")[0] if networks else "localhost")
    places = f"http://localhost:{settings.admin.loopback_port} and https://{address}:{settings.admin.port}"
    rows = [("web", places + (" (name and password: demo)" if told.get("code") else ""))]
    if told.get("sha256"):
        rows.append(("shows", f"certificate SHA-256 {told['sha256']}"))
    if told.get("problem"):
        rows.append(("but", told["problem"]))
    if told.get("code"):
        rows.append(("code", f"{told['code']}   (sets the first password from another machine; keep it)"))
    return rows


if __name__ == "__main__":
    sys.exit(main())

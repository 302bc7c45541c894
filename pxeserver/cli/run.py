"""Run the server in this terminal.

What reads a command line and writes tables stays out of the server: this process becomes it, by exec, with
nothing but the settings. That is 6 MB less, and the same pid.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import Parameter

from pxeserver.cli.config import File, load
from pxeserver.cli.options import noun

app = noun("run", "Run the server in this terminal.")
Maybe = Annotated[bool | None, Parameter(negative_bool="no-", negative=None)]


@app.default
def run(
    *,
    config: File = None,
    interface: Annotated[list[str] | None, Parameter(name=("--interface", "-i"))] = None,
    address: str | None = None,
    state_dir: Path | None = None,
    run_dir: Path | None = None,
    user: str | None = None,
    unknown: str | None = None,
    dry_run: Maybe = None,
    http_port: int | None = None,
    tftp_port: int | None = None,
    event_loop: Literal["asyncio", "uvloop"] | None = None,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    debug: Annotated[bool, Parameter(env_var="PXESERVER_DEBUG")] = False,
) -> NoReturn:
    """Run the server until Ctrl-C. No configuration is needed: `sudo pxeserver run`.

    Options win over PXESERVER_* variables, and those over the file.

    Parameters
    ----------
    config
        The file; /etc/pxeserver/config.toml by default, where it exists.
    interface
        Network interface to serve; may be given several times.
    address
        The address that machines are told to reach this server at.
    state_dir
        Database, journal, images, loaders and backups.
    run_dir
        Sockets.
    user
        The user that the server becomes once its ports are open.
    unknown
        For unknown machines: menu, discover, observe, ignore, or profile:NAME.
    dry_run
        Listen and record what would be answered, and send nothing.
    http_port
        Port of the HTTP listener that machines boot from.
    tftp_port
        Port of TFTP; firmware only knows 69.
    event_loop
        Event loop of the boot workers.
    log_level
        Least severity that is logged.
    debug
        Show the program's own traceback when it fails.
    """
    given: dict[str, Any] = {
        "server.interface": interface,
        "server.address": address,
        "server.state_dir": str(state_dir.absolute()) if state_dir else None,
        "server.run_dir": str(run_dir.absolute()) if run_dir else None,
        "server.user": user,
        "server.event_loop": event_loop,
        "server.log_level": log_level,
        "policy.unknown": unknown,
        "policy.dry_run": dry_run,
        "http.port": http_port,
        "tftp.port": tftp_port,
    }
    flags = {key: value for key, value in given.items() if value is not None}
    load(config, flags)  # what is wrong with them is told here, and better
    from pxeserver import handover  # noqa: PLC0415 - only this command needs it

    environ = handover.environment({**os.environ, **handover.give(config, flags)})
    if debug:
        environ["PXESERVER_DEBUG"] = "1"
    words = handover.command("pxeserver.run")
    os.execve(words[0], words, environ)  # noqa: S606 - no shell is wanted

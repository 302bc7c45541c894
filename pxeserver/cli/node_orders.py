"""What people order nodes to do."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from pxeserver.cli import screen
from pxeserver.cli.client import Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, each, hosts
from pxeserver.hostlist import fold


def attach(app: App) -> None:
    """Add the commands to the noun `node`."""
    for command, name in (
        (install, "install"),
        (boot_once, "boot-once"),
        (hold, "hold"),
        (release, "release"),
        (order, "order"),
        (consent, "consent"),
    ):
        app.command(command, name=name)


def install(*names: str, profile: str | None = None, options: Options = DEFAULT) -> int:
    """Order an install: it runs once, at the nodes' next boot; then they boot from their disks.

    Parameters
    ----------
    names
        Names or ranges such as n[001-256].
    profile
        Assign this install profile first.
    """
    body = {"profile": profile}
    stopped: dict[str, str] = {}
    with options.client() as client:

        def order_one(name: str) -> object:
            answer = client.post("nodes", name, "install", body=body)
            plan = client.get("nodes", name)["plan"]
            if plan["action"] != "install":
                stopped[name] = plan["why"]
            return answer

        code = each(hosts(names), order_one, "install ordered, for the next boot", options)
    for name, why in stopped.items():
        screen.warn(f"{name} would not install yet: {why}")
    return code


def boot_once(*names: str, profile: str, options: Options = DEFAULT) -> int:
    """Boot another profile at the next boot only: `node boot-once n[1-4] --profile rescue`.

    Parameters
    ----------
    names
        Names or ranges such as n[001-256].
    profile
        What to boot then.
    """
    body = {"profile": profile}
    done = f"boots {profile} at the next boot, once"
    with options.client() as client:
        return each(hosts(names), lambda n: client.post("nodes", n, "boot-once", body=body), done, options)


def hold(*names: str, reason: str, options: Options = DEFAULT) -> int:
    """Hold nodes: they show the reason and start their local disks, until they are released.

    Parameters
    ----------
    reason
        Why; it is shown wherever the node is.
    """
    body = {"reason": reason}
    with options.client() as client:
        return each(hosts(names), lambda n: client.post("nodes", n, "hold", body=body), "held", options)


def release(*names: str, options: Options = DEFAULT) -> int:
    """End a hold."""
    with options.client() as client:
        return each(hosts(names), lambda n: client.post("nodes", n, "release"), "released", options)


def order(
    what: Literal["reboot", "poweroff", "boot"],
    /,
    *names: str,
    profile: str | None = None,
    yes: Yes = False,
    options: Options = DEFAULT,
) -> int:
    """Tell the discovery system on the machines what to do: `node order reboot n1`, `node order boot n1
    --profile P`.

    Parameters
    ----------
    profile
        What to boot, for `boot`.
    """
    wanted = hosts(names)
    screen.confirm(f"{what} {fold(wanted)} now?", yes=yes)
    body = {"order": what, "profile": profile}
    with options.client() as client:
        return each(wanted, lambda n: client.post("nodes", n, "order", body=body), f"told to {what}", options)


def consent(name: str, disk: str, /, *, yes: Yes = False, options: Options = DEFAULT) -> int:
    """Allow the install of node NAME to overwrite DISK (a serial number), as it is seen now."""
    with options.client() as client:
        node = client.get("nodes", name)
        found = next((d for d in node["disks"] if d["serial"] == disk), None)
        if found is None:
            known = ", ".join(d["serial"] for d in node["disks"]) or "none is known"
            step = "Boot the discovery system on it once, then look with `pxeserver node show`"
            raise Failure(f"{name} has no disk {disk}", f"its disks: {known}", step)
        shown = ", ".join(found["signatures"]) or "nothing"
        size = screen.size(found["size"])
        question = (
            f"Overwrite {found['path']} ({found['model']}, {size}, serial {disk}) of {name}? On it: {shown}"
        )
        screen.confirm(question, yes=yes)
        body = {"disk": disk, "signatures": found["signatures"]}
        return each(
            [name],
            lambda n: client.post("nodes", n, "consent", body=body),
            "disk may be overwritten",
            options,
        )

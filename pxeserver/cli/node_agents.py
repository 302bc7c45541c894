"""Who speaks for a node: arm it, make a join command, compare a code, thaw it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cyclopts import App

from pxeserver import resources
from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure
from pxeserver.cli.options import DEFAULT, Options, Yes, each, hosts
from pxeserver.cli.screen import Column, column

_CLAIMS = (
    column("kind"),
    column("state"),
    column("by", "armed_by"),
    Column("until", lambda c: screen.local_time(c["expires"])),
    Column("used", lambda c: screen.local_time(c["used_at"])),
    column("address"),
    column("code"),
    Column("says it is", lambda c: claimant(c["facts"])),
    column("why"),
)


def claimant(facts: Mapping[str, Any]) -> str:
    """What a claimant told of its machine, in short."""
    macs = facts.get("macs")
    first = macs[:1] if isinstance(macs, list) else []
    return " ".join(str(word) for word in (facts.get("hostname"), facts.get("serial"), *first) if word)


def attach(app: App) -> None:
    """Add the commands to the noun `node`."""
    for command, name in (
        (arm, "arm"),
        (join_command, "join-command"),
        (join_script, "join-script"),
        (admit, "admit"),
        (thaw, "thaw"),
    ):
        app.command(command, name=name)


def arm(*names: str, ask: bool = False, minutes: int = 30, options: Options = DEFAULT) -> int:
    """Let the machines that boot as these nodes claim them, once: `node arm n[1-3]`.

    Parameters
    ----------
    ask
        Nobody is let in before you have compared the code on its console (`node admit`).
    minutes
        How long they stay armed, 1 to 1440.
    """
    body = {"ask": ask, "seconds": minutes * 60}
    done = f"armed for {minutes} minutes"
    with options.client() as client:
        return each(hosts(names), lambda n: client.post("nodes", n, "arm", body=body), done, options)


def join_command(
    name: str,
    /,
    *,
    address: str | None = None,
    ask: bool = False,
    minutes: int = 30,
    options: Options = DEFAULT,
) -> None:
    """Print the one line that makes a running Debian machine the node NAME: paste it into a root shell there.

    The line can be used once, and holds a secret. A node of this name is added where there is none.

    Parameters
    ----------
    address
        The server's address as that machine reaches it.
    ask
        Nobody is let in before you have compared the code that the machine shows (`node admit`).
    minutes
        How long the line can be used, 1 to 1440.
    """
    body = {"address": address, "ask": ask, "seconds": minutes * 60}
    with options.client() as client:
        made = client.post("nodes", name, "join-command", body=body)
    if options.output != "table":
        screen.dump(made, options.output)
        return
    screen.say(f"On the machine, as root, once until {screen.local_time(made['expires'])}:")
    # Not through the tables' renderer: a line that is to be pasted must not be wrapped.
    print(made["line"])


def join_script() -> None:
    """Print the script for the last step of an installer: the system that it has installed joins as its node.

    It holds no secret and is the same for all machines. Nodes have to be armed while they are installed.
    """
    print((resources.folder("systemd") / "join-installed.sh").read_text(), end="")


def admit(name: str, code: str, /, *, options: Options = DEFAULT) -> None:
    """Let in the machine that claims node NAME and shows CODE."""
    with options.client() as client:
        answer = client.post("nodes", name, "admit", body={"code": code})
    if options.output != "table":
        screen.dump(answer, options.output)
    else:
        screen.say(f"{name}: admitted")


def thaw(name: str, /, *, forget: bool = False, yes: Yes = False, options: Options = DEFAULT) -> None:
    """Let the agent of a frozen node go on, after you have looked at what happened.

    Parameters
    ----------
    forget
        Drop its agent as well: whoever speaks for the node has to claim it anew, and it has to be armed.
    """
    with options.client() as client:
        agent = client.get("nodes", name, "agent")
        why = agent["why"] or "it is not frozen"
        what = "forget its agent" if forget else "go on with its agent"
        screen.confirm(f"{name}: {why}. Look at the machine first. Thaw it, and {what}?", yes=yes)
        answer = client.post("nodes", name, "thaw", body={"forget": forget})
    if options.output != "table":
        screen.dump(answer, options.output)
    else:
        screen.say(f"{name}: thawed")


def show_agent(client: Client, name: str) -> None:
    """Print who speaks for a node, where anybody does or may; an alarm first."""
    try:
        agent: dict[str, Any] = client.get("nodes", name, "agent")
    except Failure as failure:
        if failure.status in (404, 503):
            return
        raise
    if agent["frozen"]:
        screen.warn(f"{name} is frozen: {agent['why']}. `pxeserver node thaw {name}` once you have looked")
    if not agent["joined"] and not agent["claims"]:
        return
    screen.heading("Agent")
    if agent["joined"]:
        sure = {1: "armed", 2: "a person compared its code"}.get(agent["rung"], "")
        screen.fields(
            [
                ("joined", f"{screen.local_time(agent['claimed_at'])} ({sure})"),
                ("heard", screen.local_time(agent["seen"])),
                ("from", agent["address"]),
                ("code", agent["code"]),
                ("system", agent["facts"].get("release")),
            ]
        )
    if agent["claims"]:
        screen.rows(agent["claims"][:5], _CLAIMS, "table", "none")

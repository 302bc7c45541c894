"""The card a node lives by becomes a port of a switch, and comes back by itself where that cut the node off.

Card, address and default route move in one go. Then the server has to be reached within some seconds
(commit-confirm); a watchdog process of its own, which does not end with the agent, moves everything back
otherwise.

python3 -m pxeserver.agent.join.steps.uplink SECONDS     the watchdog
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps import links, ovs

NOTE = Path("/var/lib/pxeserver-agent/uplink.json")
"""How it was before, for the way back."""
CONFIG = Path("/etc/pxeserver-agent.json")
CONFIRMED = Path("/run/pxeserver-agent/uplink-confirmed")
"""The server was reached since the move; gone after a restart, as the move itself is."""
WATCHDOG = "pxeserver-uplink-watchdog"
_PAUSE = 1.0
_HELLO_SECONDS = 4.0
MARGIN = 5
"""Seconds that the watchdog waits longer than the agent, which says more when it moves things back."""

Reach = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Before:
    """What the card had before it became a port."""

    card: str
    bridge: str
    addresses: tuple[str, ...]
    routers: tuple[str, ...]
    proven: str = ""
    """The address with which the server was reached over the switch once."""


def reach(server: str) -> bool:
    """Whether the server (host:port) answers. Who it is does not matter here: the question is whether packets
    get there and back.
    """
    host, _, port = server.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, int(port), timeout=_HELLO_SECONDS, context=context)
    try:
        connection.request("GET", "/v1/hello")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def own_server() -> str:
    """The server that this node's agent belongs to, as host:port; StepFailed where none is written down."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(CONFIG.read_text())["server"])
    words = (files.read(Path("/proc/cmdline")) or "").split()
    found = [word.partition("=")[2] for word in words if word.startswith("pxeserver.agent=")]
    if not found:
        raise StepFailed(f"no server in {CONFIG}, so that nobody could confirm the move", retry=False)
    return found[0]


def moved(uplink: Mapping[str, Any]) -> bool:
    """Whether the switch has the address, and the card has none."""
    found = links.links()
    switch = found.get(uplink["switch"])
    card = found.get(links.physical(uplink["mac"]))
    in_place = switch is not None and switch.up and uplink["address"] in switch.addresses
    return in_place and (card is None or not card.addresses)


def confirmed() -> bool:
    """Whether the server was reached over the switch since this node started."""
    return CONFIRMED.exists()


def move(
    uplink: Mapping[str, Any],
    confirm: Mapping[str, Any],
    make: Callable[[str], None],
    tell: Callable[[str], None],
    reaches: Reach = reach,
) -> None:
    """Put the card into the switch. `make` adds it as a port. StepFailed, with everything as before, where
    the server is not reached then.
    """
    card, bridge, seconds = links.physical(uplink["mac"]), uplink["switch"], int(confirm["seconds"])
    if not moved(uplink):
        now = links.links()[card]
        old = _before()
        kept = old if old is not None and old.card == card and not now.addresses else None
        proven = old.proven if old is not None else ""
        before = kept or Before(card, bridge, now.addresses, tuple(links.default_routes(card)), proven)
        files.put(NOTE, json.dumps(asdict(before)), 0o600)
        files.remove(CONFIRMED)
        _watch(seconds + MARGIN)
        tell(f"{card} becomes a port of {bridge}; back in {seconds} s unless the server is reached then")
        make(card)
        links.batch(_there(uplink, card))
    _confirm(uplink, str(confirm.get("server") or own_server()), seconds, tell, reaches)


def _there(uplink: Mapping[str, Any], card: str) -> list[tuple[str, ...]]:
    bridge = uplink["switch"]
    lines: list[tuple[str, ...]] = [
        ("address", "flush", "dev", card),
        ("link", "set", "dev", card, "up"),
        ("link", "set", "dev", bridge, "up"),
        ("address", "replace", uplink["address"], "dev", bridge),
    ]
    if uplink.get("gateway"):
        lines.append(("route", "replace", "default", "via", uplink["gateway"], "dev", bridge))
    return lines


def _confirm(
    uplink: Mapping[str, Any], server: str, seconds: int, tell: Callable[[str], None], reaches: Reach
) -> None:
    end = time.monotonic() + seconds
    while not reaches(server):
        if time.monotonic() > end:
            before = _before()
            if before is not None and before.proven == uplink["address"]:
                # The same switch has worked before: it is the server that is away, and the cluster goes on.
                tell("the server is away; the switch is kept, since it was proven before")
                break
            back()
            raise StepFailed(
                f"the server {server} was not reached over {uplink['switch']} within {seconds} s: "
                "everything was moved back. Is the card's cable in the right network, and its port untagged?"
            )
        time.sleep(_PAUSE)
    before = _before()
    if before is not None and before.proven != uplink["address"]:
        proven = asdict(before) | {"proven": uplink["address"]}
        files.put(NOTE, json.dumps(proven), 0o600)
    files.put(CONFIRMED, uplink["address"])
    run("systemctl", "stop", f"{WATCHDOG}.service", timeout=20)


def back() -> None:
    """Give card, address and routes back as they were; nothing where nothing was moved. StepFailed."""
    before = _before()
    if before is None:
        return
    lines: list[tuple[str, ...]] = []
    if before.bridge in links.links():
        lines.append(("address", "flush", "dev", before.bridge))
    ovs.transact([("--if-exists", "del-port", before.bridge, before.card)])
    lines.append(("link", "set", "dev", before.card, "up"))
    lines += [("address", "replace", address, "dev", before.card) for address in before.addresses]
    lines += [("route", "replace", "default", "via", r, "dev", before.card) for r in before.routers[:1]]
    links.batch(lines)
    files.remove(NOTE)
    files.remove(CONFIRMED)


def _before() -> Before | None:
    text = files.read(NOTE)
    if text is None:
        return None
    told = json.loads(text)
    return Before(
        told["card"],
        told["bridge"],
        tuple(told["addresses"]),
        tuple(told["routers"]),
        told.get("proven", ""),
    )


def _watch(seconds: int) -> None:
    """Start the watchdog; it must not end with the agent."""
    run("systemctl", "stop", f"{WATCHDOG}.service", timeout=20)
    words = ("systemd-run", "--collect", f"--unit={WATCHDOG}", f"--setenv=PYTHONPATH={_home()}")
    need(*words, sys.executable, "-m", "pxeserver.agent.join.steps.uplink", str(seconds), timeout=20)


def _home() -> Path:
    """Where the agent's code lies: a folder, or a zip archive."""
    return Path(__file__.removesuffix("/pxeserver/agent/join/steps/uplink.py"))


def main() -> int:
    """The watchdog: wait, and move everything back unless the move was confirmed."""
    end = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < end:
        time.sleep(_PAUSE)
        if confirmed():
            return 0
    print("the server was not reached: moving the card back", flush=True)
    with contextlib.suppress(StepFailed):
        back()
        return 0
    return 1


if __name__ == "__main__":
    raise SystemExit(main())

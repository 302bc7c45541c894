"""The agent: report what this machine is, then do what the server orders.

python3 -m pxeserver.agent [--url http://10.0.0.1/a/...]    (else pxeserver.url= of the kernel
  command line)
"""

from __future__ import annotations

import argparse
import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pxeserver.agent import power
from pxeserver.agent.inventory import gather
from pxeserver.agent.nics import hear_neighbours, nics, wait_for_links
from pxeserver.agent.say import Consoles
from pxeserver.agent.server import Server, ServerAway, ServerRefused
from pxeserver.agent.write import GIVE_UP, WriteFailed, WriteOrder, Writer

RUN = Path("/run")
POLL = 3.0
"""Seconds between questions for orders."""
ORIGIN = "{origin}"
"""Stands in an order's kernel arguments for the server's address, http://HOST[:PORT]."""
HOST = "{host}"
"""The same for HOST alone."""
REFUSED_SECONDS = 60.0
"""A person has this long to read why, and a machine that is refused each time starts no faster than this."""
LINK_SECONDS = 4.0
"""1000BASE-T negotiates for 2 to 4 s after a card is switched on."""
LLDP_SECONDS = 65.0
"""Switches send every 30 s (IEEE 802.1AB msgTxInterval); the inventory is not kept waiting for it but sent
again.
"""


def command_line(path: Path = Path("/proc/cmdline")) -> dict[str, str]:
    """The pxeserver.* words of the kernel command line, by what follows the dot."""
    try:
        words = shlex.split(path.read_text())
    except (OSError, ValueError):
        return {}
    pairs = (word.partition("=") for word in words if word.startswith("pxeserver."))
    return {key.removeprefix("pxeserver."): value for key, _, value in pairs}


class Agent:
    """Reports and orders of one boot."""

    def __init__(self, server: Server, say: Consoles, boot_mac: str = "") -> None:
        self.server, self.say, self.boot_mac = server, say, boot_mac
        self.finished = False
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._unsent: dict[str, Any] | None = None
        self._told: list[str] = []
        self._away = False

    def discover(self) -> None:
        """Gather and send the inventory, and show what the server says to it."""
        self.say("looking at the hardware")
        wait_for_links(LINK_SECONDS)
        inventory = gather(self.boot_mac)
        machine = inventory["machine"]
        self.say(f"{machine['vendor']} {machine['product']} serial {machine['serial'] or '-'}".strip())
        for disk in inventory["disks"]:
            holds = ", ".join(disk["signatures"]) or "empty"
            self.say(
                f"disk {disk['name']} {disk['size'] / 1e9:.1f} GB serial {disk['serial'] or '-'}: {holds}"
            )
        answer = self.server.insist("inventory", inventory)
        if answer.get("ok", True):
            self.say("inventory sent")
        else:
            self.say(f"the server did not take the inventory: {answer.get('why') or 'no reason given'}")
        self.tell(answer)
        self._listen(inventory)

    def _listen(self, inventory: dict[str, Any]) -> None:
        """Listen for switches in the background; what they say waits in the queue for the next step."""
        names = [card["name"] for card in inventory["nics"]]

        def hear() -> None:
            heard = hear_neighbours(names, LLDP_SECONDS)
            if heard:
                seen = nics(boot_mac=self.boot_mac)  # links may have come up since
                cards = [{**card, "lldp": heard.get(card["name"])} for card in seen]
                self._heard.put({**inventory, "nics": cards})

        threading.Thread(target=hear, name="lldp", daemon=True).start()

    def tell(self, answer: Mapping[str, Any]) -> None:
        """Show what a person is meant to read in an answer: the node's name, the code to approve it, a
        reason. What was shown already is not shown again.
        """
        lines = [f"this is node {answer['node']}"] if answer.get("node") else []
        if answer.get("code"):
            lines.append(f"approve this machine with: pxeserver node approve {answer['code']} NAME")
        lines += [str(answer[key]) for key in ("text", "reason") if answer.get(key)]
        for line in lines:
            if line not in self._told:
                self.say(line)
        self._told = lines or self._told

    def step(self) -> None:
        """Ask for an order once and carry it out."""
        try:
            self._send_neighbours()
            order = self.server.ask("orders")
        except ServerAway as away:
            if not self._away:
                self.say(f"{away}; asking again every {POLL:.0f} s")
            self._away = True
            return
        if self._away:
            self.say("the server answers again")
            self._away = False
        kind = str(order.get("order", "wait"))
        carry_out: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "reboot": self.reboot,
            "poweroff": self.power_off,
            "boot": self.boot,
            "write-disk": self.write_disk,
        }
        if kind in carry_out:
            self.say(f"order: {kind}")
            carry_out[kind](order)
        elif kind == "wait":
            self.tell(order if order.get("reason") else {**order, "text": "waiting for an order"})
        else:
            self.say.once(f"unknown order {kind!r}: this agent is too old for the server")

    def _send_neighbours(self) -> None:
        """Send the inventory again once switches were heard; ServerAway keeps it for the next time."""
        if not self._heard.empty():
            self._unsent = self._heard.get()
        if self._unsent is not None:
            self.server.ask("inventory", self._unsent)
            cards = [card for card in self._unsent["nics"] if card["lldp"]]
            self._unsent = None
            for card in cards:
                self.say(f"{card['name']} is on port {card['lldp']['port']} of {switch(card['lldp'])}")

    def reboot(self, _: Mapping[str, Any]) -> None:
        """Restart the machine."""
        power.reboot()
        self.finished = True

    def power_off(self, _: Mapping[str, Any]) -> None:
        """Switch the machine off."""
        power.power_off()
        self.finished = True

    def boot(self, order: Mapping[str, Any]) -> None:
        """Start another kernel."""
        try:
            kernel = self._download(str(order["kernel"]), "kernel")
            initrds = [
                self._download(str(url), f"initrd{n}") for n, url in enumerate(order.get("initrds") or ())
            ]
            # Only this machine knows by which address it reached the server.
            arguments = str(order.get("args", "")).replace(ORIGIN, self.server.origin)
            arguments = arguments.replace(HOST, self.server.host)
            self.say(f"starting it: {arguments}")
            power.kexec(kernel, initrds, arguments)
        except (KeyError, power.KexecFailed, ServerRefused, ServerAway, OSError) as why:
            self.say(f"the kernel was not started: {why}")
            self._report("not-loaded", str(why))

    def write_disk(self, order: Mapping[str, Any]) -> None:
        """Write the image, report it, and restart; a failure is reported and holds the node."""
        try:
            Writer(self.server, WriteOrder.of(order), self.say).run()
        except WriteFailed as why:
            self.say(f"install failed: {why}")
            self._report("install-failed", str(why))
            return
        self.say("installed; telling the server")
        self._report("installed")
        self.say("restarting")
        self.reboot(order)

    def _report(self, event: str, reason: str = "") -> None:
        try:
            self.server.insist("report", {"event": event, "reason": reason} if reason else {"event": event})
        except ServerRefused as why:
            self.say(f"the server did not take the report {event}: {why}")

    def _download(self, url: str, name: str) -> Path:
        self.say(f"loading {url}")
        path = RUN / name
        path.write_bytes(self.server.patiently(lambda: self.server.fetch(url), patience=GIVE_UP))
        return path


def switch(neighbour: Mapping[str, str]) -> str:
    """The name of a switch, printable: it comes from the cable."""
    return neighbour.get("system") or neighbour["chassis"]


def main() -> int:
    """Run until the machine restarts; the exit status is for the init script, which starts us again."""
    parser = argparse.ArgumentParser(prog="pxeserver.agent")
    given = command_line()
    parser.add_argument("--url", default=given.get("url", ""))
    parser.add_argument("--boot-mac", default=given.get("mac", ""))
    words = parser.parse_args()
    say = Consoles()
    try:
        server = Server(words.url, say)
    except ValueError as wrong:
        say(f"{wrong}: the kernel command line needs pxeserver.url=http://SERVER/a/ATTEMPT")
        return 2
    agent = Agent(server, say, words.boot_mac)
    say(f"server {words.url}")
    try:
        agent.discover()
        while not agent.finished:
            agent.step()
            time.sleep(POLL)
    except ServerRefused as why:
        # It forgot this boot, or never knew it: only a new boot gives the machine a new address to ask at.
        say(f"the server refused: {why}; restarting in {REFUSED_SECONDS:.0f} s")
        time.sleep(REFUSED_SECONDS)
        agent.reboot({})
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

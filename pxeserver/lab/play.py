"""`make try` and `make demo`: the product on virtual machines, for a person to see and to play with."""

from __future__ import annotations

import contextlib
import io
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pxeserver.lab.doorway import Doorway, open_browser
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.machine import Machine
from pxeserver.lab.network import BOOT_ADDRESS
from pxeserver.lab.playground import Playground, step_times
from pxeserver.lab.process import LabError

DEMO = (Firmware.BIOS_VIRTIO, Firmware.OVMF_PXE, Firmware.OVMF_HTTP)
STEPS = ("loader-sent", "script-sent", "file-sent", "inventory")

HELP = f"""\
The server runs at {BOOT_ADDRESS} on a private network; one machine stands beside it, switched off.
  on | off | reset         the machine's power
  console                  what its serial console shows; Ctrl-C comes back here
  boot watch, node list    any pxeserver command, typed without the word pxeserver
  help | quit
"""


def demo(console: Console, seconds: float, picture: Path | None = None) -> int:
    """Boot machines of different firmware into the discovery system while their steps are shown, here and in
    the web admin; 1 where one did not come up within `seconds`. `picture` is an SVG file for the end of it.
    """
    with Playground(fresh=True, say=console.print) as ground, closing(Doorway(ground.lab.boot)) as doorway:
        ground.wait_ready()
        opened = open_browser(doorway.link)
        console.print(
            f"Web admin, logged in as demo{' (your browser opens it)' if opened else ''}: {doorway.link}",
            soft_wrap=True,
        )
        machines = [ground.add(kind) for kind in DEMO]
        console.print(
            f"Three machines are switched on: {', '.join(m.spec.firmware.value for m in machines)}."
        )
        watcher = subprocess.Popen(ground.command("boot", "watch"), env=ground.environment)
        try:
            for machine in machines:
                machine.power_on()
            times = _until_discovered(ground, machines, seconds)
        finally:
            watcher.terminate()
            watcher.wait(5)
        result = _summary(console, machines, times)
        if picture is not None:
            _draw(ground, machines, times, picture)
        if sys.stdin.isatty():
            with contextlib.suppress(EOFError, KeyboardInterrupt):
                console.input(f"Machines and web admin stay until Enter: http://localhost:{doorway.port}")
        return result


def _draw(
    ground: Playground, machines: Sequence[Machine], times: dict[str, dict[str, float]], picture: Path
) -> None:
    """One machine's boot as `boot show` tells it, and the summary, as a picture of a terminal."""
    paper = Console(record=True, width=118, file=io.StringIO())
    boot = str(ground.boots_of(machines[1])[0]["id"])
    paper.print(f"$ pxeserver boot show {boot}", style="bold", highlight=False)
    words, environment = ground.command("boot", "show", boot), {**ground.environment, "COLUMNS": "118"}
    shown = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    for line in shown.splitlines():
        paper.print(line[:118], markup=False, highlight=False)
    _summary(paper, machines, times)
    picture.write_text(paper.export_svg(title="pxeserver"))


def _until_discovered(
    ground: Playground, machines: Sequence[Machine], seconds: float
) -> dict[str, dict[str, float]]:
    end = time.monotonic() + seconds
    times: dict[str, dict[str, float]] = {}
    while time.monotonic() < end and not all("inventory" in times.get(m.spec.mac, {}) for m in machines):
        time.sleep(1)
        for machine in machines:
            with contextlib.suppress(LabError):
                for boot in ground.boots_of(machine):
                    times[machine.spec.mac] = step_times(boot["timeline"])
                    if "inventory" in times[machine.spec.mac]:
                        break
    return times


def _summary(console: Console, machines: Sequence[Machine], times: dict[str, dict[str, float]]) -> int:
    table = Table(
        "machine", *(f"{step} (s)" for step in STEPS), title="seconds since the machine's first DISCOVER"
    )
    for machine in machines:
        own = times.get(machine.spec.mac, {})
        table.add_row(machine.spec.name, *(f"{own[step]:.1f}" if step in own else "-" for step in STEPS))
    console.print(table)
    missing = [m.spec.name for m in machines if "inventory" not in times.get(m.spec.mac, {})]
    if missing:
        console.print(f"Did not come up: {', '.join(missing)}")
        return 1
    console.print("All are up in the discovery system. `make try` gives you one machine to play with.")
    return 0


def play(console: Console, firmware: Firmware, disk: int) -> int:
    """The private network, the server and one machine, driven by lines typed at a prompt."""
    with Playground(say=console.print) as ground:
        ground.wait_ready()
        machine = ground.add(firmware, disk=disk)
        console.print(HELP, highlight=False)
        console.print(
            f"From another terminal: PXESERVER_SOCKET={ground.socket} pxeserver boot watch", highlight=False
        )
        while True:
            try:
                line = console.input("try> ") if sys.stdin.isatty() else sys.stdin.readline()
            except (EOFError, KeyboardInterrupt):
                return 0
            if line.strip() == "quit" or (not line and not sys.stdin.isatty()):
                return 0
            try:
                _obey(console, ground, machine, shlex.split(line))
            except (LabError, ValueError) as error:
                console.print(f"{error}", markup=False)


def _obey(console: Console, ground: Playground, machine: Machine, words: list[str]) -> None:
    match words:
        case []:
            return
        case ["help"]:
            console.print(HELP, highlight=False)
        case ["on"]:
            machine.power_on()
            console.print(
                f"{machine.spec.name} ({machine.spec.mac}) is on; `boot watch` or `console` shows it"
            )
        case ["off"]:
            machine.power_off()
            console.print(f"{machine.spec.name} is off")
        case ["reset"]:
            machine.command("system_reset")
        case ["console"]:
            with contextlib.suppress(KeyboardInterrupt):
                _show_console(machine)
        case _:
            with contextlib.suppress(KeyboardInterrupt):
                subprocess.run(ground.command(*words), env=ground.environment, check=False)


def _show_console(machine: Machine) -> None:
    shown = 0
    while True:
        text = machine.since_power_on()
        sys.stdout.write(text[shown:])
        sys.stdout.flush()
        shown = len(text)
        if not machine.running:
            return
        time.sleep(0.2)

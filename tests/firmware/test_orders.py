"""The discovery system on a machine that nobody knew yet, and the orders that a person gives it."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware
from pxeserver.lab.rawdisk import MARK, tiny_initrd
from pxeserver.lab.server import steps_missing

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]

MENU, ONLINE, KEXEC = 90.0, 150.0, 90.0
"""Seconds on a busy 2-core machine; 6, 25 and 10 on a quiet one."""
CODE = re.compile(r"pxeserver node approve ([0-9A-Z]{6}) NAME")
TEXT_MEMORY = "xp /16384hx 0xb8000"


def screen(machine: Any) -> str:
    """All of the VGA text memory, where Linux scrolls by moving its window."""
    dump = machine.command("human-monitor-command", **{"command-line": TEXT_MEMORY})
    cells = re.findall(r"0x[0-9a-f]{4}(?![0-9a-f])", dump)
    text = "".join(chr(int(cell, 16) & 0xFF) for cell in cells)
    return "".join(c if c.isprintable() else " " for c in text)


def press(machine: Any, *keys: str) -> None:
    for key in keys:
        machine.command("send-key", keys=[{"type": "qcode", "data": key}])


def shown_code(site: Any, machine: Any, text: Callable[[], str], where: str) -> str:
    return str(site.server.wait(lambda: CODE.search(text()), 30, f"no code on {where}").group(1))


def new_machine_becomes_a_node(site: Any, machine: Any) -> None:
    """From the menu for unknown machines to a node that boots as one, and by kexec to other systems."""
    server = site.server
    machine.power_on()
    try:
        machine.wait_for_console("pxeserver node approve", timeout=MENU)
        code = shown_code(site, machine, machine.since_power_on, "the serial line of the menu")
        assert shown_code(site, machine, lambda: screen(machine), "the screen of the menu") == code
        press(machine, "down", "ret")
        machine.wait_for_console("inventory sent", timeout=ONLINE)
        linux = machine.since_power_on().partition("discovery system")[2]
        assert shown_code(site, machine, lambda: linux, "the discovery system's serial line") == code
        begun = screen(machine).partition("discovery system")[2]
        assert shown_code(site, machine, lambda: begun, "the discovery system's screen") == code
        assert [one["code"] for one in server.ask("node", "list", "--unknown")] == [code]
        server.command("node", "approve", code, "new")
        machine.wait_for_console("this is node new", timeout=30)
        assert server.ask("node", "list", "--unknown") == []
        node = server.ask("node", "show", "new")
        assert node["inventory"]["machine"]["serial"] == machine.spec.serial
        assert node["uuid"] == machine.spec.uuid
        kexec_again(site, machine)
        # Its next boot is the node's from the start.
        machine.power_off()
        machine.power_on()
        machine.wait_for_console("Node new", timeout=MENU)
        assert "node approve" not in machine.since_power_on()
        newest, *_ = server.boots(machine)
        assert newest["node"] == "new"
    finally:
        machine.power_off()


def kexec_again(site: Any, machine: Any) -> None:
    """The discovery system starts itself anew, then a system without it: each knows the server's address."""
    before = len(machine.since_power_on())
    site.server.command("node", "order", "boot", "new", "--profile", "discovery", "--yes")

    def back() -> bool:
        text = machine.since_power_on()[before:]
        return "order: boot" in text and "inventory sent" in text

    site.server.wait(back, KEXEC, f"no kexec: {machine.since_power_on()[-2000:]}")
    site.server.command("node", "order", "boot", "new", "--profile", "small", "--yes")
    machine.wait_for_console(MARK, timeout=KEXEC)
    boot = site.server.boots(machine)[0]["id"]
    line = f"Kernel command line: kept=word url=http://10.77.0.2/a/{boot} server=http://10.77.0.2 name=new"
    assert line in machine.since_power_on()


def node_restarts_and_goes_off(site: Any, machine: Any) -> None:
    """A node in the discovery system is restarted, and switched off."""
    site.server.command("node", "add", "known", "--mac", machine.spec.mac, "--profile", "discovery")
    machine.power_on()
    try:
        machine.wait_for_console("this is node known", timeout=ONLINE)
        site.server.command("node", "order", "reboot", "known", "--yes")
        machine.wait_for_console("order: reboot", timeout=30)
        before = len(machine.since_power_on())
        site.server.wait(
            lambda: "this is node known" in machine.since_power_on()[before:],
            ONLINE,
            "it did not start again",
        )
        second, first = site.server.boots(machine)
        for boot in (first, second):
            steps = [step["kind"] for step in site.server.ask("boot", "show", boot["id"])["timeline"]]
            assert not steps_missing(steps, ["discovered", "script-sent", "inventory"]), steps
        site.server.command("node", "order", "poweroff", "known", "--yes")
        site.server.wait(lambda: not machine.running, 30, "it is still on")
        assert "order: poweroff" in machine.since_power_on()
    finally:
        machine.power_off()


def test_a_new_machine_becomes_a_node_and_orders_are_carried_out(make_site: Callable[..., Any]) -> None:
    site = make_site()
    kernel = site.server.state / "loaders" / "discovery" / "vmlinuz"
    site.server.command(
        *("image", "add", "small", "--kernel", str(kernel), "--initrd", str(tiny_initrd(site.lab.work)))
    )
    args = "kept=word url={url} server={server} name={name} console=ttyS0,115200n8"
    site.server.command("profile", "add", "small", "--kind", "kernel", "--image", "small", "--args", args)
    works = {
        new_machine_becomes_a_node: site.lab.machine(Firmware.BIOS_VIRTIO, "new", extra=("-device", "VGA")),
        node_restarts_and_goes_off: site.lab.machine(Firmware.OVMF_PXE, "known"),
    }
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, site, machine) for work, machine in works.items()]:
            done.result()

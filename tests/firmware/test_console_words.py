"""Where the discovery system cannot go on, its console says what is missing.

The machines start its kernel directly: how they come to it is shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pxeserver.lab.firmware import Firmware

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(400)]

SOON = 90.0
"""Seconds to the first words on a busy 2-core machine; 10 on a quiet one."""
UNKNOWN = "http://10.77.0.2/a/aaaaaaaaaa"
CLOSED = "http://10.77.0.3/a/aaaaaaaaaa"
"""The router: nothing listens there."""


def started(site: Any, name: str, words: str, **more: Any) -> Any:
    """A machine that starts the discovery system with this kernel command line."""
    folder = site.server.state / "loaders" / "discovery"
    kernel = ("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd.img"))
    append = f"console=ttyS0,115200n8 quiet {words}"
    return site.lab.machine(Firmware.BIOS_VIRTIO, name, extra=(*kernel, "-append", append), **more)


def no_url(machine: Any) -> None:
    machine.wait_for_console("the kernel command line has no pxeserver.url=", timeout=SOON)
    machine.wait_for_console("it restarts in 60 s", timeout=5)


def no_cable_then_no_dhcp(machine: Any) -> None:
    machine.wait_for_console("SeaBIOS", timeout=SOON)
    machine.command("set_link", name="n0", up=False)
    machine.wait_for_console("eth0 has no link (cable?)", timeout=SOON)
    machine.wait_for_console("attempt 1 failed; trying again in 5 s", timeout=10)
    machine.command("set_link", name="n0", up=True)
    machine.wait_for_console("eth0: no DHCP server answered in 8 s", timeout=60)


def no_server(machine: Any) -> None:
    machine.wait_for_console(f"eth0: the server {CLOSED} does not answer here", timeout=SOON)
    assert "Connection refused" in machine.since_power_on()


def not_its_boot(machine: Any) -> None:
    machine.wait_for_console(f"server {UNKNOWN}", timeout=SOON)
    machine.wait_for_console("the server refused: HTTP 404", timeout=30)
    machine.wait_for_console("restarting in 60 s", timeout=5)


def test_the_console_says_what_is_missing(make_site: Callable[..., Any]) -> None:
    site = make_site(far=True)
    cases = {
        no_url: started(site, "no-url", "pxeserver.url=tftp://10.77.0.2/x"),
        no_cable_then_no_dhcp: started(site, "no-dhcp", f"pxeserver.url={UNKNOWN}", far=True),
        no_server: started(site, "no-server", f"pxeserver.url={CLOSED}"),
        not_its_boot: started(site, "not-its-boot", f"pxeserver.url={UNKNOWN}"),
    }

    def run(case: Callable[[Any], None]) -> None:
        machine = cases[case]
        machine.power_on()
        try:
            case(machine)
        finally:
            machine.power_off()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, case) for case in cases]:
            done.result()

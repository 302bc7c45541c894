"""Hardware that a virtual machine has by stand-ins: a TPM, a management controller, a second card, a switch.

Each function returns QEMU options for MachineSpec.extra; the programs behind them end with the lab.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence

from pxeserver.lab.netns import Namespace
from pxeserver.lab.network import Lab
from pxeserver.lab.process import LabError

LLDP_GROUP = bytes.fromhex("0180c200000e")
ETH_P_LLDP = 0x88CC


def tpm(lab: Lab, name: str) -> tuple[str, ...]:
    """A TPM 2.0 (swtpm)."""
    folder, control = lab.work / f"{name}.tpm", lab.work / f"{name}.tpm.sock"
    folder.mkdir()
    words = [
        "swtpm",
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={folder}",
        "--ctrl",
        f"type=unixio,path={control}",
    ]
    lab.start_server(words, log=f"{name}.tpm.log")
    _wait_for(control.exists, "swtpm")
    return (
        *("-chardev", f"socket,id=tpm,path={control}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"),
    )


def silent_bmc() -> tuple[str, ...]:
    """QEMU's own management controller: it is there, and knows nothing of a network."""
    return ("-device", "ipmi-bmc-sim,id=bmc0", "-device", "isa-ipmi-kcs,bmc=bmc0")


def bmc(lab: Lab, name: str, address: str, mac: str, port: int = 9002) -> tuple[str, ...]:
    """OpenIPMI's management controller, which has an address of its own. It listens in the lab's LAN."""
    folder = lab.work / f"{name}.bmc"
    folder.mkdir()
    told = f"ip_addr:{address}", "ip_addr_src:static", f"mac_addr:{mac}", "subnet_mask:255.255.255.0"
    cases = "".join(f"{one.partition(':')[0]}) echo {one};;\n" for one in told)
    script = f'#!/bin/sh\nshift\nfor item in "$@"; do case $item in\n{cases}esac; done\n'
    (folder / "address").write_text(script)
    (folder / "address").chmod(0o755)
    (folder / "lan.conf").write_text(
        f"""name "{name}"
set_working_mc 0x20
  startlan 1
    lan_config_program "{folder}/address"
    addr 127.0.0.1 {port + 1}
    allowed_auths_admin none
  endlan
  serial 15 127.0.0.1 {port} codec VM
"""
    )
    (folder / "commands").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n"
    )
    words = ["ipmi_sim", "-c", f"{folder}/lan.conf", "-f", f"{folder}/commands", "-s", str(folder), "-n"]
    # The server's place is left again at once: the machine is in the LAN.
    lab.start_server(lab.lan.argv(*words), log=f"{name}.bmc.log")
    _wait_for(lambda: _listens(lab.lan, port), "ipmi_sim")
    return (
        *("-chardev", f"socket,id=ipmi,host=127.0.0.1,port={port},reconnect=2"),
        *("-device", "ipmi-bmc-extern,id=bmc0,chardev=ipmi", "-device", "isa-ipmi-kcs,bmc=bmc0"),
    )


def card(lab: Lab, tap: str, mac: str, driver: str = "e1000e") -> tuple[str, ...]:
    """A second network card, whose cable (`tap`) leads to no network."""
    lab.lan.ip("tuntap", "add", "dev", tap, "mode", "tap")
    lab.lan.ip("link", "set", "dev", tap, "up")
    return (
        *("-netdev", f"tap,id=more-{tap},ifname={tap},script=no,downscript=no"),
        *("-device", f"{driver},netdev=more-{tap},mac={mac},romfile="),
    )


def lldp_frame(chassis: str, port: str, system: str, sender: str = "02:00:00:00:00:fe") -> bytes:
    """What a switch says of itself (IEEE 802.1AB): chassis by MAC, port by interface name, time to live,
    name."""
    raw = bytes.fromhex(chassis.replace(":", ""))
    tlvs = ((1, b"\x04" + raw), (2, b"\x05" + port.encode()), (3, b"\0\x78"), (5, system.encode()), (0, b""))
    body = b"".join(struct.pack("!H", kind << 9 | len(value)) + value for kind, value in tlvs)
    return LLDP_GROUP + bytes.fromhex(sender.replace(":", "")) + struct.pack("!H", ETH_P_LLDP) + body


def say_on_cable(lab: Lab, tap: str, frames: Sequence[bytes]) -> None:
    """Send frames to the machine at the end of a cable, as a switch would."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((tap, 0))
            for frame in frames:
                raw.send(frame)

    lab.lan.call(send)


def _listens(space: Namespace, port: int) -> bool:
    """Whether a program listens. Asked of the kernel: the simulator takes a single connection in its life."""
    return f":{port} " in space.run("ss", "-Hltn")


def _wait_for(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 10
    while not there():
        if time.monotonic() > end:
            raise LabError(f"{what} does not start")
        time.sleep(0.05)

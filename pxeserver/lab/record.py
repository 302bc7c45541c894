"""Record what real firmware says: its DHCP and proxy requests, as golden captures for the codec's and the
decision's tests.

A stand-in made of dnsmasq brings the machines to speak, so that the captures owe nothing to our own server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pxeserver.lab.capture import Capture, Datagram
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.network import BOOT_ADDRESS, Lab
from pxeserver.lab.process import LabError

MARK = "HELLO-LAB"
_SCRIPT = f"#!ipxe\necho {MARK}\nsleep 2\npoweroff || shell\n"
_MESSAGES = {1: "discover", 2: "offer", 3: "request", 4: "decline", 5: "ack", 7: "release", 8: "inform"}
_SAME_NETWORK = "10.77.0.0"


def stand_in_words(root: Path) -> list[str]:
    """dnsmasq as proxy for all PXE firmware, with a script for iPXE."""
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--log-facility=-",
        "--port=0",
    ]
    words += [
        "--interface=eth0",
        "--bind-dynamic",
        f"--pid-file={root}/stand-in.pid",
        f"--dhcp-range={_SAME_NETWORK},proxy",
    ]
    words += ["--enable-tftp", f"--tftp-root={root}", "--dhcp-userclass=set:ipxe,iPXE"]
    words += [f"--dhcp-boot=tag:ipxe,hello.ipxe,,{BOOT_ADDRESS}"]
    loaders = {
        "x86PC": "undionly.kpxe",
        "X86-64_EFI": "snponly.efi",
        "BC_EFI": "snponly.efi",
        "ARM64_EFI": "ipxe-arm64.efi",
    }
    return [*words, *(f"--pxe-service=tag:!ipxe,{kind},Lab,{file}" for kind, file in loaders.items())]


def http_words(root: Path, loader: str) -> list[str]:
    """Options for the plain DHCP server so that it answers UEFI HTTP Boot, too."""
    return [
        "--dhcp-vendorclass=set:http,HTTPClient",
        "--dhcp-option-force=tag:http,60,HTTPClient",
        f"--dhcp-boot=tag:http,http://{BOOT_ADDRESS}/{loader}",
    ]


def record(firmware: Firmware, loaders: Path, out: Path, work: Path, note: Mapping[str, str]) -> list[str]:
    """Boot one machine through both of its stages and keep the UDP payloads it sent. Returns the file names.

    `loaders` holds undionly.kpxe, snponly.efi and ipxe-arm64.efi; `note` goes into
    meta.json as it is.
    """
    root = work / "tftp"
    shutil.copytree(loaders, root, dirs_exist_ok=True)
    (root / "hello.ipxe").write_text(_SCRIPT)
    loader = "ipxe-arm64.efi" if firmware.arm else "snponly.efi"
    with Lab(work) as lab, ExitStack() as stack:
        http = firmware in {Firmware.OVMF_HTTP, Firmware.AAVMF_HTTP}
        lab.plain_dhcp(extra=http_words(root, loader) if http else ())
        lab.start_server(stand_in_words(root), log="stand-in.log")
        if http:
            lab.start_server(["busybox", "httpd", "-f", "-p", "80", "-h", str(root)], log="http.log")
        machine = lab.machine(firmware, uuid="11223344-5566-7788-99aa-bbccddeeff00", mac="52:54:00:77:00:01")
        # At the boot server's port of the bridge: there, what the lab changes about a machine has been
        # changed.
        capture = stack.enter_context(Capture(lab.lan, "boot0", work / "boot0.pcap"))
        machine.power_on()
        try:
            machine.wait_for_console(MARK, timeout=120)
        except LabError as late:
            print(f"firmware={firmware.value} second_stage=missing why={str(late)[:300]!r}")
        sent = [one for one in capture.datagrams() if one.source_mac == machine.spec.mac]
    return _keep(firmware, sent, out, note)


def _keep(firmware: Firmware, sent: list[Datagram], out: Path, note: Mapping[str, str]) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.bin"):
        old.unlink()
    packets: list[dict[str, str | int]] = []
    seen: set[tuple[int, str, bytes, int]] = set()
    for one in sent:
        if one.target_port not in {67, 4011} or not one.payload:
            continue
        message = _message(one.payload) or "unknown"
        shape = (one.target_port, message, _user_class(one.payload), len(one.payload))
        if shape in seen:
            continue
        seen.add(shape)
        stage = "ipxe" if _user_class(one.payload) else "firmware"
        name = f"{len(packets) + 1:02d}-{stage}-{message}{'-4011' if one.target_port == 4011 else ''}.bin"
        (out / name).write_bytes(one.payload)
        ports = {"source_port": one.source_port, "target_port": one.target_port}
        packets.append(
            {
                "file": name,
                "message": message,
                "stage": stage,
                "source": one.source,
                "target": one.target,
                **ports,
            }
        )
    meta = {"firmware": firmware.value, "qemu": _qemu_version(firmware), **note, "packets": packets}
    (out / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    return [str(packet["file"]) for packet in packets]


def _option(payload: bytes, wanted: int) -> bytes:
    at = 240
    while at + 1 < len(payload) and payload[at] != 255:
        if payload[at] == 0:
            at += 1
            continue
        if payload[at] == wanted:
            return payload[at + 2 : at + 2 + payload[at + 1]]
        at += 2 + payload[at + 1]
    return b""


def _message(payload: bytes) -> str:
    value = _option(payload, 53)
    return _MESSAGES.get(value[0], str(value[0])) if value else ""


def _user_class(payload: bytes) -> bytes:
    return _option(payload, 77)


def _qemu_version(firmware: Firmware) -> str:
    program = "qemu-system-aarch64" if firmware.arm else "qemu-system-x86_64"
    return subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]

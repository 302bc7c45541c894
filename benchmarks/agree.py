"""Are the load generators right? Each is compared with a client that somebody else wrote, or that was written
another way, and has to count losses that were made on purpose.
"""

from __future__ import annotations

import re
import socket
import time
from typing import Any

from benchmarks.bench import Bench
from benchmarks.cast import Cast, Contender
from benchmarks.peers import make_file
from benchmarks.stage import SERVER, machine_mac
from benchmarks.storm.personalities import DISCOVER, EDK2, dhcp

TOLERANCE = {"http": 0.25, "tftp": 0.35, "dhcp": 0.35, "loss": 0.04}
"""By how much the two may differ: a share of the other's figure; for loss, of all packets."""
LOSS = 10.0
_SMALL = 1000
_ASKED = 3000

Checks = dict[str, dict[str, Any]]


def check(bench: Bench) -> Checks:
    """All of it; each entry has what both said, the tolerance, and whether they agree."""
    make_file(bench.files / "small.bin", _SMALL)
    checks: Checks = {}
    with bench.cast() as cast:
        _http(bench, cast, checks)
        _tftp(bench, cast, checks)
        _dhcp(bench, cast.appliance(), checks)
    for name, told in checks.items():
        bench.say(
            f"check {name}: ours {told['ours']:.5g}, {told['other']} {told['theirs']:.5g}: {told['agrees']}"
        )
    return checks


def _note(checks: Checks, name: str, ours: float, theirs: float, other: str, tolerance: float) -> None:
    agrees = abs(ours - theirs) <= tolerance * theirs
    checks[name] = {"ours": ours, "theirs": theirs, "other": other, "tolerance": tolerance, "agrees": agrees}


def _http(bench: Bench, cast: Cast, checks: Checks) -> None:
    nginx = cast.peer("nginx")
    tool = bench.tools["http"]
    own = nginx.stage.load([tool, "-a", SERVER, "-k", "-c", "64", "-P", "/small.bin", "-t", "3"])
    wrk = bench.unpacked.program("usr/bin/wrk")
    libraries = [f"{name}={value}" for name, value in bench.unpacked.env.items()]
    command = ["env", *libraries, wrk, "-t", "1", "-c", "64", "-d", "3s", f"http://{SERVER}/small.bin"]
    said = nginx.stage.program(command).stdout
    found = re.search(r"Requests/sec:\s*([\d.]+)", said)
    theirs = float(found.group(1)) if found else 0.0
    _note(checks, "http requests/s", own["requests"] / own["seconds"], theirs, "wrk", TOLERANCE["http"])
    exact = nginx.stage.load([tool, "-a", SERVER, "-c", "2", "-P", "/1m.bin", "-m", "5", "-w", "0"])
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"http://{SERVER}/1m.bin"]
    one = float(nginx.stage.program(curl).stdout or 0)
    _note(checks, "http bytes of 5 requests", exact["all_bytes"], 5 * one, "curl", 0.0)
    refused = nginx.stage.load([tool, "-a", SERVER, "-p", "81", "-c", "4", "-m", "20", "-w", "0", "-t", "3"])
    _note(checks, "http failures at a closed port", refused["failures"], 20, "by design", 0.0)


def _tftp(bench: Bench, cast: Cast, checks: Checks) -> None:
    dnsmasq = cast.peer("dnsmasq")
    tool = [bench.tools["tftp"], "-a", SERVER, "-b", "1468", "-w", "0"]
    own = dnsmasq.stage.load([*tool, "-c", "1", "-f", "64m.bin", "-m", "1", "-t", "60"])
    atftp = bench.unpacked.program("usr/bin/atftp")
    options = ("--option", "blksize 1468", "--option", "tsize 0")
    libraries = [f"{name}={value}" for name, value in bench.unpacked.env.items()]
    command = ["env", *libraries, atftp, *options, "-g", "-r", "64m.bin", "-l", "/dev/null", SERVER]
    begun = time.monotonic()
    done = dnsmasq.stage.program(command)
    theirs = 0.0 if done.returncode else (64 << 20) / 1e6 / (time.monotonic() - begun)
    _note(
        checks,
        "tftp MB/s, one client",
        own["all_bytes"] / 1e6 / own["seconds"],
        theirs,
        "atftp",
        TOLERANCE["tftp"],
    )
    # One OACK, and one DATA packet for each block.
    _note(checks, "tftp packets of 64 MiB", own["packets"], 1 + (64 << 20) // 1468 + 1, "by design", 0.0)
    dnsmasq.stage.loss(100)
    lost = dnsmasq.stage.load([*tool, "-c", "3", "-f", "1m.bin", "-m", "3", "-g", "0.5", "-t", "3"])
    dnsmasq.stage.loss(0)
    _note(checks, "tftp failures over a dead link", lost["failures"], 3, "by design", 0.0)


def _dhcp(bench: Bench, side: Contender, checks: Checks) -> None:
    tool = [bench.tools["dhcp"], "-m", "1000"]
    own = side.stage.load([*tool, "-o", "1", "-t", "3"])
    theirs = side.stage.client.call(_ask_in_python)
    _note(
        checks,
        "dhcp offers/s, one at a time",
        own["requests"] / own["seconds"],
        theirs,
        "a Python client",
        TOLERANCE["dhcp"],
    )
    side.stage.loss(LOSS)
    lossy = side.stage.load([*tool, "-o", "32", "-T", "200", "-n", str(_ASKED), "-w", "0", "-t", "60"])
    side.stage.loss(0)
    both_ways = 1 - (1 - LOSS / 100) ** 2
    share = lossy["failures"] / (lossy["failures"] + lossy["all_requests"])
    agrees = abs(share - both_ways) <= TOLERANCE["loss"]
    checks["dhcp share lost"] = {
        "ours": share,
        "theirs": both_ways,
        "other": "by design",
        "tolerance": TOLERANCE["loss"],
        "agrees": agrees,
    }


def _ask_in_python(seconds: float = 3.0) -> float:
    """Offers a second to one DISCOVER at a time, by a client that shares nothing with load/dhcp.c."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.bind(("0.0.0.0", 68))
        sock.settimeout(1)
        begun, answers = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            mac = bytes.fromhex(machine_mac(answers % 1000).replace(":", ""))
            uuid = b"\xbe" + bytes(9) + mac
            sock.sendto(dhcp(EDK2, DISCOVER, answers + 1, mac, uuid, ipxe=False), ("255.255.255.255", 67))
            while int.from_bytes(sock.recv(2048)[4:8], "big") != answers + 1:
                pass
            answers += 1
        return answers / (time.monotonic() - begun)

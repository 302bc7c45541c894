"""HTTP: large files to 64 connections, and boot scripts written for each of 10,000 nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.appliance import Appliance, script_query
from benchmarks.bench import Bench
from benchmarks.cast import Contender
from benchmarks.stage import SERVER, machine_address

CONNECTIONS = 64
NODES = 10_000
MANY = 1000
"""Connections that are open at the same time where the time of an answer counts."""
LOAD = 0.8
"""That row's share of our own limit."""


def rows(bench: Bench) -> None:
    """64 connections, each from an address of its own, fetch a file of 64 MB again and again."""
    with bench.cast() as cast:
        sides = [cast.appliance(), cast.peer("nginx"), cast.appliance("uvloop")]
        bench.introduce(*sides)

        def words(side: Contender) -> list[str]:
            return [
                bench.tools["http"], *bench.machines(CONNECTIONS), "-k", "-c", str(CONNECTIONS),
                "-P", "/" + side.path("64m.bin"),
            ]  # fmt: skip

        for side in sides:
            once = [bench.tools["http"], *bench.machines(8), "-c", "8", "-m", "8", "-w", "0"]
            path = ["-P", "/" + side.path("64m.bin")]
            bench.verify(side, "HTTP 64 MB", [*once, *path], bench.files / "64m.bin")
        bench.compare("http-64mb", "HTTP, 64 MB files, 64 connections", "GB", sides, words)


def script_rows(bench: Bench) -> None:
    """10,000 nodes fetch the script written for each, one connection a request: each of them for the first
    time, then again and again. nginx serves one static file as long as such a script, to the same addresses.
    Then 1,000 connections stay open and ask at 80 % of our limit.
    """
    with bench.cast() as cast:
        ours, loop = cast.appliance(), cast.appliance("uvloop")
        nginx = cast.peer("nginx")
        bench.introduce(ours, nginx, loop)
        targets: dict[str, Path] = {}
        for side in (ours, loop):
            assert side.appliance is not None
            targets[side.name] = meet(bench, side.appliance, NODES)
        size = _script_size(ours, targets[ours.name])
        (bench.files / "script.ipxe").write_bytes(b"#!ipxe\n" + b"#" * (size - 8) + b"\n")
        targets[nginx.name] = bench.work / "nginx-targets"
        nginx.stage.own_macs(NODES)
        lines = [f"{machine_address(i)} /script.ipxe\n" for i in range(NODES)]
        targets[nginx.name].write_text("".join(lines))

        def words(side: Contender) -> list[str]:
            tool = [bench.tools["http"], "-a", SERVER, "-c", str(CONNECTIONS)]
            return [*tool, "-f", str(targets[side.name])]

        sides = (ours, nginx, loop)
        note = f"nginx serves one static file of {size} bytes"
        bench.compare(
            "script-first", "boot scripts of 10,000 nodes, each for the first time", "1000 requests", sides,
            lambda side: [*words(side), "-m", str(NODES), "-w", "0"],
            note=f"ours decides and renders each script; {note}", seconds=30,
            once=[side.name for side in sides],
        )  # fmt: skip
        bench.compare(
            "script", "boot scripts of 10,000 nodes, a connection each, again and again", "1000 requests",
            sides, words,
            note=f"ours renders a script anew where anything it rests on has changed; {note}",
        )  # fmt: skip
        _paced_row(bench, sides, targets, note)


def _paced_row(bench: Bench, sides: Sequence[Contender], targets: dict[str, Path], note: str) -> None:
    """How long an answer takes with 1,000 connections open, at a share of our limit in the row before."""
    limits = [row["medians"][sides[0].name]["rate"] for row in bench.done if row["key"] == "script"]
    if not limits:
        return
    rate = round(limits[0] * 1000 * LOAD)

    def words(side: Contender) -> list[str]:
        tool = [bench.tools["http"], "-a", SERVER, "-c", str(MANY), "-k", "-r", str(rate)]
        return [*tool, "-f", str(targets[side.name])]

    bench.compare(
        "script-1000", f"boot scripts, 1,000 connections open, {rate:,} requests a second", "1000 requests",
        sides, words, note=note, kind="latency",
    )  # fmt: skip


def meet(bench: Bench, appliance: Appliance, machines: int) -> Path:
    """Make the machines nodes and let each of them ask by DHCP, so that its boot has an attempt; a file of
    "address path" lines with the script's URL of each.
    """
    appliance.add_nodes(machines, "bench")
    appliance.stage.own_macs(machines)
    told = bench.work / f"{appliance.folder.name}-offers"
    ask = ("-m", str(machines), "-n", str(machines + 64), "-o", "32", "-t", "120", "-w", "0")
    appliance.stage.load([bench.tools["dhcp"], *ask, "-O", str(told)], timeout=180)
    lines = {}
    for line in told.read_text().splitlines():
        mac, _, file = line.partition(" ")
        number = int(mac[9:].replace(":", ""), 16)
        if number < machines and file.startswith("a/"):
            path = f"/a/{file.split('/')[1]}/boot.ipxe?{script_query(number)}"
            lines[number] = f"{machine_address(number)} {path}\n"
    target = bench.work / f"{appliance.folder.name}-targets"
    target.write_text("".join(lines[number] for number in sorted(lines)))
    return target


def _script_size(side: Contender, targets: Path) -> int:
    with targets.open() as lines:
        source, path = lines.readline().split()
    url = f"http://{SERVER}{path}"
    return len(side.stage.program(["curl", "-sS", "--fail", "--interface", source, url]).stdout)

"""TFTP: in lock-step, in windows, and over a link that loses frames."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cast import Contender

BLOCKS = (512, 1432, 1468)
CLIENTS = (1, 50, 200)
WINDOWS = (4, 16, 64)
LOSSES = (1, 5, 20)
LOSS_CLIENTS = 20
PEER_CAP = 60.0
"""Seconds after which a peer's transfer over a bad link counts as failed; a client of ours has as long."""


def rows(bench: Bench) -> None:
    """A loader of 300 kB, again and again, to 1, 50 and 200 clients; then with windows (RFC 7440)."""
    with bench.cast() as cast:
        sides = [cast.appliance(), *(cast.peer(name) for name in ("dnsmasq", "tftpd-hpa", "atftpd"))]
        sides.append(cast.appliance("uvloop"))
        bench.introduce(*sides)
        for side in sides:
            for block, window in ((512, 1), (1468, 1), (1468, 16)):
                check = words(bench, side, block, window, 10)
                bench.verify(
                    side,
                    f"TFTP {block}/{window}",
                    [*check, "-m", "20", "-w", "0"],
                    bench.files / "snponly.efi",
                )
        for block in BLOCKS:
            for clients in CLIENTS:
                bench.compare(
                    f"tftp-{block}-{clients}", f"TFTP lock-step, blksize {block}, {clients} clients",
                    "GB", sides,
                    lambda side, b=block, c=clients: words(bench, side, b, 1, c),  # type: ignore[misc]
                )  # fmt: skip
        windowed = [side for side in sides if side.name in ("atftpd", "dnsmasq") or side.appliance]
        for window in WINDOWS:
            bench.compare(
                f"tftp-window-{window}", f"TFTP windowsize {window}, blksize 1468, 50 clients",
                "GB", windowed,
                lambda side, w=window: words(bench, side, 1468, w, 50),  # type: ignore[misc]
                note="dnsmasq of Debian 12 does not know windowsize and answers in lock-step",
            )  # fmt: skip


def words(
    bench: Bench, side: Contender, block: int, window: int, clients: int, name: str = "snponly.efi"
) -> list[str]:
    """The TFTP client's command line."""
    file = name if side.appliance and name == "snponly.efi" else side.path(name)
    return [
        bench.tools["tftp"], *bench.machines(min(clients, 200)), "-b", str(block), "-W", str(window),
        "-c", str(clients), "-f", file,
    ]  # fmt: skip


def loss_rows(bench: Bench) -> None:
    """1 MiB to 20 clients at once over a link that loses 1, 5 and 20 % of the frames in each direction."""
    with bench.cast(wire=True) as cast:
        sides = [cast.appliance(), cast.peer("dnsmasq")]
        bench.introduce(*sides)
        reference = bench.files / "1m.bin"
        for side in sides:
            side.stage.loss(1)
            check = [*words(bench, side, 1468, 1, 2, "1m.bin"), "-m", "2", "-w", "0", "-g", str(PEER_CAP)]
            if side.appliance:  # a peer may not come to the end in time, which says nothing about its bytes
                bench.verify(side, "TFTP 1468 at 1 % loss", check, reference)
        for loss in LOSSES:
            for side in sides:
                side.stage.loss(loss)
            bench.compare(
                f"loss-{loss}", f"TFTP 1 MiB, blksize 1468, lock-step, {loss} % loss each way",
                "1000 requests", sides,
                lambda side: [
                    *words(bench, side, 1468, 1, LOSS_CLIENTS, "1m.bin"),
                    "-m", str(LOSS_CLIENTS), "-w", "0", "-g", str(PEER_CAP - 1),
                ],
                kind="latency", seconds=PEER_CAP, once=("dnsmasq",),
                note="the client repeats itself after 3 s, as edk2; peers run once, for at most 60 s",
            )  # fmt: skip

"""The lab by hand: `python -m pxeserver.lab machine ovmf-pxe --server 'python -m pxeserver run ...'`,
`record`, `sweep`.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pxeserver.lab.badline import Line
from pxeserver.lab.clusterplay import cluster_demo
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.netns import sweep
from pxeserver.lab.network import Lab
from pxeserver.lab.play import demo, play
from pxeserver.lab.process import LabError
from pxeserver.lab.record import record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one lab command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="pxeserver.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sweep", help="remove what a killed run of the lab left behind")
    kinds = [one.value for one in Firmware]
    play = commands.add_parser(
        "machine", help="boot machines on a private network until they are switched off or ^C"
    )
    play.add_argument("firmware", nargs="+", choices=kinds)
    play.add_argument("--server", default="", help="command line of the boot server, started at 10.77.0.2")
    play.add_argument("--no-dhcp", action="store_true", help="the plain DHCP server gives no leases")
    play.add_argument("--memory", type=int, default=1024, help="MiB for each machine")
    play.add_argument("--disk", type=int, default=0, help="an empty disk of this many MiB for each machine")
    play.add_argument(
        "--bad-line", action="store_true", help="30 ms round trip and 1 %% loss before the boot server"
    )
    play.add_argument("--work", type=Path, help="where logs and consoles go")
    take = commands.add_parser("record", help="record what firmware says into golden captures")
    take.add_argument("firmware", nargs="+", choices=kinds)
    take.add_argument(
        "--loaders", type=Path, required=True, help="folder with undionly.kpxe, snponly.efi, ipxe-arm64.efi"
    )
    take.add_argument("--out", type=Path, required=True, help="a folder for each firmware is made here")
    take.add_argument(
        "--suffix", default="", help="ends the folders' names, for another build of the loaders"
    )
    take.add_argument("--note", action="append", default=[], metavar="KEY=TEXT", help="goes into meta.json")
    try_it = commands.add_parser("try", help="the server and one machine on a private network, to play with")
    try_it.add_argument("--firmware", choices=kinds, default=Firmware.OVMF_PXE.value)
    try_it.add_argument("--disk", type=int, default=1024, help="MiB of the machine's empty disk; 0 for none")
    show = commands.add_parser("demo", help="three machines of different firmware boot while you watch")
    show.add_argument("--seconds", type=float, default=300.0, help="how long they may take")
    show.add_argument("--picture", type=Path, help="SVG file for a picture of the end")
    stand = commands.add_parser("demo-cluster", help="three empty machines become a cluster while you watch")
    stand.add_argument("--seconds", type=float, default=1200.0, help="how long they may take")
    given = parser.parse_args(arguments)
    if given.command in ("try", "demo", "demo-cluster"):
        return _show(given)
    if given.command == "sweep":
        print("\n".join(sweep()))
    elif given.command == "record":
        note = dict(one.split("=", 1) for one in given.note)
        for name in given.firmware:
            with tempfile.TemporaryDirectory(prefix="pxelab-") as work:
                print(
                    name,
                    *record(
                        Firmware(name), given.loaders, given.out / (name + given.suffix), Path(work), note
                    ),
                )
    else:
        _play(given)
    return 0


def _show(given: argparse.Namespace) -> int:
    # A terminated lab has to take its namespaces and machines with it, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.command == "demo":
            return demo(Console(), given.seconds, given.picture)
        if given.command == "demo-cluster":
            return cluster_demo(Console(), given.seconds)
        return play(Console(), Firmware(given.firmware), given.disk)
    except LabError as error:
        print(f"pxeserver.lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _play(given: argparse.Namespace) -> None:
    work = given.work or Path(tempfile.mkdtemp(prefix="pxelab-"))
    print(f"work={work}")
    with Lab(work, line=Line() if given.bad_line else None) as lab, contextlib.suppress(KeyboardInterrupt):
        lab.plain_dhcp(leases=not given.no_dhcp)
        if given.server:
            lab.start_server(shlex.split(given.server))
        shown: dict[str, int] = {}
        for kind in given.firmware:
            number = len(lab.machines) + 1
            disks = (lab.disk(f"m{number}", given.disk << 20),) if given.disk else ()
            lab.machine(Firmware(kind), memory=given.memory, disks=disks).power_on()
        while any(machine.running for machine in lab.machines):
            for machine in lab.machines:
                text = machine.console()
                sys.stdout.write(text[shown.get(machine.spec.name, 0) :])
                shown[machine.spec.name] = len(text)
            sys.stdout.flush()
            time.sleep(0.3)


if __name__ == "__main__":
    raise SystemExit(main())

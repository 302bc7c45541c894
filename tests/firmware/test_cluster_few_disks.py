"""One manager with a disk for its state and two workers: one has no disk, the clock of one starts in 2001."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pxeserver.lab.clusterplay import DISK, SPEC, ClusterPlay, ready

pytestmark = [pytest.mark.firmware, pytest.mark.long, pytest.mark.timeout(3000)]

STANDS = 1200.0
FEW = SPEC.replace("[members]", "ephemeral = true\n[members]", 1).replace("managers = 3", "managers = 1")
A_MONTH = 30 * 86400
DISKED, DISKLESS, WRONG = "n1", "n3", "n2"


@pytest.fixture(scope="module")
def play() -> Iterator[ClusterPlay]:
    """The three, switched on."""
    clock = {WRONG: ("-rtc", "base=2001-02-03T04:05:06")}
    with ClusterPlay(print, (DISK, DISK, 0), clock) as made:
        made.apply(FEW)
        for machine in made.machines.values():
            machine.power_on()
        yield made


def manager(play: ClusterPlay) -> str:
    """The only one, one of the two with a disk: whichever was there first."""
    members = play.ground.ask("cluster", "status", "demo")["nodes"]
    (name,) = (member["name"] for member in members if member["role"] == "manager")
    assert name != DISKLESS
    return str(name)


def roles(play: ClusterPlay) -> dict[str, str]:
    """What each member is in the Swarm, as its manager says."""
    words = ("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
    return {
        line.split()[0]: line.partition(" ")[2].strip()
        for line in play.on(manager(play), *words).splitlines()
    }


def test_they_stand_and_the_clock_is_right_before_trust(play: ClusterPlay) -> None:
    took = play.wait(lambda: ready(play), STANDS, "the cluster does not stand")
    print(f"the cluster stood {took:.0f} s after power-on")
    print(play.run("cluster", "status", "demo"))
    assert roles(play) == {DISKED: "Ready", WRONG: "Ready", DISKLESS: "Ready", manager(play): "Ready Leader"}
    assert "setting system clock to 2001-02-03" in play.on(WRONG, "dmesg")
    # systemd has brought it to the year of its own release before anything else began: never further.
    said = play.on(WRONG, "journalctl", "-u", "pxeserver-agent", "-o", "cat", "--no-pager")
    off = re.search(r"the clock was off by \+(\d+)", said)
    assert off is not None, said
    assert int(off[1]) > A_MONTH, off[0]
    assert int(play.on(WRONG, "date", "+%Y")) > 2025


def test_the_diskless_one_comes_back_with_nothing_and_heals(play: ClusterPlay) -> None:
    play.on(DISKED, "sh", "-c", "echo before > /srv/shared/before")
    play.machines[DISKLESS].power_off()
    play.wait(lambda: roles(play)[DISKLESS] == "Down", 200, "the loss is not seen")
    play.wait(lambda: not ready(play), 200, "its absence is not told")
    play.on(DISKED, "sh", "-c", "echo meanwhile > /srv/shared/meanwhile")
    play.machines[DISKLESS].power_on()
    play.wait(lambda: ready(play), 900, f"{DISKLESS} does not come back")
    assert play.on(DISKLESS, "cat", "/srv/shared/before", "/srv/shared/meanwhile") == "before\nmeanwhile\n"
    brick = (
        "sh",
        "-c",
        "cat /srv/brick*/*/*/before /srv/brick*/*/before /srv/brick*/before 2>/dev/null | head -1",
    )
    play.wait(lambda: "before" in play.on(DISKLESS, *brick), 300, "its brick was not healed")
    assert roles(play) == {DISKED: "Ready", WRONG: "Ready", DISKLESS: "Ready", manager(play): "Ready Leader"}

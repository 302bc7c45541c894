"""Plain Debians that have nothing of ours, and never saw the boot server, become a cluster: each is given the
line of `pxeserver node join-command`, and the packages come from Debian's own archive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from living import NAME, Living, answers, destroy, undisturbed, works

sys.path.insert(0, str(Path(__file__).parents[1] / "net"))

from debian_mirror import Mirror

from pxeserver.lab.nodes import SERVER

pytestmark = [pytest.mark.net, pytest.mark.long, pytest.mark.timeout(1800)]

NODES = ("n1", "n2", "n3")
OURS = ("dockerd", "ovs-vswitchd", "glusterd", "keepalived", "nft")
ESSENTIAL = {"e2fsprogs", "libext2fs2t64", "libss2", "logsave"}
"""Of Debian 13's own; that nothing is to remove them is the packages step's business."""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    """Three of them, switched on, with a way to Debian's archive and to the server, and to nothing else."""
    work = tmp_path_factory.mktemp("life")
    with Living(work, plain=True, suite=request.param) as living:
        mirror = Mirror(living.boot, SERVER, tmp_path_factory.mktemp("packages"))
        try:
            living.power_on()
            for name in NODES:
                proxy = f"echo '{mirror.config.strip()}' >/etc/apt/apt.conf.d/01proxy"
                living[name].run("sh", "-c", proxy)
            yield living
        finally:
            mirror.close()


@pytest.fixture(scope="module")
def before(life: Living) -> dict[str, set[str]]:
    """The packages of each before anything of ours came there."""
    return {name: packages(life, name) for name in NODES}


def packages(life: Living, name: str) -> set[str]:
    """Names of the packages that are installed."""
    rows = life[name].run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n").splitlines()
    return {row.split()[1] for row in rows if row.startswith("installed ")}


def test_nothing_of_ours_is_there(life: Living, before: dict[str, set[str]]) -> None:
    for name in NODES:
        assert (
            life[name].run("sh", "-c", "find / -xdev -name '*pxeserver*' ! -path /var/lib/pxeserver-agent")
            == ""
        )
        for program in OURS:
            assert life[name].run("sh", "-c", f"command -v {program} || echo none").strip() == "none"
        assert "python3-nacl" not in before[name]


def test_three_lines_and_one_file_make_a_cluster(life: Living, before: dict[str, set[str]]) -> None:
    begun = time.monotonic()
    for name in NODES:
        line = life.server.ask("node", "join-command", name)["line"]
        said = life[name].run("sh", "-c", line, timeout=300)
        assert f"this machine is node {name}" in said, said
    joined = time.monotonic()
    said = life.bring()
    assert "docker.io" in said
    assert "glusterfs-server" in said
    status = life.stands(1200)
    stood = time.monotonic()
    assert status["done"] == status["wanted"]
    assert life.server.get("/boots?limit=1000") == []
    print(f"\njoined in {joined - begun:.0f} s, stood {stood - joined:.0f} s after `cluster apply`")
    for node in status["nodes"]:
        spent = " ".join(f"{s['step']}={seconds(s):.1f}" for s in node["steps"])
        print(f"{node['name']}: {spent}")


def seconds(step: dict[str, str]) -> float:
    """How long a step took."""
    started, finished = (datetime.fromisoformat(step[key]).timestamp() for key in ("started", "finished"))
    return finished - started


def test_it_does_what_a_cluster_does(life: Living) -> None:
    works(life, *NODES)
    form = "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}"
    rows = life["n2"].run("docker", "node", "ls", "--format", form).splitlines()
    assert {row.split()[0] for row in rows} == set(NODES)
    assert all(row.split()[1:3] == ["Ready", "Active"] for row in rows)
    assert sorted(row.split()[3] for row in rows) == ["Leader", "Reachable", "Reachable"]
    # Across the mesh a vNet reaches its like, on the other switch nobody.
    assert reaches(life, "n1", "10.10.0.3")
    assert reaches(life, "n1", "10.30.0.2")
    assert not reaches(life, "n1", "10.30.0.2", "web")


def reaches(life: Living, name: str, address: str, interface: str = "") -> bool:
    """Whether a TCP connection to a closed port there is refused by somebody, from this interface."""
    bind = f"s.setsockopt(socket.SOL_SOCKET, 25, b'{interface}');" if interface else ""
    code = (
        f"import socket; s=socket.socket(); s.settimeout(2); {bind}"
        f"print(s.connect_ex(('{address}', 9)) == 111)"
    )
    return life[name].run("python3", "-c", code).strip() == "True"


def test_a_second_apply_changes_nothing(life: Living) -> None:
    undisturbed(life)
    said = life.bring()
    assert "nothing was changed, everything is as the file says" in said


def test_what_came_goes_again(life: Living, before: dict[str, set[str]]) -> None:
    destroy(life, 600)
    for name in NODES:
        left = packages(life, name) - before[name] - ESSENTIAL
        # The agent stays, and with it what it needs.
        assert left <= needed(life, name), left
        assert before[name] <= packages(life, name)
        assert "switch-" not in life[name].run("ip", "-br", "link")
        assert life[name].run("systemctl", "is-active", "pxeserver-agent").strip() == "active"
    assert NAME not in life.order("cluster", "list")
    assert not answers(life, f"http://{life.address('n1')}:8088/")


def needed(life: Living, name: str) -> set[str]:
    """The packages that came with the agent's own."""
    words = ("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "python3-nacl")
    return {line.split()[-1].strip("<>") for line in life[name].run(*words).splitlines()}

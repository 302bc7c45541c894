"""Where a machine stands: its default route, its name servers, and whether it keeps anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pxeserver.agent.join import place

ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth1\t00000000\t0100000A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\tFE004D0A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t00004D0A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""


def test_the_best_default_route_names_the_uplink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(ROUTES)
    card = tmp_path / "class/net/eth0"
    card.mkdir(parents=True)
    (card / "address").write_text("52:54:00:AA:00:01\n")
    (card / "mtu").write_text("9000\n")
    monkeypatch.setattr(place, "_address", {"eth0": "10.77.0.11/24", "eth1": "10.0.0.2/24"}.get)
    found = place.uplink(tmp_path, tmp_path)
    assert (found["interface"], found["address"], found["gateway"]) == (
        "eth0",
        "10.77.0.11/24",
        "10.77.0.254",
    )
    assert (found["mac"], found["mtu"]) == ("52:54:00:aa:00:01", 9000)


def test_name_servers_on_the_machine_itself_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search lan\nnameserver 127.0.0.53\nnameserver 10.77.0.2\nnameserver fe80::1\n#x\n")
    assert place.name_servers(path) == ["10.77.0.2"]
    assert place.name_servers(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("mounts", "gone"),
    [
        ("/dev/sda1 / ext4 rw 0 0", False),
        ("root / overlay rw,lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work 0 0", True),
        ("root / overlay rw,lowerdir=/base,upperdir=/var/lib/lab/n1/upper 0 0", False),
        ("root / overlay rw,upperdir=/rw/upper 0 0\n/dev/vda /var/lib/docker ext4 rw 0 0", False),
        ("/dev/sda1 / ext4 rw 0 0\ndocker /var/lib/docker tmpfs rw 0 0", True),
        ("", False),
    ],
)
def test_a_machine_whose_state_lies_in_memory_is_diskless(tmp_path: Path, mounts: str, gone: bool) -> None:
    path = tmp_path / "mounts"
    path.write_text(mounts + "\n")
    assert place.diskless(path) is gone

"""The kernel's limits against the number of machines."""

import logging
import socket
from pathlib import Path

import pytest

from pxeserver import hostlimits
from pxeserver.hostlimits import Allowed, HostLimits, check_buffers, read, wanting


def kernel(top: Path, **settings: int) -> Path:
    """A folder like /proc/sys/net."""
    places = {
        "neighbours": "ipv4/neigh/default/gc_thresh3",
        "backlog": "core/somaxconn",
        "flows": "netfilter/nf_conntrack_max",
    }
    for name, value in settings.items():
        path = top / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return top


def test_settings_are_read_and_those_that_cannot_be_seen_are_none(tmp_path: Path) -> None:
    assert read(kernel(tmp_path, neighbours=1024, backlog=4096)) == Allowed(1024, 4096, None)
    assert read(tmp_path / "nowhere") == Allowed()


@pytest.mark.parametrize(
    ("allowed", "machines", "told"),
    [
        (Allowed(1024, 4096, 262_144), 500, []),
        (Allowed(1024, 4096, 262_144), 897, ["gc_thresh3=4096`"]),
        (Allowed(1024, 4096, 262_144), 896, []),
        (Allowed(1 << 17, 4096, 262_144), 100_000, ["nf_conntrack_max=2097152`"]),
        (Allowed(1 << 17, 128, None), 100_000, ["somaxconn=4096`"]),
        (Allowed(1024, 128, 256), 128, ["nf_conntrack_max=2048`"]),
        (Allowed(), 1_000_000, []),
    ],
)
def test_what_is_too_small_for_the_machines_is_told_with_the_command(
    allowed: Allowed, machines: int, told: list[str]
) -> None:
    found = wanting(allowed, machines)
    assert len(found) == len(told)
    assert all(wanted in sentence for wanted, sentence in zip(told, found, strict=True))


def test_each_limit_is_told_once_as_machines_become_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = HostLimits(kernel(tmp_path, neighbours=1024, backlog=64))
    with caplog.at_level(logging.WARNING):
        limits.look(10)
        assert not caplog.records
        limits.look(100)
        assert [record.machines for record in caplog.records] == [100]  # type: ignore[attr-defined]
        limits.look(2000)
        limits.look(50)
        limits.look(3000)
    assert [record.machines for record in caplog.records] == [100, 2000]  # type: ignore[attr-defined]


def test_a_small_receive_buffer_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as small, socket.socket() as stream:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with caplog.at_level(logging.WARNING):
            check_buffers({"tftp": small, "http": stream})
    (record,) = caplog.records
    assert record.socket == "tftp"  # type: ignore[attr-defined]
    assert f"net.core.rmem_max={hostlimits.RECEIVE_BUFFER}" in record.getMessage()

"""Sockets are bound once, handed down by name, and a taken port names its holder."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pxeserver import sockets
from pxeserver.sockets import Holder, PortError, Want


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            PortError, match=rf"TCP port {port} \(http\) is taken by \S+ \(pid {os.getpid()}\)"
        ):
            sockets.bind(Want("http", "tcp", "127.0.0.1", port))


def test_all_faults_are_told_and_nothing_stays_bound(tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        wants = [
            Want("api", "unix", str(tmp_path / "api.sock")),
            Want("http", "tcp", "127.0.0.1", free),
            Want("a", "tcp", "127.0.0.1", one.getsockname()[1]),
            Want("b", "tcp", "127.0.0.1", two.getsockname()[1]),
        ]
        with pytest.raises(PortError) as caught:
            sockets.bind_all(wants)
    assert len(str(caught.value).splitlines()) == 2
    socket.create_server(("127.0.0.1", free)).close()
    assert not (tmp_path / "api.sock").exists()


@pytest.mark.parametrize(
    ("name", "command", "said"),
    [
        ("dnsmasq", "/usr/sbin/dnsmasq --conf-file=/var/lib/libvirt/dnsmasq/default.conf", "virsh"),
        ("dnsmasq", "/usr/sbin/dnsmasq -x /run/dnsmasq.pid", "bind-dynamic"),
        ("systemd-network", "/lib/systemd/systemd-networkd", "DHCPServer=no"),
        ("python3", "python -m pxeserver.app worker", "another pxeserver"),
        ("nginx", "nginx: master", "--http-port"),
    ],
)
def test_the_hint_fits_the_holder(name: str, command: str, said: str) -> None:
    assert said in sockets.hint(Holder(1, name, command), Want("http", "tcp", "0.0.0.0", 80))


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    want = Want("api", "unix", str(tmp_path / "api.sock"), mode=0o660)
    first = sockets.bind(want)
    assert stat.S_IMODE((tmp_path / "api.sock").stat().st_mode) == 0o660
    with pytest.raises(PortError, match="another pxeserver answers"):
        sockets.bind(want)
    first.close()
    sockets.bind(want).close()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("mine")
    with pytest.raises(PortError, match="in the way"):
        sockets.bind(Want("api", "unix", str(path)))
    assert path.read_text() == "mine"


SHOW = (
    "import os; from pxeserver import sockets;"
    " print({n: s.getsockname() for n, s in sockets.inherited(os.environ).items()})"
)


def test_a_child_finds_the_sockets_of_the_supervisor(tmp_path: Path) -> None:
    bound = {"http": sockets.bind(Want("http", "tcp", "127.0.0.1", 0))}
    listed, fds = sockets.hand_down(bound, ("http", "absent"))
    seen = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={**os.environ, sockets.ENVIRONMENT: listed},
        pass_fds=fds,
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.stdout.strip() == str({"http": bound["http"].getsockname()}), seen.stderr
    bound["http"].close()


def test_a_child_finds_the_sockets_of_systemd() -> None:
    bound = sockets.bind(Want("http", "tcp", "127.0.0.1", 0))
    # What systemd does: descriptors from 3 on, and LISTEN_PID is the process itself.
    start = f"import os; os.dup2({bound.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); {SHOW}"
    seen = subprocess.run(
        [sys.executable, "-c", start],
        env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"},
        pass_fds=(bound.fileno(),),
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.stdout.strip() == str({"http": bound.getsockname()}), seen.stderr
    bound.close()


def test_sockets_meant_for_another_process_are_not_taken() -> None:
    assert sockets.inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}) == {}

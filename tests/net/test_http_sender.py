"""Who sends a request, by the kernel's neighbour table: on real links."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest

from pxeserver.lab.netns import Namespace, connect
from pxeserver.neighbour import neighbour_mac

pytestmark = pytest.mark.net


def test_the_mac_of_a_client_is_seen_while_it_talks_to_us() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    with ExitStack() as stack:
        server, client = (stack.enter_context(Namespace(f"pxs-{os.getpid()}-{n}")) for n in ("srv", "cli"))
        connect(server, "eth0", client, "eth0")
        for space, address in ((server, "10.0.0.1/24"), (client, "10.0.0.2/24")):
            space.ip("addr", "add", address, "dev", "eth0")
            space.ip("link", "set", "eth0", "up")
        client.ip("link", "set", "eth0", "address", "52:54:00:77:00:01")
        assert server.call(lambda: neighbour_mac("eth0", "10.0.0.2")) is None
        listening = stack.enter_context(server.call(lambda: socket.create_server(("10.0.0.1", 80))))
        talking = client.call(lambda: socket.create_connection(("10.0.0.1", 80), 10))
        with talking, listening.accept()[0]:
            assert server.call(lambda: neighbour_mac("eth0", "10.0.0.2")) == "52:54:00:77:00:01"
        assert server.call(lambda: neighbour_mac("eth9", "10.0.0.2")) is None
        assert server.call(lambda: neighbour_mac("eth0", "10.0.0.1")) is None

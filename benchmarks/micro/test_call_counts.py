"""What the hot paths cost in calls of Python functions. Seconds are noise on a busy machine; calls are not.

A limit is what it took when the limit was set, with a tenth to spare. Who makes a path dearer on purpose
raises its limit and says why in the commit.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.decide import ATTEMPT, SERVER, catalog, machine, nodes
from benchmarks.micro.told import event_sent, event_stored, event_taken, log_line
from benchmarks.micro.world import dhcp_server, discover, python_calls
from pxeserver.boot import decision
from pxeserver.boot.catalog import NodeTable
from pxeserver.protocols.tftp.negotiation import negotiate
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.servers.dhcp_repeats import PER_SECOND
from pxeserver.servers.http_target import route

FEW, MANY = 10, 20_000
LIMITS = {
    "offer": 124,
    "short offer": 90,
    "repeated offer": 10,
    "script": 68,
    "tftp block": 7,
    "tftp window": 7,
    "http route": 12,
    "log line": 27,
    "event sent": 7,
    "event taken": 2,
    "event stored": 58,
}


def offer(count: int) -> int:
    """Calls from a DISCOVER's bytes to its answer's, for a machine that has asked before."""
    server, asked = dhcp_server(count), discover(3)
    assert server.answer(asked)
    return python_calls(lambda: server.answer(asked))


def short_offer(count: int) -> int:
    """The same on the short way, for a boot that has not asked before."""
    server, machines = dhcp_server(count), [discover(number) for number in range(3)]
    for asked in machines[:2]:  # the form of the first is learnt; the answer to the second is encoded once
        assert server.answer(asked)
        server._offers.begin()
        assert server._offers.answer(asked.data, asked.ifindex)
    asked = machines[2]
    return python_calls(lambda: server._offers.answer(asked.data, asked.ifindex))


def repeated_offer(count: int) -> int:
    """The same for a boot that has asked before."""
    server, asked = dhcp_server(count), discover(3)
    assert server.answer(asked)
    server._offers.begin()
    for _ in range(1 + PER_SECOND):  # what is told of at once is told; then repetitions wait
        assert server._offers.answer(asked.data, asked.ifindex)
    return python_calls(lambda: server._offers.answer(asked.data, asked.ifindex))


def script(count: int) -> int:
    """Calls for a node's script in a process that has made another's before (its caches are filled)."""
    table, chosen = NodeTable(nodes(count)), catalog()

    def answer(number: int) -> object:
        return decision.boot_script(machine(number, ipxe=True), ATTEMPT, f"http://{SERVER}", chosen, table)

    answer(4)
    asked = machine(3, ipxe=True)
    return python_calls(lambda: decision.boot_script(asked, ATTEMPT, f"http://{SERVER}", chosen, table))


def tftp_acknowledgement(window: int) -> int:
    """Calls from an ACK to the blocks that answer it."""
    options = (("blksize", "1468"), ("windowsize", str(window)))
    transfer = Transfer(bytes(1 << 20), negotiate(options, 1 << 20, blksize_limit=1468), 0.0)
    transfer.packets_to_send()
    for number in range(2):  # of the OACK, and of the first window
        transfer.receive(b"\0\4" + (number * window).to_bytes(2, "big"), 0.0)
        assert len(transfer.packets_to_send()) == window

    def step() -> None:
        transfer.receive(b"\0\4" + (2 * window).to_bytes(2, "big"), 0.0)
        assert len(transfer.packets_to_send()) == window

    return python_calls(step)


PATHS: dict[str, Callable[[], int]] = {
    "offer": lambda: offer(FEW),
    "short offer": lambda: short_offer(FEW),
    "repeated offer": lambda: repeated_offer(FEW),
    "script": lambda: script(FEW),
    "tftp block": lambda: tftp_acknowledgement(1),
    "tftp window": lambda: tftp_acknowledgement(16),
    "log line": log_line,
    "event sent": event_sent,
    "event taken": event_taken,
    "event stored": lambda: event_stored(FEW),
    "http route": lambda: python_calls(lambda: route(f"/a/{ATTEMPT}/f/debian/vmlinuz")),
}


@pytest.mark.parametrize("path", PATHS)
def test_no_hot_path_has_become_dearer(path: str) -> None:
    calls = PATHS[path]()
    assert calls <= LIMITS[path], f"{path}: {calls} calls, allowed are {LIMITS[path]}"


@pytest.mark.parametrize("cost", [offer, short_offer, repeated_offer, script])
def test_the_number_of_nodes_does_not_matter(cost: Callable[[int], int]) -> None:
    cost(FEW)  # what a process keeps is filled
    assert cost(MANY) == cost(FEW)


def test_an_event_of_one_node_costs_the_same_with_many() -> None:
    assert event_stored(2000) <= event_stored(FEW) * 1.05


def test_a_window_costs_less_than_its_blocks_one_by_one() -> None:
    assert tftp_acknowledgement(16) < 16 * tftp_acknowledgement(1) / 2


def test_the_counter_counts() -> None:
    def callee() -> None:
        pass

    def caller() -> None:
        callee()
        callee()

    assert python_calls(caller) == 2

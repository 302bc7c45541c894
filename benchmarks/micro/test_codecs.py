"""pytest-benchmark cases of codecs, decisions and scripts: `pytest benchmarks/micro --benchmark-only`."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.decide import ATTEMPT, SERVER, catalog, machine, nodes
from benchmarks.micro.world import dhcp_server, discover
from pxeserver.boot import decision
from pxeserver.boot.catalog import NodeTable
from pxeserver.protocols.dhcp import packet as dhcp_packet
from pxeserver.protocols.dhcp.pxe import classify
from pxeserver.protocols.tftp import packet as tftp_packet
from pxeserver.protocols.tftp.negotiation import negotiate
from pxeserver.protocols.tftp.transfer import Transfer
from pxeserver.servers.http_target import route

REQUEST = b"\0\1a/abcdefghij/snponly.efi\0octet\0tsize\0000\0blksize\0001468\0windowsize\0004\0"
TABLE = NodeTable(nodes(1000))
CATALOG = catalog()


def test_dhcp_decode(benchmark: BenchmarkFixture) -> None:
    assert benchmark(dhcp_packet.decode, discover(1).data).op == 1


def test_dhcp_encode(benchmark: BenchmarkFixture) -> None:
    packet = dhcp_packet.decode(discover(1).data)
    assert dhcp_packet.decode(benchmark(dhcp_packet.encode, packet)).xid == packet.xid


def test_dhcp_classify(benchmark: BenchmarkFixture) -> None:
    packet = dhcp_packet.decode(discover(1).data)
    assert benchmark(classify, packet)


@pytest.mark.parametrize("ipxe", [False, True], ids=["firmware", "ipxe"])
def test_offer_from_datagram_to_answer(benchmark: BenchmarkFixture, *, ipxe: bool) -> None:
    server, asked = dhcp_server(1000), discover(5, ipxe=ipxe)
    assert benchmark(server.answer, asked)


def test_tftp_request(benchmark: BenchmarkFixture) -> None:
    assert benchmark(tftp_packet.decode, REQUEST)


def test_tftp_negotiate(benchmark: BenchmarkFixture) -> None:
    options = (("tsize", "0"), ("blksize", "1468"), ("windowsize", "4"))
    assert benchmark(negotiate, options, 300_000, blksize_limit=1468).windowsize == 4


@pytest.mark.parametrize("window", [1, 16])
def test_tftp_transfer_of_300_kb(benchmark: BenchmarkFixture, window: int) -> None:
    content = bytes(300_000)
    options = (("blksize", "1468"), ("windowsize", str(window)))
    agreement = negotiate(options, len(content), blksize_limit=1468)

    def transfer() -> Transfer:
        made = Transfer(content, agreement, 0.0)
        made.packets_to_send()
        block, last = 0, len(content) // 1468 + 1
        while not made.done:
            made.receive(b"\0\4" + block.to_bytes(2, "big"), 0.0)
            made.packets_to_send()
            block = min(block + window, last)
        return made

    assert benchmark(transfer).confirmed


def test_decision(benchmark: BenchmarkFixture) -> None:
    asked = machine(5, ipxe=False)
    assert isinstance(benchmark(decision.offer, asked, CATALOG, TABLE, SERVER, ATTEMPT), decision.Offer)


def test_script(benchmark: BenchmarkFixture) -> None:
    asked = machine(5, ipxe=True)
    told = benchmark(decision.boot_script, asked, ATTEMPT, f"http://{SERVER}", CATALOG, TABLE)
    assert isinstance(told, decision.ScriptChoice)
    assert "vmlinuz" in told.text


def test_http_route(benchmark: BenchmarkFixture) -> None:
    assert benchmark(route, f"/a/{ATTEMPT}/f/debian/vmlinuz")

"""ProxyDHCP: what every kind of client is offered, where the answer goes, and every silence with its
reason."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
import seeds
from dhcp_world import HOST_MAC, FakePlane, broadcast, make_server, unicast

from pxeserver.boot.model import DhcpMode, Ignore, Node, Reason, Site, Subnet
from pxeserver.protocols.dhcp.options import packed
from pxeserver.protocols.dhcp.packet import Packet, decode
from pxeserver.servers.dhcp import DhcpServer
from pxeserver.servers.dhcp_client import Answer
from pxeserver.servers.udp import MAX_DATAGRAM, Datagram

MAC = "52:54:00:77:00:01"


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane(relays=("10.9.0.0/24", "10.10.0.1"), http_port=8080)


@pytest.fixture
def server(plane: FakePlane) -> Iterator[DhcpServer]:
    made = make_server(plane)
    yield made
    made._dhcp.stop()
    made._boot.stop()


def answered(server: DhcpServer, datagram: Datagram, *, boot_port: bool = False) -> tuple[Answer, Packet]:
    answer = server.answer(datagram, boot_port=boot_port)
    assert isinstance(answer, Answer), answer
    return answer, decode(answer.data)


def silence(server: DhcpServer, datagram: Datagram, *, boot_port: bool = False) -> Reason:
    answer = server.answer(datagram, boot_port=boot_port)
    assert isinstance(answer, Ignore), answer
    return answer.reason


# seed: the file or URL it is told, and the vendor class of the answer
OFFERS = {
    "ipxe-bios-rom": ("http://10.77.0.2:8080/a/attemptaaa/boot.ipxe", b"PXEClient"),
    "undionly": ("http://10.77.0.2:8080/a/attemptaaa/boot.ipxe", b"PXEClient"),
    "snponly-x64": ("http://10.77.0.2:8080/a/attemptaaa/boot.ipxe", b"PXEClient"),
    "ipxe-arm64": ("http://10.77.0.2:8080/a/attemptaaa/boot.ipxe", b"PXEClient"),
    "ovmf-pxe-x64": ("a/attemptaaa/snponly.efi", b"PXEClient"),
    "aavmf-pxe-arm64": ("a/attemptaaa/ipxe-arm64.efi", b"PXEClient"),
    "ovmf-http-x64": ("http://10.77.0.2:8080/a/attemptaaa/snponly.efi", b"HTTPClient"),
    "aavmf-http-arm64": ("http://10.77.0.2:8080/a/attemptaaa/ipxe-arm64.efi", b"HTTPClient"),
    "old-rom": ("a/attemptaaa/undionly.kpxe", b"PXEClient"),
    "overloaded": ("a/attemptaaa/snponly.efi", b"PXEClient"),
}


@pytest.mark.parametrize("name", OFFERS)
def test_one_offer_for_every_client(name: str, server: DhcpServer, plane: FakePlane) -> None:
    answer, reply = answered(server, broadcast(seeds.DISCOVERS[name]))
    file, vendor_class = OFFERS[name]
    assert (answer.to, answer.ifindex, answer.source) == (("255.255.255.255", 68), 2, "10.77.0.2")
    assert (reply.op, reply.xid, reply.chaddr[:6]) == (2, seeds.XID, seeds.MAC)
    assert (reply.yiaddr, reply.ciaddr, reply.siaddr) == (bytes(4), bytes(4), packed("10.77.0.2"))
    assert reply.boot_file.decode() == file
    assert reply.options[53] == b"\x02"
    assert reply.options[54] == packed("10.77.0.2")
    assert reply.options[60] == vendor_class
    assert reply.options.get(43) == (b"\x06\x01\x08\xff" if vendor_class == b"PXEClient" else None)
    assert reply.options[97] == seeds.guid()[2:]
    assert not {1, 3, 6, 51} & set(reply.options)
    assert 300 <= len(answer.data) <= 548
    assert plane.steps() == ["discovered", "offered"]
    assert plane.events[1].detail["file"] == file


def test_a_reply_repeats_nothing_of_the_client_but_its_uuid(server: DhcpServer) -> None:
    evil = b"<script>$(reboot)\n"
    wire = seeds.edk2(7, sname=evil, file=evil, end=seeds.opt(12, evil) + seeds.opt(61, evil) + b"\xff")
    answer, _ = answered(server, broadcast(wire))
    assert evil not in answer.data


def test_no_uuid_in_no_uuid_out(server: DhcpServer) -> None:
    _, reply = answered(server, broadcast(seeds.DISCOVERS["userclass-list"]))
    assert 97 not in reply.options


def test_a_boot_request_is_answered_where_it_came_from(server: DhcpServer, plane: FakePlane) -> None:
    answered(server, broadcast(seeds.DISCOVERS["ovmf-pxe-x64"]))
    request = seeds.OTHERS["boot-request"]
    answer, reply = answered(server, unicast(request, "10.77.0.50", 4011), boot_port=True)
    assert answer.to == ("10.77.0.50", 4011)
    assert reply.options[53] == b"\x05"
    assert reply.ciaddr == packed("10.77.0.50")
    assert reply.boot_file == b"a/attemptaaa/snponly.efi"
    attempt = plane.attempts.by_address("10.77.0.50")
    assert attempt is not None
    assert attempt.mac == MAC
    assert plane.steps() == ["discovered", "offered", "boot-requested"]


def test_a_menu_request_gets_its_item_back(server: DhcpServer) -> None:
    menu = unicast(seeds.OTHERS["menu-request"], "10.77.0.50")
    answer, reply = answered(server, menu, boot_port=True)
    assert answer.to == ("10.77.0.50", 68)
    assert reply.xid == 0
    assert reply.options[43] == b"\x06\x01\x08\x47\x04\x80\0\0\0\xff"


def test_a_request_to_another_server_is_left_alone_but_tells_the_address(
    server: DhcpServer, plane: FakePlane
) -> None:
    answered(server, broadcast(seeds.DISCOVERS["ovmf-pxe-x64"]))
    more = seeds.opt(50, packed("10.77.0.51")) + seeds.opt(54, packed("10.77.0.1")) + b"\xff"
    assert silence(server, broadcast(seeds.edk2(7, message_type=3, end=more))) is Reason.OTHER_SERVER
    assert plane.attempts.by_address("10.77.0.51") is plane.attempts.by_mac(MAC)


def test_a_boot_request_on_67_is_answered_but_not_one_for_an_address(server: DhcpServer) -> None:
    """A DHCP server on this host has our identifier: a REQUEST for an address is meant for that one."""
    end = seeds.opt(54, packed("10.77.0.2")) + b"\xff"
    _, reply = answered(server, broadcast(seeds.edk2(7, message_type=3, ciaddr="10.77.0.50", end=end)))
    assert reply.options[53] == b"\x05"
    selecting = broadcast(seeds.edk2(7, message_type=3, end=seeds.opt(50, packed("10.77.0.50")) + end))
    assert silence(server, selecting) is Reason.OTHER_SERVER


@pytest.mark.parametrize("boot_port", [False, True])
def test_inform_of_a_boot_client(server: DhcpServer, boot_port: bool) -> None:
    wire = seeds.edk2(7, message_type=8, ciaddr="10.77.0.50")
    answer, reply = answered(server, unicast(wire, "10.77.0.50", 2068), boot_port=boot_port)
    assert answer.to == ("10.77.0.50", 2068 if boot_port else 68)
    assert reply.options[53] == b"\x05"
    assert reply.yiaddr == bytes(4)


def test_the_address_of_the_link_is_used(server: DhcpServer) -> None:
    answer, reply = answered(server, broadcast(seeds.DISCOVERS["ovmf-pxe-x64"], ifindex=3))
    assert (answer.ifindex, answer.source, reply.options[54]) == (3, "10.88.0.1", packed("10.88.0.1"))
    second = seeds.edk2(7, message_type=8, ciaddr="10.89.0.7")
    answer, _ = answered(server, broadcast(second, ifindex=3))
    assert answer.source == "10.89.0.1"


def test_relayed(plane: FakePlane, server: DhcpServer) -> None:
    plane.set_policy(subnets=(Subnet("10.9.0.0/24", server="10.77.0.3"),))
    wire = seeds.edk2(7, giaddr="10.9.0.1", hops=1, end=seeds.opt(82, b"\x01\x04eth0") + b"\xff")
    answer, reply = answered(server, unicast(wire, "10.9.0.1", 67))
    assert answer.to == ("10.9.0.1", 67)
    assert answer.ifindex == 0
    assert (reply.giaddr, reply.siaddr) == (packed("10.9.0.1"), packed("10.77.0.3"))
    assert list(reply.options)[-1] == 82, "RFC 3046 section 2.2: the relay's option comes last"
    assert plane.attempts.by_mac(MAC).machine.subnet == "10.9.0.0/24"  # type: ignore[union-attr]


def test_relayed_without_a_configured_subnet_uses_the_route(server: DhcpServer) -> None:
    server.links()._route = lambda address: "10.88.0.1" if address == "10.10.0.1" else None
    answer, reply = answered(server, unicast(seeds.edk2(7, giaddr="10.10.0.1"), "10.10.0.1", 67))
    assert (answer.source, reply.siaddr) == ("10.88.0.1", packed("10.88.0.1"))
    no_route = unicast(seeds.edk2(7, giaddr="10.9.0.1"), "10.9.0.1", 67)
    assert silence(server, no_route) is Reason.NO_ADDRESS_ON_LINK


def test_a_long_url_moves_to_option_67(server: DhcpServer, plane: FakePlane) -> None:
    plane.attempts._new_id = lambda: "a" * 110
    _, reply = answered(server, broadcast(seeds.DISCOVERS["ovmf-http-x64"]))
    assert reply.file == b""
    assert reply.options[67].startswith(b"http://10.77.0.2:8080/a/aaa")


SILENCES = {
    "malformed": (broadcast(seeds.edk2(7)[:-1]), Reason.MALFORMED),
    "bootp": (broadcast(seeds.message(cookie=bytes(4))), Reason.MALFORMED),
    "a reply": (broadcast(seeds.edk2(7, op=2)), Reason.NOT_A_REQUEST),
    "laptop": (broadcast(seeds.OTHERS["laptop"]), Reason.NOT_PXE),
    "phone": (broadcast(seeds.OTHERS["phone"]), Reason.NOT_PXE),
    "renewal of a laptop": (unicast(seeds.OTHERS["renewal"], "10.77.0.50"), Reason.NOT_PXE),
    "interface not served": (broadcast(seeds.edk2(7), ifindex=9), Reason.NOT_SERVED_HERE),
    "link without address": (broadcast(seeds.edk2(7), ifindex=4), Reason.NO_ADDRESS_ON_LINK),
    "relay not on the list": (
        unicast(seeds.edk2(7, giaddr="10.10.0.2"), "10.10.0.2", 67), Reason.RELAY_NOT_ALLOWED,
    ),
    "giaddr of nobody": (broadcast(seeds.edk2(7, giaddr="255.255.255.255")), Reason.RELAY_NOT_ALLOWED),
    "no server named": (broadcast(seeds.edk2(7, message_type=3)), Reason.OTHER_SERVER),
    "decline": (broadcast(seeds.edk2(7, message_type=4)), Reason.OTHER_MESSAGE),
    "release": (
        unicast(seeds.edk2(7, message_type=7, ciaddr="10.77.0.50"), "10.77.0.50"), Reason.OTHER_MESSAGE,
    ),
    "offer as a request": (broadcast(seeds.edk2(7, message_type=2)), Reason.OTHER_MESSAGE),
    "no loader": (broadcast(seeds.edk2(27)), Reason.NO_LOADER),
    "no architecture": (
        broadcast(seeds.message(seeds.opt(53, b"\x01"), seeds.opt(60, b"PXEClient"))), Reason.NO_ARCHITECTURE,
    ),
    "our own probe": (
        broadcast(seeds.edk2(7, mac=bytes.fromhex(HOST_MAC.replace(":", "")))), Reason.OWN_PROBE,
    ),
    "unicast from nowhere": (unicast(seeds.edk2(7), "192.0.2.9"), Reason.NOT_SERVED_HERE),
}  # fmt: skip


@pytest.mark.parametrize(("datagram", "reason"), SILENCES.values(), ids=SILENCES)
def test_every_silence_has_its_reason(server: DhcpServer, datagram: Datagram, reason: Reason) -> None:
    assert silence(server, datagram) is reason


def test_the_boot_port_answers_nobody_outside(server: DhcpServer) -> None:
    wire = seeds.OTHERS["boot-request"]
    assert silence(server, unicast(wire, "192.0.2.9", 4011), boot_port=True) is Reason.NOT_SERVED_HERE
    spoofed = Datagram(wire, ("192.0.2.9", 53), 2, "255.255.255.255")
    assert silence(server, spoofed, boot_port=True) is Reason.NOT_SERVED_HERE
    more = seeds.opt(54, packed("10.77.0.1")) + b"\xff"
    other = unicast(seeds.edk2(7, message_type=3, end=more), "10.77.0.50", 4011)
    assert silence(server, other, boot_port=True) is Reason.OTHER_SERVER


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"unknown": "ignore"}, Reason.POLICY_IGNORE),
        ({"unknown": "observe"}, Reason.POLICY_OBSERVE),
        ({"dry_run": True}, Reason.DRY_RUN),
        ({"subnets": (Subnet("10.77.0.0/24", DhcpMode.OFF),)}, Reason.DHCP_OFF),
    ],
)
def test_policies_of_silence(
    server: DhcpServer, plane: FakePlane, policy: dict[str, object], reason: Reason
) -> None:
    plane.set_policy(**policy)
    assert silence(server, broadcast(seeds.edk2(7))) is reason
    if reason is not Reason.DHCP_OFF:
        assert plane.steps() == ["discovered", "ignored"]
        assert plane.events[1].detail["reason"] == reason.value


def test_a_conflict_of_identities_is_answered_so_that_the_screen_can_tell(
    plane: FakePlane, server: DhcpServer
) -> None:
    for number in (1, 2):
        plane.nodes().put(Node(number, f"node{number}", uuid=seeds.UUID))
    answered(server, broadcast(seeds.edk2(7)))
    assert "claimed by" in str(plane.events[-1].detail["why"])
    assert plane.events[-1].node_id is None


def test_events_name_the_node(plane: FakePlane, server: DhcpServer) -> None:
    plane.nodes().put(Node(7, "web1", uuid=seeds.UUID))
    answered(server, broadcast(seeds.edk2(7)))
    assert plane.events[-1].node_id == 7


def test_silences_reach_the_counter(server: DhcpServer, plane: FakePlane) -> None:
    server._on_dhcp(broadcast(seeds.OTHERS["laptop"]))
    server._on_boot(unicast(seeds.OTHERS["laptop"], "10.77.0.50"))
    server._on_dhcp(broadcast(b"noise"))
    assert plane.reasons() == {Reason.NOT_PXE: 2, Reason.MALFORMED: 1}


def test_datagrams_that_are_too_long_and_answers_that_the_kernel_refuses_are_counted(
    server: DhcpServer, plane: FakePlane
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for endpoint in (server._dhcp, server._boot):
            client.sendto(seeds.edk2(7).ljust(MAX_DATAGRAM + 1, b"\0"), ("127.0.0.1", endpoint.port))
            endpoint.read()
    assert plane.reasons() == {Reason.MALFORMED: 2}
    plane.silences.clear()
    # There are no such interfaces and addresses here.
    server._on_dhcp(broadcast(seeds.edk2(7)))
    server._on_boot(unicast(seeds.OTHERS["boot-request"], "10.77.0.50"))
    assert plane.reasons() == {Reason.NOT_SENT: 2}


def test_a_link_change_is_seen_with_the_next_packet(server: DhcpServer, plane: FakePlane) -> None:
    answered(server, broadcast(seeds.edk2(7)))
    moved = replace(plane.site().interfaces[0], networks=("10.78.0.5/24",))
    plane._site = Site((moved,))
    answer, _ = answered(server, broadcast(seeds.edk2(7)))
    assert answer.source == "10.78.0.5"


def test_one_boot_is_one_attempt_and_the_next_is_another(server: DhcpServer, plane: FakePlane) -> None:
    for wire in (seeds.edk2(7), seeds.edk2(7), seeds.DISCOVERS["snponly-x64"]):
        answered(server, broadcast(wire))
    assert len(plane.attempts) == 1
    plane.time += 1000
    _, reply = answered(server, broadcast(seeds.edk2(7)))
    assert len(plane.attempts) == 2
    assert b"attemptbaa" in reply.boot_file

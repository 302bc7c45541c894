"""The short way and the long way, side by side: whatever comes in, both give the same bytes, the same
timeline, the same counts, and leave the same attempts behind."""

from __future__ import annotations

import itertools
import logging
import random
from base64 import b32encode
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import seeds
from dhcp_mutants import mutants
from dhcp_world import LOADERS, MENU, SITE, FakePlane, broadcast, make_server

from pxeserver.boot.attempts import Attempts, Stage
from pxeserver.boot.model import (
    BootOnce,
    DhcpMode,
    FileRef,
    Group,
    Loader,
    Node,
    NodeState,
    Phase,
    Profile,
    ProfileKind,
    SelectorKind,
    Site,
    Subnet,
)
from pxeserver.protocols.dhcp.forms import MAX_CUTS, MAX_FORMS, Forms
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import PxeRequest, classify
from pxeserver.servers import dhcp_repeats
from pxeserver.servers.dhcp import DhcpServer
from pxeserver.servers.dhcp_client import TO_ALL, Answer
from pxeserver.servers.udp import Datagram

LONG_NAME = "x" * 120 + ".efi"


def new_plane() -> FakePlane:
    plane = FakePlane(relays=("10.9.0.0/24",))
    numbers = itertools.count(1)
    plane.attempts = Attempts(
        lambda: b32encode((next(numbers) << 6).to_bytes(7, "big")).decode().lower()[:10], 30
    )
    plane.configuration = replace(
        plane.configuration,
        profiles={"menu": MENU, "disk": Profile("disk", ProfileKind.LOCAL)},
        groups=(Group("long", SelectorKind.MAC_PREFIX, "52:54:00:99", {"loader": LONG_NAME}),),
        loaders={**LOADERS, 6: Loader(6, FileRef(LONG_NAME, "1" * 64, 1, "loader"))},
    )
    return plane


class Pair:
    """The same world twice; `short` has the short way before its long one."""

    def __init__(self) -> None:
        self.worlds = [new_plane(), new_plane()]
        self.servers = [make_server(plane) for plane in self.worlds]  # type: ignore[arg-type]
        self.short = 0

    def close(self) -> None:
        for server in self.servers:
            server._dhcp.stop()
            server._boot.stop()

    def each(self, change: Callable[[FakePlane], object]) -> None:
        for plane in self.worlds:
            change(plane)

    def ask(self, datagram: Datagram) -> None:
        """The same datagram for both; everything that comes of it is compared."""
        long = long_way(self.servers[0], datagram)
        server = self.servers[1]
        offers = server._offers
        offers.begin()
        short = offers.answer(datagram.data, datagram.ifindex)
        if short is None:
            answer = long_way(server, datagram)
        else:
            self.short += 1
            answer = (short, TO_ALL, offers.infos[datagram.ifindex]) if short else None
        if answer is not None and answer[2] != long[2]:  # type: ignore[index]
            assert answer[2][:8] == long[2][:8]  # type: ignore[index]
        assert answer == long
        a, b = self.worlds
        assert a.events == b.events
        assert a.silences == b.silences
        assert [told(x) for x in a.attempts] == [told(x) for x in b.attempts]
        self.each(lambda plane: (plane.events.clear(), plane.silences.clear()))


def told(attempt: object) -> list[object]:
    names = ("id", "mac", "machine", "started", "last", "address", "node_id", "stage", "counters")
    return [getattr(attempt, name) for name in names]


def long_way(server: DhcpServer, datagram: Datagram) -> tuple[bytes, tuple[str, int], bytes] | None:
    answer = server.answer(datagram)
    if isinstance(answer, Answer):
        from pxeserver.servers.udp_vectors import pktinfo

        return answer.data, answer.to, pktinfo(answer.ifindex, answer.source)
    if answer is not None:
        server._plane.ignored(answer)
    return None


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    logging.getLogger("pxeserver").setLevel(logging.WARNING)
    monkeypatch.setattr(dhcp_repeats, "PER_SECOND", 10**9)
    made = Pair()
    yield made
    made.close()


def machine(number: int) -> tuple[bytes, str]:
    """MAC address and UUID of one of a few machines; some have a placeholder for a UUID."""
    uuid = "03000200-0400-0500-0006-000700080009" if number % 5 == 4 else seeds.UUID[:-2] + f"{number:02x}"
    return bytes((0x52, 0x54, 0, 0x99 if number == 3 else 0x77, 0, number)), uuid


def requests() -> list[bytes]:
    """DISCOVERs of several machines of several firmwares, and some other messages."""
    found: list[bytes] = []
    for number in range(8):
        mac, uuid = machine(number)
        for name in ("ovmf-pxe-x64", "ovmf-http-x64", "snponly-x64", "old-rom", "relayed", "overloaded"):
            plain = seeds.DISCOVERS[name]
            own = plain[:28] + mac + plain[34:]
            own = own.replace(seeds.guid(), seeds.guid(uuid)).replace(b"\x01" + seeds.MAC, b"\x01" + mac)
            found.append(own)
    found *= 3
    found += [seeds.edk2(6, mac=machine(1)[0]), seeds.edk2(27), *seeds.OTHERS.values()]
    return found


def events_of_the_world(pair: Pair, dice: random.Random) -> None:
    """Something else happens: time, nodes, states, the catalog, links, the progress of a boot."""
    number = dice.randrange(8)
    mac, uuid = machine(number)
    text = mac.hex(":")
    match dice.randrange(26):
        case 0 | 1 | 2 | 14 | 15 | 16 | 17:
            seconds = dice.choice((0.1, 1, 4, 91, 1000))
            pair.each(lambda p: setattr(p, "time", p.time + seconds))
        case 3:
            pair.each(lambda p: p.nodes().put(Node(number + 1, f"n{number}", uuid=uuid, macs=(text,))))
        case 4:
            node = Node(
                number + 1, f"n{number}", macs=(text,), values={"profile": "disk"},
                hold=dice.choice(("", "x")), order=1, boot_once=BootOnce(2, "menu"),
            )  # fmt: skip
            pair.each(lambda p: p.nodes().put(node))
        case 5:
            pair.each(lambda p: p.nodes().remove(number + 1))
        case 6:
            pair.each(lambda p: p.nodes().put(Node(90 + number, f"twin{number}", uuid=uuid)))
            if dice.random() < 0.7:
                pair.each(lambda p: p.nodes().remove(90 + number))
        case 7:
            phase, once = dice.choice(list(Phase)), dice.random() < 0.5

            def install(p: FakePlane) -> None:
                attempt = p.attempts.by_mac(text)
                name = attempt.id if attempt else ""
                p.nodes().put_state(NodeState(number + 1, phase, 1, attempt=name, once_attempt=name * once))

            pair.each(install)
        case 8 | 18 | 19 | 20 | 21 | 22 | 23 | 24 | 25:
            pair.each(lambda p: p.set_policy(unknown="menu", dry_run=False, subnets=()))
        case 9:
            unknown, dry = dice.choice(("menu", "ignore", "observe")), dice.random() < 0.2
            pair.each(lambda p: p.set_policy(unknown=unknown, dry_run=dry))
        case 10:
            modes = [DhcpMode.PROXY, DhcpMode.PROXY, DhcpMode.OFF]
            subnets = (Subnet("10.77.0.0/24", dice.choice(modes)),)
            pair.each(lambda p: p.set_policy(subnets=subnets))
        case 11:
            networks = (dice.choice(("10.77.0.2/24", "10.77.0.3/24")),)
            moved = Site((replace(SITE.interfaces[0], networks=networks), *SITE.interfaces[1:]))
            pair.each(lambda p: setattr(p, "_site", moved))
        case 12:
            stage = dice.choice(list(Stage))
            for p in pair.worlds:
                if (attempt := p.attempts.by_mac(text)) is not None:
                    p.attempts.reach(attempt, stage, p.time)
        case _:
            for p in pair.worlds:
                if (attempt := p.attempts.by_mac(text)) is not None:
                    p.attempts.learn(attempt.id, replace(attempt.machine, serial=f"S{number}", macs=(text,)))


def drive(pair: Pair, rounds: int, seed: int) -> None:
    """Requests of a few machines, each often repeated; now and then something happens between."""
    dice = random.Random(seed)
    known = requests()
    damaged = mutants(known, rounds, seed)
    last, ifindex = known[0], 2
    for _ in range(rounds):
        chance = dice.random()
        if chance < 0.04:
            events_of_the_world(pair, dice)
        elif chance > 0.75:
            last, ifindex = (
                next(damaged) if chance > 0.9 else dice.choice(known),
                dice.choice((2, 2, 2, 3, 4)),
            )
        if len(last) > 12:
            last = last[:4] + dice.randbytes(4) + bytes((0, dice.randrange(9))) + last[10:]
        pair.ask(broadcast(last, ifindex=ifindex))


def test_both_ways_agree(pair: Pair) -> None:
    drive(pair, 6_000, seed=1)
    assert 1_500 < pair.short < 5_000  # both ways are well visited


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_both_ways_agree_for_hundreds_of_thousands(pair: Pair, seed: int) -> None:
    drive(pair, 120_000, seed)


def test_a_plain_discover_takes_the_short_way_from_the_second_of_its_form_on(pair: Pair) -> None:
    for number in range(8):
        mac, uuid = machine(number)
        data = seeds.DISCOVERS["snponly-x64"].replace(seeds.guid(), seeds.guid(uuid)).replace(seeds.MAC, mac)
        pair.ask(broadcast(data))
    assert pair.short == 7
    for _ in range(2):
        pair.ask(broadcast(seeds.DISCOVERS["relayed"]))
        pair.ask(broadcast(seeds.OTHERS["request"]))
    assert pair.short == 7


def test_repetitions_of_a_storm_are_told_together_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dhcp_repeats, "PER_SECOND", 10)
    plane = new_plane()
    plane.attempts = Attempts(plane.attempts._new_id)
    server = make_server(plane)
    offers = server._offers
    known = [seeds.edk2(7, mac=bytes((2, 0, 0, 0, 0, n))) for n in range(50)]
    for round_number in range(4):
        plane.time += 0.01
        for data in known:
            offers.begin()
            if not offers.answer(data, 2):
                server._on_dhcp(broadcast(data))
        if not round_number:
            plane.events.clear()
    # The one whose form was learnt is no repetition yet; ten are told at once, each for itself; then they
    # wait.
    assert plane.steps() == ["discovered", "offered"] * 11
    while offers._repeats._waiting:
        offers._repeats.tell_some()
    offered = [event for event in plane.events if event.kind.value == "offered"]
    assert sum(int(event.detail.get("times", 1)) for event in offered) == 3 * 50
    assert all(event.at == pytest.approx(plane.time) for event in offered[11:])
    assert [event.detail["times"] for event in offered[11:]].count(3) == 50 - 11
    server._dhcp.stop()
    server._boot.stop()


def test_what_waits_is_told_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dhcp_repeats, "PER_SECOND", 0)
    plane = new_plane()
    server = make_server(plane)
    server.answer(broadcast(seeds.edk2(7)))
    server._offers.begin()
    for _ in range(3):
        assert server._offers.answer(seeds.edk2(7), 2)
    server._offers.stop()
    assert plane.steps() == ["discovered", "offered"] * 3
    assert [e.detail.get("times", 1) for e in plane.events] == [1, 1, 1, 1, 2, 2]
    server._dhcp.stop()
    server._boot.stop()


def test_forms_are_bounded() -> None:
    forms = Forms()
    for number in range(3 * MAX_FORMS):
        request = classify(decode(data := seeds.edk2(7, end=seeds.opt(12, b"%06d" % number) + b"\xff")))
        assert isinstance(request, PxeRequest)
        forms.learn(data, request)
        assert forms.find(data) is not None
    assert forms._count <= MAX_FORMS
    for number in range(20):
        parts = [seeds.opt(12, bytes(number)), seeds.guid(), seeds.opt(12 + 1, bytes(40 - number))]
        data = seeds.message(seeds.opt(53, b"\x01"), seeds.opt(60, b"PXEClient"), *parts)
        request = classify(decode(data))
        assert isinstance(request, PxeRequest)
        forms.learn(data, request)
    assert len(forms._cuts[len(data)]) <= MAX_CUTS


def test_an_edit_of_one_node_costs_the_others_nothing(pair: Pair) -> None:
    plane, server = pair.worlds[1], pair.servers[1]
    mac, uuid = machine(1)
    plane.nodes().put(Node(1, "n1", uuid=uuid))
    data = seeds.edk2(7, mac=mac).replace(seeds.guid(), seeds.guid(uuid))
    for _ in range(2):
        pair.servers[1].answer(broadcast(data))
        server._offers.begin()
        assert server._offers.answer(data, 2)
    attempt = plane.attempts.by_mac(mac.hex(":"))
    assert attempt is not None
    kept = attempt.answered
    plane.nodes().put(Node(2, "n2", uuid=machine(2)[1]))
    plane.nodes().put_state(NodeState(2, Phase.INSTALLED, 1))
    server._offers.begin()
    assert server._offers.answer(data, 2)
    assert attempt.answered is kept
    plane.nodes().put(Node(1, "n1", uuid=uuid, hold="kept back"))
    assert server._offers.answer(data, 2)
    assert attempt.answered is not kept

"""Scripts by attempt: the first one, the decided one, what is learnt, and what is durable before."""

from __future__ import annotations

import asyncio

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import (
    Consent,
    EventKind,
    Ignore,
    Machine,
    Node,
    NodeState,
    Phase,
    Policy,
    Profile,
    ProfileKind,
    Reason,
    Site,
)  # fmt: skip
from pxeserver.servers.http_scripts import DecidedScripts
from pxeserver.servers.http_sender import Senders

MAC = "52:54:00:77:00:01"
UUID = "11223344-5566-7788-99aa-bbccddeeff00"
FACTS = f"uuid={UUID}&serial=S1&mac={MAC}&vendor=QEMU&product=PC&platform=efi&arch=x86_64"


@pytest.mark.parametrize("name", ["boot.ipxe", "autoexec.ipxe"])
async def test_without_facts_the_script_comes_back_for_more(listener, name: str) -> None:
    reply = await listener.get(listener.url(name))
    assert reply.status == 200
    assert f"http://127.0.0.1:{listener.port}/a/{listener.attempt.id}/boot.ipxe?" in reply.body.decode()
    assert reply.headers["cache-control"] == "no-store"


async def test_the_bare_names_are_found_by_address(listener) -> None:
    assert (await listener.get("/autoexec.ipxe")).status == 404
    listener.plane.attempts.bind_address(listener.attempt, "127.0.0.1")
    assert listener.attempt.id in (await listener.get("/autoexec.ipxe")).body.decode()


async def test_facts_are_learnt(listener) -> None:
    reply = await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert reply.body.decode().split()[2:6] == [MAC, UUID, "S1", "7"]
    assert listener.attempt.machine.vendor == "QEMU"
    assert listener.plane.kinds() == [EventKind.SCRIPT_SENT]
    assert listener.plane.events[0].detail["profile"] == "p"


HOSTILE = [
    "uuid=%00%00&serial=" + "A" * 3000,
    "uuid=../../etc/passwd&serial=%0aecho%20pwned%0d%0a&mac=zz",
    "serial=%1b%5b31m%E2%80%A8x&vendor=%3Cscript%3E",
    "&".join(f"k{n}=v" for n in range(500)),
    "mac=" + ",".join([MAC] * 200),
    "%=%%%&&&===&serial",
    "arch=99999999999999999999&platform=x",
    "serial=%ff%fe%fd",
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda v: v[:24])
async def test_hostile_facts_are_bounded(listener, query: str) -> None:
    reply = await listener.get(listener.url(f"boot.ipxe?{query}"))
    assert reply.status == 200
    machine = listener.attempt.machine
    for text in (machine.serial or "", machine.vendor, machine.product):
        assert len(text) <= 64
        assert text.isprintable()
    assert machine.uuid is None
    assert len(machine.macs) <= 16


async def test_a_script_that_starts_something_is_durable_first(listener) -> None:
    listener.plane.table.put(Node(1, "n1", macs=(MAC,), order=1))
    listener.scripts.records = ((EventKind.INSTALL_STARTED, {"trigger": "handed-out"}),)
    await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert listener.plane.order == ["recorded install-started", "script-sent"]
    assert listener.plane.nodes().state(1).attempt == listener.attempt.id


async def test_no_such_script_leaves_while_the_disk_fails(listener) -> None:
    listener.plane.table.put(Node(1, "n1", macs=(MAC,), order=1))
    listener.scripts.records = ((EventKind.INSTALL_STARTED, {"trigger": "handed-out"}),)
    listener.plane.disk_error = OSError(5, "Input/output error")
    reply = await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")
    assert b"#!ipxe" not in reply.body


async def test_a_silence_is_said_and_counted(listener) -> None:
    listener.scripts.refuse = Ignore(Reason.POLICY_IGNORE, "unknown machine")
    reply = await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert (reply.status, b"policy-ignore" in reply.body) == (403, True)
    assert listener.plane.silences == [listener.scripts.refuse]


async def test_head_of_the_first_script(listener) -> None:
    raw = await listener.connect()
    head = await raw.ask("HEAD", listener.url("boot.ipxe"))
    get = await raw.ask("GET", listener.url("boot.ipxe"))
    assert (head.status, head.headers["content-length"]) == (200, str(len(get.body)))


async def test_menu_choices(listener) -> None:
    assert b"choice p" in (await listener.get(listener.url("menu/p"))).body
    assert (await listener.get(listener.url("menu/%2e%2e"))).status == 404
    assert (await listener.get(listener.url("menu/other"))).status == 403


async def test_head_of_a_script_uses_nothing_up(listener) -> None:
    raw = await listener.connect()
    reply = await raw.ask("HEAD", listener.url(f"boot.ipxe?{FACTS}"))
    assert reply.status == 405
    assert listener.plane.events == []


async def test_the_decision_of_the_boot_room_reaches_the_machine(listener) -> None:
    """The whole way with boot/decision.py: an armed installer, its order used up, its kernel, its end."""
    plane = listener.plane
    files = plane.catalog().images["debian"].files
    profile = Profile("inst", ProfileKind.KERNEL, image="debian", install=True)
    plane._catalog = Catalog(1, Policy(), {"inst": profile}, (), {"debian": plane.catalog().images["debian"]})
    node = Node(1, "n1", macs=(MAC,), values={"profile": "inst"}, order=1, consents=(Consent(1, "", ()),))
    plane.table.put(node)
    listener.http.answers._scripts = DecidedScripts()

    reply = await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    script = reply.body.decode()
    assert script.startswith("#!ipxe")
    assert f"/a/{listener.attempt.id}/f/debian/vmlinuz" in script
    state = plane.nodes().state(1)
    assert (state.phase, state.order, state.attempt) == (Phase.INSTALLING, 1, listener.attempt.id)
    assert (await listener.get(listener.url(f"f/debian/{files[0].name}"))).status == 200
    assert len(plane.promises) == 1
    assert (await listener.get(listener.url("report/installed"))).status == 200
    assert plane.nodes().state(1).phase is Phase.INSTALLED
    again = await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert "vmlinuz" not in again.body.decode()


def plane_with_an_armed_installer(listener):
    plane = listener.plane
    profile = Profile("inst", ProfileKind.KERNEL, image="debian", install=True)
    plane._catalog = Catalog(1, Policy(), {"inst": profile}, (), {"debian": plane.catalog().images["debian"]})
    values = {"profile": "inst"}
    plane.table.put(Node(1, "n1", UUID, macs=(MAC,), values=values, order=1, consents=(Consent(1, "", ()),)))
    listener.http.answers._scripts = DecidedScripts()
    return plane


async def test_of_two_boots_of_one_node_at_once_one_is_given_the_installer(listener) -> None:
    plane = plane_with_an_armed_installer(listener)
    other = plane.attempts.begin(Machine("52:54:00:77:00:02", uuid=UUID), plane.now(), firmware=True)
    plane.disk_gate = asyncio.Event()
    both = asyncio.gather(
        listener.get(listener.url(f"boot.ipxe?{FACTS}")),
        listener.get(f"/a/{other.id}/boot.ipxe?{FACTS}"),
    )
    async with asyncio.timeout(20):
        while listener.requests() < 2:
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
    plane.disk_gate.set()
    assert sorted(b"vmlinuz" in reply.body for reply in await both) == [False, True]


async def test_a_boot_from_before_a_restart_is_taken_up_by_its_facts(listener) -> None:
    reply = await listener.get(f"/a/zzzzzzzzzz/boot.ipxe?{FACTS}")
    assert (reply.status, UUID in reply.body.decode()) == (200, True)
    assert listener.plane.attempts.by_id("zzzzzzzzzz").node_id == 1


@pytest.mark.parametrize("how", ["not-served", "another-mac"])
async def test_nobody_else_may_name_a_machine_to_boot_as_it(listener, how: str) -> None:
    """Else an install under way could be cut off, and an order used up, by one request from anywhere."""
    plane = plane_with_an_armed_installer(listener)
    plane.table.put_state(NodeState(1, Phase.INSTALLING, 1, attempt=listener.attempt.id))
    if how == "not-served":
        plane.site = Site
    else:
        listener.http.answers._senders = Senders(plane, lambda interface, address: "52:54:00:66:66:66")
    assert (await listener.get(f"/a/zzzzzzzzzz/boot.ipxe?{FACTS}")).status == 404
    assert plane.nodes().state(1).phase is Phase.INSTALLING
    assert len(plane.attempts) == 1

"""Machines that wait for their turn: what they are sent, what is told of them, and who never waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pxeserver.boot.attempts import Attempt, Stage
from pxeserver.boot.bandwidth import FIRST, Rules
from pxeserver.boot.decision import boot_script
from pxeserver.boot.model import EventKind, FileRef, Machine, Node, NodeState, Phase, Profile, ProfileKind
from pxeserver.servers.http_admission import Gate
from pxeserver.servers.http_scripts import ScriptAnswer
from pxeserver.servers.http_sender import Senders

MAC = "52:54:00:77:00:01"
UUID = "11223344-5566-7788-99aa-bbccddeeff00"
FACTS = f"uuid={UUID}&mac={MAC}&platform=efi&arch=x86_64"
BIG = 12_000_000
HOME = "127.0.0.1"


@pytest.fixture
def crowd(listener):
    """A listener on whose link as many load as may, and whose scripts make machines fetch 12 MB."""
    gate = Gate(Senders(listener.plane), Rules(), clock=lambda: listener.plane.clock, chance=lambda: 0.5)
    listener.http.answers.gate = gate
    for number in range(FIRST):
        assert gate.ask(other(number), HOME, BIG) is None
    boot, choice = listener.scripts.boot, listener.scripts.choice
    listener.scripts.boot = lambda *words: replace(boot(*words), size=BIG)
    listener.scripts.choice = lambda *words: replace(choice(*words), size=BIG)
    return listener


def other(number: int) -> Attempt:
    mac = f"52:54:00:88:00:{number:02x}"
    return Attempt(f"other{number:05}", mac, Machine(mac), 0.0, 0.0)


def room(listener, number: int = 0) -> None:
    listener.http.answers.gate.ended(other(number), HOME)


async def script(listener, path: str = f"boot.ipxe?{FACTS}") -> str:
    reply = await listener.get(listener.url(path))
    assert reply.status == 200
    return reply.body.decode()


async def test_a_machine_waits_in_its_script_and_comes_again(crowd) -> None:
    waits = await script(crowd)
    lines = waits.splitlines()
    assert "this machine is number 1 of 1" in lines[2]
    assert lines[3].startswith("sleep ")
    assert f"/a/{crowd.attempt.id}/boot.ipxe?uuid=${{uuid}}" in lines[4]
    assert lines[4].startswith("chain --replace")
    event = crowd.plane.events[-1]
    assert event.kind is EventKind.WAITING
    assert event.detail["text"] == "waits for its turn to load: place 1 of 1"
    assert crowd.attempt.stage is Stage.SCRIPT
    assert await script(crowd) == waits
    room(crowd)
    assert MAC in await script(crowd)
    assert crowd.plane.kinds()[-1] is EventKind.SCRIPT_SENT
    assert MAC in await script(crowd), "who has its turn may ask again"


async def test_a_machine_started_anew_keeps_its_place(crowd) -> None:
    await script(crowd)
    assert crowd.http.answers.gate.ask(other(99), HOME, BIG).place == 2
    crowd.attempt = crowd.plane.attempts.begin(Machine(MAC), crowd.plane.now(), firmware=True)
    assert "number 1 of 2" in await script(crowd)


async def test_nothing_is_recorded_of_who_waits(crowd) -> None:
    crowd.scripts.records = ((EventKind.INSTALL_STARTED, {"trigger": "handed-out"}),)
    crowd.plane.table.put(Node(1, "n1", macs=(MAC,), order=1))
    assert "sleep " in await script(crowd)
    assert crowd.plane.promises == []
    room(crowd)
    await script(crowd)
    assert [promise.state.phase for promise in crowd.plane.promises] == [Phase.INSTALLING]


async def test_a_menus_entry_is_asked_for_again(crowd) -> None:
    lines = (await script(crowd, f"menu/p?mac={MAC}")).splitlines()
    assert any(f"/a/{crowd.attempt.id}/menu/p?mac=" in line for line in lines if "chain" in line)
    room(crowd)
    assert "choice p" in await script(crowd, f"menu/p?mac={MAC}")


async def test_a_report_of_its_system_frees_a_turn(crowd) -> None:
    crowd.plane.attempts.bind_address(crowd.attempt, HOME)
    room(crowd)
    await script(crowd)
    gate = crowd.http.answers.gate
    assert gate.ask(other(98), HOME, BIG) is not None
    await crowd.get(crowd.url("report/booted"))
    assert gate.ask(other(98), HOME, BIG) is None


async def test_files_small_scripts_and_first_scripts_never_wait(crowd) -> None:
    assert (await crowd.get(crowd.url("f/debian/vmlinuz"))).status == 200
    assert "sleep" not in await script(crowd, "boot.ipxe")
    crowd.scripts.boot = lambda *_: ScriptAnswer("#!ipxe\necho small\n", size=Rules().small - 1)
    assert "echo small" in await script(crowd)


async def test_what_arrives_is_counted_and_ends_the_turn(listener) -> None:
    rules = Rules(small=1000)
    listener.http.answers.gate = gate = Gate(Senders(listener.plane), rules, lambda: listener.plane.clock)
    size = listener.kernel.size + listener.initrd.size
    assert gate.ask(listener.attempt, HOME, size) is None
    link = gate._links["lo"]
    await listener.get(listener.url("f/debian/vmlinuz"))
    await listener.quiet()
    assert link.running == 1
    await listener.get(listener.url("f/debian/initrd.img"))
    await listener.quiet()
    assert link.running == 0
    listener.plane.clock += 1
    gate.tick()
    assert link.bandwidth.rate == size


async def test_with_the_setting_off_nobody_waits(crowd) -> None:
    crowd.http.answers.gate = Gate(Senders(crowd.plane), Rules(enabled=False))
    for number in range(50):
        assert crowd.http.answers.gate.ask(other(number), HOME, BIG) is None
    assert MAC in await script(crowd)


@pytest.mark.parametrize(("value", "waits"), [("auto", True), ("at-once", False)])
def test_a_nodes_value_lets_it_pass(listener, value: str, waits: bool) -> None:
    files = (
        FileRef("k", "1" * 64, 8, "kernel"),
        FileRef("i", "2" * 64, 4, "initrd"),
        FileRef("x", "3" * 64, 9),
    )
    listener.plane.publish("live", *files)
    catalog = replace(
        listener.plane.catalog(), profiles={"live": Profile("live", ProfileKind.KERNEL, image="live")}
    )
    table = listener.plane.table
    table.put(Node(1, "n1", macs=(MAC,), values={"profile": "live", "admission": value}))
    table.put_state(NodeState(1))
    found = boot_script(Machine(MAC), "abcdefghij", "http://10.0.0.1", catalog, table)
    assert found.size == (12 if waits else 0)

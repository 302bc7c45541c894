"""Attempts: what continues one, what begins another, and the bounds of the table."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

from pxeserver.boot.attempts import FORGET_SECONDS, Attempts, Stage
from pxeserver.boot.catalog import NodeTable
from pxeserver.boot.model import Machine, Node, NodeState, Phase

MAC = "52:54:00:00:00:01"
U1, U2 = "4c4c4544-0035-3010-8042-b7c04f343231", "4c4c4544-0035-3010-8042-b7c04f343232"


def ids() -> Callable[[], str]:
    numbers = iter(range(10**6))
    return lambda: base64.b32encode(b"%06d" % next(numbers)).decode().lower()[:10]


def test_one_uefi_boot_is_one_attempt() -> None:
    attempts = Attempts(ids())
    first = attempts.begin(Machine(MAC, arch=7), 100.0, firmware=True)
    assert attempts.begin(Machine(MAC, arch=7), 104.0, firmware=True) is first  # edk2 asks again after 4 s
    attempts.reach(first, Stage.LOADER, 110.0)
    assert attempts.begin(Machine(MAC, uuid=U1), 300.0, firmware=False) is first
    assert first.machine.arch == 7
    assert first.machine.uuid == U1
    assert first.counters["discovers"] == 3


def test_a_reset_machine_begins_another() -> None:
    attempts = Attempts(ids())
    first = attempts.begin(Machine(MAC), 0.0, firmware=True)
    attempts.reach(first, Stage.LOADER, 5.0)
    second = attempts.begin(Machine(MAC), 8.0, firmware=True)
    assert second is not first
    third = attempts.begin(Machine(MAC), 8.0 + 91, firmware=True)
    assert third is not second  # 90 s of silence
    assert attempts.by_mac(MAC) is third
    assert attempts.by_id(first.id) is first


def test_an_ipxe_rom_that_was_given_its_script_has_been_reset() -> None:
    attempts = Attempts(ids())
    first = attempts.begin(Machine(MAC), 0.0, firmware=False)
    assert attempts.begin(Machine(MAC), 2.0, firmware=False) is first
    attempts.reach(first, Stage.SCRIPT, 4.0)
    assert attempts.begin(Machine(MAC), 60.0, firmware=False) is not first


def test_an_ipxe_after_15_minutes_is_another_boot() -> None:
    attempts = Attempts(ids())
    first = attempts.begin(Machine(MAC), 0.0, firmware=True)
    attempts.reach(first, Stage.LOADER, 1.0)
    assert attempts.begin(Machine(MAC), 899.0, firmware=False) is first
    assert attempts.begin(Machine(MAC), 901.0, firmware=False) is not first


def test_the_newest_attempt_owns_the_address() -> None:
    attempts = Attempts(ids())
    one = attempts.begin(Machine(MAC), 0.0, firmware=True)
    two = attempts.begin(Machine("52:54:00:00:00:02"), 0.0, firmware=True)
    attempts.bind_address(one, "10.0.0.5")
    attempts.bind_address(two, "10.0.0.5")
    assert attempts.by_address("10.0.0.5") is two
    attempts.bind_address(one, "10.0.0.6")
    assert attempts.by_address("10.0.0.5") is two
    attempts.bind_address(two, "10.0.0.7")
    assert attempts.by_address("10.0.0.5") is None


def test_the_table_is_bounded_and_forgets() -> None:
    attempts = Attempts(ids(), limit=3)
    made = [attempts.begin(Machine(f"52:54:00:00:00:0{i}"), float(i), firmware=True) for i in range(5)]
    attempts.bind_address(made[4], "10.0.0.1")
    assert len(attempts) == 3
    assert attempts.dropped == 2
    assert attempts.by_mac(made[0].mac) is None
    assert [a.id for a in attempts.expire(4.5 + FORGET_SECONDS)] == [made[2].id, made[3].id, made[4].id]
    assert len(attempts) == 0
    assert attempts.by_address("10.0.0.1") is None


def test_a_restarted_process_takes_attempts_up_again() -> None:
    attempts = Attempts(ids())
    assert attempts.adopt("not an id", Machine(MAC), 0.0) is None
    assert attempts.adopt("../../etc/", Machine(MAC), 0.0) is None
    adopted = attempts.adopt("abcdefghij", Machine(MAC), 0.0)
    assert adopted is not None
    assert attempts.by_mac(MAC) is adopted
    assert attempts.adopt("abcdefghij", Machine("52:54:00:00:00:02"), 0.0) is adopted


def test_a_running_install_is_found_by_its_attempt() -> None:
    node = Node(1, "a", uuid=U1, macs=(MAC,))
    state = NodeState(1, Phase.INSTALLING, order=1, attempt="abcdefghij")
    table = NodeTable([node], [state])
    assert table.installing("abcdefghij") == node
    assert table.installing("") is None
    table.put_state(replace(state, attempt="bbbbbbbbbb"))
    assert (table.installing("abcdefghij"), table.installing("bbbbbbbbbb")) == (None, node)
    table.put_state(replace(state, phase=Phase.INSTALLED, attempt="bbbbbbbbbb"))
    assert table.installing("bbbbbbbbbb") is None
    table.put_state(state)
    table.remove(1)
    table.put(node)
    assert table.installing("abcdefghij") is None


def test_an_attempt_taken_up_late_does_not_replace_a_newer_boot() -> None:
    attempts = Attempts(ids())
    newer = attempts.begin(Machine(MAC), 0.0, firmware=True)
    assert attempts.adopt("abcdefghij", Machine(MAC), 1.0) is not None
    assert attempts.by_mac(MAC) is newer


def test_what_was_learnt_stays() -> None:
    attempts = Attempts(ids())
    attempt = attempts.begin(Machine(MAC, uuid=U1, arch=7), 0.0, firmware=True)
    attempts.learn(
        attempt.id, Machine(MAC, uuid="00000000-0000-0000-0000-000000000000", serial="S", vendor="V")
    )
    assert (attempt.machine.uuid, attempt.machine.serial, attempt.machine.arch) == (U1, "S", 7)
    attempts.learn(attempt.id, Machine(MAC, uuid=U2))
    assert attempt.machine.uuid == U2

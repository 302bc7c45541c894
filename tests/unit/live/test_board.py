"""The board of boots under way, made of events alone."""

import pytest

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS
from pxeserver.boot.model import Event, EventKind
from pxeserver.live import board as module
from pxeserver.live.board import Board, Stage, Standing

MAC = "52:54:00:00:00:01"
ROLES = {"vmlinuz": "kernel", "initrd.img": "initrd"}


def told(kind, at, /, attempt="aaaaaaaaaa", mac=MAC, **detail):
    return Event(at, kind, attempt, mac, detail=detail)


@pytest.fixture
def board():
    return Board(DEFAULT_WINDOWS, lambda name: ROLES.get(name, ""))


USUAL = (
    (EventKind.DISCOVERED, {}, Stage.ASKED),
    (EventKind.OFFERED, {"address": "10.0.0.5"}, Stage.OFFERED),
    (EventKind.LOADER_STARTED, {"file": "ipxe.efi", "total": 100}, Stage.LOADER),
    (EventKind.LOADER_SENT, {"file": "ipxe.efi", "bytes": 100, "total": 100, "seconds": 1.0}, Stage.LOADER),
    (EventKind.DISCOVERED, {"kind": "ipxe"}, Stage.LOADER),
    (EventKind.SCRIPT_SENT, {"action": "kernel"}, Stage.SCRIPT),
    (EventKind.FILE_STARTED, {"file": "vmlinuz", "total": 100}, Stage.KERNEL),
    (EventKind.FILE_SENT, {"file": "vmlinuz", "bytes": 100, "total": 100, "seconds": 0.5}, Stage.KERNEL),
    (EventKind.FILE_STARTED, {"file": "initrd.img", "total": 400}, Stage.RAMDISK),
    (EventKind.FILE_PROGRESS, {"file": "initrd.img", "bytes": 200, "total": 400}, Stage.RAMDISK),
    (EventKind.FILE_SENT, {"file": "initrd.img", "bytes": 400, "total": 400, "seconds": 2.0}, Stage.RAMDISK),
    (EventKind.INSTALL_STARTED, {}, Stage.SYSTEM),
    (EventKind.INSTALLED, {}, Stage.REPORTED),
)


def test_a_usual_boot_goes_from_stage_to_stage_and_leaves(board):
    for number, (kind, detail, stage) in enumerate(USUAL):
        board.take(told(kind, 100.0 + number, **detail))
        boot = board.boots["aaaaaaaaaa"]
        assert boot.stage is stage, kind
        assert boot.standing is (Standing.DONE if kind is EventKind.INSTALLED else Standing.MOVING)
    assert boot.address == "10.0.0.5"
    board.look(boot.last + module.LINGER - 1)
    assert board.boots
    board.look(boot.last + module.LINGER + 1)
    assert not board.boots


def test_who_waits_for_its_turn_says_so_and_is_not_stuck(board):
    text = "waits for its turn to load: place 3 of 12"
    board.take(told(EventKind.WAITING, 10.0, place=3, of=12, seconds=14, text=text))
    boot = board.boots["aaaaaaaaaa"]
    assert (boot.stage, boot.standing, boot.trouble.text) == (Stage.SCRIPT, Standing.MOVING, text)
    board.look(10.0 + 14 + DEFAULT_WINDOWS.after_script - 1)
    assert boot.standing is Standing.MOVING
    board.look(10.0 + 14 + DEFAULT_WINDOWS.after_script + 6)
    assert (boot.standing, boot.trouble.code) == (Standing.STUCK, "kernel-not-fetched")


def test_the_rate_is_that_of_the_file_on_its_way(board):
    board.take(told(EventKind.FILE_STARTED, 10.0, file="initrd.img", total=1000))
    board.take(told(EventKind.FILE_PROGRESS, 12.0, file="initrd.img", bytes=500, total=1000))
    boot = board.boots["aaaaaaaaaa"]
    assert (boot.rate, boot.bytes, boot.total) == (250.0, 500, 1000)
    board.take(told(EventKind.SCRIPT_SENT, 13.0, action="kernel"))
    assert (boot.rate, boot.total) == (0.0, 0)


def test_silence_is_found_with_its_remedy_and_forgiven_with_the_next_step(board):
    board.take(told(EventKind.OFFERED, 100.0))
    board.look(100.0 + DEFAULT_WINDOWS.after_offer - 1)
    boot = board.boots["aaaaaaaaaa"]
    assert boot.trouble is None
    board.look(100.0 + DEFAULT_WINDOWS.after_offer + 6)
    assert boot.standing is Standing.STUCK
    assert boot.trouble.code == "no-request-after-offer"
    assert boot.trouble.next_step
    board.take(told(EventKind.LOADER_STARTED, 170.0, file="ipxe.efi", total=10))
    assert (boot.trouble, boot.standing) == (None, Standing.MOVING)


@pytest.mark.parametrize(
    ("kind", "detail", "standing", "code"),
    [
        (EventKind.INSTALL_FAILED, {"reason": "disk full"}, Standing.STUCK, "install-failed"),
        (EventKind.HELD, {"reason": "failed before"}, Standing.STUCK, "held"),
        (EventKind.IGNORED, {"reason": "no-loader", "text": "none for arch 27"}, Standing.STUCK, "no-loader"),
        (EventKind.IGNORED, {"reason": "policy-ignore"}, Standing.QUIET, "ignored"),
        (EventKind.FILE_FAILED, {"trigger": "not-loaded", "file": "x"}, Standing.STUCK, "not-loaded"),
        (
            EventKind.CLOSED,
            {"diagnosis": "loop", "text": "again", "next_step": "look"},
            Standing.STUCK,
            "loop",
        ),
        (EventKind.SCRIPT_SENT, {"action": "menu"}, Standing.WAITING, None),
    ],
)
def test_what_stops_a_boot_shows_at_once(board, kind, detail, standing, code):
    board.take(told(EventKind.DISCOVERED, 1.0))
    board.take(told(kind, 2.0, **detail))
    boot = board.boots["aaaaaaaaaa"]
    assert boot.standing is standing
    assert (boot.trouble.code if boot.trouble else None) == code


def test_a_machine_that_starts_anew_takes_its_old_line_away(board):
    board.take(told(EventKind.INSTALL_FAILED, 1.0, reason="x"))
    board.take(told(EventKind.DISCOVERED, 9.0, attempt="bbbbbbbbbb"))
    assert list(board.boots) == ["bbbbbbbbbb"]


def test_a_packet_that_needs_no_answer_does_not_hide_a_boot(board):
    board.take(told(EventKind.SCRIPT_SENT, 1.0, action="kernel"))
    board.take(told(EventKind.IGNORED, 2.0, reason="no-architecture"))
    assert board.boots["aaaaaaaaaa"].standing is Standing.MOVING


def test_a_system_that_asks_for_nothing_more_is_starting(board):
    board.take(told(EventKind.SCRIPT_SENT, 1.0, action="kernel"))
    board.take(told(EventKind.FILE_SENT, 2.0, file="initrd.img", bytes=1, total=1))
    board.look(8.0)
    assert board.boots["aaaaaaaaaa"].stage is Stage.SYSTEM


def test_the_board_is_bounded(board, monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    for number in range(25):
        board.take(told(EventKind.DISCOVERED, float(number), attempt=f"a{number}", mac=f"m{number}"))
    assert sorted(board.boots) == sorted(f"a{n}" for n in range(15, 25))


def test_the_stuck_stand_in_front_and_the_others_keep_their_places(board):
    for number in range(4):
        board.take(told(EventKind.DISCOVERED, float(number), attempt=f"a{number}", mac=f"m{number}"))
    board.take(told(EventKind.INSTALL_FAILED, 9.0, attempt="a2", mac="m2"))
    board.take(told(EventKind.OFFERED, 10.0, attempt="a0", mac="m0"))
    assert [boot.id for boot in board.ordered()] == ["a2", "a0", "a1", "a3"]
    stages, standings = board.counts()
    assert (standings[Standing.STUCK], stages[Stage.OFFERED], stages[Stage.ASKED]) == (1, 1, 2)

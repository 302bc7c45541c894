"""The board as frames: only changes, once for everybody, and the whole where frames are missing."""

import asyncio
import json

import pytest

from pxeserver.boot.model import Event, EventKind
from pxeserver.live import frames as module
from pxeserver.live.board import Board, Standing
from pxeserver.live.frames import Frames


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def frames(board):
    return Frames(board, lambda node_id: f"n{node_id}" if node_id else "", lambda: 1000.0)


def told(board, number, kind=EventKind.DISCOVERED, at=None, **detail):
    attempt = f"a{number:04}"
    board.take(Event(at or 1000.0 + number, kind, attempt, f"52:54:00:00:00:{number:02x}", number, detail))


async def following(watch):
    frame = await asyncio.wait_for(anext(watch), 2)
    body = json.loads(frame.body)
    return frame, [row["id"] for row in body["rows"]], body


async def test_first_everything_then_only_what_changed(board, frames):
    told(board, 1)
    told(board, 2)
    watch = frames.watch()
    frame, rows, body = await following(watch)
    assert (frame.kind, rows) == ("board", ["a0001", "a0002"])
    assert body["rows"][0]["node"] == "n1"
    told(board, 2, EventKind.OFFERED, at=1010.0)
    frames.advance()
    frame, rows, body = await following(watch)
    assert (frame.kind, rows, body["totals"]["stages"]["offered"]) == ("change", ["a0002"], 1)
    await watch.aclose()
    assert frames.looking == 0


async def test_who_comes_back_gets_what_was_missed_and_only_that(board, frames):
    told(board, 1)
    other, mine = frames.watch(), frames.watch()
    await following(other)
    seen, _, _ = await following(mine)
    await mine.aclose()
    for number in (2, 3):
        told(board, number)
        frames.advance()
    again = frames.watch(seen.number)
    assert [(await following(again))[1] for _ in range(2)] == [["a0002"], ["a0003"]]


@pytest.mark.parametrize("since", [None, 1, 10**15])
async def test_who_knows_nothing_of_ours_gets_the_whole(board, frames, since):
    told(board, 1)
    other = frames.watch()
    await following(other)
    told(board, 2)
    frames.advance()
    frame, rows, _ = await following(frames.watch(since))
    assert (frame.kind, rows) == ("board", ["a0001", "a0002"])


async def test_who_is_too_slow_gets_the_whole_again(board, frames, monkeypatch):
    told(board, 1)
    slow = frames.watch()
    await following(slow)
    for number in range(2, module.KEPT + 10):
        told(board, number % 200, EventKind.OFFERED, at=1000.0 + number)
        frames.advance()
    frame, rows, _ = await following(slow)
    assert frame.kind == "board"
    assert len(rows) == len(board.boots)


async def test_only_so_many_are_drawn_and_the_others_counted(board, frames, monkeypatch):
    monkeypatch.setattr(module, "DRAWN", 5)
    for number in range(9):
        told(board, number)
    watch = frames.watch()
    _, rows, body = await following(watch)
    assert (len(rows), body["totals"]["boots"], body["totals"]["drawn"]) == (5, 9, 5)
    told(board, 8, EventKind.INSTALL_FAILED, at=1100.0, reason="x")
    frames.advance()
    _, rows, body = await following(watch)
    assert (rows, body["gone"]) == (["a0008"], ["a0004"])


async def test_nothing_new_is_no_frame(board, frames):
    told(board, 1)
    watch = frames.watch()
    await following(watch)
    frames.advance()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.05)


async def test_others_have_their_turn_while_many_boots_are_looked_over(board, frames):
    for number in range(1100):
        board.take(
            Event(1.0, EventKind.OFFERED, f"a{number}", f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}")
        )
    turns = []

    async def other():
        while True:
            turns.append(sum(boot.standing is Standing.STUCK for boot in board.boots.values()))
            if turns[-1] == 500:  # one that was not looked at yet gives way to its machine's next boot
                board.take(Event(1000.0, EventKind.DISCOVERED, "new", "52:54:00:00:04:4b"))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(other())
        await frames.look()
        task.cancel()
    assert turns == [250, 500, 750, 1000]
    standings = board.counts()[1]
    assert (standings[Standing.STUCK], standings[Standing.MOVING]) == (1099, 1)

"""Both ends of the channel over a real unix socket: what is promised arrives, once, whoever goes away in
between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pxeserver import channel, sockets, worker_link
from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import (
    Event,
    EventKind,
    Ignore,
    Lease,
    Node,
    NodeState,
    Phase,
    Policy,
    Promise,
    PromiseKind,
    Reason,
    Site,
)
from pxeserver.channel import SiteBody, Tables, WorkerHello
from pxeserver.control_link import WorkerConnection, WorkerDialer
from pxeserver.servers.plane import ControlAway
from pxeserver.sockets import Want
from pxeserver.storage.journal import Journal
from pxeserver.worker import BootWorker
from pxeserver.worker_link import ControlLink

CATALOG = Catalog(version=5, policy=Policy(unknown="discover"))


def state(node_id: int, order: int = 1) -> Promise:
    return Promise(PromiseKind.STATE, state=NodeState(node_id, Phase.INSTALLED, order=order))


def event(number: int) -> Event:
    return Event(float(number), EventKind.OFFERED, "a", "52:54:00:00:00:01")


class NoFiles:
    def open(self, file: object) -> Any:
        raise FileNotFoundError


class FakeHall:
    """A control process that keeps what it is told; `nodes` and `states` are what it sends at connection."""

    def __init__(self) -> None:
        self.link: WorkerConnection | None = None
        self.entries: list[int] = []
        self.events: list[Event] = []
        self.tables: list[Tables] = []
        self.counts: dict[str, int] = {}
        self.sites: list[SiteBody] = []
        self.nodes: list[Node] = []
        self.states: list[NodeState] = []
        self.counters: dict[str, int | float] = {}
        self.ack = True
        self.answer_with: dict[str, Any] | None = {"order": "wait"}
        self.news = asyncio.Event()

    async def worker_connected(self, link: WorkerConnection, hello: WorkerHello) -> None:
        self.link, self.hello = link, hello
        link.send_catalog(CATALOG)
        await link.send_nodes(self.nodes, self.states)
        self.news.set()

    def worker_gone(self, link: WorkerConnection) -> None:
        self.link = None
        self.news.set()

    def ingest_entry(self, seq: int, promise: Promise) -> None:
        self.entries.append(seq)
        if self.ack and self.link:
            self.link.ack(seq)
        self.news.set()

    def ingest_tables(self, tables: Tables) -> None:
        self.tables.append(tables)
        self.news.set()

    def ingest_event(self, event: Event) -> None:
        self.events.append(event)
        self.news.set()

    def ignored(self, reason: str, count: int) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + count
        self.news.set()

    def stats(self, counters: dict[str, int | float]) -> None:
        self.counters = counters

    def site(self, body: SiteBody) -> None:
        self.sites.append(body)

    async def answer(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.answer_with is None:
            await asyncio.sleep(3600)
        if kind == "fails":
            raise ValueError("no such order")
        return {**(self.answer_with or {}), "kind": kind, **body}


class Bench:
    """A worker with its journal, and control processes that come and go."""

    def __init__(self, folder: Path, worker: BootWorker, link: ControlLink, journal: Journal) -> None:
        self.folder, self.worker, self.link, self.journal = folder, worker, link, journal

    @asynccontextmanager
    async def control(self, hall: FakeHall) -> AsyncIterator[FakeHall]:
        dialing = asyncio.ensure_future(WorkerDialer(self.folder / "worker.sock", hall).run())
        try:
            await until(hall, lambda: self.link.connected and self.worker.snapshot.version == 5)
            yield hall
        finally:
            dialing.cancel()
            await asyncio.gather(dialing, return_exceptions=True)
            async with asyncio.timeout(5):
                while self.link.connected:
                    await asyncio.sleep(0.01)


async def until(hall: FakeHall, true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            hall.news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(hall.news.wait(), 0.02)


@asynccontextmanager
async def bench_in(folder: Path) -> AsyncIterator[Bench]:
    journal = Journal.open(folder / "journal")
    worker = BootWorker(journal, NoFiles(), Policy())
    worker.restore()
    link = ControlLink(worker, journal, lambda: SiteBody(Site()))
    worker.control = link
    listening = sockets.bind(Want("worker", "unix", str(folder / "worker.sock")))
    running = [asyncio.ensure_future(work) for work in (link.serve(listening), link.keep(), link.tick())]
    try:
        yield Bench(folder, worker, link, journal)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await journal.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(bench_in(tmp_path))


async def test_entries_made_while_control_is_away_arrive_once_it_is_there(bench: Bench) -> None:
    for number in range(1, 4):
        await bench.worker.record(state(number))
    async with bench.control(FakeHall()) as hall:
        await bench.worker.record(state(4))
        await until(hall, lambda: len(hall.entries) == 4)
        assert hall.entries == sorted(set(hall.entries))
        await until(hall, lambda: not bench.journal.pending())


async def test_what_gathers_travels_in_one_frame_and_a_question_does_not_wait_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "GATHER_SECONDS", 0.2)
    async with bench.control(FakeHall()) as hall:
        written: list[bytes] = []
        write = channel.Channel.send_frame

        def counting(self: channel.Channel, frame: bytes) -> None:
            written.append(frame)
            write(self, frame)

        monkeypatch.setattr(channel.Channel, "send_frame", counting)
        for number in range(50):
            bench.worker.report(event(number))
            await asyncio.sleep(0)
        assert not hall.events
        await until(hall, lambda: len(hall.events) == 50)
        assert [e.at for e in hall.events] == list(range(50))
        assert sum(b'"events"' in frame for frame in written) == 1
        monkeypatch.setattr(worker_link, "GATHER_SECONDS", 20)
        bench.worker.report(event(50))
        async with asyncio.timeout(10):
            assert await bench.worker.ask("orders", {}) == {"order": "wait", "kind": "orders"}


async def test_what_was_not_acknowledged_comes_again(bench: Bench) -> None:
    first = FakeHall()
    first.ack = False
    async with bench.control(first):
        await bench.worker.record(state(1), state(2))
        await until(first, lambda: len(first.entries) == 2)
    async with bench.control(FakeHall()) as second:
        await until(second, lambda: second.entries == first.entries)


async def test_a_control_process_that_lost_its_database_is_told_everything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxeserver.channel.CHUNK", 2)
    first = FakeHall()
    first.nodes = [Node(n, f"n{n}") for n in range(1, 6)]
    lease = Promise(PromiseKind.LEASE, lease=Lease("10.0.0.7", "m", "c", 5.0))
    async with bench.control(first):
        await until(first, lambda: len(bench.worker.nodes()) == 5)
        await bench.worker.record(lease, *(state(n) for n in range(1, 6)))
        bench.worker.leases.hold("10.0.0.8", "d", "m2", 1.0)
        await until(first, lambda: not bench.journal.pending())
    second = FakeHall()
    second.nodes, second.ack = first.nodes, False
    async with bench.control(second):
        await until(second, lambda: second.link is not None)
        assert second.hello.acked == bench.journal.last_seq
        assert (second.hello.nodes, second.hello.highest_node) == (5, 5)
        await bench.worker.record(state(1, order=2))
        await until(second, lambda: second.entries)
        second.link.want_tables()
        await until(second, lambda: len(second.entries) == 2)
        assert [len(part.states) for part in second.tables] == [2, 2, 1]
        assert [part.last for part in second.tables] == [False, False, True]
        states = {s.node_id: s for part in second.tables for s in part.states}
        assert states[1].order == 2
        assert [one.address for part in second.tables for one in part.leases] == ["10.0.0.7"]
        assert second.entries[0] == second.entries[1], "what came before the tables comes again after them"


async def test_a_flood_of_entries_loses_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_link, "_ENTRIES_QUEUED", 10)
    async with bench.control(FakeHall()) as hall:
        await bench.worker.record(*(state(n) for n in range(1, 200)))
        await bench.worker.record(state(200))
        await until(hall, lambda: len(hall.entries) == 200)
        assert hall.entries == sorted(set(hall.entries))


async def test_events_wait_in_order_and_the_oldest_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "EVENTS_KEPT", 5)
    async with bench_in(tmp_path) as bench:
        for number in range(8):
            bench.worker.report(event(number))
        assert bench.link.dropped == 3
        async with bench.control(FakeHall()) as hall:
            await until(hall, lambda: len(hall.events) == 5)
            assert [e.at for e in hall.events] == [3, 4, 5, 6, 7]


async def test_silences_are_counted(bench: Bench) -> None:
    async with bench.control(FakeHall()) as hall:
        for _ in range(3):
            bench.worker.ignored(Ignore(Reason.NOT_PXE))
        await until(hall, lambda: hall.counts == {"not-pxe": 3})


async def test_questions_are_answered(bench: Bench) -> None:
    async with bench.control(FakeHall()):
        assert await bench.worker.ask("orders", {"mac": "m"}) == {
            "order": "wait",
            "kind": "orders",
            "mac": "m",
        }
        with pytest.raises(ControlAway, match="no such order"):
            await bench.worker.ask("fails", {})


async def test_nobody_there_is_control_away_at_once(bench: Bench) -> None:
    with pytest.raises(ControlAway):
        await bench.worker.ask("orders", {})


async def test_a_control_process_that_does_not_answer_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_link, "ANSWER_SECONDS", 0.05)
    hall = FakeHall()
    hall.answer_with = None
    async with bench.control(hall):
        with pytest.raises(ControlAway):
            await bench.worker.ask("orders", {})


async def test_a_control_process_that_goes_away_ends_its_questions(bench: Bench) -> None:
    hall = FakeHall()
    hall.answer_with = None
    async with bench.control(hall):
        asking = asyncio.ensure_future(bench.worker.ask("orders", {}))
        await asyncio.sleep(0)
    with pytest.raises(ControlAway):
        await asyncio.wait_for(asking, 1)


async def test_a_new_worker_starts_with_what_the_old_one_had(tmp_path: Path) -> None:
    async with bench_in(tmp_path) as bench:
        hall = FakeHall()
        hall.nodes = [Node(n, f"n{n}") for n in range(1, 2501)]
        async with bench.control(hall):
            await until(hall, lambda: len(bench.worker.nodes()) == 2500)
            assert hall.link
            hall.link.send_node(Node(7, "seven"))
            hall.link.remove_node(8)
            await until(hall, lambda: bench.worker.nodes().get(8) is None)
            await bench.worker.record(state(7))
            await bench.link.kept()
    async with bench_in(tmp_path) as again:
        nodes = again.worker.nodes()
        seven = nodes.get(7)
        assert again.worker.snapshot == CATALOG
        assert len(nodes) == 2499
        assert seven is not None
        assert seven.name == "seven"
        assert nodes.state(7).phase is Phase.INSTALLED


async def test_the_workers_states_win_and_missing_ones_are_adopted(bench: Bench) -> None:
    hall = FakeHall()
    hall.nodes = [Node(1, "a"), Node(2, "b")]
    hall.states = [NodeState(1, Phase.INSTALLING, order=1), NodeState(2, Phase.HELD, order=3)]
    bench.worker.take_node(Node(1, "a"))
    await bench.worker.record(state(1, order=9))
    async with bench.control(hall):
        await until(hall, lambda: len(bench.worker.nodes()) == 2)
        assert bench.worker.nodes().state(1) == NodeState(1, Phase.INSTALLED, order=9)
        assert bench.worker.nodes().state(2).phase is Phase.HELD


async def test_own_ports_and_dry_run_hold_over_an_old_snapshot(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal")
    worker = BootWorker(journal, NoFiles(), Policy(dry_run=True, http_port=8080))
    assert worker.catalog().policy.dry_run
    worker.take_catalog(Catalog(version=3, policy=Policy(http_port=80)))
    assert worker.catalog().policy.dry_run
    assert worker.catalog().policy.http_port == 8080
    assert worker.snapshot.policy.http_port == 80
    await journal.close()


@pytest.mark.parametrize(("chosen", "unknown"), [(False, "observe"), (True, "menu")])
async def test_a_default_policy_gives_way_to_another_server(
    tmp_path: Path, chosen: bool, unknown: str
) -> None:
    journal = Journal.open(tmp_path / "journal")
    worker = BootWorker(journal, NoFiles(), Policy())
    worker.take_catalog(Catalog(version=3, policy=Policy(unknown_chosen=chosen)))
    worker.leave_unknown_to_others(True)
    assert worker.catalog().policy.unknown == unknown
    worker.leave_unknown_to_others(False)
    assert worker.catalog().policy.unknown == "menu"
    await journal.close()


async def test_a_caller_that_goes_away_leaves_no_gap(bench: Bench) -> None:
    async with bench.control(FakeHall()) as hall:
        hasty = asyncio.ensure_future(bench.worker.record(state(1)))
        await asyncio.sleep(0)
        hasty.cancel()
        await bench.worker.record(state(2))
        await until(hall, lambda: len(hall.entries) == 2)
        await until(hall, lambda: not bench.journal.pending())


async def test_what_cannot_be_sent_does_not_silence_the_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.control(FakeHall()) as hall:
        monkeypatch.setattr("pxeserver.channel.MAX_FRAME", 2000)
        bench.link.event(Event(1.0, EventKind.OFFERED, "a", "52:54:00:00:00:01", detail={"x": "y" * 3000}))
        await until(hall, lambda: hall.link is None)
        await until(hall, lambda: hall.link is not None and bench.link.connected)
        await bench.worker.record(state(1))
        await until(hall, lambda: hall.entries)


async def test_a_new_control_process_does_not_wait_for_a_stuck_one(bench: Bench) -> None:
    """A process that was stopped reads nothing and closes nothing."""
    _, writer = await asyncio.open_unix_connection(str(bench.folder / "worker.sock"))
    writer.write(channel.encode("hello", channel.Hello()))
    async with asyncio.timeout(5):
        while not bench.link.connected:
            await asyncio.sleep(0.01)
    writer.transport.pause_reading()
    for number in range(40):
        bench.link.put("site", SiteBody(why=f"{number}" + "x" * 500_000))
    await asyncio.sleep(0.05)
    async with bench.control(FakeHall()) as hall:
        await bench.worker.record(state(1))
        await until(hall, lambda: hall.entries)
    writer.transport.abort()


async def test_the_end_of_the_process_amid_a_farewell_is_no_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, faults = asyncio.Event(), []

    async def slow_close(self: channel.Channel) -> None:
        closing.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(channel.Channel, "close", slow_close)
    loop, others = asyncio.get_running_loop(), asyncio.all_tasks()
    loop.set_exception_handler(lambda _, told: faults.append(told))
    _, writer = await asyncio.open_unix_connection(str(bench.folder / "worker.sock"))
    writer.write(channel.encode("hello", channel.Hello()))
    async with asyncio.timeout(5):
        while not bench.link.connected:
            await asyncio.sleep(0.01)
    writer.close()
    await asyncio.wait_for(closing.wait(), 5)
    for task in asyncio.all_tasks() - others:
        task.cancel()
    await asyncio.sleep(0.05)
    assert faults == []

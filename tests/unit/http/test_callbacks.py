"""Reports, inventories and orders: durable before they are acknowledged, bounded, and never a way to break
the server.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from pxeserver.boot.attempts import FORGET_SECONDS
from pxeserver.boot.model import EventKind, Node, NodeState, Phase, Reason
from pxeserver.servers.http_limits import HttpLimits
from pxeserver.servers.http_sender import Senders

MAC = "52:54:00:77:00:01"


def arm(listener) -> None:
    """An install order waits for the node."""
    listener.plane.table.put(Node(1, "n1", macs=(MAC,), order=1))


def install(listener) -> None:
    """The attempt runs the install of order 1."""
    arm(listener)
    listener.plane.table.put_state(NodeState(1, Phase.INSTALLING, 1, attempt=listener.attempt.id))


async def post(listener, rest: str, value: object):
    raw = await listener.connect()
    return await raw.ask("POST", listener.url(rest), json.dumps(value).encode())


async def test_an_install_is_on_disk_before_it_is_acknowledged(listener) -> None:
    install(listener)
    listener.plane.disk_gate = asyncio.Event()
    raw = await listener.connect()
    body = b'{"event": "installed"}'
    head = f"POST {listener.url('report')} HTTP/1.1\r\nHost: b\r\nContent-Length: {len(body)}\r\n\r\n"
    await raw.send(head.encode() + body)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(raw.reader.read(1), 0.1)
    listener.plane.disk_gate.set()
    reply = await raw.reply()
    assert (reply.status, json.loads(reply.body)) == (200, {"ok": True, "moved": True})
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLED
    (promise,) = listener.plane.promises
    assert promise.event is not None
    assert promise.event.kind is EventKind.INSTALLED


async def test_a_failing_disk_is_503_and_changes_nothing(listener) -> None:
    install(listener)
    listener.plane.disk_error = OSError(28, "No space left on device")
    reply = await post(listener, "report", {"event": "installed"})
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLING
    listener.plane.disk_error = None
    assert (await post(listener, "report", {"event": "installed"})).status == 200
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLED


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_clients_that_only_have_wget(listener, method: str) -> None:
    install(listener)
    raw = await listener.connect()
    reply = await raw.ask(method, listener.url("report/install-failed?reason=no%20disk%0a&bytes=7"))
    assert reply.status == 200
    state = listener.plane.nodes().state(1)
    assert (state.phase, state.reason) == (Phase.HELD, "no disk")


async def test_the_same_report_again_moves_nothing_and_is_no_error(listener) -> None:
    install(listener)
    for moved in (True, False):
        reply = await post(listener, "report", {"event": "installed"})
        assert json.loads(reply.body)["moved"] is moved
    assert len(listener.plane.promises) == 1


async def test_two_ends_at_the_same_moment_are_taken_one_after_the_other(listener) -> None:
    install(listener)
    listener.plane.disk_gate = asyncio.Event()
    both = asyncio.gather(
        post(listener, "report", {"event": "installed"}),
        post(listener, "report", {"event": "install-failed"}),
    )
    async with asyncio.timeout(20):
        while listener.requests() < 2:
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0)
    listener.plane.disk_gate.set()
    assert sorted(json.loads(reply.body)["moved"] for reply in await both) == [False, True]
    assert len(listener.plane.promises) == 1


async def test_progress_is_reported_with_its_numbers(listener) -> None:
    install(listener)
    value = {"event": "install-progress", "bytes": 10, "total": 100, "rate": 1.5, "reason": "a\x1b[31m\nb"}
    await post(listener, "report", value)
    (event,) = listener.plane.events
    assert event.kind is EventKind.INSTALL_PROGRESS
    assert dict(event.detail) == {"bytes": 10, "total": 100, "rate": 1.5, "reason": "a [31m b"}


async def test_a_report_cannot_name_its_own_trigger_or_address(listener) -> None:
    arm(listener)
    value = {
        "event": "booted",
        "trigger": "handed-out",
        "address": "1.2.3.4",
        "a b": 1,
        "x" * 99: 1,
        "n": [1],
    }
    await post(listener, "report", value)
    assert listener.plane.nodes().state(1).phase is Phase.IDLE
    assert dict(listener.plane.events[0].detail) == {}


async def test_not_loaded_gives_the_order_back(listener) -> None:
    install(listener)
    assert (await listener.get(listener.url("report/not-loaded"))).status == 200
    state = listener.plane.nodes().state(1)
    assert (state.phase, state.order) == (Phase.IDLE, 0)


BAD = [
    (b"{", 400),
    (b"", 400),
    (b"[]", 400),
    (b"null", 400),
    (b'{"event": 5}', 400),
    (b'{"event": "rooted"}', 400),
    (b"\xff\xfe", 400),
    (b'{"event": "\\ud800"}', 400),
    (b"[" * 100_000, 400),
    (b'{"a":' * 100_000, 400),
    (b'{"event": "booted", "x": "' + b"y" * 1_100_000 + b'"}', 413),
    (b'{"event": "booted", "bytes": 1e999}', 400),
    (b'{"event": "booted", "n": 99999999999999999999999999, "m": null, "o": {}}', 200),
]


@pytest.mark.parametrize(("body", "status"), BAD, ids=lambda v: str(v)[:24])
async def test_bad_reports(listener, body: bytes, status: int) -> None:
    raw = await listener.connect()
    assert (await raw.ask("POST", listener.url("report"), body)).status == status
    assert (await listener.get("/healthz")).status == 200


async def test_a_chunked_body_over_the_limit_is_cut_off(listener) -> None:
    raw = await listener.connect()
    await raw.send(
        f"POST {listener.url('inventory')} HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    try:
        for _ in range(40):
            await raw.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    except ConnectionError:
        return
    assert (await raw.reply()).status == 413


async def test_a_body_that_drips_is_given_up(listening) -> None:
    listener = await listening(
        HttpLimits(body_timeout=5, body_grace=0.2, body_rate=1000, lingering=0.1, shutdown=0.1)
    )
    raw = await listener.connect()
    await raw.send(
        f"POST {listener.url('report')} HTTP/1.1\r\nHost: b\r\nContent-Length: 1000\r\n\r\n{{".encode()
    )
    assert (await raw.reply()).status == 408
    assert await raw.closed() == b""


async def test_a_client_that_asks_before_it_sends_is_told_to_go_on(listener) -> None:
    raw = await listener.connect()
    head = f"POST {listener.url('report')} HTTP/1.1\r\nHost: b\r\nContent-Length: 19\r\n"
    head += "Expect: 100-continue\r\n\r\n"
    await raw.send(head.encode())
    assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await raw.send(b'{"event": "booted"}')
    assert (await raw.reply()).status == 200


async def test_inventory_goes_to_the_control_process(listener) -> None:
    listener.plane.answers["inventory"] = {"ok": True, "node": "n1"}
    reply = await post(listener, "inventory", {"disks": []})
    assert (reply.status, json.loads(reply.body)) == (200, {"ok": True, "node": "n1"})
    ((kind, body),) = listener.plane.questions
    assert (kind, body["inventory"], body["machine"]["mac"], body["node_id"]) == (
        "inventory",
        {"disks": []},
        MAC,
        1,
    )
    json.dumps(body)
    assert listener.plane.kinds() == [EventKind.INVENTORY]


async def test_orders_and_inventory_wait_for_the_control_process(listener) -> None:
    assert (await listener.get(listener.url("orders"))).headers["retry-after"] == "3"
    assert (await post(listener, "inventory", {})).status == 503
    listener.plane.answers = {"orders": {"order": "wait"}, "inventory": {}}
    await post(listener, "inventory", {})
    assert json.loads((await listener.get(listener.url("orders"))).body) == {"order": "wait"}
    assert listener.plane.questions[-1][1] == {
        "attempt": listener.attempt.id,
        "mac": MAC,
        "node_id": 1,
        "inventory_seen": True,
    }


async def test_methods(listener) -> None:
    raw = await listener.connect()
    assert (await raw.ask("GET", listener.url("inventory"))).headers["allow"] == "POST"
    assert (await raw.ask("POST", listener.url("orders"))).headers["allow"] == "GET"
    assert (await raw.ask("HEAD", listener.url("report/booted"))).status == 405
    assert listener.plane.events == []


async def test_reports_of_an_unknown_attempt(listener) -> None:
    raw = await listener.connect()
    reply = await raw.ask("POST", "/a/zzzzzzzzzz/report", b'{"event": "installed"}')
    assert (reply.status, b"unknown attempt" in reply.body) == (404, True)
    assert listener.plane.silences[0].reason is Reason.UNKNOWN_ATTEMPT


async def test_the_end_of_an_install_is_taken_after_a_restart_or_hours(listener) -> None:
    install(listener)
    listener.plane.clock += 2 * FORGET_SECONDS
    listener.plane.attempts.expire(listener.plane.now())
    assert listener.plane.attempts.by_id(listener.attempt.id) is None
    assert (await listener.get(listener.url("report/installed"))).status == 200
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLED
    assert listener.plane.promises[0].event.node_id == 1


async def test_a_mac_in_a_report_makes_no_attempt(listener) -> None:
    install(listener)
    reply = await listener.get(f"/a/zzzzzzzzzz/report/installed?mac={MAC.replace(':', '%3A')}")
    assert (reply.status, len(listener.plane.attempts)) == (404, 1)


async def test_not_loaded_gives_nothing_back_once_the_installer_has_reported(listener) -> None:
    install(listener)
    await post(listener, "report", {"event": "install-progress", "bytes": 1})
    await listener.get(listener.url("report/not-loaded"))
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLING


def neighbour(listener, mac: str | None) -> None:
    """What the kernel knows of everybody on the link."""
    listener.http.answers._senders = Senders(listener.plane, lambda interface, address: mac)


@pytest.mark.parametrize("event", ["installed", "install-failed", "not-loaded"])
async def test_another_machine_on_the_link_cannot_report(listener, event: str) -> None:
    install(listener)
    neighbour(listener, "52:54:00:66:66:66")
    for _ in range(2):
        reply = await listener.get(listener.url(f"report/{event}"))
        assert (reply.status, b"52:54:00:66:66:66" in reply.body) == (403, True)
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLING
    (told,) = listener.plane.events
    assert (told.kind, told.detail["reason"]) == (EventKind.IGNORED, "other-machine")
    assert [s.reason for s in listener.plane.silences] == [Reason.OTHER_MACHINE] * 2
    assert (await post(listener, "inventory", {})).status == 403
    assert (await listener.get(listener.url("orders"))).status == 403
    assert listener.attempt.address is None
    assert (await listener.get(listener.url("report/booted"))).status == 200  # a line in the timeline
    assert listener.plane.events[-1].detail["address"] == "127.0.0.1"


@pytest.mark.parametrize("mac", [MAC, "52:54:00:77:00:02", None])
async def test_the_machine_may_report_from_another_address_or_card_of_its_own(listener, mac) -> None:
    install(listener)
    listener.plane.table.put(Node(1, "n1", macs=(MAC, "52:54:00:77:00:02"), order=1))
    listener.plane.attempts.bind_address(listener.attempt, "127.0.0.99")
    neighbour(listener, mac)
    assert (await listener.get(listener.url("report/installed"))).status == 200
    assert listener.plane.nodes().state(1).phase is Phase.INSTALLED


async def test_the_kernel_of_an_installer_uses_up_the_order_before_its_first_byte(listener) -> None:
    arm(listener)
    listener.scripts.install_image = "debian"
    listener.plane.disk_gate = asyncio.Event()
    raw = await listener.connect()
    assert (await raw.ask("HEAD", listener.url("f/debian/vmlinuz"))).status == 200
    assert listener.plane.nodes().state(1).phase is Phase.IDLE
    await raw.send(f"GET {listener.url('f/debian/vmlinuz')} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(raw.reader.read(1), 0.1)
    listener.plane.disk_gate.set()
    assert (await raw.reply()).status == 200
    await listener.quiet()
    assert listener.plane.order == ["recorded install-started", "file-started", "file-sent"]
    await raw.ask("GET", listener.url("f/debian/vmlinuz"))
    assert len(listener.plane.promises) == 1


async def test_no_kernel_leaves_while_the_disk_fails(listener) -> None:
    arm(listener)
    listener.scripts.install_image = "debian"
    listener.plane.disk_error = OSError(5, "Input/output error")
    reply = await listener.get(listener.url("f/debian/vmlinuz"))
    assert (reply.status, len(reply.body)) == (
        503,
        len(b"the report could not be stored; it was not taken\n"),
    )


async def test_an_initrd_starts_no_install(listener) -> None:
    arm(listener)
    listener.scripts.install_image = "debian"
    await listener.get(listener.url("f/debian/initrd.img"))
    assert listener.plane.promises == []

"""Alarms on their way: signed, tried again, bounded, and without a word of the address."""

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
import time

import pytest

from pxeserver.notices import Alarm
from pxeserver.notices.post import PAUSES, QUEUE
from pxeserver.notices.result import Result
from pxeserver.notices.targets import check_url
from pxeserver.storage.machines import Audit

ALARM = Alarm("boot-stuck", "n001 stopped", "Look at its screen", ("n001",), 1_767_225_600.0)


async def done(post, name="ops"):
    """Everything that waited was told or given up."""
    async with asyncio.timeout(10):
        await post.box(name).task


def openssl_hmac(secret, data):
    """HMAC-SHA256 by another program."""
    argv = ["openssl", "dgst", "-sha256", "-hmac", secret, "-r"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.split()[0].decode()


async def test_a_webhook_is_signed_over_its_time_and_body(post, targets, target_of, receiver):
    await targets.put(target_of(receiver.url), "t", "add", {})
    post.tell(ALARM)
    await done(post)
    ((headers, body),) = receiver.got
    stamp = headers["X-Pxeserver-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    wanted = openssl_hmac("s3cret-of-the-receiver", stamp.encode() + b"." + body)
    assert headers["X-Pxeserver-Signature"] == f"sha256={wanted}"
    told = json.loads(body)
    assert told["server"] == "pxe1" and told["at"] == "2026-01-01T00:00:00.000Z"
    assert {k: told[k] for k in ("kind", "state", "about")} == {
        "kind": "boot-stuck", "state": "new", "about": ["n001"],
    }  # fmt: skip
    assert (headers["X-Pxeserver-Delivery"], headers["X-Pxeserver-Alarm"]) == (ALARM.id, "boot-stuck")


async def test_what_may_pass_is_tried_again_with_longer_and_longer_pauses(post, targets, target_of, receiver):
    await targets.put(target_of(receiver.url), "t", "add", {})
    receiver.answers = [503, 429, 500]
    post.tell(ALARM)
    await done(post)
    assert len(receiver.got) == 4
    assert all(
        0.8 * wanted <= pause <= 1.2 * wanted for pause, wanted in zip(post.pauses, PAUSES[:3], strict=True)
    )
    assert (post.box("ops").sent, post.box("ops").failed) == (1, 0)
    assert len({headers["X-Pxeserver-Delivery"] for headers, _ in receiver.got}) == 1


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (503, len(PAUSES) + 1)])
async def test_it_is_given_up_when_it_cannot_help(post, targets, target_of, receiver, status, tries):
    await targets.put(target_of(receiver.url), "t", "add", {})
    receiver.answers = [status] * 20
    post.tell(ALARM)
    await done(post)
    assert len(receiver.got) == tries
    assert (post.box("ops").failed, str(status) in post.box("ops").results[-1].text) == (1, True)


async def test_a_receiver_that_hangs_holds_up_nobody_and_its_queue_is_bounded(
    post, targets, target_of, receiver
):
    hanging = asyncio.Event()

    async def hang(*_):
        await hanging.wait()
        return Result(ok=True, text="at last")

    post._deliver = dict(post._deliver) | {"apprise": hang}
    await targets.put(target_of("x://", "slow", "apprise"), "t", "add", {})
    await targets.put(target_of(receiver.url), "t", "add", {})
    began = time.monotonic()
    for _ in range(QUEUE + 11):
        post.tell(ALARM)
        await asyncio.sleep(0)
    assert time.monotonic() - began < 5
    await done(post)
    assert len(receiver.got) == post.box("ops").sent > 0
    assert (post.box("slow").dropped, post.box("slow").queue.qsize()) == (10, QUEUE)
    hanging.set()
    await done(post, "slow")
    assert post.box("slow").sent == QUEUE + 1


async def test_only_what_is_wanted_is_told(post, targets, target_of, receiver):
    await targets.put(target_of(receiver.url, alarms=("disk-full",)), "t", "add", {})
    await targets.put(target_of(receiver.url, "off", enabled=False), "t", "add", {})
    post.tell(ALARM)
    post.tell(Alarm("disk-full", "full"))
    await done(post)
    assert [json.loads(body)["kind"] for _, body in receiver.got] == ["disk-full"]


async def test_a_target_that_was_removed_meanwhile_is_told_nothing_more(post, targets, target_of, receiver):
    await targets.put(target_of(receiver.url), "t", "add", {})
    receiver.answers = [503]

    async def removed(_seconds):
        await targets.remove("ops", "t")

    post._sleep = removed
    post.tell(ALARM)
    await done(post)
    assert (len(receiver.got), post.box("ops").failed) == (1, 0)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/t0ken", "http://[::1]:1/t0ken", "http://user:t0ken@t0ken.invalid/"]
)
async def test_neither_log_nor_result_nor_trail_tells_the_address(
    post, hall, targets, target_of, caplog, url
):
    caplog.set_level(logging.DEBUG)
    target = await targets.put(target_of(url), "t", "add", {"url": ["", "set"]})
    post.tell(ALARM)
    await done(post)
    result = await post.test("ops")
    assert not result.ok and post.box("ops").failed == 1
    async with hall.database.read() as connection:
        trail = await Audit(connection).newest()
    stored = (hall.database.path.read_bytes(), hall.database.path.with_name("db.sqlite3-wal").read_bytes())
    told = f"{caplog.text} {result} {target} {trail}"
    assert "t0ken" not in told and "s3cret" not in told
    assert all(b"t0ken" not in data and b"s3cret" not in data for data in stored)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("webhook", "ftp://h/x"), ("webhook", "https://"), ("webhook", "http://h:99999/"), ("webhook", "h"),
        ("webhook", "http://169.254.169.254/latest"), ("webhook", "http://[fe80::1]/"), ("webhook", "http://h/\r\nx"),
        ("webhook", "http://[::ffff:169.254.169.254]/"), ("webhook", "http://0.0.0.0/"), ("webhook", "http://224.0.0.1/"),
        ("apprise", "syslog://"), ("apprise", "nonsense"), ("apprise", "dbus://"),
    ],
)  # fmt: skip
def test_addresses_that_are_refused(kind, url):
    with pytest.raises(ValueError, match=r"\w"):
        check_url(kind, url)


def test_what_is_shown_of_an_address():
    assert (
        check_url("webhook", "https://u:p@hooks.example.org:8443/s3cret?t=1")
        == "https://hooks.example.org:8443/…"
    )
    assert check_url("apprise", "tgram://bottoken/chat") == "tgram://…"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "10.77.0.9", "hooks.example.org", "[fd00::1]"]
)
def test_this_host_and_private_networks_may_be_asked(host):
    check_url("webhook", f"http://{host}:8000/x")


async def test_a_receiver_is_found_by_its_name(post, targets, target_of, receiver):
    await targets.put(target_of(receiver.url.replace("127.0.0.1", "localhost")), "t", "add", {})
    assert (await post.test("ops")).ok


async def test_a_name_that_leads_to_a_forbidden_address_is_not_asked(post, targets, target_of, monkeypatch):
    async def metadata(self, host, port=0, family=0):
        return [
            {"hostname": host, "host": "169.254.169.254", "port": port, "family": 2, "proto": 6, "flags": 0}
        ]

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", metadata)
    await targets.put(target_of("http://innocent.example/"), "t", "add", {})
    result = await post.test("ops")
    assert "not asked" in result.text


async def test_a_key_that_is_gone_is_said(post, hall, targets, target_of, receiver):
    from pxeserver.notices import Targets
    from pxeserver.storage.secretbox import SecretBox

    await targets.put(target_of(receiver.url), "t", "add", {})
    post.targets = Targets(hall, SecretBox())
    await post.targets.load()
    assert "enter it again" in (await post.test("ops")).text


async def test_mail_and_others_go_through_apprise(post, targets, target_of, receiver):
    pytest.importorskip("apprise")
    url = receiver.url.replace("http://", "json://")
    await targets.put(target_of(url, kind="apprise"), "t", "add", {})
    assert (await post.test("ops")).ok
    told = json.loads(receiver.got[0][1])
    assert told["title"] == "pxe1: Test message" and "arrive here" in told["message"]
    receiver.answers = [500]
    assert not (await post.test("ops")).ok


def test_the_library_is_loaded_with_the_first_message_only():
    code = textwrap.dedent("""
        import sys
        import pxeserver.app_control, pxeserver.notices.others
        assert not {"apprise", "requests"} & set(sys.modules), "loaded at the start"
    """)
    subprocess.run([sys.executable, "-c", code], check=True)

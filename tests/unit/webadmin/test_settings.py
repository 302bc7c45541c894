"""The pages of settings: policy, networks, limits, users, tokens, certificate, backups, notifications."""

import asyncio
import html
import re
import sqlite3
from dataclasses import replace

import pytest

from pxeserver.api.access.demo import Demo
from pxeserver.api.access.guard import Access
from pxeserver.api.access.hosts import Hosts
from pxeserver.api.access.login import Login
from pxeserver.api.access.passwords import Passwords
from pxeserver.api.access.register import Register
from pxeserver.api.rooms import Certificate
from pxeserver.boot.model import Node
from pxeserver.notices import Post, Targets
from pxeserver.storage.secretbox import SecretBox
from webadmin.routing import ROOMS

SHOWN = Certificate("AB:CD", ("pxe1", "10.77.0.2"), 4e9, "pxeserver", "-----BEGIN CERTIFICATE-----", "EF:01")


@pytest.fixture
async def full(site, tmp_path):
    """The site with users, a certificate and notifications, as the server has them."""
    hall, passwords = site.rooms.hall, Passwords()
    register = Register(hall, Demo(tmp_path / "access"), passwords, lambda: 1_800_000_000.0)
    access = Access(hall, register, Login(register, passwords), passwords, Hosts(()))
    post = Post(Targets(hall, SecretBox()), server="pxe1")
    site.rooms = replace(site.rooms, access=access, certificate=lambda: SHOWN, notices=post)
    site.app._state[ROOMS] = site.rooms
    yield site
    passwords.close()


async def send(site, path, data=None, status=303):
    """The answer to a form: where it leads, or the page."""
    async with site.client.post(path, data=data or {}, allow_redirects=False) as answer:
        text = html.unescape(await answer.text())
        assert answer.status == status, text
        return answer.headers.get("Location", "") or text


PAGES = (
    "/settings", "/settings/networks", "/settings/limits", "/settings/users", "/settings/users/demo",
    "/settings/tokens", "/settings/certificate", "/settings/backup", "/settings/notifications",
    "/settings/users/demo/remove",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_there_in_both_languages(full, path):
    assert 'lang="en"' in await full.get(path)
    german = await full.get(path, **{"Accept-Language": "de"})
    assert "Einstellungen" in german and "Settings" not in german


# ---------------------------------------------------------------------------------------------- policy


async def test_the_policy_is_changed_at_run_time_and_says_where_it_comes_from(full):
    hall = full.rooms.hall
    assert "default" in await full.get("/settings")
    form = {"unknown": "observe", "menu_timeout": "30", "values": "console=ttyS0\nkernel_args=quiet splash"}
    assert await send(full, "/settings", form) == "/settings"
    policy = hall.catalog().policy
    assert (policy.unknown, policy.unknown_chosen, policy.menu_timeout) == ("observe", True, 30)
    assert policy.values == {"console": "ttyS0", "kernel_args": "quiet splash"}
    page = await full.get("/settings")
    assert page.count(">set here<") == 2  # menu_timeout was not touched
    await send(full, "/settings", {"reset": "unknown"})
    assert (hall.catalog().policy.unknown, hall.catalog().policy.unknown_chosen) == ("menu", False)
    assert hall.catalog().policy.values != {}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"unknown": "nonsense"}, "is not one of"),
        ({"unknown": "profile:none"}, "none"),
        ({"menu_timeout": "9999"}, "3600"),
        ({"values": "nonsense"}, "key=value"),
        ({"values": "profile=\nnone=1"}, "none"),
    ],
)
async def test_a_policy_that_cannot_be_is_refused_and_stays_in_the_form(full, form, said):
    before = full.rooms.hall.catalog().policy
    page = await send(full, "/settings", {"unknown": "menu", "menu_timeout": "30", **form}, 422)
    assert said in page and 'role="alert"' in page
    assert full.rooms.hall.catalog().policy == before


# -------------------------------------------------------------------------------------------- networks


async def test_a_network_is_served_changed_and_forgotten(full):
    form = {
        "network": "10.9.0.0/24",
        "dhcp": "full",
        "pools": "10.9.0.100-10.9.0.199",
        "dns": "10.9.0.1, 10.9.0.2",
    }
    assert await send(full, "/settings/networks", form) == "/settings/networks"
    (subnet,) = full.rooms.hall.catalog().policy.subnets
    assert (subnet.mode.value, subnet.pools, subnet.dns) == (
        "full", (("10.9.0.100", "10.9.0.199"),), ("10.9.0.1", "10.9.0.2"),
    )  # fmt: skip
    page = html.unescape(await full.get("/settings/networks?network=10.9.0.0/24"))
    assert '[[subnet]]\nnetwork = "10.9.0.0/24"\ndhcp = "full"\npools = ["10.9.0.100-10.9.0.199"]' in page
    assert "Change 10.9.0.0/24" in page and "set here" in page
    await send(full, "/settings/networks", {"network": "10.9.0.0/24", "dhcp": "off"})
    assert full.rooms.hall.catalog().policy.subnets[0].mode.value == "off"
    await send(full, "/settings/networks/forget", {"network": "10.9.0.0/24"})
    assert full.rooms.hall.catalog().policy.subnets == ()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"dhcp": "full"}, "no addresses to give"),
        ({"dhcp": "full", "pools": "10.8.0.1-10.8.0.9"}, "not inside"),
        ({"network": "10.9.0.7/24"}, "the network is 10.9.0.0/24"),
        ({"mtu": "5"}, "576"),
        ({"router": "10.1.1.1"}, "not a host address"),
    ],
)
async def test_a_network_that_the_file_would_not_have_is_refused_here(full, form, said):
    page = await send(full, "/settings/networks", {"network": "10.9.0.0/24", "dhcp": "proxy", **form}, 422)
    assert said in page
    assert full.rooms.hall.catalog().policy.subnets == ()


async def test_limits_say_the_line_to_write(full):
    page = html.unescape(await full.get("/settings/limits"))
    assert "max_transfers_per_address = 16" in page and "max_connections = 2048" in page
    assert page.count(">can be changed here<") == 4


# --------------------------------------------------------------------------------------- users, tokens


async def test_users_are_added_changed_and_removed(full):
    form = {"name": "alice", "role": "operator", "labels": "line=development", "password": "correct horse"}
    assert await send(full, "/settings/users", form) == "/settings/users"
    assert "line=development" in await full.get("/settings/users")
    change = {"role": "admin", "labels": "", "password": "", "version": "1"}
    assert await send(full, "/settings/users/alice", change) == "/settings/users"
    assert "Look at it again" in await send(full, "/settings/users/alice", change, 409)
    assert "Remove alice?" in await full.get("/settings/users/alice/remove")
    await send(full, "/settings/users/alice/remove")
    assert "alice" not in re.sub(r'class="flash.*?</div>', "", await full.get("/settings/users"), flags=re.S)


async def test_a_password_is_never_shown_again(full):
    form = {"name": "NOT A NAME", "password": "correct horse", "labels": "x"}
    assert "correct horse" not in await send(full, "/settings/users", form, 422)


async def test_the_last_administrator_stays(full):
    assert "stays an administrator" in await send(full, "/settings/users/demo/remove", None, 409)


async def test_a_token_is_shown_once(full):
    register = full.rooms.access.register
    await register.load()
    made = await make_token(full)
    secret = re.search(r'class="secret">(pxe_[^<]+)', made)[1]
    assert register.token_of(secret, "192.0.2.1") is not None
    page = await full.get("/settings/tokens")
    assert secret not in page and "node:read boot:write" in page
    number = re.search(r"/settings/tokens/(\d+)/revoke", page)[1]
    assert "Revoke demo/ci?" in await full.get(f"/settings/tokens/{number}/revoke")
    await send(full, f"/settings/tokens/{number}/revoke")
    assert register.token_of(secret, "192.0.2.1") is None


async def make_token(site):
    """The page that answers."""
    fields = [
        ("name", "ci"),
        ("user", "demo"),
        ("scope", ""),
        ("scope", "node:read"),
        ("scope", "boot:write"),
        ("days", "30"),
    ]
    async with site.client.post("/settings/tokens", data=fields) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


# ------------------------------------------------------------------------------------------ certificate


async def test_the_certificate_has_its_fingerprint_and_the_days_left(full):
    page = await full.get("/settings/certificate")
    assert "AB:CD" in page and "EF:01" in page and "/api/v1/ca.pem" in page and "days left" in page


# --------------------------------------------------------------------------------------------- backups


async def add(hall, name):
    async with hall.edit("test") as edit:
        await edit.add_nodes([Node(0, name)])


def named(page):
    """The backups of a list."""
    return re.findall(r'<th scope="row" class="mono">([^<]+)', page)


async def bring(site, data, status):
    """The answer to a file that is brought."""
    return await send(site, "/settings/backup/bring", {"file": data}, status)


async def test_a_backup_goes_away_and_comes_back(full, tmp_path):
    hall = full.rooms.hall
    await add(hall, "before")
    await send(full, "/settings/backup")
    (name,) = named(await full.get("/settings/backup"))
    async with full.client.get(f"/settings/backup/{name}") as answer:
        data = await answer.read()
    await add(hall, "after")
    file = tmp_path / "b.sqlite3"
    file.write_bytes(data)
    with file.open("rb") as opened:
        await bring(full, opened, 303)
    brought = next(n for n in named(await full.get("/settings/backup")) if n.startswith("uploaded"))
    assert "everybody has to log in again" in await full.get(f"/settings/backup/{brought}/restore")
    assert hall.node("after") is not None
    await send(full, f"/settings/backup/{brought}/restore")
    assert hall.node("before") is not None and hall.node("after") is None
    await send(full, f"/settings/backup/{brought}/remove")
    assert named(await full.get("/settings/backup")) == [name]


async def torn(data):
    return data[: len(data) * 2 // 3]


async def bent(data):
    return data[:4096] + bytes(8192) + data[12288:]


async def foreign(_data):
    other = sqlite3.connect(":memory:")
    other.execute("create table t(x)")
    return other.serialize()


async def nothing(_data):
    return b"hello"


@pytest.mark.parametrize("harm", [torn, bent, foreign, nothing])
async def test_a_wrong_or_torn_file_is_refused_and_nothing_is_lost(full, tmp_path, harm):
    hall = full.rooms.hall
    await add(hall, "n001")
    await hall.backup(tmp_path / "good")
    bad = tmp_path / "bad"
    bad.write_bytes(await harm((tmp_path / "good").read_bytes()))
    with bad.open("rb") as opened:
        page = await bring(full, opened, 422)
    assert "the backup is refused" in page
    assert named(page) == [] and hall.node("n001") is not None
    folder = full.rooms.settings.server.state_dir / "backups"
    assert list(folder.iterdir()) == []
    (folder / "manual-x.sqlite3").write_bytes(bad.read_bytes())
    assert "the backup was not restored" in await send(
        full, "/settings/backup/manual-x.sqlite3/restore", None, 409
    )
    await add(hall, "n002")
    assert hall.node("n001") is not None and hall.trouble is None


@pytest.mark.parametrize("name", ["none.sqlite3", "..%2fdb.sqlite3", ".brought.sqlite3", "link.sqlite3"])
async def test_only_backups_are_taken_along(full, tmp_path, name):
    folder = full.rooms.settings.server.state_dir / "backups"
    folder.mkdir(exist_ok=True)
    (folder / ".brought.sqlite3").write_bytes(b"x")
    (folder / "link.sqlite3").symlink_to("/etc/passwd")
    async with full.client.get(f"/settings/backup/{name}") as answer:
        assert answer.status == 404


# --------------------------------------------------------------------------------------- notifications


async def test_somebody_is_told_tested_changed_and_removed_and_no_page_has_the_address(full, caplog):
    url = "http://127.0.0.1:1/t0ken-in-the-path"
    form = {"name": "ops", "kind": "webhook", "url": url, "alarm": "disk-full"}
    page = await send(full, "/settings/notifications", form, 200)
    secret = re.search(r'class="secret">([^<]+)', page)[1]
    target = full.rooms.notices.targets.find("ops")
    assert (target.url, target.secret, target.alarms) == (url, secret, ("disk-full",))
    assert await send(full, "/settings/notifications/ops/test") == "/settings/notifications"
    change = {"url": "", "enabled": "1", "version": "1", "new_secret": "1"}
    page = await send(full, "/settings/notifications/ops", change, 200)
    target = full.rooms.notices.targets.find("ops")
    assert (target.url, target.alarms, target.secret != secret) == (url, (), True)
    assert target.secret in page
    pages = [page, await full.get("/settings/notifications"), await full.get("/settings/notifications/ops")]
    pages += [await full.get("/audit"), await full.get("/audit/export?format=ndjson"), caplog.text]
    assert "not be reached" in pages[1] or "cannot be reached" in pages[1]
    assert all("t0ken" not in text and secret not in text for text in pages)
    assert all(target.secret not in text for text in pages[1:])
    assert "notifications" in pages[3]
    await send(full, "/settings/notifications/ops/remove")
    assert "Nobody is told" in await full.get("/settings/notifications")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"url": "http://169.254.169.254/t0ken"}, "link-local"),
        ({"url": "gopher://t0ken"}, "no address such as"),
        ({"url": "syslog://t0ken", "kind": "apprise"}, "own host"),
        ({"alarm": "nonsense"}, "is no alarm"),
        ({"name": "../x"}, "a name is"),
    ],
)
async def test_an_address_that_is_refused_is_not_repeated(full, form, said):
    given = {"name": "ops", "kind": "webhook", "url": "http://h/t0ken"} | form
    page = await send(full, "/settings/notifications", given, 422)
    assert said in page and "t0ken" not in page
    assert full.rooms.notices.targets.all() == []


async def test_the_api_tells_neither_address_nor_secret_in_its_faults(full):
    await asyncio.sleep(0)
    page = await send(
        full, "/settings/notifications", {"name": "o", "kind": "webhook", "url": "x" * 2100}, 422
    )
    assert "xxxx" not in page

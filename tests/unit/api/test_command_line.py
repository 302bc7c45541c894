"""Every noun of the command line as a process of its own, against a real hall behind the real API."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time

import pytest
import yaml

from pxeserver.boot.model import Event, EventKind, Lease, Promise, PromiseKind
from pxeserver.discovery import BuildFailed

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]


class Done:
    """What a call of the command line left."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out.decode(), err.decode()
        assert "Traceback" not in self.err

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(server):
    """`await cli("node", "list")`; exit code 0 is demanded unless `code` says otherwise."""

    async def call(*words, code=0, stdin=b""):
        environ = {"PATH": os.environ["PATH"], "PXESERVER_SOCKET": server.path, "LC_ALL": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pxeserver", *words, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environ,
        )  # fmt: skip
        out, err = await process.communicate(stdin)
        done = Done(process.returncode, out, err)
        assert done.code == code, (words, done.out, done.err)
        return done

    return call


async def test_nodes(cli):
    done = await cli("node", "add", "n[001-256]", "--label", "rack=r1")
    assert done.err.strip() == "n[001-256]: added"
    assert len((await cli("node", "list", "-o", "json")).json()) == 256
    done = await cli("node", "add", "x", "n001", code=1)
    assert "there is one of this name" in done.err and "next:" in done.err
    await cli("node", "add", "n[1-2]", "--mac", "52:54:00:00:00:01", code=2)
    await cli("node", "add", "web", "--mac", "52-54-00-00-00-01", "--set", "console=ttyS0")
    await cli("node", "set", "n[001-003]", "keyboard=de", "--label", "rack=")
    listed = (await cli("node", "list", "n[001-004]", "-o", "yaml")).out
    assert [(n["values"], n["labels"]) for n in yaml.safe_load(listed)][2:] == [
        ({"keyboard": "de"}, {}),
        ({}, {"rack": "r1"}),
    ]
    shown = (await cli("node", "show", "web")).out
    assert "ttyS0" in shown and "node web" in shown and "no profile is assigned" in shown
    done = await cli("node", "set", "web", "local_boot=sideways", code=1)
    assert "sanboot" in done.err
    await cli("node", "remove", "n[001-256]", code=2)
    done = await cli("node", "set", "web", code=2)
    assert "nothing to change" in done.err
    done = await cli("node", "set", "n[001-002]", "--mac", "52:54:00:12:34:57", code=2)
    assert "macs belong to one machine" in done.err
    done = await cli("node", "set", "web", "profile=nope", code=1)
    assert "pxeserver profile list" in done.err
    done = await cli("profile", "add", "live", "--image", "nope", code=1)
    assert "pxeserver image list" in done.err
    done = await cli("node", "approve", "ABC123", "x", code=1)
    assert "pxeserver node list --unknown" in done.err
    done = await cli("node", "add", "bad", "--mac", "zz", code=1)
    assert "is not a MAC address" in done.err and "Tuple" not in done.err
    done = await cli("node", "remove", "n[250-257]", "--yes", code=1)
    assert "n[250-256]: removed" in done.err and "n257" in done.err
    assert len((await cli("node", "list", "-o", "json")).json()) == 250


async def test_the_life_of_a_machine(cli, server, tmp_path):
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(os.urandom(300_000))
    sha256 = hashlib.sha256(kernel.read_bytes()).hexdigest()
    (tmp_path / "initrd.img").write_bytes(b"initrd")
    await cli("image", "add", "debian", "--kernel", str(kernel), "--sha256", "0" * 64, code=1)
    await cli(
        "image",
        "add",
        "debian",
        "--kernel",
        str(kernel),
        "--initrd",
        str(tmp_path / "initrd.img"),
        "--sha256",
        f"vmlinuz={sha256}",
        "--label",
        "arch=x64",
    )
    assert sha256 in (await cli("image", "show", "debian")).out
    await cli("image", "add", "debian", "--kernel", str(kernel), code=1)
    await cli("image", "add", "none", "--kernel", str(tmp_path / "missing"), code=2)
    await cli(
        "profile", "add", "setup", "--image", "debian", "--args", "auto=true", "--install", "console=ttyS0"
    )
    await cli("profile", "add", "disk", "--kind", "local", "--no-in-menu")
    await cli("profile", "set", "setup", "--title", "Set up")
    await cli("group", "add", "rack1", "label", "rack=r1", "console=ttyS0")
    await cli("group", "set", "rack1", code=2)
    await cli("group", "set", "rack1", "console=")
    assert (await cli("group", "show", "rack1", "-o", "json")).json()["values"] == {}
    await cli("group", "remove", "rack1", "--yes")
    assert (await cli("group", "list", "-o", "json")).json() == []
    assert "auto=true" in (await cli("profile", "show", "setup")).out
    assert [p["in_menu"] for p in (await cli("profile", "list", "-o", "json")).json()] == [False, True]

    seen = {
        "machine": {"mac": "52:54:00:00:00:09", "vendor": "\x1b]0;evil\x07"},
        "attempt": "abc",
        "inventory": {
            "disks": [
                {"path": "/dev/sda", "serial": "S1", "size": 10**9, "signatures": ["ext4"], "model": "M"}
            ]
        },
    }
    await server.hall.answer("inventory", seen)
    unknown = await cli("node", "list", "--unknown")
    assert "\x1b" not in unknown.out and "\\x1b" in unknown.out
    (machine,) = (await cli("node", "list", "--unknown", "-o", "json")).json()
    await cli("node", "approve", machine["code"], "web1", "--profile", "disk")
    await server.hall.answer("inventory", seen)
    done = await cli("node", "install", "web1", "--profile", "setup")
    assert "web1 would not install yet" in done.err and "pxeserver node consent web1 DISK" in done.err
    done = await cli("node", "consent", "web1", "S2", code=1)
    assert "S1" in done.err
    await cli("node", "consent", "web1", "S1", code=2)
    await cli("node", "consent", "web1", "S1", "--yes")
    await cli("node", "boot-once", "web1", "--profile", "disk")
    await cli("node", "hold", "web1", "--reason", "broken fan")
    assert "broken fan" in (await cli("node", "show", "web1")).out
    await cli("node", "release", "web1")
    await cli("node", "order", "reboot", "web1", "--yes")
    refused = await cli("node", "order", "boot", "web1", "--profile", "setup", "--yes", code=1)
    assert "wipe guard" in refused.err and "pxeserver node install web1" in refused.err
    await cli("profile", "add", "live", "--image", "debian")
    await cli("node", "order", "boot", "web1", "--profile", "live", "--yes")
    await cli("profile", "remove", "live", "--yes")
    assert "web1" in (await cli("node", "list", "--profile", "setup")).out
    done = await cli("profile", "remove", "setup", "--yes", code=1)
    assert "node web1" in done.err
    done = await cli("image", "remove", "debian", "--yes", code=1)
    assert "profile setup" in done.err
    await cli("node", "remove", "web1", "--yes")
    await cli("profile", "remove", "setup", "disk", "--yes")
    await cli("image", "remove", "debian", "--yes")
    assert (await cli("image", "list", "-o", "json")).json() == []


async def test_groups_policy_leases_status_and_loaders(cli, server, tmp_path):
    await cli("group", "add", "rack1", "label", "rack=r1", "console=ttyS0")
    await cli("group", "set", "rack1", "console=", "keyboard=de")
    assert (await cli("group", "show", "rack1", "-o", "json")).json()["values"] == {"keyboard": "de"}
    assert "rack=r1" in (await cli("group", "list")).out
    await cli("group", "add", "bad", "subnet", "nonsense", code=1)
    await cli("group", "remove", "rack1", "--yes")
    await cli("policy", "set", "--unknown", "discover", "--dry-run", "console=ttyS0")
    assert "discover" in (await cli("policy", "show")).out
    await cli("policy", "set", "--unknown", "explode", code=1)
    lease = Lease("10.0.0.9", "52:54:00:00:00:01", "01", time.time() + 600, "host")
    server.hall.ingest_entry(1, Promise(PromiseKind.LEASE, lease=lease))
    await server.hall.settled()
    assert "10.0.0.9" in (await cli("lease", "list")).out
    await cli("lease", "release", "10.0.0.9", "--yes")
    assert [address for address, _ in server.worker.released] == ["10.0.0.9"]
    done = await cli("status", code=1)
    assert "no boot loaders" in done.err and "eth0" in done.out
    own = tmp_path / "ipxe.efi"
    own.write_bytes(b"MZ")
    await cli("loader", "add", str(own), "--arch", "7", "--arch", "9", "--version", "1.2")
    assert [r["arch"] for r in (await cli("loader", "list", "-o", "json")).json()] == [7, 9]
    await cli("status")
    bundle = tmp_path / "bundle.tar"
    await cli("loader", "export", str(bundle))
    assert bundle.read_bytes() == b"bundle of 2"
    server.shelf.loaders = list(server.hall.catalog().loaders.values())
    await cli("loader", "import", str(bundle))


async def test_backup_and_restore(cli, tmp_path):
    await cli("node", "add", "n1")
    file = tmp_path / "saved"
    await cli("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    await cli("node", "remove", "n1", "--yes")
    await cli("restore", str(file), code=2)
    await cli("restore", str(file), "--yes")
    assert [n["name"] for n in (await cli("node", "list", "-o", "json")).json()] == ["n1"]
    (tmp_path / "bad").write_bytes(b"nonsense" * 1000)
    await cli("restore", str(tmp_path / "bad"), "--yes", code=1)
    await cli("backup", str(tmp_path / "no" / "where"), code=1)


async def test_nothing_is_watched_that_is_not_there(cli):
    done = await cli("boot", "watch", "--node", "nope", code=1)
    assert "no node nope" in done.err


async def test_boots_are_listed_shown_and_watched(cli, server):
    def event(kind, **detail):
        return Event(time.time(), kind, "att0000001", "52:54:00:00:00:01", detail=detail)

    environ = {"PATH": os.environ["PATH"], "PXESERVER_SOCKET": server.path}
    watch = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pxeserver", "boot", "watch", stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environ,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while not server.hall.counters["watchers"]:
                await asyncio.sleep(0.01)
            server.hall.ingest_event(event(EventKind.DISCOVERED))
            server.hall.ingest_event(event(EventKind.OFFERED, file="ipxe.efi\x1b[2J"))
            assert b"discovered" in await watch.stdout.readline()
            line = await watch.stdout.readline()
            assert b"offered" in line and b"\x1b" not in line
            # The connection is cut; the watcher comes back and misses nothing.
            for task in list(server.hall._feed._watchers):
                task.cut_off = True
                task.wake.set()
            assert b"watch-cut-off" in await watch.stdout.readline()
            server.hall.ingest_event(event(EventKind.LOADER_SENT))
            assert b"loader-sent" in await watch.stdout.readline()
    finally:
        with contextlib.suppress(ProcessLookupError):
            watch.terminate()
        await watch.communicate()
    await server.hall.settled()
    assert "att0000001" in (await cli("boot", "list")).out
    shown = (await cli("boot", "show", "att0000001")).out
    assert "loader-sent" in shown and "\x1b" not in shown
    await cli("boot", "show", "nothing", code=1)
    await cli("boot", "list", "--node", "nobody", code=1)


async def test_an_image_is_built_here(cli, server):
    done = await cli("image", "build", "sys", "--refresh", "-o", "json")
    assert done.json()["files"][0]["name"] == "vmlinuz"
    assert done.err.split() == ["step=one", "step=two"]
    assert server.builds.orders == [("sys", True)]
    server.builds.result = BuildFailed("no mirror can be reached")
    done = await cli("image", "build", "sys", code=1)
    assert "no mirror can be reached" in done.err and "next:" in done.err
    done = await cli("image", "build", "other", code=1)
    assert "it builds: sys" in done.err


async def test_versions_of_a_profile(cli):
    await cli("profile", "add", "p", "--kind", "local", "--title", "one")
    await cli("profile", "set", "p", "--title", "two")
    assert [v["version"] for v in (await cli("profile", "versions", "p", "-o", "json")).json()] == [2, 1]
    assert "+title: two" in (await cli("profile", "diff", "p", "1")).out
    await cli("profile", "rollback", "p", "1")
    assert (await cli("profile", "show", "p", "-o", "json")).json()["title"] == "one"
    assert "no version 9" in (await cli("profile", "rollback", "p", "9", code=1)).err

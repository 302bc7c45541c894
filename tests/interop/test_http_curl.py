"""curl, wget and busybox as witnesses of the boot HTTP listener: files from the store, whole, resumed, by
range.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from http_serve import Plane

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import Image, Loader, Machine
from pxeserver.imagestore.store import Store
from pxeserver.servers.http import BootHttp

pytestmark = pytest.mark.interop
SIZE = 9 * 1024 * 1024 + 12_345


@dataclass
class Site:
    """A listener with one large file and one loader."""

    url: str
    attempt: str
    content: bytes
    sha256: str
    directory: Path

    async def run(self, *command: str) -> tuple[int, str]:
        """Run a client in the test's own directory; its exit status and output."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, output.decode(errors="replace")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """The listener on loopback."""
    store = Store(tmp_path / "images")
    content = os.urandom(SIZE)
    source = tmp_path / "root.img"
    source.write_bytes(content)
    disk = store.add_path(source, "root.img", "disk")
    loader = store.add_bytes(b"MZ" * 5000, "snponly.efi", "loader")
    catalog = Catalog(images={"debian": Image("debian", (disk,))}, loaders={7: Loader(7, loader)})
    plane = Plane(store, catalog)
    attempt = plane.attempts.begin(Machine("52:54:00:77:00:01"), plane.now(), firmware=True)
    plane.attempts.bind_address(attempt, "127.0.0.1")
    http = BootHttp(plane, store.open_manifest)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await http.start([sock])
        port = sock.getsockname()[1]
    yield Site(f"http://127.0.0.1:{port}", attempt.id, content, disk.sha256, tmp_path)
    await http.stop()
    store.close()


async def test_curl_gets_the_file_whole(site: Site) -> None:
    status, output = await site.run("curl", "-sS", "-f", "-o", "got", f"{site.url}/b/{site.sha256}")
    assert status == 0, output
    assert hashlib.sha256((site.directory / "got").read_bytes()).hexdigest() == site.sha256


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
async def test_curl_sees_the_same_headers_by_head_and_get(site: Site, version: str) -> None:
    url = f"{site.url}/snponly.efi"
    _, head = await site.run("curl", "-sS", version, "-I", url)
    _, get = await site.run("curl", "-sS", version, "-D", "-", "-o", "got", url)
    dateless = [[line for line in text.split("\r\n") if not line.startswith("Date")] for text in (head, get)]
    assert dateless[0] == dateless[1]
    assert "Content-Type: application/efi" in dateless[0]
    assert "Content-Length: 10000" in dateless[0]


async def test_curl_resumes_where_it_stopped(site: Site) -> None:
    (site.directory / "got").write_bytes(site.content[:4_000_000])
    status, output = await site.run(
        "curl", "-sS", "-f", "-C", "-", "-o", "got", f"{site.url}/b/{site.sha256}"
    )
    assert status == 0, output
    assert (site.directory / "got").read_bytes() == site.content


async def test_curl_keeps_the_connection(site: Site) -> None:
    url = f"{site.url}/b/{site.sha256}"
    _, output = await site.run(
        "curl", "-sS", "-r", "5-9", "-w", "%{num_connects} %{http_code}\n", "-o", "a", url, "-o", "b", url
    )
    assert output.split() == ["1", "206", "0", "206"]
    assert (site.directory / "b").read_bytes() == site.content[5:10]


@pytest.mark.parametrize("client", [["wget", "-q", "-O", "got"], ["busybox", "wget", "-q", "-O", "got"]])
async def test_wget_gets_the_file(site: Site, client: list[str]) -> None:
    if shutil.which(client[0]) is None:
        pytest.skip(f"{client[0]} is not installed")
    status, output = await site.run(*client, f"{site.url}//b/{site.sha256}")
    assert status == 0, output
    assert (site.directory / "got").read_bytes() == site.content


async def test_curl_is_told_at_once_that_there_is_no_such_file(site: Site) -> None:
    _, output = await site.run("curl", "-sS", "-w", "%{http_code}", f"{site.url}/revocations_sku.efi")
    assert output.split() == ["no", "such", "file", "404"]


SENT = [
    ("--data-binary", "@report"),
    ("-H", "Transfer-Encoding: chunked", "--data-binary", "@report"),
    ("-H", "Expect: 100-continue", "--data-binary", "@report"),
    ("--http1.0", "--data-binary", "@report"),
]


@pytest.mark.parametrize("how", SENT, ids=lambda v: v[1].partition(":")[0])
async def test_curl_reports_with_every_kind_of_body(site: Site, how: tuple[str, ...]) -> None:
    report = b'{"event": "booted", "reason": "' + b"x" * 200_000 + b'"}'
    (site.directory / "report").write_bytes(report)
    url = f"{site.url}/a/{site.attempt}/report"
    _, output = await site.run("curl", "-sS", "-w", " %{http_code}", *how, url, url)
    assert output == '{"ok":true,"moved":false} 200' * 2


async def test_curl_is_told_why_a_body_is_refused(site: Site) -> None:
    (site.directory / "report").write_bytes(b"x" * 3_000_000)
    url = f"{site.url}/a/{site.attempt}/report"
    _, output = await site.run("curl", "-sS", "-w", " %{http_code}", "--data-binary", "@report", url)
    assert output == "more than 1048576 bytes\n 413"
    _, output = await site.run("curl", "-sS", "-w", " %{http_code}", "-H", "X: " + "y" * 9000, site.url)
    assert output == "the request's head is too long\n 431"

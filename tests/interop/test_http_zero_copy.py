"""Image bytes leave by sendfile(2) on both event loops: counted by strace from outside the process."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

SIZE = 40 * 1024 * 1024 + 321
SENDERS = "sendfile,sendto,sendmsg,write,writev,splice,send"
CALL = re.compile(r"(\w+)\(\d+<TCP.*= (\d+)$")
SERVE = Path(__file__).with_name("http_serve.py")


@dataclass
class Traced:
    """A listener under strace."""

    port: int
    sha256: str
    process: subprocess.Popen[str]
    log: Path

    def bytes_to_sockets(self) -> Counter[str]:
        """Stop it; bytes given to TCP sockets, by system call."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        moved: Counter[str] = Counter()
        begun: dict[str, str] = {}
        for line in self.log.read_text().splitlines():
            thread, _, call = line.partition(" ")
            if call.endswith("<unfinished ...>"):
                begun[thread] = call.removesuffix("<unfinished ...>")
            elif "resumed>" in call:
                call = begun.pop(thread, "") + call.partition("resumed>")[2]
            if found := CALL.match(call.strip()):
                moved[found[1]] += int(found[2])
        return moved


@pytest.fixture(params=["asyncio", "uvloop"])
def traced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Traced]:
    """The listener on each event loop."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    source = tmp_path / "root.img"
    source.write_bytes(os.urandom(SIZE))
    log = tmp_path / "calls"
    process = subprocess.Popen(
        [
            *("strace", "-f", "-yy", "-qq", "-e", f"trace={SENDERS}", "-e", "signal=none", "-o", str(log)),
            *(sys.executable, str(SERVE), request.param, str(tmp_path / "images"), str(source)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert process.stdout is not None
        port, sha256 = process.stdout.readline().split()
        yield Traced(int(port), sha256, process, log)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def test_image_bytes_leave_by_sendfile_only(traced: Traced) -> None:
    url = f"http://127.0.0.1:{traced.port}/b/{traced.sha256}"
    whole = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as reply:
        while data := reply.read(1 << 20):
            whole.update(data)
    assert whole.hexdigest() == traced.sha256
    part = urllib.request.Request(url, headers={"Range": "bytes=1000-2000999"})
    with urllib.request.urlopen(part, timeout=60) as reply:
        assert len(reply.read()) == 2_000_000

    moved = traced.bytes_to_sockets()
    assert moved.pop("sendfile") == SIZE + 2_000_000
    assert 0 < sum(moved.values()) < 2000, f"only the two headers may be copied, but: {moved}"

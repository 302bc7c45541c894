"""Writing a disk: only the agreed one, every piece checked, the boot sector last, a bad line waited out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pxeserver.agent.server import ServerAway, ServerRefused
from pxeserver.agent.write import WriteFailed, WriteOrder, Writer

MIB = 1 << 20
CHUNK = 4 * MIB
IMAGE = bytes(range(256)) * (9 * MIB // 256) + b"tail"


class FakeServer:
    """Serves the image's chunks and keeps what was reported; `broken` may spoil an answer."""

    path = "/a/abc"

    def __init__(self, image: bytes = IMAGE) -> None:
        self.image = image
        self.reports: list[dict[str, Any]] = []
        self.fetched: list[int] = []
        self.broken: Callable[[int, bytes], bytes] = lambda _, data: data
        self.disk: Path | None = None
        self.before: bytes = b""

    def sleep(self, _: float) -> None:
        pass

    def patiently(self, once: Callable[[], Any], *, patience: float) -> Any:
        for _ in range(5):
            try:
                return once()
            except ServerAway:
                continue
        raise ServerAway("five times")

    def insist(self, name: str, body: dict[str, Any], *, patience: float = 0) -> dict[str, Any]:
        return self.ask(name, body)

    def ask(self, _: str, body: dict[str, Any]) -> dict[str, Any]:
        self.reports.append(body)
        if body["event"] == "install-started" and self.disk:
            self.before = self.disk.read_bytes()
        return {}

    def fetch(self, url: str, start: int = 0, length: int | None = None) -> bytes:
        if url.endswith(".manifest"):
            chunks = [
                hashlib.sha256(self.image[i : i + CHUNK]).hexdigest()
                for i in range(0, len(self.image), CHUNK)
            ]
            words = {
                "size": len(self.image),
                "sha256": digest(self.image),
                "chunk_size": CHUNK,
                "chunks": chunks,
            }
            return json.dumps(words).encode()
        self.fetched.append(start)
        assert length is not None
        return self.broken(len(self.fetched), self.image[start : start + length])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def order(**change: Any) -> WriteOrder:
    words: dict[str, Any] = {
        "disk": {"serial": "S1", "path": "/dev/disk"},
        "signatures": [],
        "url": "/a/abc/f/x/y",
        "manifest": "/a/abc/f/x/y.manifest",
        "size": len(IMAGE),
        "sha256": digest(IMAGE),
    }
    return WriteOrder.of({**words, **change})


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(bytes(16 * MIB))
    return path


def seen(disk: Path, *found: str, serial: str = "S1") -> list[dict[str, Any]]:
    size = disk.stat().st_size
    return [{"name": "disk", "path": "/dev/disk", "serial": serial, "size": size, "signatures": list(found)}]


def write(
    server: FakeServer, disk: Path, what: WriteOrder, found: list[dict[str, Any]] | None = None
) -> None:
    server.disk = disk
    Writer(server, what, lambda _: None, disk.parent).run(seen(disk) if found is None else found)  # type: ignore[arg-type]


def test_the_image_arrives_whole_and_its_first_chunk_last(disk: Path) -> None:
    server = FakeServer()
    write(server, disk, order())
    assert disk.read_bytes() == IMAGE + bytes(16 * MIB - len(IMAGE))
    assert server.fetched == [CHUNK, 2 * CHUNK, 0]
    assert server.reports[0]["event"] == "install-started"
    assert server.before == bytes(16 * MIB), "the start is reported before the first byte"


def test_an_old_backup_partition_table_is_cleared(disk: Path) -> None:
    with disk.open("r+b") as out:
        out.seek(16 * MIB - 512)
        out.write(b"EFI PART" + bytes(504))
    found = seen(disk, "gpt")
    write(FakeServer(), disk, order(signatures=["gpt"]), found)
    assert disk.read_bytes()[-MIB:] == bytes(MIB)


def test_damaged_and_missing_pieces_are_fetched_again(disk: Path) -> None:
    server = FakeServer()

    def broken(count: int, data: bytes) -> bytes:
        if count == 1:
            return data[:-1] + b"!"
        if count == 3:
            raise ServerAway("gone")
        return data

    server.broken = broken
    write(server, disk, order())
    assert disk.read_bytes()[: len(IMAGE)] == IMAGE
    assert server.fetched == [CHUNK, CHUNK, 2 * CHUNK, 2 * CHUNK, 0]


@pytest.mark.parametrize(
    ("what", "found", "reason"),
    [
        ({}, {"found": ("ext4",)}, "ext4, agreed was an empty disk"),
        ({"signatures": ["ext4"]}, {"found": ("xfs",)}, "xfs, agreed was ext4"),
        ({"disk": {"serial": "OTHER"}}, {}, "0 disks are OTHER"),
        ({"size": 1 << 40}, {}, "another image"),
        ({"sha256": "0" * 64}, {}, "another image"),
    ],
)
def test_what_was_not_agreed_is_refused_untouched(
    disk: Path, what: dict[str, Any], found: dict[str, Any], reason: str
) -> None:
    server = FakeServer()
    with pytest.raises(WriteFailed, match=reason):
        write(server, disk, order(**what), seen(disk, *found.get("found", ())))
    assert disk.read_bytes() == bytes(16 * MIB)
    assert server.reports == []


def test_a_disk_that_changed_since_the_inventory_is_not_written(disk: Path) -> None:
    with disk.open("r+b") as out:
        out.write(b"XFSB")
    before = disk.read_bytes()
    with pytest.raises(WriteFailed, match="xfs"):
        write(FakeServer(), disk, order(), seen(disk))
    assert disk.read_bytes() == before


def test_two_disks_of_one_serial_are_told_apart_by_their_path(disk: Path) -> None:
    twins = [*seen(disk), {**seen(disk)[0], "name": "other", "path": "/dev/other"}]
    write(FakeServer(), disk, order(), twins)
    with pytest.raises(WriteFailed, match="2 disks"):
        write(FakeServer(), disk, order(disk={"serial": "S1"}), twins)


def test_a_small_disk_is_refused(disk: Path) -> None:
    disk.write_bytes(bytes(5 * MIB))
    with pytest.raises(WriteFailed, match="bytes, the image"):
        write(FakeServer(), disk, order())


def test_nothing_is_written_when_the_start_cannot_be_reported(disk: Path) -> None:
    server = FakeServer()

    def refuse(_: str, body: dict[str, Any]) -> dict[str, Any]:
        raise ServerRefused(f"not now: {body['event']}")

    server.ask = refuse  # type: ignore[method-assign]
    with pytest.raises(WriteFailed, match="did not take the report"):
        write(server, disk, order())
    assert disk.read_bytes() == bytes(16 * MIB)


def test_pieces_that_stay_damaged_end_the_install_without_a_boot_sector(disk: Path) -> None:
    server = FakeServer()
    server.broken = lambda count, data: data if count == 1 else b"?" * len(data)
    with pytest.raises(WriteFailed, match="byte"):
        write(server, disk, order())
    assert disk.read_bytes()[:512] == bytes(512)


@pytest.mark.parametrize("missing", ["disk", "url", "size", "sha256"])
def test_an_incomplete_order_is_refused(missing: str) -> None:
    words = {"disk": {"serial": "S1"}, "url": "/x", "size": 1, "sha256": "0"}
    del words[missing]
    with pytest.raises(WriteFailed, match="incomplete"):
        WriteOrder.of(words)

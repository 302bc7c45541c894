"""The image store: what is published is whole and verified, what fails leaves nothing, whenever it fails."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pxeserver.boot.model import FileRef
from pxeserver.imagestore import blobs as blobs_module
from pxeserver.imagestore.blobs import Draft, ImportFailed, NoSpace
from pxeserver.imagestore.manifest import CHUNK_SIZE, ChunkHasher, Manifest
from pxeserver.imagestore.store import Store

CONTENT = random.Random(7).randbytes(2 * CHUNK_SIZE + 1234)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path):
    """An empty store."""
    opened = Store(tmp_path / "images")
    yield opened
    opened.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to import."""
    path = tmp_path / "source.img"
    path.write_bytes(CONTENT)
    return path


def files_in(store: Store) -> list[str]:
    """Everything under the store's directory."""
    root = store.blobs.tmp.parent
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def content(store: Store, file: FileRef | str) -> bytes:
    """What the store has under a reference."""
    opened = store.open(file)
    try:
        return os.pread(opened.fd, opened.size + 1, 0)
    finally:
        opened.close()
        opened.close()


def test_a_file_is_published_under_its_sha256(store: Store, source: Path) -> None:
    ref = store.add_path(source, "root.img", "disk")
    assert ref == FileRef("root.img", SHA, len(CONTENT), "disk")
    assert files_in(store) == [f"blobs/{SHA[:2]}/{SHA}", f"blobs/{SHA[:2]}/{SHA}.manifest"]
    assert content(store, ref) == content(store, SHA) == CONTENT
    assert store.blobs.path_of(SHA).stat().st_mode & 0o777 == 0o440


def test_the_manifest_has_every_chunk(store: Store, source: Path) -> None:
    store.add_path(source, "root.img", "disk")
    chunks = [CONTENT[i : i + CHUNK_SIZE] for i in range(0, len(CONTENT), CHUNK_SIZE)]
    expected = tuple(hashlib.sha256(chunk).hexdigest() for chunk in chunks)
    assert store.manifest(SHA) == Manifest(len(CONTENT), SHA, CHUNK_SIZE, expected)


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE])
@pytest.mark.parametrize("step", [1 << 20, 65_537, 9 << 20])
def test_chunks_do_not_depend_on_how_the_bytes_came(size: int, step: int) -> None:
    data = CONTENT[:size]
    hasher = ChunkHasher()
    for i in range(0, size, step):
        hasher.update(data[i : i + step])
    manifest = hasher.manifest()
    assert (manifest.size, manifest.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert len(manifest.chunks) == -(-size // CHUNK_SIZE)
    assert Manifest.decode(manifest.encode()) == manifest
    if manifest.chunks:
        last = data[(len(manifest.chunks) - 1) * CHUNK_SIZE :]
        assert manifest.chunks[-1] == hashlib.sha256(last).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'{"size":1,"sha256":"x","chunk_size":4194304,"chunks":["x"]}',
        b'{"size":1,"sha256":"%s","chunk_size":4194304,"chunks":[]}' % (b"a" * 64),
        b'{"size":1,"sha256":"%s","chunk_size":0,"chunks":[]}' % (b"a" * 64),
        b'{"size":-1,"sha256":"%s","chunk_size":1,"chunks":[]}' % (b"a" * 64),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        Manifest.decode(text)


def test_another_content_than_expected_is_refused_and_leaves_nothing(store: Store, source: Path) -> None:
    with pytest.raises(ImportFailed, match=SHA):
        store.add_path(source, "root.img", "disk", "0" * 64)
    assert files_in(store) == []
    assert store.add_path(source, "root.img", "disk", SHA).sha256 == SHA


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/a",
        "a\\b",
        "a\0",
        "a\n",
        "ä",
        " ",
        "x" * 201,
        "-x",
        "a.manifest",
        "a b",
    ],
)
def test_names_that_no_file_may_have(store: Store, name: str) -> None:
    with pytest.raises(ImportFailed):
        store.add_bytes(b"x", name, "file")


def test_roles_and_checksums_are_checked(store: Store) -> None:
    with pytest.raises(ImportFailed, match="kernel"):
        store.add_bytes(b"x", "x", "firmware")
    with pytest.raises(ImportFailed, match="64"):
        store.add_bytes(b"x", "x", "file", "ABC")


def test_the_same_content_twice_is_one_file(store: Store, source: Path) -> None:
    store.add_path(source, "a.img", "disk")
    store.add_bytes(CONTENT, "b.img", "file")
    assert len(files_in(store)) == 2


def test_what_is_no_file_is_not_imported(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(ImportFailed, match="regular"):
            store.add_path(tmp_path / name, "x", "file")
    with pytest.raises(FileNotFoundError):
        store.add_path(tmp_path / "nothing", "x", "file")
    assert files_in(store) == []


def test_progress_is_told_and_may_end_it(store: Store, source: Path) -> None:
    told: list[tuple[int, int | None]] = []
    store.add_path(source, "a.img", "disk", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    def cancel(done: int, _: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add_bytes(b"other", "b", "file")
        store.add_path(source, "b.img", "disk", progress=cancel)
    assert len(files_in(store)) == 4


def test_a_full_disk_says_so_and_leaves_nothing(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = os.write, [0]

    def write(fd: int, data: memoryview) -> int:
        written[0] += len(data)
        if written[0] > 3 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(blobs_module.os, "write", write)
    with pytest.raises(NoSpace, match="no room left"):
        store.add_path(source, "root.img", "disk")
    assert files_in(store) == []


def test_a_blob_of_another_size_than_published_is_damaged_not_missing(store: Store) -> None:
    ref = store.add_bytes(b"hello", "x", "file")
    path = store.blobs.path_of(ref.sha256)
    path.chmod(0o640)
    path.write_bytes(b"hell")
    with pytest.raises(OSError, match="damaged") as caught:
        store.open(ref)
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("sha256", ["", "x", "../" * 20 + "etc/passwd", SHA.upper(), SHA + "\n", "0" * 64])
def test_only_a_sha256_opens_anything(store: Store, sha256: str) -> None:
    for opening in (store.open, store.open_manifest, store.manifest):
        with pytest.raises(FileNotFoundError):
            opening(sha256)


def test_an_open_file_outlives_its_removal(store: Store) -> None:
    ref = store.add_bytes(b"hello", "x", "file")
    opened = store.open(ref)
    assert store.discard_unused((), min_age=-1) == (1, 5)
    assert os.pread(opened.fd, 10, 0) == b"hello"
    opened.close()
    assert files_in(store) == []


def test_discard_keeps_what_is_used_and_what_is_new(store: Store) -> None:
    kept = store.add_bytes(b"kept", "a", "file")
    fresh = store.add_bytes(b"fresh", "b", "file")
    old = store.add_bytes(b"old!", "c", "file")
    for ref in (kept, old):
        os.utime(store.blobs.path_of(ref.sha256), (0, 0))
    assert store.discard_unused({kept.sha256}) == (1, 4)
    assert content(store, kept) == b"kept"
    assert content(store, fresh) == b"fresh"


def test_drafts_of_the_dead_are_collected_and_those_of_the_living_are_not(store: Store) -> None:
    (store.blobs.tmp / ("a" * 24)).write_bytes(b"left over")
    (store.blobs.tmp / ("b" * 24 + ".manifest")).write_bytes(b"left over")
    with Draft(store.blobs) as draft:
        draft.write(b"alive")
        other = Store(store.blobs.tmp.parent)  # another process starts
        assert len(files_in(store)) == 1
        assert other.collect_drafts() == 0
        assert draft.publish().sha256 == hashlib.sha256(b"alive").hexdigest()
        other.close()
    assert content(store, hashlib.sha256(b"alive").hexdigest()) == b"alive"


def test_many_writers_of_the_same_content(store: Store, source: Path) -> None:
    refs: list[FileRef] = []
    threads = [
        threading.Thread(target=lambda: refs.append(store.add_path(source, "r.img", "disk")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 6
    assert len(files_in(store)) == 2
    assert content(store, refs[0]) == CONTENT


CALLS = ("open", "write", "fsync", "rename", "ftruncate", "fchmod", "unlink", "link", "replace", "mkdir")


def dies_at(number: int, root: Path, action: Callable[[Store], object]) -> bool:
    """Run an action in a child that dies at its n-th call to the file system; whether it got that far."""
    child = os.fork()
    if child == 0:
        count = [0]

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                count[0] += 1
                if count[0] == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        try:
            store = Store(root)
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            action(store)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.slow
def test_death_at_any_moment_leaves_old_or_new_and_nothing_between(tmp_path: Path, source: Path) -> None:
    moments = 0
    for number in range(1, 100):
        root = tmp_path / f"images{number}"
        first = Store(root)
        first.add_bytes(b"before", "before", "file")
        first.close()
        died = dies_at(number, root, lambda store: store.add_path(source, "root.img", "disk"))
        store = Store(root)
        assert list(store.blobs.tmp.iterdir()) == []
        published = dict(store.blobs)
        assert content(store, hashlib.sha256(b"before").hexdigest()) == b"before"
        if SHA in published:
            assert content(store, SHA) == CONTENT
            assert store.manifest(SHA).size == len(CONTENT)
        assert store.add_path(source, "root.img", "disk", SHA).size == len(CONTENT)
        store.close()
        if not died:
            break
        moments += 1
    assert moments > 15


def test_everything_is_on_disk_before_it_is_visible(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the content and of the manifest, then the renames, then fsync of the directory."""
    order: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(fd: int) -> None:
        order.append("fsync " + Path(f"/proc/self/fd/{fd}").readlink().parent.name)
        real_fsync(fd)

    def rename(self: Path, target: Path) -> Path:
        order.append("rename " + target.suffix)
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    store.add_bytes(b"hello", "x", "file")
    assert order == ["fsync tmp", "fsync images", "fsync tmp", "rename .manifest", "rename ", "fsync blobs"]

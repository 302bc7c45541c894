"""Uploads in parts: offsets, cuts, newer connections, restarts, checksums, what is left behind."""

import hashlib
import os

import pytest

from pxeserver.boot.model import FileRef
from pxeserver.imagestore.blobs import ImportFailed, NoSpace
from pxeserver.imagestore.store import Store
from pxeserver.imagestore.uploads import KEEP_SECONDS, MOST, BadOffset, Busy, TooMany

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


def begun(store, **more):
    return store.uploads.begin("vmlinuz", "kernel", len(DATA), "test", **more).id


def cut(*parts):
    """Parts, and then the connection is gone."""
    yield from parts
    raise ConnectionAbortedError("cut")


def test_parts_make_up_a_file_of_the_store(store, tmp_path):
    one = begun(store, sha256=SHA)
    assert store.uploads.append(one, 0, [DATA[:10], DATA[10:100]]).offset == 100
    assert store.uploads.append(one, 100, [DATA[100:]]).offset == len(DATA)
    done = store.uploads.finish(one)
    assert done.file == FileRef("vmlinuz", SHA, len(DATA), "kernel")
    opened = store.open(done.file)
    assert os.pread(opened.fd, len(DATA), 0) == DATA
    opened.close()
    assert store.manifest(SHA).size == len(DATA)
    assert not (tmp_path / "uploads" / one).exists()


def test_what_has_come_before_a_cut_stays_also_over_a_restart(store, tmp_path):
    one = begun(store)
    with pytest.raises(ConnectionAbortedError):
        store.uploads.append(one, 0, cut(DATA[:500]))
    again = Store(tmp_path)
    assert again.uploads.find(one).offset == 500
    again.uploads.append(one, 500, [DATA[500:]])
    assert again.uploads.finish(one).sha256 == SHA
    again.close()


def test_a_part_that_does_not_fit_is_refused(store):
    one = begun(store)
    store.uploads.append(one, 0, [DATA[:100]])
    with pytest.raises(BadOffset) as refused:
        store.uploads.append(one, 50, [b"x"])
    assert refused.value.offset == 100
    with pytest.raises(BadOffset):
        store.uploads.finish(one)
    with pytest.raises(ImportFailed):
        store.uploads.append(one, 100, [DATA])
    with pytest.raises(LookupError):
        store.uploads.append("0" * 24, 0, [b"x"])


def test_the_newer_connection_wins(store):
    one = begun(store)

    def old():
        yield DATA[:100]
        store.uploads.append(one, 100, [DATA[100:200]])
        yield b"late"

    with pytest.raises(Busy):
        store.uploads.append(one, 0, old())
    assert store.uploads.find(one).offset == 200


def test_of_a_wrong_file_nothing_is_left(store, tmp_path):
    one = begun(store, sha256="0" * 64)
    store.uploads.append(one, 0, [DATA])
    with pytest.raises(ImportFailed, match=SHA):
        store.uploads.finish(one)
    assert store.uploads.find(one) is None
    assert list((tmp_path / "uploads").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store.open(SHA)


def test_what_is_done_waits_for_its_place(store, tmp_path):
    one = begun(store)
    store.uploads.append(one, 0, [DATA])
    store.uploads.finish(one)
    assert [u.done for u in Store(tmp_path).uploads.all()] == [True]
    store.uploads.named([SHA])
    assert store.uploads.all() == []
    kept = store.uploads.keep(FileRef("initrd", SHA, len(DATA), "initrd"), "test")
    assert store.uploads.keep(kept.file, "test").id == kept.id


def test_what_nobody_goes_on_with_is_given_up(store, tmp_path):
    one, two = begun(store), begun(store)
    old = store.uploads.find(one).touched - KEEP_SECONDS - 1
    os.utime(tmp_path / "uploads" / one, (old, old))
    assert [u.id for u in store.uploads.all()] == [two]
    assert not (tmp_path / "uploads" / f"{one}.json").exists()


def test_uploads_are_limited_in_number_and_by_the_disk(store):
    with pytest.raises(NoSpace):
        store.uploads.begin("disk", "disk", 1 << 60, "test")
    for _ in range(MOST):
        begun(store)
    with pytest.raises(TooMany):
        begun(store)


@pytest.mark.parametrize("name", ["../x", "x", "", "A" * 24, "0" * 23 + "/"])
def test_an_id_is_never_a_path(store, name):
    assert store.uploads.find(name) is None
    assert store.uploads.remove(name) is False

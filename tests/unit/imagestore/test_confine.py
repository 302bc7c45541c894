"""No name leaves its directory: a corpus of names through every door, and a thread that swaps links."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.decision import file as decide_file
from pxeserver.boot.model import FileRef, Ignore, Image, Loader
from pxeserver.imagestore.confine import Root, clean_name
from pxeserver.servers.http_target import route

CANARY = b"canary: this must never get out"


@pytest.fixture(params=["openat2", "step-by-step"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Root]:
    """A root with a file, a directory and everything that leads out of it; opened by each of the two ways."""
    inside = tmp_path / "srv" / "import"
    (inside / "sub" / "deep").mkdir(parents=True)
    (inside / "good.img").write_bytes(b"good")
    (inside / "sub" / "deep" / "good.img").write_bytes(b"deep")
    for place in (tmp_path, tmp_path / "srv"):
        (place / "canary").write_bytes(CANARY)
        (place / "passwd").write_bytes(CANARY)
    (inside / "link").symlink_to(tmp_path / "canary")
    (inside / "relative").symlink_to("../canary")
    (inside / "out").symlink_to(tmp_path)
    (inside / "up").symlink_to("..")
    (inside / "inner").symlink_to("good.img")
    (inside / "proc").symlink_to("/proc/self")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "fifo")
    (inside / "node").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(inside / "socket"))
    opened = Root(inside)
    if request.param == "step-by-step":
        opened._open = opened._step_by_step
    yield opened
    opened.close()


REACHABLE = {b"good", b"deep"}


def test_the_corpus_is_large(traversal_names: list[bytes]) -> None:
    assert len(set(traversal_names)) >= 200


def read(root: Root, name: bytes | str) -> bytes:
    """The file, by name; empty where there is none."""
    try:
        fd = root.open(name)
    except FileNotFoundError:
        return b""
    with os.fdopen(fd, "rb") as file:
        return file.read(100)


def test_import_names_stay_inside(root: Root, traversal_names: list[bytes]) -> None:
    for name in traversal_names:
        assert read(root, name) in REACHABLE | {b""}, name
        with suppress(UnicodeDecodeError):
            assert read(root, name.decode()) in REACHABLE | {b""}, name


def test_what_is_inside_is_found(root: Root) -> None:
    assert read(root, b"good.img") == read(root, "//good.img") == b"good"
    assert read(root, "sub/deep/good.img") == read(root, "/sub//deep/good.img") == b"deep"


def test_no_link_is_followed_even_to_the_inside(root: Root) -> None:
    assert read(root, "inner") == b""


def test_trouble_of_the_machine_is_no_missing_file(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(root, "_open", failing)
    with pytest.raises(OSError, match="Too many open files"):
        root.open("good.img")


def test_a_sandbox_without_openat2_gets_the_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pxeserver.imagestore.confine as confine

    (tmp_path / "good.img").write_bytes(b"good")
    (tmp_path / "link").symlink_to("good.img")
    monkeypatch.setattr(confine, "_SYS_OPENAT2", 100_000)  # ENOSYS
    root = Root(tmp_path)
    assert read(root, "good.img") == b"good"
    assert read(root, "link") == b""
    root.close()


def test_tftp_and_http_names_reach_published_files_only(traversal_names: list[bytes]) -> None:
    """Names of the network are looked up in the catalog; none of the corpus is there."""
    loader = FileRef("snponly.efi", "a" * 64, 10, "loader")
    kernel = FileRef("vmlinuz", "b" * 64, 10, "kernel")
    catalog = Catalog(images={"debian": Image("debian", (kernel,))}, loaders={7: Loader(7, loader)})
    published = {loader, kernel}
    for name in traversal_names:
        text = name.decode("latin-1")
        for prefix in ("", "/", "a/abcdefgh22/", "a/abcdefgh22/f/debian/", "a/abcdefgh22/f/", "b/", "a/"):
            tftp = decide_file(prefix + text, None, "http://10.0.0.1", catalog)
            assert isinstance(tftp, Ignore) or tftp.file is None or tftp.file in published, name
            found = route("/" + prefix + text)
            if found is not None and found.name:
                assert ".." not in found.name.split("/"), name
                assert found.name.isprintable(), name
                assert "\\" not in found.name, name
            clean = clean_name(prefix.encode() + name)
            assert clean is None or (
                clean.isprintable() and not clean.startswith("/") and ".." not in clean.split("/")
            )


def test_two_thousand_swaps_find_nothing_outside(root: Root, tmp_path: Path) -> None:
    """A thread turns a file and a directory into links to the canary and back, while they are opened."""
    inside = root.path
    (inside / "swap").mkdir()
    (inside / "swap" / "canary").write_bytes(b"good")
    stop = threading.Event()
    swaps = itertools.count()
    done = [0]

    def swapper() -> None:
        (inside / "evil-dir").symlink_to(tmp_path)
        (inside / "evil").symlink_to(tmp_path / "canary")
        (inside / "fair").write_bytes(b"good")
        (inside / "spot").write_bytes(b"good")
        while not stop.is_set():
            for a, b in (("swap", "evil-dir"), ("spot", "evil")):
                (inside / a).rename(inside / "aside")
                (inside / b).rename(inside / a)
                (inside / "aside").rename(inside / b)
            done[0] = next(swaps)

    thread = threading.Thread(target=swapper)
    thread.start()
    seen = set()
    opens = 0
    try:
        while done[0] < 2000 and thread.is_alive():
            seen.add(read(root, "swap/canary"))
            seen.add(read(root, "spot"))
            opens += 2
    finally:
        stop.set()
        thread.join()
    assert done[0] >= 2000
    assert opens > 100
    assert seen <= {b"good", b""}
    assert b"good" in seen

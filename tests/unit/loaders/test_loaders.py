"""Boot loaders: a cache that vouches for its files, a person's own builds, bundles not believed blindly."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from pxeserver import loaders
from pxeserver.boot.model import FileRef
from pxeserver.debian import Deb, PackagesUnavailable, host_mirrors
from pxeserver.loaderbundle import LoaderShelf
from pxeserver.loaders import LoadersUnavailable, ensure_loaders, entry_of, write_manifest


class Blob:
    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        os.close(self.fd)


class FakeStore:
    """Files by their sha256, as the image store has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def add_path(self, path: Path, name: str, role: str, expect_sha256: str | None = None) -> FileRef:
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert expect_sha256 in {None, digest}
        (self.root / digest).write_bytes(data)
        return FileRef(name, digest, len(data), role)

    def open(self, file: FileRef | str) -> Blob:
        return Blob(self.root / (file if isinstance(file, str) else file.sha256))


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return FakeStore(tmp_path / "store")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "loaders"
    folder.mkdir()
    entries = []
    for name, architectures in loaders.FILES.items():
        (folder / name).write_bytes(name.encode() * 9)
        entries.append(entry_of(folder / name, architectures, "Debian source package ipxe", "1.21", "GPL"))
    write_manifest(folder, entries)
    return folder


def by_arch(found: list[loaders.Loader]) -> dict[int, str]:
    return {one.arch: one.file.name for one in found}


def test_cached_loaders_need_no_network(
    store: FakeStore, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders, "fetch_loaders", lambda *_: pytest.fail("went to the network"))
    found = ensure_loaders(store, cache)
    arm = "ipxe-arm64.efi"
    assert by_arch(found) == {
        0: "undionly.kpxe",
        7: "snponly.efi",
        9: "snponly.efi",
        11: arm,
        16: "snponly.efi",
        19: arm,
    }
    assert {(one.source, one.version, one.licence) for one in found} == {
        ("Debian source package ipxe", "1.21", "GPL")
    }


def test_a_damaged_cached_file_is_not_served(store: FakeStore, cache: Path) -> None:
    damaged = bytearray((cache / "snponly.efi").read_bytes())
    damaged[3] ^= 1
    (cache / "snponly.efi").write_bytes(damaged)
    assert set(by_arch(ensure_loaders(store, cache, fetch=False))) == {0, 11, 19}


def test_own_builds_go_first_and_may_add_an_architecture(store: FakeStore, cache: Path) -> None:
    (cache / "own").mkdir()
    (cache / "own" / "snponly.efi").write_bytes(b"mine")
    (cache / "own" / "6-ipxe-ia32.efi").write_bytes(b"ia32")
    found = {one.arch: one for one in ensure_loaders(store, cache)}
    assert found[16].file.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert (found[6].file.name, found[6].source) == ("ipxe-ia32.efi", "own build")
    assert found[0].source == "Debian source package ipxe"


@pytest.mark.parametrize(
    ("name", "content"), [("my build.efi", b"x"), ("other.efi", b"x"), ("snponly.efi", b"")]
)
def test_an_own_build_that_cannot_be_used_is_named(
    store: FakeStore, cache: Path, name: str, content: bytes
) -> None:
    (cache / "own").mkdir()
    (cache / "own" / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        ensure_loaders(store, cache)


def test_an_empty_cache_without_fetching_says_what_to_do(store: FakeStore, tmp_path: Path) -> None:
    with pytest.raises(LoadersUnavailable, match="import"):
        ensure_loaders(store, tmp_path / "none", fetch=False)


def test_a_mirror_away_falls_back_and_then_says_what_to_do(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise PackagesUnavailable("no route to mirror")

    asked: list[str] = []

    def host(package: str, folder: Path) -> Deb:
        asked.append(package)
        raise PackagesUnavailable("no lists either")

    monkeypatch.setattr(loaders.Archive, "update", away)
    monkeypatch.setattr(loaders, "host_download", host)
    said: list[str] = []
    with pytest.raises(LoadersUnavailable, match=r"no lists either.*bundle"):
        ensure_loaders(store, tmp_path / "none", said.append)
    assert asked == ["ipxe"]
    assert "no route to mirror" in said[-1]


class Debian:
    """Stands for both ways to Debian's packages; what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.asked: list[str] = []
        self.away, self.folder = False, folder
        monkeypatch.setattr(loaders, "_newest", self.newest)
        monkeypatch.setattr(loaders, "host_download", self.host)
        monkeypatch.setattr(loaders, "unpack", lambda deb, tree: deb.path)

    def newest(self, *_: object) -> Deb:
        self.asked.append("newest")
        if self.away:
            raise PackagesUnavailable("no route to mirror")
        return self.deb("1.21", *loaders.FILES)

    def host(self, package: str, folder: Path) -> Deb:
        self.asked.append("host")
        return self.deb("2019", "undionly.kpxe", "snponly.efi")

    def deb(self, version: str, *names: str) -> Deb:
        tree = self.folder / version
        for name in names:
            (tree / "usr/lib/ipxe").mkdir(parents=True, exist_ok=True)
            (tree / "usr/lib/ipxe" / name).write_text(f"{name} {version}")
        (tree / "usr/share/doc/ipxe").mkdir(parents=True, exist_ok=True)
        (tree / "usr/share/doc/ipxe/copyright").write_text("GPL")
        return Deb("ipxe", version, "ipxe", "all", tree)


def test_those_of_an_older_release_are_replaced_when_the_newest_can_be_had(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian, cache = Debian(monkeypatch, tmp_path / "debs"), tmp_path / "cache"
    debian.away = True
    assert set(by_arch(ensure_loaders(store, cache))) == {0, 7, 9, 16}
    assert debian.asked == ["newest", "host"]
    assert {one.version for one in ensure_loaders(store, cache)} == {"2019"}
    assert debian.asked == ["newest", "host", "newest"], "what is there is not fetched again"
    assert {one.version for one in ensure_loaders(store, cache, fetch=False)} == {"2019"}
    debian.away = False
    newest = ensure_loaders(store, cache)
    assert ({one.version for one in newest}, len(newest)) == ({"1.21"}, 6)
    asked = len(debian.asked)
    assert ensure_loaders(store, cache) == newest
    assert len(debian.asked) == asked


def test_a_damaged_file_is_fetched_again_and_what_came_otherwise_stays(
    store: FakeStore, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "ia32.efi").write_bytes(b"from a bundle")
    ia32 = entry_of(cache / "ia32.efi", (6,), "another server")
    write_manifest(cache, [*loaders.read_manifest(cache), ia32])
    (cache / "snponly.efi").write_bytes(b"cut off")
    debian = Debian(monkeypatch, tmp_path / "debs")
    debian.away = True
    assert set(by_arch(ensure_loaders(store, cache))) == {0, 6, 11, 19}
    debian.away = False
    found = {one.arch: one.version for one in ensure_loaders(store, cache)}
    assert found == {0: "1.21", 6: "", 7: "1.21", 9: "1.21", 11: "1.21", 16: "1.21", 19: "1.21"}


def test_a_bundle_brings_the_same_loaders(store: FakeStore, cache: Path, tmp_path: Path) -> None:
    there = LoaderShelf(store, cache, fetch=False)
    there.export_bundle(there.ensure(), tmp_path / "loaders.tar")
    here = LoaderShelf(FakeStore(tmp_path / "elsewhere"), tmp_path / "fresh", fetch=False)
    assert here.import_bundle(tmp_path / "loaders.tar") == there.ensure()
    assert here.ensure() == there.ensure()


def tampered(source: Path, target: Path, **change: bytes) -> None:
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            data = change.get(member.name.partition(".")[0], content.read())
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def test_a_tampered_bundle_is_refused_and_changes_nothing(
    store: FakeStore, cache: Path, tmp_path: Path
) -> None:
    shelf = LoaderShelf(store, cache, fetch=False)
    before = shelf.ensure()
    shelf.export_bundle(before, tmp_path / "good.tar")
    tampered(tmp_path / "good.tar", tmp_path / "bad.tar", snponly=b"evil")
    with pytest.raises(ValueError, match=r"snponly\.efi.*damaged"):
        shelf.import_bundle(tmp_path / "bad.tar")
    assert shelf.ensure() == before


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", ".hidden"])
def test_a_bundle_may_only_hold_plain_files(store: FakeStore, cache: Path, tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(ValueError, match="does not belong"):
        LoaderShelf(store, cache, fetch=False).import_bundle(tmp_path / "evil.tar")


def test_a_symlink_in_a_bundle_is_refused(store: FakeStore, cache: Path, tmp_path: Path) -> None:
    link = tarfile.TarInfo("snponly.efi")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(link)
    with pytest.raises(ValueError, match="does not belong"):
        LoaderShelf(store, cache, fetch=False).import_bundle(tmp_path / "evil.tar")


@pytest.mark.parametrize("junk", [b"", b"\0" * 10240, b"not a tar at all" * 99])
def test_junk_is_no_bundle(store: FakeStore, cache: Path, tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "junk.tar").write_bytes(junk)
    with pytest.raises(ValueError, match="no bundle"):
        LoaderShelf(store, cache, fetch=False).import_bundle(tmp_path / "junk.tar")


def test_the_mirror_is_the_one_of_the_machine(tmp_path: Path) -> None:
    assert host_mirrors(tmp_path)[0] == "http://deb.debian.org/debian"
    (tmp_path / "sources.list").write_text(
        "# deb http://old/debian x\ndeb [trusted=no] http://near.lan/debian/ x main\n"
    )
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "s.sources").write_text(
        "Types: deb\nURIs: http://near.lan/debian-security\n"
    )
    assert host_mirrors(tmp_path) == ("http://near.lan/debian", "http://near.lan/debian-security")

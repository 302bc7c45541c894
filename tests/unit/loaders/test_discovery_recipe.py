"""The discovery system's recipe: what is built anew and when, firmware that is not free, and its size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pxeserver import discovery, resources
from pxeserver.config import Settings
from pxeserver.config.faults import ConfigErrors
from pxeserver.debian import Archive, Deb, PackagesUnavailable
from pxeserver.discovery import INITRD, KERNEL, NOTE, BuildFailed, build_discovery, recipe_key

RELEASE = "6.12-test"


class Mirror:
    """Stands for the archive and for what is made of its packages: nothing is downloaded or unpacked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.size = 1000
        self.recipes: list[Mapping[str, Any]] = []
        self.mirrors: list[str] = []
        monkeypatch.setattr(Archive, "update", self.update)
        monkeypatch.setattr(Archive, "depends", lambda *_: "linux-image-6.12-amd64")
        monkeypatch.setattr(Archive, "candidate", lambda archive, name: f"1-{name}")
        monkeypatch.setattr(Archive, "download", self.download)
        monkeypatch.setattr(discovery, "_assemble", self.assemble)
        monkeypatch.setattr(discovery.initramfs, "pack", self.pack)

    def update(self, *, components: tuple[str, ...] = ("main",)) -> None:
        if self.away:
            raise PackagesUnavailable("no route")
        self.components = components

    def download(self, names: list[str], folder: Path) -> list[Deb]:
        folder.mkdir(parents=True, exist_ok=True)
        debs = [Deb(name, f"1-{name}", name, "all", folder / f"{name}_1_all.deb") for name in names]
        for deb in debs:
            deb.path.touch()
        return debs

    def assemble(
        self, folder: Path, recipe: Mapping[str, Any], debs: object, scratch: Path, progress: object
    ) -> str:
        self.recipes.append(recipe)
        boot = scratch / "packages/boot"
        boot.mkdir(parents=True)
        (boot / f"vmlinuz-{RELEASE}").write_bytes(b"kernel")
        return RELEASE

    def pack(self, root: Path, target: Path, compressor: str) -> None:
        with target.open("wb") as out:
            out.truncate(self.size)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Mirror:
    return Mirror(monkeypatch)


def build(tmp_path: Path, *firmware: str, **words: Any) -> list[str]:
    """Build; what was told."""
    told: list[str] = []
    (tmp_path / "work").mkdir(exist_ok=True)
    build_discovery(tmp_path / "work", tmp_path / "out", told.append, firmware=firmware, **words)
    return told


def test_firmware_packages_come_from_their_own_part_of_the_archive(mirror: Mirror, tmp_path: Path) -> None:
    build(tmp_path)
    assert mirror.recipes[-1]["firmware"] == [], "none unless asked for"
    assert mirror.components == ("main",)
    build(tmp_path, "firmware-bnx2x")
    assert mirror.recipes[-1]["firmware"] == ["firmware-bnx2x"]
    assert mirror.components == ("main", "non-free-firmware")
    versions = json.loads((tmp_path / "out" / NOTE).read_text())["versions"]
    assert versions["firmware-bnx2x"] == "1-firmware-bnx2x"


def test_only_a_change_builds_anew(mirror: Mirror, tmp_path: Path) -> None:
    for firmware in ((), (), ("firmware-a", "firmware-b"), ("firmware-b", "firmware-a"), ()):
        build(tmp_path, *firmware)
    assert [recipe["firmware"] for recipe in mirror.recipes] == [[], ["firmware-a", "firmware-b"], []]
    folder = resources.folder("images") / "discovery"
    assert recipe_key(folder, "zstd") != recipe_key(folder, "xz")


def test_packages_of_the_build_before_are_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    build(tmp_path, "firmware-a")
    build(tmp_path)
    assert not list((tmp_path / "work/packages").glob("firmware-*"))
    assert list((tmp_path / "work/packages").glob("busybox-static_*"))


def test_too_much_is_refused_by_name_and_the_image_before_stays(mirror: Mirror, tmp_path: Path) -> None:
    build(tmp_path)
    before = {name: (tmp_path / "out" / name).read_bytes() for name in (KERNEL, INITRD, NOTE)}
    mirror.size = discovery.LARGEST
    with pytest.raises(BuildFailed, match=r"90\.0 MiB, at most 90 .*firmware-huge"):
        build(tmp_path, "firmware-huge")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in before} == before
    mirror.size = discovery.LARGEST - len(b"kernel")
    build(tmp_path, "firmware-huge")


def test_without_a_network_the_image_before_stays(mirror: Mirror, tmp_path: Path) -> None:
    mirror.away = True
    with pytest.raises(BuildFailed, match="no route"):
        build(tmp_path)
    mirror.away = False
    build(tmp_path)
    mirror.away = True
    assert build(tmp_path) == [], "nothing has changed: nobody is asked"
    assert "kept=yes" in build(tmp_path, "firmware-a")[-1]


def test_files_the_modules_ask_for_and_their_licence(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    for name in ("e100/d102e.bin", "e100/unwanted.bin", "ice/ice-1.2.pkg"):
        (source / "usr/lib/firmware" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "usr/lib/firmware" / name).write_text(name)
    (source / "usr/lib/firmware/ice/ice.pkg").symlink_to("ice-1.2.pkg")
    (source / "usr/share/doc/firmware-misc").mkdir(parents=True)
    (source / "usr/share/doc/firmware-misc/copyright").write_text("may be copied")
    discovery._firmware(source, root, {"e100/d102e.bin", "ice/ice.pkg", "not/there.bin"}, ["firmware-misc"])
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {
        "usr/lib/firmware/e100/d102e.bin",
        "usr/lib/firmware/ice/ice.pkg",
        "usr/share/doc/firmware-misc/copyright",
    }
    assert (root / "usr/lib/firmware/ice/ice.pkg").read_text() == "ice/ice-1.2.pkg"


def test_the_setting_names_packages_of_firmware_only() -> None:
    assert Settings.load(None, {"PXESERVER_LOADERS__FIRMWARE": "firmware-bnx2x"}).loaders.firmware == (
        "firmware-bnx2x",
    )
    for wrong in ("bash", "firmware-", "firmware-x y", "firmware-a/b", "-o=x"):
        with pytest.raises(ConfigErrors, match="begin with firmware-"):
            Settings.load(None, {"PXESERVER_LOADERS__FIRMWARE": wrong})

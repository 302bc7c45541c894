"""Container images: layers, what is left out, and the archive that an engine loads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from pxeserver import containerimage, resources
from pxeserver.containerimage import ImageFailed, build_images
from pxeserver.containerlayer import Layer, settings, write_archive


def packages(path: Path, files: dict[str, bytes]) -> Path:
    """What unpacked packages look like."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime = len(data), 1000
            tar.addfile(member, io.BytesIO(data))
    return path


def names(path: Path) -> list[str]:
    """The members of a layer."""
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_a_layer_does_not_repeat_what_lies_below(tmp_path: Path) -> None:
    below = tmp_path / "below.tar"
    with below.open("wb") as out:
        base = Layer(out, lambda name: True, {})
        base.packages(packages(tmp_path / "a", {"lib/c": b"c", "etc/x": b"1"}))
        base.link("bin/sh", "/bin/busybox")
        base.close()
    own = tmp_path / "own.tar"
    with own.open("wb") as out:
        layer = Layer(out, lambda name: name != "etc/left-out", base.index)
        layer.packages(
            packages(tmp_path / "b", {"lib/c": b"c", "etc/x": b"22", "etc/left-out": b"", "srv/y": b""})
        )
        layer.link("bin/sh", "/bin/busybox")
        layer.close()
    assert names(below) == ["lib/c", "etc/x", "bin/sh"]
    assert names(own) == ["etc/x", "srv/y"]


def test_an_archive_is_what_the_engine_expects_and_the_same_each_time(tmp_path: Path) -> None:
    layer = packages(tmp_path / "layer.tar", {"x": b"1"})
    for name in ("one.tar.gz", "two.tar.gz"):
        write_archive(tmp_path / name, "a:1", {"Cmd": ["x"]}, [layer])
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        found = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar}
    manifest = json.loads(found["manifest.json"])[0]
    config = json.loads(found[manifest["Config"]])
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    assert manifest["RepoTags"] == ["a:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert found[manifest["Layers"][0]] == layer.read_bytes()
    assert config["config"] == {"Cmd": ["x"]}


def test_the_recipe_says_how_each_image_is_started() -> None:
    import tomllib

    recipe = tomllib.loads((resources.folder("images") / containerimage.EXAMPLE / "images.toml").read_text())
    for name, image in recipe["images"].items():
        found = settings(recipe["base"], image)
        assert found["Entrypoint"] and found["Healthcheck"]["Test"][0] == "CMD", name
        assert found["User"] or image["user"]["run_as_root"], name
    stack = (resources.folder("images") / containerimage.EXAMPLE / "stack.yml").read_text()
    assert {f"image: example/{name}:1" for name in recipe["images"]} <= {
        line.strip() for line in stack.splitlines()
    }


def test_only_what_changed_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recipe"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "file").write_text("1")
    image = (
        'packages = ["p"]\nuser = { name = "u", id = 7 }\nentrypoint = ["x"]\nports = [1]\nhealth = ["y"]\n'
    )
    base = 'packages = []\ncommands = []\nenv = {}\nfolders = {}\ndrop = ["usr/*"]\nkeep = ["usr/doc/*"]\n'
    text = f'release = "bookworm"\n[base]\n{base}[images.a]\n{image}[images.b]\n{image}'
    (folder / "images.toml").write_text(text)
    monkeypatch.setattr(containerimage.Archive, "update", lambda self: None)
    files = {"usr/x": b"", "usr/doc/c": b"", "etc/k": b""}
    monkeypatch.setattr(containerimage, "unpack", lambda archive, wanted, target: packages(target, files))
    said: list[str] = []

    def build(*only: str) -> list[str]:
        said.clear()
        build_images(folder, tmp_path / "work", tmp_path / "out", said.append, only=only)
        return [line.split()[0] for line in said]

    assert build() == ["image=a", "image=b"]
    assert build() == []
    (folder / "a" / "file").write_text("2")
    assert build("b") == []
    assert build() == ["image=a"]
    (tmp_path / "out" / "b.tar.gz").unlink()
    assert build() == ["image=b"]
    with pytest.raises(ImageFailed, match="no image c"):
        build("c")
    with tarfile.open(tmp_path / "out" / "a.tar.gz") as tar:
        layers = [m for m in tar if m.name.endswith("layer.tar")]
        data = [(tar.extractfile(m) or io.BytesIO()).read() for m in layers]
    inside = []
    for one in data:
        with tarfile.open(fileobj=io.BytesIO(one)) as layer:
            inside.append(layer.getnames())
    assert inside[0][:2] == ["usr/doc/c", "etc/k"]
    assert inside[1] == ["etc/passwd", "etc/group", "file"]

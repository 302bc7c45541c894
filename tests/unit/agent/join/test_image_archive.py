"""Archives of container images: what is in them, and what need not be sent to an engine."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps.image_archive import contents, whole, without
from pxeserver.containerlayer import write_archive

Files = dict[str, bytes]


def layer(path: Path, files: Files) -> Path:
    """A layer of these files."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A layer that images share."""
    return layer(tmp_path / "base.tar", {"lib/c": b"c" * 3000})


def image(path: Path, *layers: Path) -> io.BytesIO:
    """An archive of one image."""
    write_archive(path, f"example/{path.name}:1", {}, layers)
    return io.BytesIO(path.read_bytes())


def members(archive: bytes) -> Files:
    """What is in an archive that was sent."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar}


def test_a_layer_that_an_engine_has_is_not_sent_again(base: Path, tmp_path: Path) -> None:
    own = layer(tmp_path / "own.tar", {"srv/x": b"1"})
    archive = image(tmp_path / "web", base, own)
    inside = contents(archive, "web")
    (lowest, digest), (second, _) = inside.images[0]
    assert inside.tags == ("example/web:1",)
    known = inside.within([["sha256:other"], [digest, "sha256:of another image"]])
    assert known == {lowest}
    sent = members(b"".join(without(archive, known)))
    everything = members(b"".join(whole(archive)))
    assert sent == {name: data for name, data in everything.items() if name != lowest}
    assert sent[second] == own.read_bytes()
    assert members(b"".join(without(archive, ()))) == everything


def test_a_layer_upon_others_is_another(base: Path, tmp_path: Path) -> None:
    own = layer(tmp_path / "own.tar", {"srv/x": b"1"})
    inside = contents(image(tmp_path / "web", base, own), "web")
    (_, below), (_, above) = inside.images[0]
    assert inside.within([[above], [above, below]]) == frozenset()
    assert inside.within([[below, above]]) == {name for name, _ in inside.images[0]}
    assert inside.within([]) == frozenset()


def test_a_member_that_another_image_needs_is_sent(base: Path, tmp_path: Path) -> None:
    archive = image(tmp_path / "web", base)
    found = members(archive.getvalue())
    manifest = json.loads(found["manifest.json"])
    (digest,) = json.loads(found[manifest[0]["Config"]])["rootfs"]["diff_ids"]
    place = manifest[0]["Layers"][0]
    upside = {"rootfs": {"diff_ids": ["sha256:0", digest]}}
    manifest.append({"Config": "b.json", "RepoTags": ["b:1"], "Layers": ["none/layer.tar", place]})
    both = {"manifest.json": json.dumps(manifest).encode(), "b.json": json.dumps(upside).encode(), **found}
    both["manifest.json"] = json.dumps(manifest).encode()
    path = layer(tmp_path / "both.tar", both)
    inside = contents(io.BytesIO(path.read_bytes()), "both")
    assert inside.tags == ("b:1", "example/web:1")
    assert inside.within([[digest]]) == frozenset()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (None, "no archive of `docker save`"),
        ({"manifest.json": b"[}"}, "no archive of `docker save`"),
        ({"manifest.json": b"3"}, "no archive of `docker save`"),
        ({"manifest.json": b'[{"Config": "x.json", "Layers": []}]'}, "no archive of `docker save`: 'x.json'"),
        ({"x": b""}, "no tagged image"),
        (
            {
                "manifest.json": b'[{"Config": "x.json", "Layers": ["a"]}]',
                "x.json": b'{"rootfs": {"diff_ids": []}}',
            },
            "no archive of `docker save`: zip",
        ),
    ],
)
def test_what_is_no_archive_of_images_is_told(files: Files | None, told: str, tmp_path: Path) -> None:
    data = b"x" * 2000 if files is None else layer(tmp_path / "x.tar", files).read_bytes()
    with pytest.raises(StepFailed, match=told.replace("[", r"\[")) as refused:
        contents(io.BytesIO(data), "x")
    assert not refused.value.retry

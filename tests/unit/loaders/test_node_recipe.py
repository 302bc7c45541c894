"""The node system's recipe: what is in it and what must not be, what is built anew and when, and how the root
file system is put together."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pxeserver import clusternode, resources
from pxeserver.clusternode import NAME, NOTE, NodeSystem, build_cluster_node, recipe_key
from pxeserver.clusternodeshelf import PROFILE, ClusterNodeShelf
from pxeserver.discovery import BuildFailed
from pxeserver.imagestore.store import Store
from pxeserver.rootfs import Filter, RootFailed, squash

FOLDER = resources.folder("images") / NAME
RECIPE = tomllib.loads((FOLDER / "image.toml").read_text())
TREE = RECIPE["tree"]
KEPT = Filter(TREE["drop"], TREE["disabled"])


@pytest.mark.parametrize(
    "path",
    [
        "etc/ssh/ssh_host_ed25519_key",
        "etc/machine-id",
        "var/lib/dbus/machine-id",
        "etc/openvswitch/conf.db",
        "var/lib/glusterd/glusterd.info",
        "usr/lib/x86_64-linux-gnu/glusterfs/gsyncd",
        "usr/lib/x86_64-linux-gnu/glusterfs/python/syncdaemon/gsyncd.py",
        "etc/systemd/system/multi-user.target.wants/docker.service",
        "etc/systemd/system/multi-user.target.wants/keepalived.service",
        "etc/systemd/system/sockets.target.wants/docker.socket",
    ],
)
def test_what_would_be_the_same_on_each_node_or_start_too_early_is_left_out(path: str) -> None:
    assert not KEPT.keeps(path)


@pytest.mark.parametrize(
    "path",
    [
        "etc/openvswitch",
        "var/lib/glusterd",
        "usr/lib/systemd/system/docker.service",
        "etc/systemd/system/multi-user.target.wants/ssh.service",
        "etc/systemd/system/openvswitch-switch.service.requires/ovs-record-hostname.service",
        "usr/sbin/dockerd",
        "usr/share/doc/docker.io/copyright",
        "etc/resolv.conf.d",
        "usr/lib/x86_64-linux-gnu/glusterfs/10.3/xlator/mgmt/glusterd.so",
    ],
)
def test_the_rest_stays(path: str) -> None:
    assert KEPT.keeps(path)


def test_the_packages_that_a_node_needs_are_in_it() -> None:
    wanted = {"docker.io", "openvswitch-switch", "glusterfs-server", "keepalived", "python3-nacl", "nftables"}
    assert wanted | {"apparmor", "nfs-kernel-server", "openssh-server", "e2fsprogs"} <= set(
        RECIPE["packages"]
    )


def test_every_unit_that_is_started_is_there() -> None:
    places = (FOLDER / "root/usr/lib/systemd/system", resources.folder("systemd"))
    assert TREE["enabled"]
    assert [u for u in TREE["enabled"] if not any((place / u).is_file() for place in places)] == []


SCRIPTS = ["init", "init.state", "init.identity", "udhcpc.script"]
SCRIPTS += ["root/usr/lib/pxeserver/lease.script", "root/usr/lib/pxeserver/booted"]
SCRIPTS += ["root/usr/lib/pxeserver/ssh-keys"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_scripts_are_read_by_the_shell_they_run_in(name: str) -> None:
    text = (FOLDER / name).read_text()
    done = subprocess.run(["busybox", "sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "wget -T" not in text.replace("`wget -T`", ""), "Debian 12's busybox crashes at it"


def test_whatever_makes_a_difference_builds_anew(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    shutil.copytree(FOLDER, folder)
    keys = {recipe_key(folder, NodeSystem())}
    keys.add(recipe_key(folder, NodeSystem(release="bookworm")))
    keys.add(recipe_key(folder, NodeSystem(kernel="physical")))
    keys.add(recipe_key(folder, NodeSystem(compression="fast")))
    script = folder / "root/usr/lib/pxeserver/booted"
    script.write_text(script.read_text() + "\n")
    keys.add(recipe_key(folder, NodeSystem()))
    assert len(keys) == 5
    assert recipe_key(folder, NodeSystem(mirror="http://mirror.example/debian")) in keys


def test_what_is_there_is_taken_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusternode, "Archive", _never)
    written(tmp_path, recipe_key(FOLDER, NodeSystem()))
    assert set(build_cluster_node(tmp_path / "work", tmp_path, NodeSystem())) == set(clusternode.FILES)
    with pytest.raises(BuildFailed, match="woody or virtual is none of bookworm, trixie"):
        build_cluster_node(tmp_path / "work", tmp_path, NodeSystem(release="woody"))


def _never(*_words: object) -> Any:
    raise AssertionError("the archive was asked")


def written(folder: Path, key: str) -> dict[str, str]:
    """Files that stand for a build."""
    sums = {}
    for name in clusternode.FILES:
        (folder / name).write_bytes(name.encode())
        sums[name] = clusternode._sha256(folder / name)
    note = {"recipe": key, "release": "bookworm", "kernel": "6.1.0", "sha256": sums}
    (folder / NOTE).write_text(json.dumps(note))
    return sums


def test_the_shelf_publishes_what_was_built_and_knows_when_it_is_new(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    shelf = ClusterNodeShelf(store, tmp_path, NodeSystem())
    assert not shelf.is_new(None)
    with pytest.raises(BuildFailed, match="pxeserver image build cluster-node"):
        shelf.publish()
    sums = written(tmp_path, "any")
    assert shelf.is_new(None)
    image = shelf.publish()
    assert {f.name: (f.role, f.sha256) for f in image.files} == {
        name: (role, sums[name]) for name, role in clusternode.FILES.items()
    }
    assert not shelf.is_new(image)
    assert PROFILE.image == image.name and not PROFILE.in_menu
    store.close()


# ------------------------------------------------------------------------------------ the root file system


def archive(path: Path, *members: tuple[str, int, str]) -> None:
    """A tar.zst of (name, mode, content) as mmdebstrap writes one; a name with a slash at its end is a
    folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode, content in members:
            info = tarfile.TarInfo(f"./{name.rstrip('/')}")
            info.mode, info.uid, info.gid, info.size = mode, 101, 102, len(content)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(content.encode()))
    subprocess.run(["zstd", "-q", "-o", str(path)], input=out.getvalue(), check=True)


def listed(path: Path) -> dict[str, tuple[str, str]]:
    """Name -> (mode, owner) of a squashfs."""
    text = subprocess.run(
        ["unsquashfs", "-lln", str(path)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in text.splitlines() if "squashfs-root/" in line]
    return {row[-1].removeprefix("squashfs-root/"): (row[0], row[1]) for row in rows if "->" not in row}


def test_packages_and_our_own_files_become_one_tree(tmp_path: Path) -> None:
    base, added, target = tmp_path / "base.tar.zst", tmp_path / "added", tmp_path / "root.squashfs"
    archive(
        base,
        ("etc/", 0o755, ""),
        ("etc/theirs", 0o640, "theirs"),
        ("etc/both", 0o600, "theirs"),
        ("etc/machine-id", 0o644, "0"),
        ("usr/", 0o755, ""),
        ("usr/su", 0o4755, "x"),
    )
    (added / "etc").mkdir(parents=True)
    (added / "etc/both").write_text("ours")
    (added / "usr/lib/new").mkdir(parents=True)
    (added / "usr/lib/new/run").write_text("#!/bin/sh")
    (added / "usr/lib/new/run").chmod(0o700)
    squash(base, added, KEPT, target, 3)
    found = listed(target)
    assert found == {
        "etc": ("drwxr-xr-x", "101/102"),
        "etc/theirs": ("-rw-r-----", "101/102"),
        "etc/both": ("-rw-r--r--", "0/0"),
        "usr": ("drwxr-xr-x", "101/102"),
        "usr/su": ("-rwsr-xr-x", "101/102"),
        "usr/lib": ("drwxr-xr-x", "0/0"),
        "usr/lib/new": ("drwxr-xr-x", "0/0"),
        "usr/lib/new/run": ("-rwxr-xr-x", "0/0"),
    }
    text = subprocess.run(["unsquashfs", "-cat", str(target), "etc/both"], capture_output=True, check=True)
    assert text.stdout == b"ours"


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("spoil", [cut, lambda path: path.write_bytes(b"nonsense"), Path.unlink])
def test_a_broken_archive_makes_no_image(tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    base = tmp_path / "base.tar.zst"
    archive(base, ("etc/", 0o755, ""), *((f"etc/{n}", 0o644, f"{n}" * 5000) for n in range(100)))
    spoil(base)
    (tmp_path / "added").mkdir()
    with pytest.raises(RootFailed):
        squash(base, tmp_path / "added", KEPT, tmp_path / "root.squashfs", 3)

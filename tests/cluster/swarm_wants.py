"""The wants of the steps around Docker for three nodes, and the Swarm brought about with them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodes_under_test import Nodes

from pxeserver.containerlayer import write_archive
from pxeserver.lab.nodes import SERVER

DAEMON = {
    "data-root": "/var/lib/docker",
    "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}],
    "iptables": True,
    "live-restore": False,
    "log-driver": "json-file",
    "log-level": "warn",
    "log-opts": {"max-file": "3", "max-size": "10m"},
}
DOCKER = {"daemon": DAEMON}


def init(nodes: Nodes, name: str = "n1") -> dict[str, Any]:
    """Founding the Swarm."""
    return {
        "advertise": nodes.address(name),
        "data_path_port": 4789,
        "pools": ["172.31.0.0/16"],
        "heartbeat": 5,
    }


def join(nodes: Nodes, name: str, swarm_id: str, token: str, *managers: str) -> dict[str, Any]:
    """Joining it at these managers."""
    at = [f"{nodes.address(manager)}:2377" for manager in managers or ("n1",)]
    return {"advertise": nodes.address(name), "managers": at, "swarm_id": swarm_id, "token": token}


def member(name: str, node_id: str, role: str = "worker", **more: Any) -> dict[str, Any]:
    """One member as swarm-members is told."""
    return {"node_id": node_id, "name": name, "role": role, "availability": "active", "labels": {}, **more}


def members(
    ids: dict[str, str], managers: tuple[str, ...] = ("n1", "n2", "n3"), **more: Any
) -> dict[str, Any]:
    """All of them, with so many managers."""
    listed = [
        member(name, node_id, "manager" if name in managers else "worker")
        for name, node_id in sorted(ids.items())
    ]
    return {"members": listed, "gone": [], "rotate": 0, **more}


def stand(nodes: Nodes, managers: tuple[str, ...] = ("n1", "n2", "n3")) -> dict[str, str]:
    """A Swarm of all nodes; their ids in it."""
    for name in nodes.nodes:
        nodes.apply(name, "docker", DOCKER)
    founded = nodes.apply("n1", "swarm-init", init(nodes))
    ids = {"n1": founded["node_id"]}
    for name in list(nodes.nodes)[1:]:
        want = join(nodes, name, founded["swarm_id"], founded["secrets"]["worker_token"])
        ids[name] = nodes.apply(name, "swarm-join", want)["node_id"]
    nodes.apply("n1", "swarm-members", members(ids, managers))
    return ids


def docker(nodes: Nodes, name: str, *words: str, check: bool = True) -> str:
    """What the engine's own command line says on a node."""
    return nodes[name].run("docker", *words, check=check).strip()


def inspect(nodes: Nodes, name: str, *words: str) -> Any:
    """What it tells of one thing."""
    return json.loads(docker(nodes, name, *words))[0]


def within(seconds: float, holds: Callable[[], object], why: str = "") -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, why or f"not within {seconds} s"
        time.sleep(0.3)


def small_image(folder: Path, tag: str = "small:1", says: str = "well") -> dict[str, Any]:
    """An image that holds a busybox, as an archive in `folder`; what step images is told but for its url."""
    layer = folder / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep", "ping", "wget", "httpd", "cat", "ip", "hostname", "nc"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
            tar.addfile(link)
        text = tarfile.TarInfo("www/index.html")
        text.size = len(says)
        tar.addfile(text, io.BytesIO(says.encode()))
        tmp = tarfile.TarInfo("tmp")
        tmp.type = tarfile.DIRTYPE
        tar.addfile(tmp)
    path = folder / f"{tag.replace('/', '-').replace(':', '-')}.tar.gz"
    write_archive(path, tag, {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]}, [layer])
    layer.unlink()
    return archive_want(path, tag.partition(":")[0])


def archive_want(path: Path, name: str) -> dict[str, Any]:
    """What step images is told of an archive that `serve` offers."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    return {"name": name, "url": f"http://{SERVER}:8080/{path.name}", "sha256": digest, "size": size}


@contextmanager
def serve(nodes: Nodes, folder: Path) -> Iterator[None]:
    """The server's boot plane: a web server on this folder."""
    words = ["python3", "-m", "http.server", "--bind", SERVER, "-d", str(folder), "8080"]
    process = nodes.boot.start(words, folder / "http.log")
    try:
        within(10, lambda: ":8080" in nodes.boot.run("ss", "-Hltn"))
        yield
    finally:
        process.stop(5)

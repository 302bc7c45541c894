"""The programs we are compared with: Debian's own builds, unpacked into a cache and never installed, so that
no service of theirs is ever started; and their configuration, tuned, which the report prints.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.stage import SERVER, Stage
from pxeserver.lab.process import LabError, Process, run

PACKAGES = (
    "nginx",
    "tftpd-hpa",
    "atftpd",
    "atftp",
    "libwrap0",
    "wrk",
    "libluajit-5.1-2",
    "libluajit-5.1-common",
)
NGINX = """daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; use epoll; multi_accept on; }}
http {{
  access_log off;
  sendfile on;
  sendfile_max_chunk 2m;
  tcp_nopush on;
  keepalive_requests 1000000;
  open_file_cache max=20000 inactive=60s;
  open_file_cache_valid 60s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 80 backlog=4096; root {root}; default_type application/octet-stream; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Where Debian's packages lie in the cache."""

    root: Path

    def program(self, path: str) -> str:
        """The full path of a program of one of the packages."""
        found = self.root / path
        if not found.exists():
            raise LabError(f"{path} is in none of the packages {', '.join(PACKAGES)}")
        return str(found)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the programs find their libraries."""
        return {"LD_LIBRARY_PATH": ":".join(str(path) for path in self.root.glob("usr/lib/*-linux-gnu"))}


def unpack(cache: Path) -> Unpacked:
    """Download the packages from the configured mirror (apt checks their signatures) and unpack them."""
    root, done = cache / "peers", cache / "peers.done"
    wanted = " ".join(PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return Unpacked(root)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # apt downloads as a user of its own
        fetch = ("apt-get", "download", "-qq", *PACKAGES)
        if subprocess.run(fetch, cwd=folder, check=False).returncode:
            run("apt-get", "update", "-qq")  # the lists are older than the mirror's packages, or not there
            subprocess.run(fetch, cwd=folder, check=True)
        for package in sorted(Path(folder).glob("*.deb")):
            run("dpkg-deb", "-x", str(package), str(root))
    done.write_text(wanted)
    return Unpacked(root)


def versions() -> dict[str, str]:
    """The versions of the packages that the mirror has, which are those that were unpacked."""
    found = {}
    for name in ("nginx", "tftpd-hpa", "atftpd", "dnsmasq-base"):
        shown = run("apt-cache", "policy", name).split("Candidate:")
        found[name] = shown[1].split()[0] if len(shown) > 1 else "unknown"
    return found


@dataclass(slots=True)
class Peer:
    """A running program beside us, on a stage of its own. `settings` is what the report prints of it."""

    name: str
    stage: Stage
    process: Process
    settings: str
    processes: str
    """How many processes work, in words: a comparison names what it compares."""
    files: Path = field(default_factory=Path)

    def close(self) -> None:
        """End it and remove its stage."""
        self.process.stop()
        self.stage.close()


def _start(
    name: str,
    stage: Stage,
    command: Sequence[str],
    settings: str,
    processes: str,
    env: dict[str, str],
    files: Path,
) -> Peer:
    process = stage.serve(command, env)
    return Peer(name, stage, process, settings, processes, files)


def nginx(unpacked: Unpacked, folder: Path, files: Path, *, wire: bool = False) -> Peer:
    """nginx with one worker that serves `files`."""
    stage = Stage("nginx", folder, wire=wire)
    text = NGINX.format(folder=folder, root=files)
    (folder / "nginx.conf").write_text(text)
    command = [
        unpacked.program("usr/sbin/nginx"),
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
        "-e",
        "stderr",
    ]
    return _start("nginx", stage, command, text, "1 worker, 1 master", unpacked.env, files)


def dnsmasq(folder: Path, files: Path, *, wire: bool = False) -> Peer:
    """dnsmasq as TFTP server and ProxyDHCP server, without DNS."""
    stage = Stage("dnsmasq", folder, wire=wire)
    text = "\n".join((
        "port=0", "keep-in-foreground", "user=root", "log-facility=-", "quiet-dhcp", "quiet-tftp",
        "interface=eth0", "bind-interfaces", f"dhcp-range={SERVER.rpartition('.')[0]}.0,proxy",
        "pxe-service=X86-64_EFI,Boot,snponly.efi", "pxe-service=BC_EFI,Boot,snponly.efi",
        "pxe-service=x86PC,Boot,undionly.kpxe", "dhcp-no-override",
        "enable-tftp", f"tftp-root={files}", "tftp-max=4096", f"pid-file={folder}/dnsmasq.pid",
    ))  # fmt: skip
    (folder / "dnsmasq.conf").write_text(text + "\n")
    command = ["dnsmasq", f"--conf-file={folder / 'dnsmasq.conf'}"]
    return _start("dnsmasq", stage, command, text, "1", {}, files)


def tftpd_hpa(unpacked: Unpacked, folder: Path, files: Path, *, wire: bool = False) -> Peer:
    """tftpd-hpa, standing alone."""
    stage = Stage("tftpd-hpa", folder, wire=wire)
    words = ["--foreground", "--secure", "--ipv4", "--address", f"{SERVER}:69", "--user", "root", str(files)]
    command = [unpacked.program("usr/sbin/in.tftpd"), *words]
    settings = " ".join(["in.tftpd", *words])
    return _start("tftpd-hpa", stage, command, settings, "1 for each transfer", unpacked.env, files)


def atftpd(unpacked: Unpacked, folder: Path, files: Path, *, wire: bool = False) -> Peer:
    """atftpd, which knows windowsize (RFC 7440)."""
    stage = Stage("atftpd", folder, wire=wire)
    words = ["--daemon", "--no-fork", "--port", "69", "--bind-address", SERVER, "--maxthread", "4096"]
    words += [
        "--no-multicast",
        "--verbose=3",
        "--logfile",
        "-",
        "--user",
        "root",
        "--group",
        "root",
        str(files),
    ]
    command = [unpacked.program("usr/sbin/atftpd"), *words]
    settings = " ".join(["atftpd", *words])
    return _start("atftpd", stage, command, settings, "1 thread for each transfer", unpacked.env, files)


def make_file(path: Path, size: int) -> Path:
    """A file of random bytes, unless it is there already."""
    if not path.exists() or path.stat().st_size != size:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for start in range(0, size, 1 << 20):
                out.write(os.urandom(min(1 << 20, size - start)))
    return path

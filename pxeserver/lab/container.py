"""A Debian with systemd as PID 1 in namespaces of its own: stands in for a machine where no kernel of its own
is needed.

Several share one tree of packages, each with a layer of its own above it. What programs keep on disk (images
of containers, bricks, the agent's state) lies in a plain folder, because overlayfs cannot lie on overlayfs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil

from pxeserver.lab.netns import Namespace
from pxeserver.lab.process import LabError, Process, run

TREES = Path("/var/tmp/pxeserver-lab-trees")
"""Trees of packages, kept between runs: making one takes a minute. No server's folder, which would become its
user's.
"""
PLAIN = ("systemd", "systemd-sysv", "dbus", "iproute2", "python3", "ca-certificates", "kmod", "procps")
"""About what a Debian in a container has before anybody installed anything."""
KEPT = ("var/lib/docker", "var/lib/containerd", "var/lib/glusterd", "var/lib/pxeserver-agent", "srv")
"""Folders on plain disk instead of the layer."""
_RECIPE = "2"
"""To be raised with every change of what make_tree does: older trees are then made anew."""
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 60.0
END_SECONDS = 20.0

_ENTER = r"""
set -e
mount --make-rprivate /
[ -z "$LAYER" ] || mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$LAYER/up,workdir=$LAYER/work" "$ROOT"
[ -n "$LAYER" ] || mount --bind "$ROOT" "$ROOT"
for pair in $BINDS; do
  mkdir -p "$ROOT/${pair#*:}"
  mount --bind "${pair%%:*}" "$ROOT/${pair#*:}"
done
mount -t cgroup2 cgroup2 "$ROOT/mnt"
mkdir -p "$ROOT/mnt/$GROUP"
echo $$ > "$ROOT/mnt/$GROUP/cgroup.procs"
umount "$ROOT/mnt"
exec unshare --cgroup --pid --fork --uts --ipc bash -ec '
  mount -t proc proc "$ROOT/proc"
  mount -t sysfs sysfs "$ROOT/sys"
  mount -t cgroup2 cgroup2 "$ROOT/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$ROOT/run"
  mount -t tmpfs tmpfs "$ROOT/tmp"
  mount --rbind /dev "$ROOT/dev"
  mount -t tmpfs tmpfs "$ROOT/dev/shm"
  hostname "$NAME"
  cd "$ROOT"
  mkdir -p old
  pivot_root . old
  umount -l /old
  exec env -i container=lxc PATH=$SYSTEM_PATH /lib/systemd/systemd \
    --system --log-target=journal --show-status=false
'
"""


_TRIAL = """
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$1"
umount "$1"
mount -t tmpfs tmpfs "$1"
mkdir "$1/low" "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$1/low,upperdir=$1/up,workdir=$1/work" "$1/root"
unshare --cgroup --pid --fork --uts --ipc true
"""


def missing() -> list[str]:
    """What this machine lacks for containers with Docker, Open vSwitch and GlusterFS in them."""
    devices = ("/dev/net/tun", "/dev/fuse", "/dev/loop-control")
    lacks = [f"the device {device}" for device in devices if not Path(device).exists()]
    with tempfile.TemporaryDirectory() as folder:
        words = ("unshare", "--mount", "bash", "-c", _TRIAL, "trial", folder)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        lacks.append(f"mounts and namespaces of its own ({done.stderr.strip()[-200:]})")
    return lacks


def make_tree(
    packages: Sequence[str],
    *,
    suite: str = "bookworm",
    stopped: Sequence[str] = (),
    say: Callable[[str], object] = print,
) -> Path:
    """A tree of this Debian release with these packages, made once. `stopped` services do not start at boot.
    LabError with the tool's words where it cannot be made.
    """
    words = [_RECIPE, suite, *sorted(packages), "-", *sorted(stopped)]
    tree = TREES / f"{suite}-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:12]}"
    TREES.mkdir(parents=True, exist_ok=True)
    with (TREES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if tree.exists():
            return tree
        say(f"making a Debian {suite} with {len(packages)} packages, once: about a minute")
        part = tree.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o755)
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", suite, str(part))
        run("systemctl", f"--root={part}", "mask", "run-rpc_pipefs.mount", "console-getty.service")
        for service in stopped:
            with contextlib.suppress(LabError):  # not every list fits every release
                run("systemctl", f"--root={part}", "disable", service)
        for name in ("hostname", "resolv.conf"):  # this machine's own, left there by the tool
            (part / "etc" / name).unlink(missing_ok=True)
        part.rename(tree)
    return tree


class Container:
    """One Debian in the network namespace `space`. `work` keeps its layer and its disk over power cycles.

    `lent` folders of this machine are seen at the given places. Without `tree` it boots the folder
    `<work>/root`, which the caller has filled.
    """

    def __init__(
        self,
        name: str,
        space: Namespace,
        work: Path,
        tree: Path | None = None,
        lent: Mapping[Path, str] | None = None,
    ) -> None:
        self.name, self.space, self.work = name, space, work
        self.root = work / "root"
        self._tree, self._lent = tree, dict(lent or {})
        self._group = f"pxelab-{os.getpid()}-{name}"
        self._process: Process | None = None
        self._addresses: dict[str, list[str]] = {}

    @property
    def running(self) -> bool:
        """Whether it is powered on."""
        return self._process is not None and self._process.returncode is None

    def power_on(self, timeout: float = BOOT_SECONDS) -> None:
        """Boot it, and return once systemd says that it runs; LabError after `timeout` seconds."""
        if self.running:
            raise LabError(f"{self.name} is already on")
        self._note_addresses()
        environ = {
            "ROOT": str(self.root),
            "TREE": str(self._tree or ""),
            "LAYER": str(self.work) if self._tree else "",
            "BINDS": " ".join(f"{source}:{target}" for source, target in self._binds()),
            "GROUP": self._group,
            "NAME": self.name,
            "SYSTEM_PATH": PATH,
        }
        words = ["unshare", "--mount", "bash", "-c", _ENTER]
        self._process = self.space.start(words, self.work / "boot.log", environ)
        end = time.monotonic() + timeout
        while (state := self._state()) not in ("running", "degraded"):
            if time.monotonic() > end or self._process.returncode is not None:
                said = f"{self._process.text()[-1000:]}{self.failed()}"
                raise LabError(f"{self.name} did not boot ({state}): {said}")
            time.sleep(0.2)

    def _binds(self) -> list[tuple[Path, str]]:
        found = [(source, target.lstrip("/")) for source, target in self._lent.items()]
        if self._tree is not None:
            for name in ("root", "up", "work"):
                (self.work / name).mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                (self.work / "disk" / name).mkdir(parents=True, exist_ok=True)
                found.append((self.work / "disk" / name, name))
        return found

    def _state(self) -> str:
        try:
            return self.run("systemctl", "is-system-running", check=False).strip()
        except LabError:
            return "no systemd yet"

    def failed(self) -> str:
        """The units that failed."""
        try:
            return self.run("systemctl", "--failed", "--no-legend", "--plain", check=False)
        except LabError:
            return ""

    @property
    def pid(self) -> int:
        """The process id of its systemd, seen from outside; LabError while there is none."""
        with contextlib.suppress(psutil.Error, OSError):  # a child that ended between two looks
            children = psutil.Process(self._process.pid).children() if self._process else []
            if children and Path(f"/proc/{children[0].pid}/comm").read_text().strip() == "systemd":
                return children[0].pid
        raise LabError(f"{self.name}: systemd is not there")

    def argv(self, *words: str) -> list[str]:
        """The command line that runs `words` in it."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--"]
        return [*enter, "env", "-i", f"PATH={PATH}", *words]

    def run(self, *words: str, check: bool = True, timeout: float = 120.0) -> str:
        """Run a program in it to its end; its output. LabError with its words where it fails."""
        try:
            done = subprocess.run(
                self.argv(*words),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{self.name}: {' '.join(words)} took more than {timeout:.0f} s") from late
        if check and done.returncode:
            raise LabError(f"{self.name}: {' '.join(words)}: {(done.stderr + done.stdout).strip()}")
        return done.stdout

    def journal(self, unit: str = "", lines: int = 100) -> str:
        """The newest lines of its journal, of one unit where it is named."""
        words = ["journalctl", "--no-pager", "-n", str(lines), *(["-u", unit] if unit else [])]
        return self.run(*words, check=False)

    def power_cut(self) -> None:
        """End it and everything in it at once; layer and disk stay for the next power-on."""
        if self._process is None:
            return
        with contextlib.suppress(LabError, ProcessLookupError):
            # PID 1 of its namespace: the kernel ends all the others with it.
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.stop(END_SECONDS)
        self._process = None
        self._detach_loops()
        self._remove_group()
        self._clean_network()

    def forget(self) -> None:
        """Lose layer and disk, as a machine without a disk does when it is switched off."""
        if self.running:
            raise LabError(f"{self.name} is on")
        for name in ("up", "work", "disk"):
            shutil.rmtree(self.work / name, ignore_errors=True)

    def _detach_loops(self) -> None:
        """Loop devices on files of its disk outlive it, as they belong to the whole machine."""
        for file in (self.work / "disk").rglob("*.img"):
            for device in run("losetup", "-j", str(file), "-n", "-O", "NAME").split():
                with contextlib.suppress(LabError):
                    run("losetup", "-d", device)

    def _clean_network(self) -> None:
        """Its network namespace outlives it, and what was made there: a machine's kernel does not."""
        if not Path(f"/run/netns/{self.space.name}").exists():
            return
        for link in json.loads(self.space.ip("-details", "-json", "link", "show")):
            if link.get("linkinfo", {}).get("info_kind", "veth") != "veth":
                with contextlib.suppress(LabError):
                    self.space.ip("link", "del", "dev", link["ifname"])
        with contextlib.suppress(LabError):
            self.space.run("nft", "flush", "ruleset")
        self.space.sysctl("net.ipv4.ip_forward", "0")
        for link, addresses in self._addresses.items():
            self.space.ip("link", "set", "dev", link, "up")
            for address in addresses:
                self.space.ip("address", "replace", address, "dev", link)

    def _note_addresses(self) -> None:
        """The addresses of its cards before it ran for the first time: those that its firmware would get."""
        if self._addresses:
            return
        for link in json.loads(self.space.ip("-4", "-json", "address", "show")):
            if link["ifname"] != "lo":
                found = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]]
                self._addresses[link["ifname"]] = found

    def _remove_group(self) -> None:
        sweep = f"mount -t cgroup2 none /mnt && find /mnt/{self._group} -depth -type d -exec rmdir {{}} +"
        subprocess.run(["unshare", "--mount", "sh", "-c", sweep], check=False, capture_output=True)

    def close(self) -> None:
        """End it, and remove what it kept."""
        self.power_cut()
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.work)], check=False)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""A Debian with systemd as PID 1, in namespaces of its own, and the product's units in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

import psutil
from server_under_test import eventually

from pxeserver import install
from pxeserver.lab.netns import Namespace

SOURCE = Path(__file__).parents[2]
PACKAGES = "systemd,systemd-sysv,python3,iproute2"
_ENTER = r"""
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mkdir -p "$ROOT/lent"
mount --bind "$LENT" "$ROOT/lent"
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
  cd "$ROOT"
  mkdir -p old
  pivot_root . old
  umount -l /old
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin
  exec env -i container=lxc PATH=$PATH /lib/systemd/systemd --system --log-target=journal --show-status=false
'
"""


class SystemdHost:
    """Debian 12 in a folder, booted in the network namespace `space`."""

    def __init__(self, folder: Path, space: Namespace, packages: str = PACKAGES) -> None:
        self.root = folder / "root"
        self._space = space
        self._group = f"pxeserver-test-{os.getpid()}"
        self._process: subprocess.Popen[bytes] | None = None
        words = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(self.root)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def put_product(self) -> None:
        """Units and package as an installation leaves them, without its minute of building and fetching."""
        install.install(self.root)
        self._put_package()

    def _put_package(self) -> None:
        """The wheel's content in /opt/pxeserver/venv; the libraries it needs are lent by our own
        environment.
        """
        venv = self.root / install.OPT / "venv"
        site = venv / "lib/python3.11/site-packages"
        site.mkdir(parents=True)
        (venv / "bin").mkdir()
        (venv / "bin/python").symlink_to("/usr/bin/python3")
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        (site / "lent.pth").write_text("/lent\n")
        ignored = ("--exclude=__pycache__", "--exclude=_data")
        for name in ("pxeserver", "bootmenus", "images", "systemd"):
            target = site if name == "pxeserver" else site / "pxeserver/_data"
            target.mkdir(parents=True, exist_ok=True)
            packed = subprocess.run(
                ["tar", "c", *ignored, "-C", str(SOURCE), name], capture_output=True, check=True
            )
            subprocess.run(["tar", "x", "-C", str(target)], input=packed.stdout, check=True)

    def boot(self) -> None:
        """Start systemd, and wait until it says that it runs."""
        environ = {
            **os.environ,
            "ROOT": str(self.root),
            "LENT": sysconfig.get_paths()["purelib"],
            "GROUP": self._group,
        }
        words = self._space.argv("unshare", "--mount", "bash", "-c", _ENTER)
        self._process = subprocess.Popen(words, env=environ, start_new_session=True)
        eventually(
            lambda: "running" in self.run("systemctl", "is-system-running", check=False), 60, "did not boot"
        )

    @property
    def pid(self) -> int:
        """The process id of its systemd, seen from outside."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children()
        assert children, "systemd is not there"
        return children[0].pid

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command in it; its output."""
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--"]
        done = subprocess.run(
            [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        """End it and everything in it."""
        if self._process is not None:
            with suppress(psutil.Error, AssertionError, ProcessLookupError):
                os.kill(
                    self.pid, signal.SIGKILL
                )  # PID 1 of its namespace: the kernel ends all others with it
            self._process.wait(20)
        sweep = f"mount -t cgroup2 none /mnt && find /mnt/{self._group} -depth -type d -exec rmdir {{}} +"
        subprocess.run(["unshare", "--mount", "sh", "-c", sweep], check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.root)], check=False)


if sys.version_info[:2] != (3, 11):
    raise ImportError("the libraries that are lent have to be those of Debian 12's Python 3.11")

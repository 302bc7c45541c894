"""A Debian with systemd as PID 1, in namespaces of its own, and the product's units in it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from pxeserver import install
from pxeserver.lab.container import Container
from pxeserver.lab.netns import Namespace
from pxeserver.resources import FOLDERS

SOURCE = Path(__file__).parents[2]
PACKAGES = ("systemd", "systemd-sysv", "python3", "iproute2")


class SystemdHost(Container):
    """Debian 12 in a folder, booted in the network namespace `space`."""

    def __init__(self, folder: Path, space: Namespace, packages: Sequence[str] = PACKAGES) -> None:
        super().__init__("host", space, folder, lent={Path(sysconfig.get_paths()["purelib"]): "/lent"})
        words = [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            "bookworm",
            str(self.root),
        ]
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
        for name in ("pxeserver", *FOLDERS):
            target = site if name == "pxeserver" else site / "pxeserver/_data"
            target.mkdir(parents=True, exist_ok=True)
            packed = subprocess.run(
                ["tar", "c", *ignored, "-C", str(SOURCE), name], capture_output=True, check=True
            )
            subprocess.run(["tar", "x", "-C", str(target)], input=packed.stdout, check=True)


if sys.version_info[:2] != (3, 11):
    raise ImportError("the libraries that are lent have to be those of Debian 12's Python 3.11")

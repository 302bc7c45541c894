"""Step identity: what makes this node itself and no other.

Host name, names of the others, machine-id, SSH host keys, who may log in, and the UUID that glusterd will
have. A machine-id is what other programs have built on: a given one is taken where the system keeps nothing
over a restart anyway, and a missing one is made; a good one stays.
"""

from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path

from pxeserver.agent.join import files
from pxeserver.agent.join.command import need, run
from pxeserver.agent.join.facts import os_release
from pxeserver.agent.join.step import Drift, Facts, StepFailed, Tell, Want

BEGIN = "# pxeserver agent: begin"
END = "# pxeserver agent: end"
_ID = re.compile(r"[0-9a-f]{32}")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MEMORY = frozenset({"overlay", "tmpfs", "ramfs", "rootfs"})
_GLUSTER = {"bookworm": 100000, "trixie": 110000}
"""The operating version of each release's glusterd, for where it is not installed yet. Without one in its
file glusterd takes itself for an upgrade and stays at the oldest.
"""


class Identity:
    """`root` is where the system's files are, / but in tests."""

    name = "identity"

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._etc = root / "etc"
        self._info = root / "var/lib/glusterd/glusterd.info"
        self._keys = root / "root/.ssh/authorized_keys2"  # sshd reads it beside the one that people edit

    # ------------------------------------------------------------------------------------------ the three

    def check(self, want: Want) -> list[Drift]:
        """Compare all of it."""
        name, found = self._name(want), []
        have = socket.gethostname() if self._root == Path("/") else self._read("hostname")
        if have != name or self._read("hostname") != name:
            found.append(Drift("host name", name, have or "missing"))
        if self._hosts(want) != (files.read(self._etc / "hosts") or ""):
            found.append(
                Drift("/etc/hosts", f"{len(want.get('hosts') or {})} names of the cluster", "others")
            )
        target, have = self._target(want), self._read("machine-id")
        if not target or have != target:
            found.append(Drift("machine-id", target or "a new one", have or "missing"))
        if self._lacks_keys():
            found.append(Drift("SSH host keys", "made on this node", "missing"))
        if (files.read(self._keys) or "") != _logins(want):
            found.append(Drift("SSH keys of root", f"{len(want.get('ssh_keys') or ())} keys", "others"))
        if want.get("gluster_uuid") and self._gluster_uuid() != want["gluster_uuid"]:
            found.append(Drift("Gluster UUID", str(want["gluster_uuid"]), self._gluster_uuid() or "missing"))
        return found

    def apply(self, want: Want, tell: Tell) -> Facts:
        """Bring it about. StepFailed."""
        name = self._name(want)
        files.put(self._etc / "hostname", name + "\n")
        if self._root == Path("/") and socket.gethostname() != name:
            try:
                socket.sethostname(name)
            except OSError as error:
                raise StepFailed(f"the host name cannot be set: {error.strerror}") from error
        files.put(self._etc / "hosts", self._hosts(want))
        target = self._target(want) or uuid.uuid4().hex
        if self._read("machine-id") != target:
            tell(f"machine-id {target}")
            files.put(self._etc / "machine-id", target + "\n", 0o444)
        if self._lacks_keys():
            need("ssh-keygen", "-A", *(() if self._root == Path("/") else ("-f", str(self._root))))
        self._let_in(want)
        if want.get("gluster_uuid"):
            self._put_gluster(str(want["gluster_uuid"]), tell)
        return self.facts(want)

    def facts(self, want: Want) -> Facts:
        """Who this node is now."""
        key = files.read(self._etc / "ssh/ssh_host_ed25519_key.pub")
        return {
            "machine_id": self._read("machine-id"),
            "hostname": self._name(want),
            "ssh_host_key": " ".join(key.split()[:2]) if key else None,
        }

    def undo(self, want: Want, tell: Tell) -> None:
        """The others' names go, and the Gluster UUID where nothing depends on it; this node keeps its own
        name, machine-id and SSH keys: they are not the cluster's.
        """
        if (self._etc / "hosts").exists():
            files.put(self._etc / "hosts", _without_block(files.read(self._etc / "hosts") or ""))
        files.remove(self._keys)
        if not self._in_a_pool() and want.get("gluster_uuid") == self._gluster_uuid():
            self._stop_glusterd()
            files.remove(self._info)

    # ------------------------------------------------------------------------------------------ names

    @staticmethod
    def _name(want: Want) -> str:
        name = str(want["hostname"])
        if not _HOSTNAME.fullmatch(name):
            raise StepFailed(f"{name!r} is no host name (RFC 1123)", retry=False)
        return name

    def _hosts(self, want: Want) -> str:
        """What /etc/hosts is to hold: its own lines, without those that give our name another address, and
        the cluster's.
        """
        others: Mapping[str, str] = want.get("hosts") or {}
        mine = str(want["hostname"])
        kept = []
        for line in _without_block(files.read(self._etc / "hosts") or "127.0.0.1 localhost\n").splitlines():
            words = line.split("#")[0].split()
            if len(words) > 1 and words[0].startswith("127.0.1.") and mine in words[1:] and mine in others:
                continue  # Debian's line for a host without an address: the cluster knows one
            kept.append(line)
        block = [BEGIN, *(f"{others[name]} {name}" for name in sorted(others)), END]
        return "\n".join([*kept, *(block if others else ())]) + "\n"

    # ------------------------------------------------------------------------------------------ machine-id

    def _target(self, want: Want) -> str:
        """The machine-id this node should have; "" where a new one has to be made."""
        have, given = self._read("machine-id"), want.get("machine_id")
        good = have if _ID.fullmatch(have) and int(have, 16) else ""
        if given and _ID.fullmatch(str(given)) and (self._keeps_nothing() or not good):
            return str(given)
        return good

    def _keeps_nothing(self) -> bool:
        """Whether the root file system is gone after a restart."""
        mounts = (files.read(self._root / "proc/mounts") or "").splitlines()
        kinds = [words[2] for words in map(str.split, mounts) if len(words) > 2 and words[1] == "/"]
        return bool(kinds) and kinds[-1] in _MEMORY

    # ------------------------------------------------------------------------------------------ the others

    def _lacks_keys(self) -> bool:
        folder = self._etc / "ssh"
        return (folder / "sshd_config").exists() and not any(folder.glob("ssh_host_*_key"))

    def _let_in(self, want: Want) -> None:
        """Let the holders of the wanted keys log in as root, and nobody whom an earlier plan let in."""
        if text := _logins(want):
            self._keys.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.put(self._keys, text, 0o600)
        else:
            files.remove(self._keys)

    def _gluster_uuid(self) -> str:
        lines = (files.read(self._info) or "").splitlines()
        return next((line.split("=", 1)[1].strip() for line in lines if line.startswith("UUID=")), "")

    def _in_a_pool(self) -> bool:
        home = self._info.parent
        return any(any((home / name).glob("*")) for name in ("peers", "vols") if (home / name).is_dir())

    def _put_gluster(self, wanted: str, tell: Tell) -> None:
        """Have glusterd start with this UUID. A node that is in a pool under another one is not changed."""
        have = self._gluster_uuid()
        if have == wanted:
            return
        if have and self._in_a_pool():
            raise StepFailed(
                f"glusterd of this node is {have} and belongs to a pool; it was to be {wanted}. Detach it"
                " from that pool, or empty /var/lib/glusterd, and apply again",
                retry=False,
            )
        self._stop_glusterd()
        tell(f"Gluster UUID {wanted}")
        self._info.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.put(self._info, f"UUID={wanted}\noperating-version={self._gluster_version()}\n", 0o600)

    def _gluster_version(self) -> int:
        if (self._root / "usr/sbin/glusterd").exists():
            words = run("glusterd", "--version", timeout=20).out.split()
            major = words[1].split(".")[0] if len(words) > 1 else ""
            if major.isdigit():
                return int(major) * 10000
        codename = os_release(self._etc / "os-release").get("VERSION_CODENAME", "")
        return _GLUSTER.get(codename, _GLUSTER["bookworm"])

    def _stop_glusterd(self) -> None:
        if self._root == Path("/") and (self._root / "usr/sbin/glusterd").exists():
            run("systemctl", "stop", "glusterd.service", timeout=60)

    def _read(self, name: str) -> str:
        return (files.read(self._etc / name) or "").strip()


def _logins(want: Want) -> str:
    """The file of the wanted keys; "" for none."""
    keys = want.get("ssh_keys") or ()
    return files.marked("".join(f"{key}\n" for key in sorted(keys))) if keys else ""


def _without_block(text: str) -> str:
    """The lines of a hosts file that are not ours."""
    kept, ours = [], False
    for line in text.splitlines():
        ours = (ours or line == BEGIN) and line != END
        if not ours and line not in (BEGIN, END):
            kept.append(line)
    return "\n".join(kept) + "\n" if kept else ""

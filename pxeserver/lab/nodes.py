"""Stand-ins for nodes on one LAN: Debian containers with the node image's packages."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from pxeserver import resources
from pxeserver.lab.container import PLAIN, Container, make_tree
from pxeserver.lab.netns import Namespace, allow_cubic, connect, need_root, run_prefix, sweep
from pxeserver.lab.process import Process

SERVER, FIRST = "10.77.0.2", 11
"""The server's address, and the last part of the first node's."""


def node_packages(suite: str = "bookworm") -> tuple[list[str], list[str]]:
    """The packages of the node image, and its services that are not started at boot."""
    recipe = tomllib.loads((resources.folder("images") / "cluster-node" / "image.toml").read_text())
    return [*recipe["packages"], *recipe["releases"][suite]["packages"], *PLAIN], recipe["tree"]["disabled"]


class NodeLab:
    """A LAN 10.77.0.0/24 with a server's namespace at .2 and containers from .11 on, named n1, n2 ...

    `plain` ones are a Debian with nothing of ours installed.
    """

    def __init__(
        self,
        work: Path,
        count: int,
        *,
        plain: bool = False,
        suite: str = "bookworm",
        lent: Mapping[Path, str] | None = None,
        say: Callable[[str], object] = print,
    ) -> None:
        need_root()
        sweep()
        allow_cubic()
        self.work, self.prefix = work, run_prefix()
        packages, stopped = (PLAIN, ()) if plain else node_packages(suite)
        self.tree = make_tree(packages, suite=suite, stopped=stopped, say=say)
        self.nodes: dict[str, Container] = {}
        self._lent = dict(lent or {})
        self._stack = ExitStack()
        try:
            self.lan = self._space("lan")
            self.lan.ip("link", "add", "dev", "near", "type", "bridge")
            self.lan.ip("link", "set", "dev", "near", "up")
            self.boot = self._space("boot")
            self._cable(self.boot, "boot0", SERVER)
            for number in range(1, count + 1):
                self.add(f"n{number}")
        except BaseException:
            self.close()
            raise

    def _space(self, name: str) -> Namespace:
        return self._stack.enter_context(Namespace(f"{self.prefix}-{name}"))

    def _cable(self, space: Namespace, port: str, address: str) -> None:
        connect(space, "eth0", self.lan, port)
        self.lan.ip("link", "set", "dev", port, "master", "near")
        space.ip("address", "add", f"{address}/24", "dev", "eth0")

    def add(self, name: str) -> Container:
        """One more container, switched off, with a cable in its eth0."""
        address = f"10.77.0.{FIRST + len(self.nodes)}"
        space = self._space(name)
        self._cable(space, f"{name}-0", address)
        made = Container(name, space, self.work / name, self.tree, self._lent)
        self.nodes[name] = self._stack.enter_context(made)
        return made

    def address(self, name: str) -> str:
        """The address of a container's eth0."""
        return f"10.77.0.{FIRST + list(self.nodes).index(name)}"

    def mac(self, name: str) -> str:
        """The MAC address of its eth0."""
        found = self.nodes[name].space.ip("-o", "link", "show", "dev", "eth0").split()
        return found[found.index("link/ether") + 1]

    def start_server(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> Process:
        """Start a server in the server's namespace; it ends with the lab."""
        return self._stack.enter_context(self.boot.start(words, self.work / "server.log", environment))

    def power_on(self) -> None:
        """Boot all that are off."""
        for node in self.nodes.values():
            if not node.running:
                node.power_on()

    def close(self) -> None:
        """End everything, and remove what it kept."""
        self._stack.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self) -> NodeLab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

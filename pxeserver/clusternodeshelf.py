"""The node system of one server: built on order, put into the image store, and described as image and
profile.
"""

from __future__ import annotations

import json
from pathlib import Path

from pxeserver.boot.model import Image, Profile, ProfileKind
from pxeserver.buildrequest import NoBuilder, Request, ask
from pxeserver.builtfiles import TakesFiles, publish
from pxeserver.clusternode import FILES, NAME, NOTE, NodeSystem, Progress, build_cluster_node
from pxeserver.discovery import BuildFailed

PROFILE = Profile(
    NAME,
    ProfileKind.KERNEL,
    image=NAME,
    # The names of network cards stay those of the initramfs, and nothing is updated at each start from RAM.
    args="net.ifnames=0 systemd.condition-needs-update=0 panic=30",
    title="Node system: joins a cluster",
    in_menu=False,
)


class ClusterNodeShelf:
    """Where the node system is kept. Where there is a builder (a socket at this path), it is asked; else it
    is built here.
    """

    profile = PROFILE

    def __init__(
        self, store: TakesFiles, folder: Path, wanted: NodeSystem, *, builder: Path | None = None
    ) -> None:
        self._store, self._folder, self._wanted, self._builder = store, folder, wanted, builder

    def is_new(self, published: Image | None) -> bool:
        """Whether something was built here, and is not what is published."""
        try:
            sums = json.loads((self._folder / NOTE).read_text())["sha256"]
        except (OSError, ValueError, KeyError):
            return False
        files = published.files if published is not None else ()
        return bool({file.name: file.sha256 for file in files} != sums)

    def build(self, progress: Progress = print, *, refresh: bool = False) -> Image:
        """Build the image unless it is there as it should be, and publish its files. With `refresh` all
        packages are fetched anew. It blocks for minutes; BuildFailed says why there is none.
        """
        if self._builder is not None and self._builder.is_socket():
            try:
                ask(self._builder, Request(NAME, refresh), progress)
            except NoBuilder as why:
                raise BuildFailed(f"node image: {why}") from why
        else:
            build_cluster_node(self._folder / "work", self._folder, self._wanted, progress, refresh=refresh)
        return self.publish()

    def publish(self) -> Image:
        """The image as it was built last, its files in the store. It blocks; BuildFailed where none was."""
        try:
            note = json.loads((self._folder / NOTE).read_text())
            files = tuple(publish(self._store, self._folder / name, role) for name, role in FILES.items())
        except (OSError, ValueError) as error:
            raise BuildFailed(
                f"the node image is not there ({error}): `pxeserver image build {NAME}`"
            ) from error
        what = f"node system: Debian {note.get('release')}, kernel {note.get('kernel')}"
        return Image(NAME, files, f"{what}; built here from packages", {"arch": "x64"})

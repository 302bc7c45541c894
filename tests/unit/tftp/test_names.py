"""What TFTP names lead to: the loader that a value names, and no place in a table for made-up ids."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pxeserver.answers import tftp_names
from pxeserver.boot.attempts import Attempts, Stage
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import EventKind, FileRef, Image, Interface, Machine, Node, Policy, Subnet
from pxeserver.servers.tftp_content import Served

MAC = "52:54:00:77:00:01"
GRUB = FileRef("grubx64.efi", "0" * 64, 9, "efi")
LINK = Interface(2, "eth0", ("10.0.0.2/24",))


@pytest.fixture
def plane():
    far = Subnet("10.9.0.0/24", server="10.0.0.7")
    catalog = Catalog(policy=Policy(subnets=(far,)), images={"own": Image("own", (GRUB,))})
    nodes = NodeTable([Node(1, "n1", macs=(MAC,), values={"loader": "own/grubx64.efi"})])
    attempts = Attempts(lambda: "abcdefghij")
    return SimpleNamespace(attempts=attempts, catalog=lambda: catalog, nodes=lambda: nodes, now=lambda: 1.0)


def test_a_loader_out_of_an_image_keeps_its_boot_together(plane) -> None:
    attempt = plane.attempts.begin(Machine(MAC), 0.0, firmware=True)
    served = tftp_names(plane)("a/abcdefghij/f/own/grubx64.efi", ("10.0.0.5", 1), LINK)
    assert isinstance(served, Served)
    assert (served.started, served.sent) == (EventKind.LOADER_STARTED, EventKind.LOADER_SENT)
    assert (served.attempt, attempt.stage, attempt.address) == ("abcdefghij", Stage.LOADER, "10.0.0.5")
    assert plane.attempts.begin(Machine(MAC), 2.0, firmware=False) is attempt


@pytest.mark.parametrize("name", ["f/own/grubx64.efi", "boot.ipxe"])
def test_an_id_that_is_not_known_gets_its_file_and_no_place(plane, name: str) -> None:
    served = tftp_names(plane)(f"a/zzzzzzzzzz/{name}", ("10.0.0.5", 1), LINK)
    assert isinstance(served, Served)
    assert (served.attempt, len(plane.attempts)) == ("", 0)
    if isinstance(served.content, bytes):
        assert b"/a/zzzzzzzzzz/boot.ipxe?" in served.content


@pytest.mark.parametrize(("client", "server"), [("10.0.0.5", "10.0.0.2"), ("10.9.0.5", "10.0.0.7")])
def test_a_script_names_the_server_as_its_machine_reaches_it(plane, client: str, server: str) -> None:
    served = tftp_names(plane)("a/zzzzzzzzzz/boot.ipxe", (client, 1), LINK)
    assert isinstance(served, Served)
    assert isinstance(served.content, bytes)
    assert f"http://{server}/a/zzzzzzzzzz/".encode() in served.content

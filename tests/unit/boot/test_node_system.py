"""What a system with a root file system of its own is told on its kernel command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import ScriptChoice, boot_script
from pxeserver.boot.model import Consent, FileRef, Image, Machine, Node, Policy, Profile, ProfileKind

MAC, BASE, ATTEMPT = "52:54:00:00:00:01", "http://10.0.0.2:8080", "abcdefghij"
SUM, PIN = "ab" * 32, "cd" * 32
FILES = (
    FileRef("vmlinuz", "0" * 64, 1, "kernel"),
    FileRef("initrd.img", "1" * 64, 1, "initrd"),
    FileRef("root.squashfs", SUM, 234_567_890, "root"),
)
CATALOG = Catalog(
    policy=Policy(agents_port=9444, agents_ca=PIN),
    profiles={"node": Profile("node", ProfileKind.KERNEL, "sys", args="quiet")},
    images={"sys": Image("sys", FILES)},
)


def words(catalog: Catalog = CATALOG, order: int = 0, **values: str) -> list[str]:
    """The kernel command line that the node n1 gets, with an install order and the consent to it."""
    consents = (Consent(order, "S", ()),) if order else ()
    given = {"profile": "node", **values}
    node = Node(1, "n1", macs=(MAC,), values=given, order=order, consents=consents)
    found = boot_script(Machine(MAC, arch=7), ATTEMPT, BASE, catalog, NodeTable([node]))
    assert isinstance(found, ScriptChoice)
    line = next(line for line in found.text.splitlines() if "pxeserver.url" in line or " quiet" in line)
    return [word for word in line.split() if word.startswith("pxeserver.") or word == "quiet"]


def test_it_is_told_its_root_and_how_its_agent_reaches_the_server() -> None:
    own = f"{BASE}/a/{ATTEMPT}"
    assert words() == [
        f"pxeserver.url={own}",
        f"pxeserver.mac={MAC}",
        f"pxeserver.root={own}/f/sys/root.squashfs",
        f"pxeserver.root_sha256={SUM}",
        "pxeserver.root_size=234567890",
        "pxeserver.name=n1",
        "pxeserver.agent=10.0.0.2:9444",
        f"pxeserver.ca={PIN}",
        "quiet",
    ]


def test_the_root_is_no_initrd() -> None:
    """The loader would put 230 MB more into memory, and a BIOS machine would stop there."""
    node = Node(1, "n1", macs=(MAC,), values={"profile": "node"})
    found = boot_script(Machine(MAC, arch=7), ATTEMPT, BASE, CATALOG, NodeTable([node]))
    assert isinstance(found, ScriptChoice)
    loaded = [line for line in found.text.splitlines() if line.startswith(("initrd", "imgfetch"))]
    assert loaded
    assert not [line for line in loaded if "squashfs" in line]


@pytest.mark.parametrize(("value", "word"), [("auto", []), ("none", ["none"]), ("empty:S1", ["empty:S1"])])
def test_the_state_disk_is_formatted_only_where_the_value_says_so(value: str, word: list[str]) -> None:
    prefix = "pxeserver.state="
    told = words(state_disk=value)
    assert [one.removeprefix(prefix) for one in told if one.startswith(prefix)] == word


def test_without_an_authority_no_agent_is_sent_anywhere() -> None:
    told = words(replace(CATALOG, policy=Policy()))
    assert not [word for word in told if word.startswith(("pxeserver.agent", "pxeserver.ca"))]


def test_an_installer_is_told_how_the_agent_of_what_it_installs_reaches_the_server() -> None:
    image = {"sys": Image("sys", FILES[:2])}
    installs = {"node": replace(CATALOG.profiles["node"], install=True)}
    catalog = replace(CATALOG, images=image, profiles=installs)
    told = words(catalog, order=2)
    own = f"{BASE}/a/{ATTEMPT}"
    agent = [f"pxeserver.url={own}", f"pxeserver.mac={MAC}", "pxeserver.agent=10.0.0.2:9444"]
    assert told == [*agent, f"pxeserver.ca={PIN}", "quiet"]
    assert words(replace(catalog, policy=Policy()), order=2) == ["quiet"]


def test_a_kernel_without_a_root_is_told_nothing() -> None:
    assert words(replace(CATALOG, images={"sys": Image("sys", FILES[:2])})) == ["quiet"]

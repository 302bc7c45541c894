"""Scripts by their forms are, byte for byte, what composing and rendering make; what cannot have a form has
none.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pxeserver.boot import compose, decision, forms
from pxeserver.boot.admission import Turn
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import FileRef, Image, Machine, Node, Policy, Profile, ProfileKind
from pxeserver.boot.plan import plan
from pxeserver.boot.render_ipxe import render

BASE = "http://10.0.0.2"
FILES = (
    FileRef("vmlinuz", "1" * 64, 800, "kernel"),
    FileRef("initrd.img", "2" * 64, 400, "initrd"),
    FileRef("more.img", "3" * 64, 40, "initrd"),
)
ROOT = FileRef("root.squashfs", "4" * 64, 9000, "root")
EFI = FileRef("grubx64.efi", "5" * 64, 70, "efi")
CATALOG = Catalog(
    images={
        "live": Image("live", FILES),
        "rooted": Image("rooted", (*FILES, ROOT)),
        "efi": Image("efi", (EFI,)),
    },
    profiles={
        "live": Profile("live", ProfileKind.KERNEL, "live", args="quiet ip=dhcp"),
        "named": Profile("named", ProfileKind.KERNEL, "live", args="host={name} at={url} of={server}"),
        "rooted": Profile("rooted", ProfileKind.KERNEL, "rooted"),
        "grub": Profile("grub", ProfileKind.EFI, "efi"),
        "discovery": Profile("discovery", ProfileKind.DISCOVERY, "live"),
        "odd": Profile(
            "odd", ProfileKind.KERNEL, "live", args="x=aaaaaaaaaa y=form-first z=02:00:00:00:00:0a"
        ),
    },
    policy=Policy(agents_ca="6" * 64),
)
ATTEMPTS = ("abcdefghij", "aaaaaaaaaa", "bbbbbbbbbb", "2222222222")


def asked(number: int, profile: str, **values: str) -> tuple[Machine, Node]:
    mac = f"52:54:00:00:00:{number:02x}"
    node = Node(number, f"node{number}", macs=(mac,), values={"profile": profile, **values})
    return Machine(mac, arch=7, platform="efi"), node


def by_hand(machine: Machine, node: Node, attempt: str, catalog: Catalog) -> tuple[str, int]:
    """What there was before forms."""
    found = plan(machine, None, catalog, NodeTable([node]), attempt)
    script = compose.script(machine, found, BASE, attempt, catalog)
    return render(script), compose.download_size(found, catalog)


@pytest.mark.parametrize("profile", [name for name in CATALOG.profiles if name != "odd"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"console": "tty0 ttyS0,115200n8", "kernel_args": "debug"},
        {"state_disk": "none", "admission": "at-once", "local_boot": "sanboot"},
    ],
)
def test_a_form_writes_what_the_renderer_writes(profile: str, values: dict[str, str]) -> None:
    known = forms.Forms()
    for number, attempt in enumerate(ATTEMPTS, 1):
        machine, node = asked(number, profile, **values)
        found = plan(machine, None, CATALOG, NodeTable([node]), attempt)
        written = known.write(machine, found, BASE, attempt, CATALOG)
        assert written == by_hand(machine, node, attempt, CATALOG)
        given = decision.boot_script(machine, attempt, BASE, CATALOG, NodeTable([node]))
        assert isinstance(given, decision.ScriptChoice)
        assert (given.text, given.size) == written
    assert len(known._known) == 1, "one form for all of them"


def test_texts_that_look_like_stand_ins_have_no_form() -> None:
    machine, node = asked(1, "odd")
    found = plan(machine, None, CATALOG, NodeTable([node]), ATTEMPTS[0])
    assert forms.Forms().write(machine, found, BASE, ATTEMPTS[0], CATALOG) is None
    given = decision.boot_script(machine, ATTEMPTS[0], BASE, CATALOG, NodeTable([node]))
    assert isinstance(given, decision.ScriptChoice)
    assert given.text == by_hand(machine, node, ATTEMPTS[0], CATALOG)[0]
    assert "x=aaaaaaaaaa y=form-first z=02:00:00:00:00:0a" in given.text


@pytest.mark.parametrize("change", [
    {"attempt": "abc || sleep"}, {"mac": "52:54:00 ||"}, {"name": "n1 || reboot"}, {"name": "${netX/mac}"},
])  # fmt: skip
def test_what_was_not_checked_is_put_into_no_form(change: dict[str, str]) -> None:
    machine, node = asked(1, "named")
    attempt = change.get("attempt", ATTEMPTS[0])
    machine = replace(machine, mac=change.get("mac", machine.mac))
    node = replace(node, name=change.get("name", node.name), macs=(machine.mac,))
    found = plan(machine, None, CATALOG, NodeTable([node]), attempt)
    assert forms.Forms().write(machine, found, BASE, attempt, CATALOG) is None


def test_another_catalog_has_other_forms() -> None:
    machine, node = asked(1, "live")
    changed = replace(
        CATALOG, profiles={"live": Profile("live", ProfileKind.KERNEL, "live", args="loud")}, version=2
    )
    known = forms.Forms()
    for catalog, word in ((CATALOG, "quiet"), (changed, "loud"), (CATALOG, "quiet")):
        found = plan(machine, None, catalog, NodeTable([node]), ATTEMPTS[0])
        written = known.write(machine, found, BASE, ATTEMPTS[0], catalog)
        assert written is not None and word in written[0]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_first_and_waiting_scripts_have_forms(attempt: str) -> None:
    assert (
        forms.hello(BASE, attempt)
        == render(compose.hello(BASE, attempt))
        == decision.hello_script(BASE, attempt)
    )
    for turn in (Turn(12, 130, 7, 14), Turn(1, 1, 1, None)):
        whole = render(compose.waiting(turn, BASE, attempt, Machine("52:54:00:00:00:01")))
        assert forms.waiting(turn, BASE, attempt) == whole
    assert forms.hello(BASE, "x y") is None

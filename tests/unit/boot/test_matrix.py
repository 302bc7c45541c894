"""What every machine gets: architecture x stage x state x policy, each cell from the tables below.

The tables are written by hand from what machines are promised; the code is not asked for them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import Offer, ScriptChoice, boot_script, offer, plan
from pxeserver.boot.model import (
    BootOnce,
    ClientKind,
    Consent,
    FileRef,
    Ignore,
    Image,
    Loader,
    Machine,
    Node,
    NodeState,
    Phase,
    Policy,
    Profile,
    ProfileKind,
)

MAC, U1 = "52:54:00:00:00:01", "4c4c4544-0035-3010-8042-b7c04f343231"
SERVER, ATTEMPT = "10.0.0.2", "abcdefghij"
BASE = f"http://{SERVER}"


def ref(name: str, role: str) -> FileRef:
    return FileRef(name, "0" * 64, 1, role)


IMAGES = {
    "live": Image("live", (ref("vmlinuz", "kernel"), ref("initrd", "initrd"))),
    "golden": Image("golden", (ref("disk.raw", "disk"),)),
    "shell": Image("shell", (ref("shell.efi", "efi"),)),
}
PROFILES = {
    p.name: p
    for p in (
        Profile("local", ProfileKind.LOCAL),
        Profile("live", ProfileKind.KERNEL, "live", args="quiet"),
        Profile("shell", ProfileKind.EFI, "shell"),
        Profile("script", ProfileKind.SCRIPT, script="#!ipxe\necho hi\n"),
        Profile("chain", ProfileKind.CHAIN, url="http://10.9.9.9/boot.ipxe"),
        Profile("discovery", ProfileKind.DISCOVERY, "live"),
        Profile("disk", ProfileKind.DISK, "golden"),
        Profile("menu", ProfileKind.MENU),
        Profile("installer", ProfileKind.KERNEL, "live", args="quiet", install=True),
        Profile("broken", ProfileKind.KERNEL, "nowhere"),
    )
}
LOADERS = {
    0: Loader(0, ref("undionly.kpxe", "loader")),
    7: Loader(7, ref("snponly.efi", "loader")),
    11: Loader(11, ref("ipxe-arm64.efi", "loader")),
}
CATALOG = Catalog(profiles=PROFILES, images=IMAGES, loaders=LOADERS)

# --------------------------------------------------------------------- architecture x stage: what DHCP offers

LOADER_OF = {
    0: "undionly.kpxe", 6: None, 7: "snponly.efi", 9: "snponly.efi", 10: None, 11: "ipxe-arm64.efi",
    15: None, 16: "snponly.efi", 18: None, 19: "ipxe-arm64.efi", 20: "undionly.kpxe", 12: None,
    27: None, 65535: None,
}  # fmt: skip


@pytest.mark.parametrize("arch", LOADER_OF)
@pytest.mark.parametrize("kind", list(ClientKind))
def test_what_is_offered(arch: int, kind: ClientKind) -> None:
    found = offer(Machine(MAC, arch=arch, kind=kind), CATALOG, NodeTable(), SERVER, ATTEMPT)
    loader = LOADER_OF[arch]
    if kind is ClientKind.IPXE:
        assert isinstance(found, Offer)
        assert found.file == f"{BASE}/a/{ATTEMPT}/boot.ipxe"
    elif loader is None:
        assert isinstance(found, Ignore)
        assert found.reason.value == "no-loader"
    else:
        assert isinstance(found, Offer)
        path = f"a/{ATTEMPT}/{loader}"
        assert found.file == (f"{BASE}/{path}" if kind is ClientKind.FIRMWARE_HTTP else path)
        assert len(found.file) < 128  # the file field of a DHCP packet


def test_a_firmware_without_architecture_gets_nothing() -> None:
    found = offer(Machine(MAC, kind=ClientKind.FIRMWARE_PXE), CATALOG, NodeTable(), SERVER, ATTEMPT)
    assert isinstance(found, Ignore)
    assert found.reason.value == "no-architecture"


# ------------------------------------------------------------------------- unknown machines: policy x what
# it gets

POLICIES = {
    "menu": ("menu", None),
    "discover": ("boot", "discovery"),
    "observe": ("silent", None),
    "ignore": ("silent", None),
    "profile:live": ("boot", "live"),
    "profile:local": ("local", "local"),
    "profile:installer": ("menu", None),  # nothing installs on a machine that nobody knows
    "profile:disk": ("menu", None),
    "profile:gone": ("menu", None),
    "profile:broken": ("refused", "broken"),
    "nonsense": ("menu", None),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", list(ClientKind))
def test_unknown_machines(policy: str, kind: ClientKind) -> None:
    catalog = replace(CATALOG, policy=Policy(unknown=policy))
    machine = Machine(MAC, arch=7, kind=kind)
    action, profile = POLICIES[policy]
    found = plan(machine, None, catalog, NodeTable())
    assert (found.action.value, found.profile.name if found.profile else None) == (action, profile)
    silent = action == "silent"
    assert isinstance(offer(machine, catalog, NodeTable(), SERVER, ATTEMPT), Ignore if silent else Offer)
    assert isinstance(
        boot_script(machine, ATTEMPT, BASE, catalog, NodeTable()), Ignore if silent else ScriptChoice
    )
    assert found.code
    if policy in ("profile:installer", "profile:disk", "profile:gone"):
        assert found.warnings


# --------------------------------------------------------------------------- known machines: profile x life
# x policy

STATES: dict[str, tuple[int, NodeState]] = {
    "idle": (0, NodeState(1)),
    "armed": (2, NodeState(1, Phase.INSTALLED, order=1)),
    "mine": (2, NodeState(1, Phase.INSTALLING, order=2, attempt=ATTEMPT)),
    "cut-off": (2, NodeState(1, Phase.INSTALLING, order=2, attempt="zzzzzzzzzz")),
    "installed": (2, NodeState(1, Phase.INSTALLED, order=2)),
    "held": (2, NodeState(1, Phase.HELD, order=2, reason="disk gone")),
    "held-armed": (3, NodeState(1, Phase.HELD, order=2, reason="disk gone")),
}
COLUMNS = tuple(STATES)

# Consent is given for the order in every case; a machine without one is tested below.
TABLE = {
    #              idle       armed      mine       cut-off  installed  held    held-armed
    "":          ("menu",    "menu",    "menu",    "hold",  "menu",    "hold", "menu"),
    "local":     ("local",   "local",   "local",   "hold",  "local",   "hold", "local"),
    "live":      ("boot",    "boot",    "boot",    "hold",  "boot",    "hold", "boot"),
    "shell":     ("boot",    "boot",    "boot",    "hold",  "boot",    "hold", "boot"),
    "script":    ("boot",    "boot",    "boot",    "hold",  "boot",    "hold", "boot"),
    "chain":     ("boot",    "boot",    "boot",    "hold",  "boot",    "hold", "boot"),
    "discovery": ("boot",    "boot",    "boot",    "hold",  "boot",    "hold", "boot"),
    "menu":      ("menu",    "menu",    "menu",    "hold",  "menu",    "hold", "menu"),
    "installer": ("local",   "install", "install", "hold",  "local",   "hold", "install"),
    "disk":      ("local",   "install", "install", "hold",  "local",   "hold", "install"),
    "broken":    ("refused", "refused", "refused", "hold",  "refused", "hold", "refused"),
    "gone":      ("refused", "refused", "refused", "hold",  "refused", "hold", "refused"),
}  # fmt: skip

# What the hand-out of the script makes true, where that is anything.
RECORDS = {
    ("installer", "armed"): {"handed-out"},
    ("installer", "held-armed"): {"handed-out"},
    **{(profile, "cut-off"): {"returned"} for profile in TABLE},
}


def node_with(profile: str, order: int) -> Node:
    values = {"profile": profile} if profile else {}
    return Node(
        1, "n1", uuid=U1, macs=(MAC,), values=values, order=order, consents=(Consent(order, "S", ()),)
    )


@pytest.mark.parametrize("arch", [0, 7, 11, 16])
@pytest.mark.parametrize("policy", ["menu", "discover", "observe", "ignore", "profile:live"])
@pytest.mark.parametrize("state", COLUMNS)
@pytest.mark.parametrize("profile", TABLE)
def test_known_machines(profile: str, state: str, policy: str, arch: int) -> None:
    order, node_state = STATES[state]
    nodes = NodeTable([node_with(profile, order)], [node_state])
    catalog = replace(CATALOG, policy=Policy(unknown=policy))  # no policy for unknown machines touches a node
    machine = Machine(MAC, uuid=U1, arch=arch, kind=ClientKind.IPXE)
    found = plan(machine, None, catalog, nodes, ATTEMPT)
    expected = TABLE[profile][COLUMNS.index(state)]
    if profile == "shell" and arch == 0 and expected == "boot":
        expected = "refused"  # an EFI program on a BIOS machine
    assert found.action.value == expected
    triggers = {detail["trigger"] for _, detail in found.records if "trigger" in detail}
    assert triggers == RECORDS.get((profile, state), set())
    assert found.why
    # The firmware is always answered: the script says on the screen what holds.
    for kind in ClientKind:
        assert isinstance(offer(replace(machine, kind=kind), catalog, nodes, SERVER, ATTEMPT), Offer)
    script = boot_script(machine, ATTEMPT, BASE, catalog, nodes)
    assert isinstance(script, ScriptChoice)
    assert_script(script.text, expected, profile, arch)


LEAVES = {0: "exit 0", 7: "exit 1", 11: "exit 1", 16: "exit 1"}


def assert_script(text: str, action: str, profile: str, arch: int) -> None:
    """What has to be, and what must not be, in the script of an action."""
    lines = text.splitlines()
    kernel = [line for line in lines if line.startswith("kernel ")]
    if action in ("hold", "refused", "local"):
        assert not [
            line for line in lines if line.startswith(("kernel", "initrd", "chain", "imgexec", "boot"))
        ]
        assert lines[-1] == LEAVES[arch]
        assert "reboot" not in lines
    elif action == "menu":
        assert lines[-1] == LEAVES[arch]
        assert any(line.startswith("choose --timeout 30000 --default ") for line in lines)
    elif profile in ("live", "installer"):
        assert f"{BASE}/a/{ATTEMPT}/f/live/vmlinuz initrd=initrd quiet" in kernel[0]
        assert "pxeserver.url" not in text
    elif profile in ("discovery", "disk"):
        assert (
            f"{BASE}/a/{ATTEMPT}/f/live/vmlinuz initrd=initrd pxeserver.url={BASE}/a/{ATTEMPT}" in kernel[0]
        )
    elif profile == "shell":
        assert "imgexec shell.efi || goto f1" in lines
    elif profile == "script":
        assert "echo hi" in lines
    elif profile == "chain":
        assert any("chain --replace --timeout 8000 http://10.9.9.9/boot.ipxe" in line for line in lines)
    if action == "hold":
        assert any("prompt --timeout 30000" in line for line in lines)


def test_an_operators_hold_is_above_everything() -> None:
    for state, (order, node_state) in STATES.items():
        for profile in TABLE:
            node = replace(node_with(profile, order), hold="mainboard swap", boot_once=BootOnce(9, "live"))
            found = plan(Machine(MAC, uuid=U1), node, CATALOG, NodeTable([node], [node_state]), ATTEMPT)
            assert found.action.value == "hold", (state, profile)
            assert "mainboard swap" in found.why


def test_a_foreign_installer_needs_a_consent_for_this_order() -> None:
    for consents, expected in (
        ((), "refused"),
        ((Consent(1, "S", ()),), "refused"),  # of an earlier order
        ((Consent(2, "S", ()),), "install"),
    ):
        node = replace(node_with("installer", 2), consents=consents)
        found = plan(Machine(MAC, uuid=U1), node, CATALOG, NodeTable([node]), ATTEMPT)
        assert found.action.value == expected
    ours = replace(node_with("disk", 2), consents=())
    assert plan(Machine(MAC, uuid=U1), ours, CATALOG, NodeTable([ours]), ATTEMPT).action.value == "install"


def test_a_conflict_is_held_and_tells_a_person() -> None:
    nodes = NodeTable([node_with("live", 0), replace(node_with("disk", 1), id=2, name="n2")])
    found = plan(Machine(MAC, uuid=U1, arch=0), None, CATALOG, nodes)
    assert found.action.value == "hold"
    assert found.records[0][1]["alarm"] == "identity-conflict"
    script = boot_script(Machine(MAC, uuid=U1, arch=0), ATTEMPT, BASE, CATALOG, nodes)
    assert isinstance(script, ScriptChoice)
    assert_script(script.text, "hold", "", 0)


# -------------------------------------------------------------------------------------------------- boot-once

ONCE = {
    # profile of the order: (idle, armed, cut-off, installed, held)
    "live": ("boot", "boot", "boot", "boot", "boot"),
    "chain": ("boot", "boot", "boot", "boot", "boot"),
    "local": ("local", "local", "local", "local", "local"),
    "menu": ("menu", "menu", "menu", "menu", "menu"),
    "installer": ("local", "install", "hold", "local", "hold"),
    "disk": ("local", "install", "hold", "local", "hold"),
    "gone": ("refused", "refused", "hold", "refused", "hold"),
}


@pytest.mark.parametrize("profile", ONCE)
@pytest.mark.parametrize("state", ["idle", "armed", "cut-off", "installed", "held"])
def test_boot_once(profile: str, state: str) -> None:
    order, node_state = STATES[state]
    node = replace(node_with("script", order), boot_once=BootOnce(7, profile))
    machine = Machine(MAC, uuid=U1, arch=7)
    found = plan(machine, node, CATALOG, NodeTable([node], [node_state]), ATTEMPT)
    action = ONCE[profile][("idle", "armed", "cut-off", "installed", "held").index(state)]
    assert found.action.value == action
    used = [detail["boot_once"] for _, detail in found.records if "boot_once" in detail]
    kept = action in ("hold", "refused") or (profile == "disk" and action == "install")
    assert used == ([] if kept else [7])
    # Used by another boot: the node's own profile again.
    after = replace(node_state, boot_once=7, once_attempt="zzzzzzzzzz")
    again = plan(machine, node, CATALOG, NodeTable([node], [after]), ATTEMPT)
    assert again.action.value == TABLE["script"][COLUMNS.index(state)]
    # Used by this boot: the same answer, and nothing more is used up.
    mine = plan(machine, node, CATALOG, NodeTable([node], [replace(after, once_attempt=ATTEMPT)]), ATTEMPT)
    assert mine.action.value == action
    assert not [detail for _, detail in mine.records if "boot_once" in detail]


# ------------------------------------------------------------------------------------------------ groups,
# loaders


def test_dry_run_says_what_it_would_do() -> None:
    catalog = replace(CATALOG, policy=Policy(dry_run=True))
    found = offer(Machine(MAC, arch=7), catalog, NodeTable(), SERVER, ATTEMPT)
    assert isinstance(found, Ignore)
    assert found.reason.value == "dry-run"
    assert "snponly.efi" in found.detail


def test_the_port_is_in_the_urls() -> None:
    catalog = replace(CATALOG, policy=Policy(http_port=8080))
    found = offer(Machine(MAC, arch=16, kind=ClientKind.FIRMWARE_HTTP), catalog, NodeTable(), SERVER, ATTEMPT)
    assert isinstance(found, Offer)
    assert found.file == f"http://{SERVER}:8080/a/{ATTEMPT}/snponly.efi"


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("auto", f"a/{ATTEMPT}/snponly.efi"),
        ("snponly.efi", f"a/{ATTEMPT}/snponly.efi"),
        ("shell/shell.efi", f"a/{ATTEMPT}/f/shell/shell.efi"),
        ("undionly.kpxe", None),  # of another architecture
        ("shell/gone.efi", None),
    ],
)
def test_a_loader_by_value(value: str, file: str | None) -> None:
    node = Node(1, "n1", macs=(MAC,), values={"loader": value})
    found = offer(Machine(MAC, arch=7), CATALOG, NodeTable([node]), SERVER, ATTEMPT)
    assert (found.file if isinstance(found, Offer) else None) == file


@pytest.mark.parametrize("profile", ["discovery", "disk"])
def test_the_discovery_system_is_told_the_card_it_was_booted_from(profile: str) -> None:
    """Else it asks for its address on whichever card has a link, perhaps in another network."""
    node = Node(1, "n", macs=(MAC,), values={"profile": profile}, order=1)
    found = boot_script(Machine(MAC, arch=7), ATTEMPT, BASE, CATALOG, NodeTable([node]))
    assert isinstance(found, ScriptChoice)
    assert f" pxeserver.url={BASE}/a/{ATTEMPT} pxeserver.mac={MAC} " in found.text + " "


def test_a_menus_choices_say_who_asks() -> None:
    """A menu may wait for hours, over restarts of the server: its choice has to find its machine again."""
    machine = Machine(MAC, uuid=U1, arch=7, serial="A&mac=x y", vendor="V")
    found = boot_script(machine, ATTEMPT, BASE, CATALOG, NodeTable())
    assert isinstance(found, ScriptChoice)
    choices = [line for line in found.text.splitlines() if "/menu/" in line]
    assert choices
    told = f"mac={MAC.replace(':', '%3A')}&uuid={U1}"
    assert all(line.split("?")[1].split(" ")[0] == told for line in choices)

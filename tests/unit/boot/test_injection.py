"""Nothing a network sent can add a statement to a script: 64 payloads through each of 10 inputs.

Each payload goes in as bytes of the protocol it comes by, through the codec that reads it, into every
script that could show it. The script's shape, read by an independent reader, has to be the shape it has
with a harmless text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from urllib.parse import quote

import pytest

from pxeserver.boot.attempts import Attempt
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import FileChoice, ScriptChoice, boot_script, chosen_script, file, offer
from pxeserver.boot.lifecycle import advance
from pxeserver.boot.model import (
    ClientKind,
    Event,
    EventKind,
    FileRef,
    Ignore,
    Image,
    Loader,
    Machine,
    Node,
    NodeState,
    Phase,
    Profile,
    ProfileKind,
)
from pxeserver.bootmenu import Menus
from pxeserver.protocols.dhcp.packet import MalformedPacket, decode
from pxeserver.protocols.dhcp.pxe import PxeRequest, classify
from pxeserver.servers.http_facts import fields_of, machine_of

PAYLOADS = [
    "a\nreboot", "a\rreboot", "a\r\nreboot", "a\n\nshell\n", "\nimgfree\n", "a\x0breboot",
    "a\x0creboot", "a\x85reboot",
    "a\u2028reboot", "a\u2029reboot", "a\0reboot", "\0\nreboot", "a || reboot", "a && reboot",
    "a ; reboot", "|| reboot",
    "&& shell", "; poweroff", "a||reboot", "a&&reboot", "a;reboot", "a |reboot", "a \\", "a\\\nreboot",
    "\\", "a # b",
    "# a", "#!ipxe\nreboot", ":f0", "\n:f0\nreboot", ":m0x0 reboot", "${net0/mac}",
    "${username:base64}", "$${x}", "${",
    "}", "$", "${${x}}", "a${x", "%0areboot", "%0Areboot", "%7c%7c reboot", "&uuid=x", "?uuid=x&mac=y",
    "#frag", "\"", "'",
    "`reboot`", "$(reboot)", "--timeout 1", "-n x", "--", "--key x", "<b>x</b>", "{{ 7*7 }}",
    "{% for x in y %}",
    "{{ ''.__class__.__mro__ }}", "entry local x", "title x\nentry local y", "\x1b[2J\x1b[31m",
    "\x1b]52;c;YQ==\x07",
    "x" * 5000, "\u202eevil", "\ud800",
]  # fmt: skip
assert len(PAYLOADS) == 64

U1, MAC, ATTEMPT, BASE = (
    "4c4c4544-0035-3010-8042-b7c04f343231",
    "52:54:00:00:00:01",
    "abcdefghij",
    "http://10.0.0.2",
)
IMAGES = {
    "live": Image(
        "live", (FileRef("vmlinuz", "0" * 64, 1, "kernel"), FileRef("initrd", "1" * 64, 1, "initrd"))
    ),
    "shell": Image("shell", (FileRef("shell.efi", "2" * 64, 1, "efi"),)),
}
CATALOG = Catalog(
    images=IMAGES,
    profiles={
        "live": Profile("live", ProfileKind.KERNEL, "live", args="quiet"),
        "shell": Profile("shell", ProfileKind.EFI, "shell"),
        "chain": Profile("chain", ProfileKind.CHAIN, url="http://10.9.9.9/x"),
        "install": Profile("install", ProfileKind.KERNEL, "live", install=True),
        "menu": Profile("menu", ProfileKind.MENU),
    },
    loaders={7: Loader(7, FileRef("snponly.efi", "3" * 64, 1, "loader"))},
)
MENUS = Menus()


def scripts(machine: Machine, catalog: Catalog = CATALOG, **node: object) -> list[str]:
    """Every script this machine could get: as unknown, as a node with each profile, held, and of the menu's
    entries.
    """
    texts = []
    tables = [NodeTable()]
    for number, profile in enumerate(("", *catalog.profiles), 2):
        base = Node(number, "n", macs=(machine.mac,), values={"profile": profile} if profile else {})
        tables.append(NodeTable([replace(base, **node)]))  # type: ignore[arg-type]
    for nodes in tables:
        for choice in (None, "live", "local"):
            if choice is None:
                found = boot_script(machine, ATTEMPT, BASE, catalog, nodes, arrange=MENUS.arrange)
            else:
                found = chosen_script(machine, ATTEMPT, BASE, catalog, nodes, choice=choice)
            assert isinstance(found, ScriptChoice)
            texts.append(found.text)
    return texts


@cache
def harmless_scripts(option: int) -> list[str]:
    """The scripts with a harmless text in this option; option 0: without any facts."""
    machine = dhcp_machine(option, "harmless") if option else machine_of({}, MAC, "10.0.0.9")
    assert machine is not None
    return scripts(machine)


def safe(texts: list[str]) -> None:
    """Bytes a terminal or a parser could act on are in none of them."""
    for text in texts:
        assert all(c == "\n" or " " <= c <= "~" for c in text)
        assert (
            max(len(line) for line in text.split("\n") if line.startswith(("echo", "item", "menu", "prompt")))
            < 120
        )


def dhcp_machine(option: int, payload: str) -> Machine | None:
    """The machine of a DISCOVER that carries the payload in one option; None where the codec refuses it."""
    body = payload.encode("utf-8", "surrogatepass")
    options = {53: b"\x01", 60: b"PXEClient:Arch:00007:UNDI:003010", 93: b"\0\x07", 77: b"iPXE"}
    options[option] = {60: b"PXEClient:Arch:00007:" + body, 97: b"\0" + body, 81: b"\0\0\0" + body}.get(
        option, body
    )
    parts = []
    for code, value in options.items():
        pieces = [value[i : i + 255] for i in range(0, len(value), 255)] or [b""]
        parts += [bytes((code, len(piece))) + piece for piece in pieces]
    head = (
        bytes((1, 1, 6, 0))
        + b"\x01\x02\x03\x04"
        + bytes(20)
        + bytes.fromhex(MAC.replace(":", ""))
        + bytes(10)
    )
    packet = head + bytes(192) + b"\x63\x82\x53\x63" + b"".join(parts) + b"\xff"
    try:
        request = classify(decode(packet))
    except MalformedPacket:
        return None
    if not isinstance(request, PxeRequest):
        return None
    kind = ClientKind(request.kind)
    # What no decision reads today goes in as vendor and product too: should one read it tomorrow, it is
    # tested.
    told = b" ".join((request.hostname, request.user_class, request.vendor_class)).decode("utf-8", "replace")
    return Machine(request.mac, request.uuid, arch=request.arch, kind=kind, vendor=told, product=told)


Shape = Callable[[str], list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]]


@pytest.mark.parametrize("option", [12, 60, 61, 77, 81, 97])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_dhcp_options(option: int, payload: str, script_shape: Shape) -> None:
    machine = dhcp_machine(option, payload)
    if machine is None:
        return  # refused by the codec: it reaches nothing
    texts, expected = scripts(machine), harmless_scripts(option)
    assert [script_shape(t) for t in texts] == [script_shape(t) for t in expected]
    safe(texts)
    found = offer(machine, CATALOG, NodeTable(), "10.0.0.2", ATTEMPT)
    assert not isinstance(found, Ignore)
    assert found.file in (f"a/{ATTEMPT}/snponly.efi", f"{BASE}/a/{ATTEMPT}/boot.ipxe")


@pytest.mark.parametrize("field", ["serial", "vendor", "product", "uuid", "mac", "platform", "arch"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_smbios_and_facts(field: str, payload: str, script_shape: Shape) -> None:
    """As iPXE sends them in the query, and as they are should anything else hand them on unread."""
    encoded = quote(payload, safe="", errors="surrogatepass")
    machine = machine_of(fields_of(f"{field}={encoded}"), MAC, "10.0.0.9")
    texts, expected = scripts(machine), harmless_scripts(0)
    assert [script_shape(t) for t in texts] == [script_shape(t) for t in expected]
    safe(texts)
    if field in ("serial", "vendor", "product"):
        raw = replace(machine, **{field: payload})
        texts = scripts(raw)
        assert [script_shape(t) for t in texts] == [script_shape(t) for t in expected]
        safe(texts)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_tftp_file_names_and_http_paths(payload: str) -> None:
    attempt = Attempt(ATTEMPT, MAC, Machine(MAC), 0.0, 0.0)
    for path in (
        payload,
        f"a/{payload}/boot.ipxe",
        f"a/{ATTEMPT}/{payload}",
        f"a/{ATTEMPT}/f/live/{payload}",
        f"b/{payload}",
    ):
        found = file(path, attempt, BASE, CATALOG)
        assert isinstance(found, Ignore)
        assert (
            all(c.isprintable() for c in found.detail.encode("ascii", "replace").decode())
            or found.detail == path[:100]
        )
    good = file("boot.ipxe", attempt, BASE, CATALOG)
    assert isinstance(good, FileChoice)
    found_choice = chosen_script(Machine(MAC), ATTEMPT, BASE, CATALOG, NodeTable(), choice=payload)
    assert isinstance(found_choice, Ignore)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_user_agents_and_reports(payload: str, script_shape: Shape) -> None:
    """A header reaches no script; what a report says is the reason of a hold, and is shown."""
    node = Node(1, "n", macs=(MAC,), order=1)
    running = NodeState(1, Phase.INSTALLING, order=1, attempt=ATTEMPT)
    texts = []
    for reason in (payload, "harmless"):
        failed = Event(1.0, EventKind.INSTALL_FAILED, ATTEMPT, MAC, 1, {"reason": reason})
        state = advance(running, node, failed)
        assert state is not None
        found = boot_script(Machine(MAC), "zzzzzzzzzz", BASE, CATALOG, NodeTable([node], [state]))
        assert isinstance(found, ScriptChoice)
        texts.append(found.text)
    safe(texts)
    ours, expected = (only_echo_once(script_shape(text)) for text in texts)
    assert ours == expected


def only_echo_once(lines: list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]) -> list[object]:
    """A long reason is shown on up to three lines: they are one statement, `Say`, told apart by nothing
    else.
    """
    kept: list[object] = []
    for line in lines:
        if line[1] != "echo" or not kept or kept[-1] != line:
            kept.append(line)
    return kept


@pytest.mark.parametrize("payload", PAYLOADS)
def test_labels_titles_and_names(payload: str, script_shape: Shape) -> None:
    def world(text: str) -> list[str]:
        profiles = {n: replace(p, title=text or "x", labels={"l": text}) for n, p in CATALOG.profiles.items()}
        catalog = replace(CATALOG, profiles=profiles)
        hardware = {"vendor": text, "product": text, "arch": text}
        return scripts(Machine(MAC), catalog, labels={text: text, "k": text}, hardware=hardware)

    ours, expected = world(payload), world("harmless")
    ours_shapes, expected_shapes = [[sorted(script_shape(t)) for t in texts] for texts in (ours, expected)]
    assert ours_shapes == expected_shapes  # sorted: titles order the entries
    safe(ours)
    named, held = scripts(Machine(MAC), hold=payload), scripts(Machine(MAC), hold="harmless")
    assert [only_echo_once(script_shape(t)) for t in named] == [only_echo_once(script_shape(t)) for t in held]
    safe(named)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize(
    "key", ["kernel_args", "console", "keyboard", "local_boot", "loader", "menu_timeout"]
)
def test_values_that_slipped_past_their_check(key: str, payload: str, script_shape: Shape) -> None:
    """A person's value is checked when it is set. Should a bad one be there all the same, the script says
    so or is whole.
    """
    values = {"profile": "live", key: payload}
    nodes = NodeTable([Node(1, "n", macs=(MAC,), values=values)])
    found = boot_script(Machine(MAC, arch=7), ATTEMPT, BASE, CATALOG, nodes)
    plain = NodeTable([Node(1, "n", macs=(MAC,), values={"profile": "live"})])
    expected = boot_script(Machine(MAC, arch=7), ATTEMPT, BASE, CATALOG, plain)
    assert isinstance(found, ScriptChoice)
    assert isinstance(expected, ScriptChoice)
    safe([found.text])
    if found.plan.action.value == "refused":
        assert not found.records
        assert {name for _, name, *_ in script_shape(found.text)} <= {"echo", "prompt", "exit", "sanboot"}
    else:
        assert script_shape(found.text) == script_shape(expected.text)

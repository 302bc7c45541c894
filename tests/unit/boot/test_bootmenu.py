"""Menus: readable on 80x25, arranged by templates that can do nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.decision import ScriptChoice, boot_script, chosen_script
from pxeserver.boot.identity import approve_code
from pxeserver.boot.model import FileRef, Ignore, Image, Machine, Node, Policy, Profile, ProfileKind
from pxeserver.bootmenu import BadMenu, Menus, sample

MAC, ATTEMPT, BASE = "52:54:00:00:00:01", "abcdefghij", "http://192.168.100.100:65535"
MENU_ROWS, MENU_COLS = 20, 78
"""hci/tui/menu_ui.c of iPXE: rows and columns of a menu on a screen of 80x25."""

LIVE = Image("live", (FileRef("vmlinuz", "0" * 64, 1, "kernel"),))
ARM = Image("arm", (FileRef("vmlinuz", "0" * 64, 1, "kernel"),), labels={"arch": "arm64"})
GOLD = Image("gold", (FileRef("d", "0" * 64, 1, "disk"),))
EFI = Image("efi", (FileRef("s.efi", "0" * 64, 1, "efi"),))
PROFILES = {
    p.name: p
    for p in (
        Profile("zz-first", ProfileKind.KERNEL, "live", title="A live system"),
        Profile("live", ProfileKind.KERNEL, "live", title="Live"),
        Profile("discovery", ProfileKind.DISCOVERY, "live"),
        Profile("hidden", ProfileKind.KERNEL, "live", in_menu=False),
        Profile("install", ProfileKind.KERNEL, "live", install=True),
        Profile("disk", ProfileKind.DISK, "gold"),
        Profile("broken", ProfileKind.KERNEL, "gone"),
        Profile("arm", ProfileKind.KERNEL, "arm"),
        Profile("shell", ProfileKind.EFI, "efi"),
        Profile("local", ProfileKind.LOCAL),
        Profile("menu", ProfileKind.MENU),
    )
}
CATALOG = Catalog(
    profiles=PROFILES, images={i.name: i for i in (LIVE, ARM, GOLD, EFI)}, policy=Policy(menu_timeout=30)
)
MACHINE = Machine(MAC, arch=7, vendor="V" * 64, product="P" * 64, address="192.168.100.199")


def menu_text(machine: Machine = MACHINE, nodes: NodeTable | None = None, catalog: Catalog = CATALOG) -> str:
    found = boot_script(machine, ATTEMPT, BASE, catalog, nodes or NodeTable(), arrange=Menus().arrange)
    assert isinstance(found, ScriptChoice)
    return found.text


def items(text: str, commands: Callable[[str], list[Any]]) -> list[str]:
    """The rows of a menu as they stand on the screen."""
    rows = []
    for command in commands(text):
        if command.words[:1] == ("item",):
            words = list(command.words[1:])
            if words[:2] == ["--gap", "--"]:
                rows.append(" ".join(words[2:]))
            else:
                start = 3 if words[0] == "--key" else 1
                rows.append(" ".join(words[start:]))
    return rows


@pytest.mark.parametrize("known", [False, True])
def test_a_screen_of_80x25(known: bool, commands: Callable[[str], list[Any]]) -> None:
    nodes = NodeTable([Node(1, "n" * 64, macs=(MAC,))] if known else [])
    text = menu_text(nodes=nodes)
    rows = items(text, commands)
    assert max(map(len, rows)) <= MENU_COLS
    assert len(rows) <= MENU_ROWS
    title = next(line for line in text.splitlines() if line.startswith("menu "))
    assert len(title.removeprefix("menu ")) <= MENU_COLS
    first = rows.index("Start the local disk")
    assert first <= 8, "what can be chosen is on the screen without scrolling"
    assert all(len(line) < 80 for line in text.splitlines() if line.startswith(("echo", "prompt")))


def test_an_unknown_machine_shows_its_code(commands: Callable[[str], list[Any]]) -> None:
    rows = items(menu_text(), commands)
    assert f"pxeserver node approve {approve_code(MACHINE)} NAME" in rows


def test_a_node_shows_its_name_and_no_code(commands: Callable[[str], list[Any]]) -> None:
    text = menu_text(nodes=NodeTable([Node(1, "web1", macs=(MAC,))]))
    assert "menu Node web1" in text
    assert "approve" not in text


def test_entries(commands: Callable[[str], list[Any]]) -> None:
    """The local disk first, then by title; nothing that installs, is hidden, incomplete or for another
    machine.
    """
    rows = items(menu_text(), commands)
    assert rows[rows.index("Start the local disk") :] == [
        "Start the local disk", "A live system", "discovery", "Live", "shell",
    ]  # fmt: skip
    bios = items(menu_text(Machine(MAC, arch=0)), commands)
    assert "shell" not in bios
    arm = items(menu_text(Machine(MAC, arch=11)), commands)
    assert "arm" in arm


@pytest.mark.parametrize("choice", PROFILES)
def test_only_what_the_menu_shows_can_be_chosen(choice: str) -> None:
    found = chosen_script(MACHINE, ATTEMPT, BASE, CATALOG, NodeTable(), choice=choice)
    allowed = choice in ("zz-first", "live", "discovery", "shell", "local")
    assert isinstance(found, ScriptChoice if allowed else Ignore)


def test_a_menu_on_a_screen_does_not_outlive_a_hold() -> None:
    nodes = NodeTable([Node(1, "n", macs=(MAC,), hold="stop")])
    found = chosen_script(MACHINE, ATTEMPT, BASE, CATALOG, nodes, choice="live")
    assert isinstance(found, ScriptChoice)
    assert found.plan.action.value == "hold"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "choose --timeout 30000 --default m0x0 choice && goto ${choice} || goto m0local"),
        (
            {"menu_timeout": "5"},
            "choose --timeout 5000 --default m0x0 choice && goto ${choice} || goto m0local",
        ),
        ({"menu_timeout": "0"}, "choose --default m0x0 choice && goto ${choice} || goto m0local"),
    ],
)
def test_the_time_out_leads_to_the_local_disk(values: dict[str, str], line: str) -> None:
    text = menu_text(nodes=NodeTable([Node(1, "n", macs=(MAC,), values=values)]))
    assert line in text.splitlines()
    assert ":m0x0\ngoto m0local\n" in text
    assert text.endswith(":m0local\nexit 1\n")


def test_the_policy_puts_entries_first_and_says_what_starts_by_itself(
    commands: Callable[[str], list[Any]],
) -> None:
    policy = replace(CATALOG.policy, menu_order=("shell", "gone", "live"), menu_default="live")
    text = menu_text(catalog=replace(CATALOG, policy=policy))
    rows = items(text, commands)
    at = rows.index("Start the local disk")
    assert rows[at:] == ["Start the local disk", "shell", "Live", "A live system", "discovery"]
    assert "choose --timeout 30000 --default m0x2 choice && goto ${choice} || goto m0local" in text
    missing = replace(CATALOG, policy=replace(policy, menu_default="install"))
    assert "--default m0x0 choice" in menu_text(catalog=missing), "the disk stands in for what no menu has"


def write(tmp_path: Path, text: str) -> Menus:
    for layout in ("unknown", "known"):
        (tmp_path / f"{layout}.menu").write_text(text, encoding="utf-8")
    return Menus(tmp_path)


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("title x\n", "no entry starts the local disk"),
        ("entry local\nreboot\n", "not title, text or entry"),
        ("entry local\nentry gone\n", "no entry"),
        ("entry local\ntext {{ secret }}\n", "undefined"),
        ("entry local\ntext {{ ''.__class__.__mro__ }}\n", "SecurityError"),
        ("entry local\n{% set _ = entries.append(1) %}\n", "SecurityError"),
        ("entry local\n{% include '/etc/passwd' %}", "TemplateNotFound"),
        ("entry local\n{% include '../x' %}", "TemplateNotFound"),
        ("entry local\n{% for i in range(500) %}\ntext {{ i }}\n{% endfor %}", "more than"),
        ("{% if %}", "TemplateSyntaxError"),
    ],
)
def test_templates_that_fail_become_a_plain_list(
    tmp_path: Path, template: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    menus = write(tmp_path, template)
    with pytest.raises(BadMenu, match=fault):
        menus.laid_out(sample("unknown"))
    assert len(menus.check()) == 2
    arranged = menus.arrange(sample("unknown"))
    assert [type(row).__name__ for row in arranged.rows] == ["Heading", "Heading", "Entry", "Entry"]
    assert "menu-template-failed" in caplog.text


def test_a_template_may_show_hostile_texts_and_stays_a_list(tmp_path: Path) -> None:
    menus = write(tmp_path, "title {{ vendor }}\ntext {{ product }}\nentry local {{ vendor }}\n")
    machine = Machine(MAC, vendor="x\nentry demo || reboot", product="{{ 7*7 }}")
    found = boot_script(machine, ATTEMPT, BASE, CATALOG, NodeTable(), arrange=menus.arrange)
    assert isinstance(found, ScriptChoice)
    lines = found.text.splitlines()
    assert sum(line.startswith("item") for line in lines) == 2
    assert "menu x?entry demo ?? reboot" in lines


def test_the_templates_of_the_project_are_sound() -> None:
    assert Menus().check() == []

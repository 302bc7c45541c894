"""Places that await a machine (`node add n[1-3]`) are taken by machines in their order of appearance."""

from __future__ import annotations

import json
from typing import Any

import pytest
from server_under_test import Machine, Server, eventually

pytestmark = pytest.mark.net


def ask(server: Server, *words: str) -> Any:
    return json.loads(server.cli(*words, "-o", "json").stdout)


def name_of(server: Server, machine: Machine) -> str:
    found = [n["name"] for n in ask(server, "node", "list") if machine.mac in n["macs"]]
    return found[0] if found else ""


def newest_boot(server: Server, machine: Machine) -> dict[str, Any]:
    return next((b for b in ask(server, "boot", "list") if b["mac"] == machine.mac), {})


def test_machines_take_the_places_in_their_order(server: Server) -> None:
    server.start()
    server.cli("node", "add", "n[1-3]")
    machines = [server.machine(number) for number in (1, 2, 3, 4)]
    for number, machine in enumerate(machines[:3], start=1):
        assert "menu" in machine.script()
        eventually(
            lambda m=machine, n=number: name_of(server, m) == f"n{n}", 5, f"{machine.mac} is not n{number}"
        )
    assert ask(server, "node", "list", "--unknown") == [], "a node is not unknown, whatever it told when"
    for number, machine in enumerate(machines[:3], start=1):
        node = ask(server, "node", "show", f"n{number}")
        assert (node["awaits_machine"], node["macs"]) == (False, [machine.mac])
        assert [boot["id"] for boot in node["attempts"]] == [newest_boot(server, machine)["id"]]
        assert newest_boot(server, machine)["node"] == f"n{number}"
    # The next boot is the node's from its first packet on: it has its UUID by then, too.
    machines[0].script()
    node = eventually(
        lambda: n if (n := ask(server, "node", "show", "n1"))["uuid"] else None, 5, "n1 has no UUID"
    )
    assert node["uuid"] == str(machines[0].uuid)
    # All places are taken: a fourth machine stays unknown, once.
    machines[3].script()
    unknown = eventually(lambda: ask(server, "node", "list", "--unknown"), 5, "the fourth is not listed")
    assert [one["mac"] for one in unknown] == [machines[3].mac]

"""Scripts for machines that ask again: the same bytes, until anything they were decided from has changed."""

from __future__ import annotations

import random
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from pxeserver.boot.model import EventKind, Machine, Node, NodeState, Phase
from pxeserver.servers.http_facts import fields_of
from pxeserver.servers.http_kept import KeptScripts

MAC = "52:54:00:77:00:01"
UUID = "11223344-5566-7788-99aa-bbccddeeff00"
FACTS = f"uuid={UUID}&mac={MAC}&platform=efi&arch=x86_64"


@pytest.fixture
def written(listener, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The attempts that a script was written for, one line each time."""
    calls: list[str] = []
    boot = listener.scripts.boot

    def counted(plane, attempt, base):
        calls.append(attempt.id)
        return boot(plane, attempt, base)

    monkeypatch.setattr(listener.scripts, "boot", counted)
    return calls


async def test_who_asks_again_gets_the_same_and_is_told_of_again(listener, written) -> None:
    raw = await listener.connect()
    first, again = [await raw.ask("GET", listener.url(f"boot.ipxe?{FACTS}")) for _ in range(2)]
    assert first.body == again.body
    assert len(written) == 1
    sent = [e for e in listener.plane.events if e.kind is EventKind.SCRIPT_SENT]
    assert len(sent) == 2
    assert sent[0].detail == sent[1].detail


def other_catalog(plane) -> None:
    plane._catalog = replace(plane.catalog(), version=2)


def edited_node(plane) -> None:
    plane.table.put(Node(1, "n1", macs=(MAC,), hold="an operator"))


def other_state(plane) -> None:
    plane.table.put_state(NodeState(1, Phase.INSTALLED, 1))


def claimed_twice(plane) -> None:
    plane.table.put(Node(2, "n2", uuid=UUID))


def gone(plane) -> None:
    plane.table.remove(1)


def learnt_more(plane) -> None:
    attempt = next(iter(plane.attempts))
    plane.attempts.learn(attempt.id, Machine(MAC, serial="S2"))


CHANGES = [other_catalog, edited_node, other_state, claimed_twice, gone, learnt_more]


@pytest.mark.parametrize("change", CHANGES, ids=lambda v: v.__name__)
async def test_what_has_changed_is_decided_anew(listener, written, change) -> None:
    path = listener.url(f"boot.ipxe?{FACTS}")
    await listener.get(path)
    change(listener.plane)
    await listener.get(path)
    assert len(written) == 2


async def test_other_facts_are_decided_anew(listener, written) -> None:
    for product in ("a", "b", "b"):
        await listener.get(listener.url(f"boot.ipxe?{FACTS}&product={product}"))
    assert len(written) == 2
    assert listener.attempt.machine.product == "b"


async def test_what_moves_a_node_is_never_kept(listener, written) -> None:
    listener.plane.table.put(Node(1, "n1", macs=(MAC,), order=1))
    listener.scripts.records = ((EventKind.INSTALL_STARTED, {"trigger": "handed-out"}),)
    for _ in range(2):
        await listener.get(listener.url(f"boot.ipxe?{FACTS}"))
    assert len(written) == 4  # each time once to see that it records, once in the node's turn


async def test_the_oldest_go_first(listener) -> None:
    kept = KeptScripts(limit=2)
    listener.http.answers._kept = kept
    for number in range(3):
        attempt = listener.plane.attempts.begin(Machine(f"52:54:00:77:00:1{number}"), 0.0, firmware=True)
        await listener.get(f"/a/{attempt.id}/boot.ipxe?platform=efi")
    assert len(kept._kept) == 2


def test_queries_are_read_as_the_library_reads_them() -> None:
    random_ = random.Random(3)
    pieces = [
        "a",
        "uuid",
        "mac",
        "=",
        "=",
        "&",
        "&",
        "%41",
        "%",
        "%zz",
        "+",
        "%2B",
        "%c3%a4",
        "%ff",
        " ",
        "\u00e4",
        "\udcff",
        ";",
    ]
    for _ in range(20_000):
        query = "".join(random_.choice(pieces) for _ in range(random_.randrange(12)))
        expected: dict[str, str] = {}
        for name, value in parse_qsl(query, errors="replace"):
            expected.setdefault(name[:64], "".join(c for c in value[:512] if c.isprintable()).strip())
        assert fields_of(query) == expected, query
    assert fields_of("&".join(f"k{n}=v" for n in range(33))) == {}
    assert len(fields_of("&".join(f"k{n}=v" for n in range(32)))) == 32

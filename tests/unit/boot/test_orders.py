"""The wipe guard: every way a disk could be written that nobody allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxeserver.boot.model import Consent, Node, NodeState, Phase, Profile, ProfileKind
from pxeserver.boot.orders import Refused, WriteDisk, disk_order

GB = 10**9
PROFILE = Profile("disk", ProfileKind.DISK, "golden", install=True)
NODE, STATE = Node(1, "n", order=2), NodeState(1, Phase.INSTALLED, order=1)


def disk(name: str, size: int = 100 * GB, signatures: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "path": f"/dev/{name}",
        "serial": f"S-{name}",
        "size": size,
        "signatures": list(signatures),
        **more,
    }


EMPTY, SMALL_EMPTY, USED = disk("sda"), disk("sdb", 50 * GB), disk("sdc", 10 * GB, ["gpt", "ext4"])
CONSENT = Consent(2, "S-sdc", ("ext4", "gpt"), "alice")


def order(disks: list[dict[str, Any]], *consents: Consent, rule: str = "smallest-empty", **more: Any) -> str:
    """The path of the disk that may be written, or "refused: why"."""
    arguments = {"node": NODE, "state": STATE, "profile": PROFILE, **more}
    found = disk_order(
        arguments["node"], arguments["state"], arguments["profile"], disks, consents,
        rule=rule, need_bytes=more.get("need", 5 * GB), attempt=more.get("attempt", ""),
    )  # fmt: skip
    return found.disk.path if isinstance(found, WriteDisk) else f"refused: {found.reason}"


@pytest.mark.parametrize(
    ("disks", "consents", "rule", "expected"),
    [
        ([EMPTY, SMALL_EMPTY, USED], [], "smallest-empty", "/dev/sdb"),
        ([EMPTY, SMALL_EMPTY, USED], [CONSENT], "smallest-empty", "/dev/sdb"),  # an empty one is preferred
        ([USED], [CONSENT], "smallest-empty", "/dev/sdc"),
        ([USED], [], "smallest-empty", "needs a consent"),
        ([USED], [replace(CONSENT, order=1)], "smallest-empty", "needs a consent"),
        ([USED], [replace(CONSENT, disk_serial="S-sda")], "smallest-empty", "needs a consent"),
        ([USED], [replace(CONSENT, signatures=("gpt",))], "smallest-empty", "changed since"),
        ([USED], [replace(CONSENT, signatures=("gpt", "ext4", "lvm"))], "smallest-empty", "changed since"),
        ([], [], "smallest-empty", "no disk"),
        ([disk("sdd", 1 * GB)], [], "smallest-empty", "too small"),
        ([disk("sde", removable=True)], [], "smallest-empty", "removable"),
        ([disk("sde", removable=1)], [], "path:/dev/sde", "removable"),
        ([disk("sdf", read_only=True)], [], "serial:S-sdf", "read-only"),
        ([EMPTY, USED], [], "serial:S-sda", "/dev/sda"),
        ([EMPTY, USED], [], "serial:S-sdc", "needs a consent"),
        ([EMPTY, USED], [CONSENT], "serial:S-sdc", "/dev/sdc"),
        ([EMPTY, USED], [], "path:/dev/sda", "/dev/sda"),
        ([EMPTY], [], "path:/dev/sdz", "no disk is"),
        ([EMPTY, dict(EMPTY)], [], "serial:S-sda", "several disks"),
        ([EMPTY], [], "serial:", "no disk is"),
        ([EMPTY], [], "nonsense", "no disk is"),
        ([disk("sdg", serial="")], [], "serial:", "no disk is"),
    ],
)
def test_which_disk(disks: list[dict[str, Any]], consents: list[Consent], rule: str, expected: str) -> None:
    found = order(disks, *consents, rule=rule)
    assert found == expected if expected.startswith("/dev/") else expected in found
    assert found.startswith(("/dev/", "refused: "))


@pytest.mark.parametrize("told", [{}, {"signatures": None}, {"signatures": "none"}, {"signatures": 0}])
def test_what_was_not_looked_at_is_not_empty(told: dict[str, Any]) -> None:
    unread = {"path": "/dev/sda", "serial": "S", "size": 100 * GB, **told}
    assert "unknown content" in order([unread])
    assert "needs a consent" in order([unread], rule="path:/dev/sda")
    # A person may consent to exactly that.
    assert order([unread], Consent(2, "S", ("unknown content",))) == "/dev/sda"


def test_partitions_without_signatures_are_content() -> None:
    assert "needs a consent" in order([disk("sda", partitions=[{"path": "/dev/sda1"}])])


def test_a_used_disk_without_a_serial_number_cannot_be_consented_to() -> None:
    nameless = {**USED, "serial": ""}
    assert "no serial number" in order([nameless], Consent(2, "", ("ext4", "gpt")))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"state": NodeState(1, Phase.INSTALLED, order=2)}, "no install order"),
        ({"node": Node(1, "n")}, "no install order"),
        ({"node": replace(NODE, hold="stop")}, "held"),
        ({"state": NodeState(1, Phase.HELD, order=2)}, "no install order"),
        ({"profile": Profile("live", ProfileKind.KERNEL, "live")}, "writes no disk"),
        ({"state": NodeState(1, Phase.INSTALLING, order=2, attempt="a"), "attempt": "b"}, "no install order"),
        ({"state": NodeState(1, Phase.INSTALLING, order=2, attempt="a")}, "no install order"),
        ({"state": NodeState(1, Phase.INSTALLING, order=2, attempt="a"), "attempt": "a"}, "/dev/sda"),
        ({"state": NodeState(1, Phase.HELD, order=2, attempt="a"), "attempt": "a"}, "no install order"),
        ({"state": NodeState(1, Phase.HELD, order=1)}, "/dev/sda"),
    ],
)
def test_who_may_write_at_all(more: dict[str, Any], expected: str) -> None:
    assert expected in order([EMPTY], **more)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "path": st.sampled_from(["/dev/sda", "/dev/sdb", "", None, 7]),
                "serial": st.sampled_from(["A", "B", "", None]),
                "size": st.sampled_from([0, -1, 10 * GB, True, None, "10"]),
                "signatures": st.sampled_from([[], ["gpt"], None, "x"]),
                "removable": st.sampled_from([True, False, None, "0"]),
                "partitions": st.sampled_from([[], [1]]),
            },
        ),
        max_size=4,
    ),
    st.sampled_from(["smallest-empty", "serial:A", "path:/dev/sda", "serial:None"]),
)
def test_whatever_a_machine_tells_no_used_disk_is_written_without_consent(
    disks: list[dict[str, Any]], rule: str
) -> None:
    found = disk_order(NODE, STATE, PROFILE, disks, (), rule=rule, need_bytes=GB)
    if isinstance(found, Refused):
        assert found.reason
        return
    told = [
        d
        for d in disks
        if d.get("signatures") == [] and not d.get("partitions") and d.get("removable") in (None, False)
    ]
    assert any(str(d.get("path") or "") == found.disk.path and d.get("size") == found.disk.size for d in told)

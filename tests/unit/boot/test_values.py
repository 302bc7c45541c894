"""The precedence of values and where each comes from."""

from __future__ import annotations

import pytest

from pxeserver.boot.catalog import Catalog
from pxeserver.boot.model import (
    BootOnce,
    Group,
    Machine,
    Node,
    Policy,
    Profile,
    ProfileKind,
    SelectorKind,
)
from pxeserver.boot.values import KEYS, check_value, matches, resolve, sort_groups

MACHINE = Machine("52:54:00:00:00:01", arch=16, vendor="Dell Inc.", subnet="10.0.0.0/24", address="10.0.0.9")
NODE = Node(1, "n", macs=(MACHINE.mac,), labels={"rack": "r1"})
KIND = {
    SelectorKind.ARCH: "7",
    SelectorKind.VENDOR: "dell",
    SelectorKind.MAC_PREFIX: "52:54:00",
    SelectorKind.SUBNET: "10.0.0.0/24",
    SelectorKind.LABEL: "rack=r1",
}


def layered(upto: int) -> tuple[str, str]:
    """The value of console with the first `upto` of all layers set, each to its own name."""
    names = ["site", "profile", "arch", "vendor", "macprefix", "subnet", "label1", "label2", "node"]
    set_ = {name: {"console": name} for name in names[:upto]}
    groups = [
        Group(name, kind, KIND[kind], set_[layer])
        for name, kind, layer in (
            ("a-label2", SelectorKind.LABEL, "label2"),  # by name within one kind, not by position
            ("a-label1", SelectorKind.LABEL, "label1"),
            ("z-arch", SelectorKind.ARCH, "arch"),
            ("y-vendor", SelectorKind.VENDOR, "vendor"),
            ("x-mac", SelectorKind.MAC_PREFIX, "macprefix"),
            ("b-subnet", SelectorKind.SUBNET, "subnet"),
        )
        if layer in set_
    ]
    catalog = Catalog(
        policy=Policy(values={"profile": "p", **set_.get("site", {})}),
        profiles={"p": Profile("p", ProfileKind.LOCAL, values=set_.get("profile", {}))},
        groups=tuple(groups),
    )
    node = Node(1, "n", values=set_.get("node", {}), labels={"rack": "r1"})
    values = resolve(MACHINE, node, catalog)
    return values.get("console"), values.origin("console")


@pytest.mark.parametrize(
    ("upto", "value", "origin"),
    [
        (0, "", "default"),
        (1, "site", "site policy"),
        (2, "profile", "profile p"),
        (3, "arch", "group z-arch"),
        (4, "vendor", "group y-vendor"),
        (5, "macprefix", "group x-mac"),
        (6, "subnet", "group b-subnet"),
        (7, "label1", "group a-label1"),
        (8, "label2", "group a-label2"),
        (9, "node", "node n"),
    ],
)
def test_each_layer_goes_over_those_before_it(upto: int, value: str, origin: str) -> None:
    assert layered(upto) == (value, origin)


def test_boot_once_settles_the_profile_and_brings_its_values() -> None:
    catalog = Catalog(
        profiles={
            "p": Profile("p", ProfileKind.LOCAL, values={"console": "from-p"}),
            "rescue": Profile("rescue", ProfileKind.LOCAL, values={"console": "from-rescue", "profile": "p"}),
        }
    )
    node = Node(1, "n", values={"profile": "p"})
    values = resolve(MACHINE, node, catalog, BootOnce(3, "rescue"))
    assert (values.get("profile"), values.origin("profile")) == ("rescue", "boot-once 3")
    assert values.get("console") == "from-rescue"  # and a profile cannot name another profile
    assert values.trail("profile")[-2:] == (("node n", "p"), ("boot-once 3", "rescue"))


@pytest.mark.parametrize(
    ("kind", "match", "machine", "expected"),
    [
        (SelectorKind.ARCH, "7", Machine("m", arch=7), True),
        (SelectorKind.ARCH, "7", Machine("m", arch=9), True),
        (SelectorKind.ARCH, "x64", Machine("m", arch=16), True),
        (SelectorKind.ARCH, "11", Machine("m", arch=19), True),
        (SelectorKind.ARCH, "0", Machine("m", arch=7), False),
        (SelectorKind.ARCH, "7", Machine("m"), False),
        (SelectorKind.VENDOR, "dell", Machine("m", vendor="Dell Inc."), True),
        (SelectorKind.VENDOR, "", Machine("m", vendor="Dell Inc."), False),
        (SelectorKind.MAC_PREFIX, "52-54-00", Machine("52:54:00:00:00:01"), True),
        (SelectorKind.MAC_PREFIX, "52:54:0", Machine("52:54:00:00:00:01"), False),
        (SelectorKind.MAC_PREFIX, "", Machine("52:54:00:00:00:01"), False),
        (SelectorKind.SUBNET, "10.0.0.0/24", Machine("m", address="10.0.0.200"), True),
        (SelectorKind.SUBNET, "10.0.0.0/24", Machine("m", address="10.0.1.200"), False),
        (SelectorKind.SUBNET, "nonsense", Machine("m", address="10.0.1.200"), False),
        (SelectorKind.LABEL, "rack=r1", Machine("m"), False),
    ],
)
def test_selectors(kind: SelectorKind, match: str, machine: Machine, expected: bool) -> None:
    assert matches(Group("g", kind, match), machine, None) is expected


def test_what_a_request_does_not_tell_comes_from_the_record() -> None:
    node = Node(1, "n", hardware={"vendor": "QEMU", "arch": "7"}, labels={"a": "b"})
    assert matches(Group("g", SelectorKind.VENDOR, "QEMU"), Machine("m"), node)
    assert matches(Group("g", SelectorKind.ARCH, "x64"), Machine("m"), node)
    assert matches(Group("g", SelectorKind.LABEL, "a=b"), Machine("m"), node)
    assert not matches(Group("g", SelectorKind.LABEL, "a="), Machine("m"), node)


def test_groups_sort_by_kind_then_name() -> None:
    groups = [
        Group(n, k, "")
        for n, k in (("b", SelectorKind.LABEL), ("z", SelectorKind.ARCH), ("a", SelectorKind.LABEL))
    ]
    assert [g.name for g in sort_groups(groups)] == ["z", "a", "b"]


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("profile", ["", "debian-12"], ["a b", "../x", "a\n", "x" * 65]),
        ("kernel_args", ["", 'quiet a="b"'], ["a\nb", "${x}", "a || b", "# c", 'a="b c"', "é", "a\\"]),
        ("console", ["", "tty0 ttyS0,115200n8"], ["ttyS0;x", "a\tb", "${x}"]),
        ("local_boot", ["auto", "exit", "exit1", "sanboot", "efi"], ["", "disk"]),
        ("menu_timeout", ["", "0", "30", "3600"], ["-1", "3601", "1.5", "٣"]),
        (
            "install_disk",
            ["smallest-empty", "serial:QM-1", "path:/dev/sda"],
            ["", "any", "serial:", "serial:a b"],
        ),
        ("loader", ["auto", "snponly.efi", "img/my.efi"], ["", "a/b/c", "../x"]),
        (
            "state_disk",
            ["auto", "none", "empty", "empty:QM-1"],
            ["", "any", "empty:", "empty:a b", "empty:;reboot"],
        ),
        ("keyboard", ["", "de", "de-nodead"], ["Deutsch", "d"]),
    ],
)
def test_values_are_checked(key: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if check_value(key, text)] == []
    assert [text for text in bad if not check_value(key, text)] == []


def test_every_default_is_valid_and_unknown_keys_are_refused() -> None:
    assert [key.name for key in KEYS.values() if check_value(key.name, key.default)] == []
    assert "not a value" in check_value("profil", "x")

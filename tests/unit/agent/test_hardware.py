"""Hardware that neither a virtual machine nor a recording has, read from small directory trees.

They have the shape of /sys on such machines (the attributes and links that drivers publish) with values
written here; they are no copies from real machines. What real machines had is in test_recorded.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pxeserver.agent import hardware, nics


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text + "\n")
    return root


def pci(slot: str, kind: str, vendor: str, device: str, driver: str = "", region: str = "") -> dict[str, str]:
    where = f"bus/pci/devices/{slot}"
    files = {f"{where}/class": kind, f"{where}/vendor": vendor, f"{where}/device": device}
    if driver:
        files[f"{where}/driver"] = f"-> ../../../bus/pci/drivers/{driver}"
    # start, end, flags: memory has 0x200 (linux/ioport.h)
    files[f"{where}/resource"] = region or "0x0000000000000000 0x0000000000000000 0x0000000000000000"
    return files


def test_accelerators_by_their_class_and_not_the_screen_of_the_controller(tmp_path: Path) -> None:
    h100 = "0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n"
    h100 += "0x0000020000000000 0x0000021fffffffff 0x000000000014220c"
    files = {
        **pci("0000:02:00.0", "0x030000", "0x1a03", "0x2000", "ast"),
        **pci("0000:17:00.0", "0x030200", "0x10de", "0x2330", "nvidia", h100),
        **pci("0000:65:00.0", "0x038000", "0x1002", "0x740f", "amdgpu"),
        **pci("0000:b1:00.0", "0x120000", "0x8086", "0x0b69"),
        **pci("0000:c1:00.0", "0x010802", "0x144d", "0xa80a", "nvme"),
        # A maker of screens may make other things: only its display controllers are left out.
        **pci("0000:d1:00.0", "0x120000", "0x1b36", "0x0005"),
    }
    found = hardware.accelerators(tree(tmp_path, files))
    assert [(one["pci"], one["kind"], one["driver"]) for one in found] == [
        ("0000:17:00.0", "gpu", "nvidia"),
        ("0000:65:00.0", "gpu", "amdgpu"),
        ("0000:b1:00.0", "accelerator", ""),
        ("0000:d1:00.0", "accelerator", ""),
    ]
    assert (found[0]["memory"], found[0]["device_id"]) == (128 << 30, "0x2330")


def test_an_adapter_that_speaks_ethernet_and_one_that_says_little(tmp_path: Path) -> None:
    adapter = "class/infiniband/mlx5_0"
    files = {
        f"{adapter}/node_guid": "b8ce:f603:0012:3456",
        f"{adapter}/fw_ver": "20.31.1014",
        f"{adapter}/ports/1/state": "4: ACTIVE",
        f"{adapter}/ports/1/rate": "200 Gb/sec (4X HDR)",
        f"{adapter}/ports/1/link_layer": "InfiniBand",
        "class/infiniband/mlx5_10/ports/1/state": "1: DOWN",
        "class/infiniband/mlx5_10/ports/1/link_layer": "Ethernet",
    }
    first, second = nics.infiniband(tree(tmp_path, files))
    assert first == {
        "name": "mlx5_0",
        "port": "1",
        "guid": "b8ce:f603:0012:3456",
        "firmware": "20.31.1014",
        "state": "ACTIVE",
        "rate": "200 Gb/sec (4X HDR)",
        "link_layer": "InfiniBand",
    }
    assert (second["name"], second["state"], second["guid"]) == ("mlx5_10", "DOWN", "")


def test_an_infiniband_card_has_a_long_address_and_virtual_links_are_no_cards(tmp_path: Path) -> None:
    long = ":".join(f"{n:02x}" for n in range(20))
    files = {
        "devices/0000:3b:00.0/class": "0x020700",
        "devices/0000:3b:00.0/vendor": "0x15b3",
        "devices/0000:3b:00.0/device": "0x101b",
        "class/net/ib0/device": "-> ../../../devices/0000:3b:00.0",
        "class/net/ib0/type": "32",
        "class/net/ib0/address": long,
        "class/net/ib0/speed": "-1",
        "class/net/br0/type": "1",
    }
    (card,) = nics.nics(tree(tmp_path, files))
    assert (card["name"], card["mac"], card["speed"], card["pci"]) == ("ib0", long, None, "0000:3b:00.0")


@pytest.mark.parametrize(("value", "wanted"), [(b"\6\0\0\0\1", True), (b"\6\0\0\0\0", False), (None, None)])
def test_secure_boot(tmp_path: Path, value: bytes | None, wanted: bool | None) -> None:
    folder = tmp_path / "firmware/efi/efivars"
    folder.mkdir(parents=True)
    if value is not None:
        (folder / f"SecureBoot-{hardware.EFI_GLOBAL}").write_bytes(value)
    found = hardware.firmware(tmp_path)
    assert (found["kind"], found["secure_boot"]) == ("uefi", wanted)


def test_a_controller_is_announced_by_smbios(tmp_path: Path) -> None:
    system = bytes((1, 8, 0, 1)) + b"\1\2\3\4" + b"Maker\0Product\0\0"
    controller = bytes((38, 18, 1, 0)) + bytes(14) + b"\0\0"
    end = bytes((127, 4, 2, 0)) + b"\0\0"
    assert hardware.smbios_types(system + controller + end) == {1, 38}
    assert hardware.smbios_types(system + end + controller) == {1}, "nothing counts after the end"
    table = tmp_path / "firmware/dmi/tables/DMI"
    assert not hardware.has_bmc(tmp_path)
    table.parent.mkdir(parents=True)
    table.write_bytes(system + controller + end)
    assert hardware.has_bmc(tmp_path)
    for cut in range(len(system + controller)):
        hardware.smbios_types((system + controller)[:cut])  # a table that is cut off ends the look, no more
    assert hardware.smbios_types(bytes((1, 0, 0, 0)) * 100) == set()


def test_links_are_waited_for_and_not_for_ever(tmp_path, monkeypatch):
    cards = {"class/net/eth0/device/driver": "x", "class/net/eth0/type": "1", "class/net/eth0/carrier": "0"}
    top = tree(tmp_path, cards)
    clock = [0.0]

    def sleep(seconds):
        clock[0] += seconds
        if clock[0] > 2:
            (top / "class/net/eth0/carrier").write_text("1")

    monkeypatch.setattr(nics.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(nics.time, "sleep", sleep)
    nics.wait_for_links(1.0, top)
    assert 1.0 <= clock[0] < 1.5, "a cable that is not there"
    nics.wait_for_links(10.0, top)
    assert 2.0 < clock[0] < 2.5, "a link that comes late"

"""Client system architectures (DHCP option 93, RFC 4578 section 2.1; the numbers are IANA's "Processor
Architecture Types").

One machine announces itself under several numbers: x64 UEFI as 7 (PXE), as 9 (older firmware: RFC 4578 and
its errata exchange 7 and 9) and as 16 (HTTP boot). `family` maps them to the one that a boot loader is
listed under.
"""

from __future__ import annotations

from enum import IntEnum


class Arch(IntEnum):
    """The architectures this server has words for; others are numbers without a family."""

    BIOS = 0
    UEFI_X86 = 6
    UEFI_X64 = 7
    UEFI_EBC = 9
    UEFI_ARM32 = 10
    UEFI_ARM64 = 11
    HTTP_X86 = 15
    HTTP_X64 = 16
    HTTP_ARM32 = 18
    HTTP_ARM64 = 19
    HTTP_BIOS = 20
    UEFI_RISCV64 = 27
    HTTP_RISCV64 = 28
    UEFI_LOONG64 = 39
    HTTP_LOONG64 = 40


_FAMILY = {
    Arch.UEFI_EBC: Arch.UEFI_X64,
    Arch.HTTP_X86: Arch.UEFI_X86,
    Arch.HTTP_X64: Arch.UEFI_X64,
    Arch.HTTP_ARM32: Arch.UEFI_ARM32,
    Arch.HTTP_ARM64: Arch.UEFI_ARM64,
    Arch.HTTP_BIOS: Arch.BIOS,
    Arch.HTTP_RISCV64: Arch.UEFI_RISCV64,
    Arch.HTTP_LOONG64: Arch.UEFI_LOONG64,
}

_NAMES = {
    Arch.BIOS: "bios",
    Arch.UEFI_X86: "x86",
    Arch.UEFI_X64: "x64",
    Arch.UEFI_ARM32: "arm32",
    Arch.UEFI_ARM64: "arm64",
    Arch.UEFI_RISCV64: "riscv64",
    Arch.UEFI_LOONG64: "loong64",
}

ARCH_NAMES = tuple(_NAMES.values())
"""The names of all families."""

_REMOVABLE_PATH = {
    Arch.UEFI_X86: "BOOTIA32.EFI",
    Arch.UEFI_X64: "BOOTX64.EFI",
    Arch.UEFI_ARM32: "BOOTARM.EFI",
    Arch.UEFI_ARM64: "BOOTAA64.EFI",
    Arch.UEFI_RISCV64: "BOOTRISCV64.EFI",
    Arch.UEFI_LOONG64: "BOOTLOONGARCH64.EFI",
}


def family(arch: int) -> int:
    """The number that stands for all ways this architecture announces itself; the number itself where it
    has no others.
    """
    return _FAMILY.get(arch, arch)  # type: ignore[call-overload,no-any-return]


def arch_name(arch: int | None) -> str:
    """A short name: "bios", "x64", "arm64"; "arch-12" for a number without one; "" for None."""
    if arch is None:
        return ""
    return _NAMES.get(family(arch), f"arch-{arch}")  # type: ignore[call-overload,no-any-return]


def is_uefi(arch: int | None) -> bool:
    """Whether the firmware is UEFI. Unknown architectures count as BIOS: its local boot methods fail
    softly.
    """
    return arch is not None and family(arch) in _REMOVABLE_PATH


def default_efi_file(arch: int | None) -> str:
    """The file of the default boot path on a disk (UEFI specification section 3.5.1.1); x64 where the
    architecture is unknown.
    """
    return _REMOVABLE_PATH.get(family(arch if arch is not None else 7), "BOOTX64.EFI")  # type: ignore[call-overload,no-any-return]


def arch_of_platform(platform: str, buildarch: str) -> int | None:
    """The architecture from iPXE's ${platform} ("pcbios", "efi") and ${buildarch} ("i386", "x86_64",
    "arm64", ...).
    """
    if platform == "pcbios":
        return Arch.BIOS
    if platform != "efi":
        return None
    return {
        "i386": Arch.UEFI_X86,
        "x86_64": Arch.UEFI_X64,
        "arm32": Arch.UEFI_ARM32,
        "arm64": Arch.UEFI_ARM64,
        "riscv64": Arch.UEFI_RISCV64,
        "loong64": Arch.UEFI_LOONG64,
    }.get(buildarch)

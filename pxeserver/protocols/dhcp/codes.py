"""The numbers of DHCP and PXE, by name.

Sources: RFC 2131 and RFC 2132 (messages and options), the IANA registries "BOOTP Vendor Extensions and DHCP
Options" and "Processor Architecture Types", RFC 4578 (93, 94, 97), PXE 2.1 section 2 (sub-options of option
43), ipxe.org/howto/dhcpd (option 175).
"""

from __future__ import annotations

from enum import IntEnum

MAGIC_COOKIE = b"\x63\x82\x53\x63"
"""The four bytes before the options (RFC 2131 section 3)."""

SERVER_PORT = 67
CLIENT_PORT = 68
BOOT_PORT = 4011
"""Where PXE clients ask the boot server itself (PXE 2.1 section 2.2.3)."""

BROADCAST_FLAG = 0x8000
"""The client cannot receive unicast before it has an address (RFC 2131 section 4.1)."""

INFINITE_LEASE = 0xFFFFFFFF
"""A lease time that never ends (RFC 2131 section 3.3)."""


class Op(IntEnum):
    """Direction of a message (RFC 2131 section 2)."""

    REQUEST = 1
    REPLY = 2


class HardwareType(IntEnum):
    """The link layers a PXE machine sits on (IANA "Hardware Types")."""

    ETHERNET = 1


class MessageType(IntEnum):
    """Value of option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """Codes of the options that pxeserver reads or writes."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    BROADCAST_ADDRESS = 28
    NTP = 42
    VENDOR_SPECIFIC = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_LIST = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER_NAME = 66
    BOOT_FILE_NAME = 67
    USER_CLASS = 77
    CLIENT_FQDN = 81
    RELAY_AGENT = 82
    CLIENT_ARCH = 93
    CLIENT_NDI = 94
    CLIENT_UUID = 97
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121
    IPXE = 175
    END = 255


class PxeOption(IntEnum):
    """Sub-options of option 43 in PXE messages (PXE 2.1 table 2-1)."""

    PAD = 0
    MTFTP_IP = 1
    MTFTP_CLIENT_PORT = 2
    MTFTP_SERVER_PORT = 3
    MTFTP_TIMEOUT = 4
    MTFTP_DELAY = 5
    DISCOVERY_CONTROL = 6
    DISCOVERY_MULTICAST = 7
    BOOT_SERVERS = 8
    BOOT_MENU = 9
    MENU_PROMPT = 10
    MULTICAST_ALLOCATION = 11
    CREDENTIAL_TYPES = 12
    BOOT_ITEM = 71
    END = 255


class DiscoveryControl(IntEnum):
    """Bits of PXE sub-option 6 (PXE 2.1 table 2-1)."""

    NO_BROADCAST = 1
    NO_MULTICAST = 2
    ONLY_LISTED_SERVERS = 4
    USE_BOOT_FILE = 8
    """Start the boot file of this offer at once: no prompt, no menu, no boot server discovery."""


class OverloadField(IntEnum):
    """Value of option 52: which header fields hold options too (RFC 2132 section 9.3)."""

    FILE = 1
    SNAME = 2
    BOTH = 3


class Architecture(IntEnum):
    """Client system architectures (IANA "Processor Architecture Types"; RFC 4578 section 2.1, RFC 5970
    section 3.3)."""

    X86_BIOS = 0
    NEC_PC98 = 1
    ITANIUM = 2
    DEC_ALPHA = 3
    ARC_X86 = 4
    INTEL_LEAN_CLIENT = 5
    X86_UEFI = 6
    X64_UEFI = 7
    EFI_XSCALE = 8
    EBC = 9
    ARM32_UEFI = 10
    ARM64_UEFI = 11
    POWERPC_OPEN_FIRMWARE = 12
    POWERPC_EPAPR = 13
    POWER_OPAL_V3 = 14
    X86_UEFI_HTTP = 15
    X64_UEFI_HTTP = 16
    EBC_HTTP = 17
    ARM32_UEFI_HTTP = 18
    ARM64_UEFI_HTTP = 19
    X86_BIOS_HTTP = 20
    ARM32_UBOOT = 21
    ARM64_UBOOT = 22
    ARM32_UBOOT_HTTP = 23
    ARM64_UBOOT_HTTP = 24
    RISCV32_UEFI = 25
    RISCV32_UEFI_HTTP = 26
    RISCV64_UEFI = 27
    RISCV64_UEFI_HTTP = 28
    RISCV128_UEFI = 29
    RISCV128_UEFI_HTTP = 30
    S390_BASIC = 31
    S390_EXTENDED = 32
    MIPS32_UEFI = 33
    MIPS64_UEFI = 34
    SUNWAY32_UEFI = 35
    SUNWAY64_UEFI = 36
    LOONGARCH32_UEFI = 37
    LOONGARCH32_UEFI_HTTP = 38
    LOONGARCH64_UEFI = 39
    LOONGARCH64_UEFI_HTTP = 40
    ARM_RPIBOOT = 41


ARCHITECTURE_NAMES = {
    Architecture.X86_BIOS: "x86 BIOS",
    Architecture.NEC_PC98: "NEC/PC98",
    Architecture.ITANIUM: "Itanium",
    Architecture.DEC_ALPHA: "DEC Alpha",
    Architecture.ARC_X86: "Arc x86",
    Architecture.INTEL_LEAN_CLIENT: "Intel Lean Client",
    Architecture.X86_UEFI: "x86 UEFI",
    Architecture.X64_UEFI: "x64 UEFI",
    Architecture.EFI_XSCALE: "EFI Xscale",
    Architecture.EBC: "EBC",
    Architecture.ARM32_UEFI: "ARM 32-bit UEFI",
    Architecture.ARM64_UEFI: "ARM 64-bit UEFI",
    Architecture.POWERPC_OPEN_FIRMWARE: "PowerPC Open Firmware",
    Architecture.POWERPC_EPAPR: "PowerPC ePAPR",
    Architecture.POWER_OPAL_V3: "POWER OPAL v3",
    Architecture.X86_UEFI_HTTP: "x86 uefi boot from http",
    Architecture.X64_UEFI_HTTP: "x64 uefi boot from http",
    Architecture.EBC_HTTP: "ebc boot from http",
    Architecture.ARM32_UEFI_HTTP: "arm uefi 32 boot from http",
    Architecture.ARM64_UEFI_HTTP: "arm uefi 64 boot from http",
    Architecture.X86_BIOS_HTTP: "pc/at bios boot from http",
    Architecture.ARM32_UBOOT: "arm 32 uboot",
    Architecture.ARM64_UBOOT: "arm 64 uboot",
    Architecture.ARM32_UBOOT_HTTP: "arm uboot 32 boot from http",
    Architecture.ARM64_UBOOT_HTTP: "arm uboot 64 boot from http",
    Architecture.RISCV32_UEFI: "RISC-V 32-bit UEFI",
    Architecture.RISCV32_UEFI_HTTP: "RISC-V 32-bit UEFI boot from http",
    Architecture.RISCV64_UEFI: "RISC-V 64-bit UEFI",
    Architecture.RISCV64_UEFI_HTTP: "RISC-V 64-bit UEFI boot from http",
    Architecture.RISCV128_UEFI: "RISC-V 128-bit UEFI",
    Architecture.RISCV128_UEFI_HTTP: "RISC-V 128-bit UEFI boot from http",
    Architecture.S390_BASIC: "s390 Basic",
    Architecture.S390_EXTENDED: "s390 Extended",
    Architecture.MIPS32_UEFI: "MIPS 32-bit UEFI",
    Architecture.MIPS64_UEFI: "MIPS 64-bit UEFI",
    Architecture.SUNWAY32_UEFI: "Sunway 32-bit UEFI",
    Architecture.SUNWAY64_UEFI: "Sunway 64-bit UEFI",
    Architecture.LOONGARCH32_UEFI: "LoongArch 32-bit UEFI",
    Architecture.LOONGARCH32_UEFI_HTTP: "LoongArch 32-bit UEFI boot from http",
    Architecture.LOONGARCH64_UEFI: "LoongArch 64-bit UEFI",
    Architecture.LOONGARCH64_UEFI_HTTP: "LoongArch 64-bit UEFI boot from http",
    Architecture.ARM_RPIBOOT: "arm rpiboot",
}


def architecture_name(arch: int | None) -> str:
    """The IANA name of an architecture; "type N" for numbers without one, "unknown" where the client told
    none."""
    if arch is None:
        return "unknown"
    try:
        return ARCHITECTURE_NAMES[Architecture(arch)]
    except ValueError:
        return f"type {arch}"

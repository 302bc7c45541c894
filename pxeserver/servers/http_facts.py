"""The facts a machine tells of itself in a script's query. Hostile: each one is checked or cut, the rest is
dropped.
"""

from __future__ import annotations

from urllib.parse import unquote_plus

from pxeserver.boot.architectures import arch_of_platform
from pxeserver.boot.identity import valid_mac, valid_uuid
from pxeserver.boot.model import ClientKind, Machine

_FIELDS = 32
_TEXT = 64
_MACS = 16


def fields_of(query: str) -> dict[str, str]:
    """The query's fields: printable, bounded, the first of each name; empty where there are too many.

    As urllib's parse_qsl reads them, without what empty fields and other separators cost.
    """
    fields: dict[str, str] = {}
    parts = query.split("&", _FIELDS)
    if len(parts) > _FIELDS:
        return fields
    for part in parts:
        name, _, value = part.partition("=")
        if not value:
            continue
        if "%" in part or "+" in part:
            name, value = _plain(name), _plain(value)
        name, value = name[:_TEXT], value[:512]
        if name not in fields:
            shown = value if value.isprintable() else "".join(c for c in value if c.isprintable())
            fields[name] = shown.strip()
    return fields


def _plain(text: str) -> str:
    return unquote_plus(text, errors="replace")


def machine_of(fields: dict[str, str], mac: str, address: str) -> Machine:
    """The machine as it tells of itself; `mac` stands in where it tells none that can be one."""
    texts = [fields.get("bootmac", ""), *fields.get("mac", "").split(",")]
    told = [found for text in texts[:_MACS] if text and (found := valid_mac(text))]
    platform = fields.get("platform", "").lower()
    if platform not in ("pcbios", "efi", "sbi"):
        platform = ""
    return Machine(
        mac=mac or (told[0] if told else ""),
        uuid=valid_uuid(fields.get("uuid")),
        serial=fields.get("serial", "")[:_TEXT] or None,
        arch=_arch(fields.get("arch", ""), platform),
        kind=ClientKind.IPXE,
        vendor=fields.get("vendor", "")[:_TEXT],
        product=fields.get("product", "")[:_TEXT],
        address=address,
        macs=tuple(told),
        platform=platform,
    )


def _arch(text: str, platform: str) -> int | None:
    """An architecture type as a number, or iPXE's ${buildarch} together with its ${platform}."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= 5 and int(text) <= 0xFFFF else None
    return arch_of_platform(platform, text[:_TEXT])

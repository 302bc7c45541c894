"""The boot plane's URL table: from a request target to a Route.

/a/<attempt>/<loader file>               loader; also /<loader file> /a/<attempt>/autoexec.ipxe
script; also /autoexec.ipxe /a/<attempt>/boot.ipxe                   script; without a query one that
comes back with the machine's facts /a/<attempt>/menu/<choice>               script of a menu entry
/a/<attempt>/f/<image>/<file>[.manifest] file of an image, or its manifest /b/<sha256>[/manifest]
the same by content /a/<attempt>/report[/<event>]            callbacks /a/<attempt>/inventory,
/a/<attempt>/orders /healthz
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

from pxeserver.imagestore.confine import clean_name

TARGET_LIMIT = 4096
"""Characters of the longest request target; the whole head is bounded as well (http_parse.py)."""


class Kind(Enum):
    """What a URL names."""

    LOADER = "loader"
    SCRIPT = "script"
    CHOICE = "choice"
    FILE = "file"
    MANIFEST = "manifest"
    BLOB = "blob"
    BLOB_MANIFEST = "blob-manifest"
    REPORT = "report"
    INVENTORY = "inventory"
    ORDERS = "orders"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Route:
    """A request target, understood. `attempt` is None for URLs that carry none."""

    kind: Kind
    attempt: str | None = None
    name: str = ""
    """Loader file, script name, image file, menu choice, sha256 or event."""
    image: str = ""
    query: str = ""


_SCRIPTS = frozenset({"boot.ipxe", "autoexec.ipxe"})
_PLAIN = {"report": Kind.REPORT, "inventory": Kind.INVENTORY, "orders": Kind.ORDERS}


def route(target: str) -> Route | None:
    """The route of a request target, in origin or absolute form (RFC 9112 section 3.2); None where there is
    none.
    """
    if len(target) > TARGET_LIMIT:
        return None
    if not target.startswith("/"):
        # A proxy's form, http://host/path: the host says nothing here.
        scheme, found, rest = target.partition("://")
        if not found or scheme.lower() != "http":
            return None
        target = "/" + rest.partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    name = clean_name(unquote_to_bytes(path.encode("utf-8", "surrogateescape")) if "%" in path else path)
    if name is None:
        return None
    steps = name.split("/")
    if steps[0] == "a" and len(steps) > 2:
        return _of_attempt(steps[1], steps[2:], query)
    if steps[0] == "b" and len(steps) == 2:
        return Route(Kind.BLOB, name=steps[1])
    if steps[0] == "b" and len(steps) == 3 and steps[2] == "manifest":
        return Route(Kind.BLOB_MANIFEST, name=steps[1])
    if steps[0] == "f" and len(steps) == 3:
        return _of_attempt(None, steps, query)
    if name == "healthz":
        return Route(Kind.HEALTH)
    if name in _SCRIPTS:
        return Route(Kind.SCRIPT, name=name, query=query)
    return Route(Kind.LOADER, name=name)


def _of_attempt(attempt: str | None, steps: list[str], query: str) -> Route | None:
    match steps:
        case ["f", image, file] if file.endswith(".manifest"):
            return Route(Kind.MANIFEST, attempt, file.removesuffix(".manifest"), image)
        case ["f", image, file]:
            return Route(Kind.FILE, attempt, file, image)
        case ["menu", choice]:
            return Route(Kind.CHOICE, attempt, choice, query=query)
        case ["report", event]:
            return Route(Kind.REPORT, attempt, event, query=query)
        case [name] if name in _PLAIN:
            return Route(_PLAIN[name], attempt, query=query)
        case [name] if name in _SCRIPTS:
            return Route(Kind.SCRIPT, attempt, name, query=query)
        case _:
            return Route(Kind.LOADER, attempt, "/".join(steps))

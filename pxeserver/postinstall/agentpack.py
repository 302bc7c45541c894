"""The agent as one file that Python runs (a zipapp): the same bytes from the same sources."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pxeserver
from pxeserver import resources

_MAIN = """\
import sys
from pxeserver.agent.join.__main__ import main
sys.exit(main())
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)
UNIT = "pxeserver-agent.service"
_PACKAGE = Path(pxeserver.__file__).resolve().parent


def pack() -> bytes:
    """The zip archive with the agent's modules. Stored, not compressed: compressors differ in their bytes."""
    files = {"__main__.py": _MAIN.encode(), "pxeserver/__init__.py": _package()}
    files[f"pxeserver/agent/{UNIT}"] = (resources.folder("systemd") / UNIT).read_bytes()
    for path in sorted((_PACKAGE / "agent").rglob("*.py")):
        files[f"pxeserver/{path.relative_to(_PACKAGE).as_posix()}"] = path.read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, files[name])
    return made.getvalue()


def sha256(data: bytes) -> str:
    """Its digest, for the join command."""
    return hashlib.sha256(data).hexdigest()


def _package() -> bytes:
    return f'"""The agent of pxeserver."""\n\n__version__ = "{pxeserver.__version__}"\n'.encode()

"""Text written as TOML."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """A basic string (TOML 1.0, "String"). JSON's form of it is one too, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

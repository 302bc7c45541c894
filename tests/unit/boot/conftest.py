"""A second reader of iPXE scripts, written from iPXE's source and not from the renderer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest


class Command(NamedTuple):
    """One command as iPXE would run it: its words, and the word that ended it ("||", "&&", ";" or "")."""

    label: str
    words: tuple[str, ...]
    end: str


def read_ipxe(text: str) -> list[Command]:
    """The commands of a script, as image/script.c and core/exec.c split them."""
    data = text.encode("utf-8", "surrogatepass")
    assert re.match(rb"#!ipxe\s", data)
    lines: list[bytes] = []
    pending = b""
    for raw in data.split(b"\n"):
        line = pending + raw
        line = line.removesuffix(b"\r")
        if line.endswith(b"\\"):
            pending = line[:-1]
            continue
        pending = b""
        lines.append(line.split(b"\0")[0])  # a C string ends at its first NUL
    commands: list[Command] = []
    for line in lines:
        rest, label = line.lstrip(b" \t\v\f\r"), b""
        if rest.startswith(b":"):
            label, _, rest = rest[1:].partition(b" ")
        words: list[str] = []
        for token in re.split(rb"[ \t\v\f\r]+", rest):
            if token.startswith(b"#"):
                break
            if token in (b"||", b"&&", b";"):
                commands.append(Command(label.decode("utf-8", "replace"), tuple(words), token.decode()))
                words, label = [], b""
            elif token:
                words.append(token.decode("utf-8", "replace"))
        if words or label:
            commands.append(Command(label.decode("utf-8", "replace"), tuple(words), ""))
    return commands


def shape(text: str) -> list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]:
    """What a script does, without the texts in it: label, command, how it ends, its options, the settings
    it expands.
    """
    result = []
    for command in read_ipxe(text):
        name = command.words[0] if command.words else ""
        options: list[str] = []
        for word in command.words[1:]:
            if not word.startswith("-") or name == "echo":
                break  # iPXE's getopt stops at the first word that is no option
            options.append(word)
        expands = tuple(re.findall(r"\$\{[^}]*\}?", " ".join(command.words)))
        result.append((command.label, name, command.end, tuple(options), expands))
    return result


@pytest.fixture
def commands() -> Callable[[str], list[Command]]:
    return read_ipxe


@pytest.fixture
def script_shape() -> Callable[[str], list[tuple[str, str, str, tuple[str, ...], tuple[str, ...]]]]:
    return shape

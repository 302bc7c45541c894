"""What is said over the builder's socket: one request as a line of JSON, answered by lines of JSON.

    > {"build": "discovery", "refresh": false}          or "cluster-node"
    < {"progress": "image=discovery step=update suite=trixie"}
    < {"done": {"kernel": "vmlinuz", "initrd": "initrd.img"}}     or {"failed": "why"}, or {"refused": "why"}

The request names what is built, never how: no path, no package, no address crosses the socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

LARGEST_REQUEST = 256
"""Bytes of a request, its line end included."""
_LARGEST_ANSWER = 64 << 10
SILENCE_SECONDS = 1800.0
"""A builder that has said nothing for so long is given up: a slow line takes a while for 100 MB."""


class BadRequest(Exception):  # noqa: N818 - it is told to the sender as it is
    """This is no request; the text says why."""


class Request(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Build one thing; `refresh` asks the archive for newer packages first."""

    build: str
    refresh: bool = False


class Answer(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the answer; exactly one of them is set, and all but `progress` end it."""

    progress: str = ""
    done: dict[str, str] | None = None
    failed: str = ""
    refused: str = ""


class NoBuilder(Exception):  # noqa: N818 - what happened, in the words shown to a person
    """The builder could not be asked, or did not do it; the text says why."""


_request = msgspec.json.Decoder(Request, strict=True)
_answer = msgspec.json.Decoder(Answer, strict=True)
_BUILDS = ("discovery", "cluster-node")


def read_request(line: bytes) -> Request:
    """The request in one line; BadRequest where it is none."""
    if len(line) > LARGEST_REQUEST:
        raise BadRequest(f"a request has at most {LARGEST_REQUEST} bytes")
    if not line.endswith(b"\n"):
        raise BadRequest("a request is one line of JSON")
    try:
        request = _request.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not a request: {error}") from None
    if request.build not in _BUILDS:
        raise BadRequest(f"there is nothing to build by this name; known: {', '.join(_BUILDS)}")
    return request


def line(message: Request | Answer) -> bytes:
    """A request or an answer as it travels."""
    return msgspec.json.encode(message) + b"\n"


def ask(path: Path, request: Request, progress: Callable[[str], None]) -> None:
    """Have the builder at `path` do it; it blocks until that is done. NoBuilder says why it is not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SILENCE_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(line(request))
            for answer in _answers(connection):
                if answer.progress:
                    progress(answer.progress)
                elif answer.done is not None:
                    return
                else:
                    raise NoBuilder(answer.failed or f"the builder refused: {answer.refused}")
        except OSError as error:
            why = error.strerror or "it says nothing"
            raise NoBuilder(
                f"the builder at {path} cannot be asked ({why}): `systemctl status pxeserver-builder`"
            ) from error
    raise NoBuilder("the builder ended before it was done: `journalctl -u pxeserver-builder`")


def _answers(connection: socket.socket) -> Iterator[Answer]:
    with connection.makefile("rb") as lines:
        while text := lines.readline(_LARGEST_ANSWER):
            try:
                yield _answer.decode(text)
            except msgspec.MsgspecError as error:
                raise NoBuilder(f"the builder answers nonsense: {error}") from error

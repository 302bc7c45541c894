"""Files on their way to the server and back, with a progress bar on stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pxeserver.cli import screen
from pxeserver.cli.client import Client, Failure

_BLOCK = 1 << 20
SERVER_SIDE = "import:"
"""Marks a file below import/ of the server's state directory."""


def bar() -> Progress:
    """A progress bar with rate and remaining time; nothing where stderr is no terminal."""
    console = screen.stderr()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def send(
    client: Client, source: str, role: str, sha256: str | None, name: str | None = None
) -> dict[str, Any]:
    """Bring one file into the server's store: from here, from a URL, or from the server's import folder."""
    named = name or source.removeprefix(SERVER_SIDE).partition("?")[0].rstrip("/").rpartition("/")[2]
    if source.startswith(("http://", "https://")):
        return _fetch(client, {"url": source, "name": named, "role": role, "sha256": sha256})
    if source.startswith(SERVER_SIDE):
        body = {"path": source.removeprefix(SERVER_SIDE), "name": named, "role": role, "sha256": sha256}
        return _fetch(client, body)
    return _upload(client, Path(source), named, role, sha256)


def _upload(client: Client, path: Path, name: str, role: str, sha256: str | None) -> dict[str, Any]:
    with upload_blocks(path, name) as (blocks, size):
        answer: dict[str, Any] = client.upload(
            "files", blocks=blocks, size=size, name=name, role=role, sha256=sha256
        )
        return answer


class upload_blocks:  # noqa: N801 - used as a context, like open()
    """A file's size and its blocks, which move a progress bar as they are read."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._bar = bar()

    def __enter__(self) -> tuple[Iterator[bytes], int]:
        try:
            self._file = self._path.open("rb")
            size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            why = str(error.strerror)
            raise Failure(
                f"{self._path} cannot be read", why, "Check the name of the file", exit_code=2
            ) from None
        self._bar.start()
        return self._blocks(self._bar.add_task(screen.safe(self._name), total=size)), size

    def __exit__(self, *_exc: object) -> None:
        self._bar.stop()
        self._file.close()

    def _blocks(self, task: Any) -> Iterator[bytes]:
        while block := self._file.read(_BLOCK):
            yield block
            self._bar.advance(task, len(block))


def _fetch(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    with bar() as progress:
        task = progress.add_task(screen.safe(body["name"]), total=None)
        try:
            for line in client.lines("POST", "imports", body=body):
                if "file" in line:
                    file: dict[str, Any] = line["file"]
                    return file
                if "problem" in line:
                    problem = line["problem"]
                    raise Failure(problem["what"], problem["why"], problem["next_step"])
                progress.update(task, completed=line["bytes"], total=line["total"])
        except ConnectionError as error:
            raise Failure(
                "the import broke off", str(error), "Look at the server's log, then try again"
            ) from None
    raise Failure(
        "the import broke off", "the server ended the connection", "Look at its log, then try again"
    )


def receive(client: Client, path: Path, *what: str) -> int:
    """Save a download beside `path`, then move it there; the number of bytes."""
    part = path.with_name(f".{path.name}.part")
    done = 0
    try:
        with client.download(*what) as response, bar() as progress:
            total = int(response.headers.get("Content-Length", "0"))
            task = progress.add_task(screen.safe(path.name), total=total or None)
            with open(part, "wb", opener=_private) as target:
                while block := response.read(_BLOCK):
                    target.write(block)
                    done += len(block)
                    progress.update(task, completed=done)
                target.flush()
                os.fsync(target.fileno())
        if total and done != total:
            raise Failure("the download broke off", f"{done} of {total} bytes came", "Try again")
        part.replace(path)
    except OSError as error:
        raise Failure(
            f"{path} cannot be written", str(error.strerror or error), "Choose another place"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return done


def _private(name: str, flags: int) -> int:
    # A backup holds what only administrators may see.
    return os.open(name, flags | os.O_CREAT | os.O_TRUNC, 0o600)

"""Long lists as files: CSV for spreadsheets, NDJSON for programs, sent page by page from the newest on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from pydantic import Field

from pxeserver.api.streams import send

Format = Literal["csv", "ndjson"]
MOST_ROWS = 200_000
"""Of one file; filters by time give the next ones."""
PAGE = 1000
"""Rows that are read at once."""
ExportRows = Annotated[int, Field(ge=1, le=MOST_ROWS)]
_MEDIA = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = Mapping[str, Any]


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: one that would be begins with a blank."""
    return f" {cell}" if cell.startswith(_FORMULA) else cell


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV (RFC 4180), every cell harmless; objects and lists as JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for row in rows:
        writer.writerow([harmless(_cell(value)) for value in row])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else str(value)


async def pages(
    read: Callable[[int | None, int], Awaitable[Sequence[Row]]], before: int | None, rows: int
) -> AsyncIterator[Sequence[Row]]:
    """Page after page of what `read(before, limit)` gives, whose rows have their number as "id"."""
    while rows > 0:
        page = await read(before, min(PAGE, rows))
        if not page:
            return
        yield page
        if len(page) < min(PAGE, rows):
            return
        rows -= len(page)
        before = page[-1]["id"]


async def send_rows(
    request: web.Request,
    name: str,
    form: Format,
    columns: Sequence[str],
    found: AsyncIterator[Sequence[Row]],
) -> web.StreamResponse:
    """Send pages of rows as a download. The first is read before anything is sent, so that what keeps it
    from being read is an answer of its own; a peer that stands still is let go.
    """
    first: Sequence[Row] = ()
    with suppress(StopAsyncIteration):
        first = await anext(found)
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{_MEDIA[form]}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}.{form}"',
            "Cache-Control": "no-store",
        }
    )
    await response.prepare(request)
    try:
        await send(response, csv_text([columns]).encode() if form == "csv" else b"")
        await send(response, _formed(first, form, columns))
        async for page in found:
            await send(response, _formed(page, form, columns))
        await response.write_eof()
    except (TimeoutError, ConnectionError):
        pass  # the peer is gone; there is nobody to tell
    return response


def _formed(page: Sequence[Row], form: Format, columns: Sequence[str]) -> bytes:
    if form == "csv":
        return csv_text([[row[column] for column in columns] for row in page]).encode()
    encode = msgspec.json.encode
    return b"".join(encode({column: row[column] for column in columns}) + b"\n" for row in page)

"""Files over HTTP: exact bytes, lengths and headers."""

from __future__ import annotations

import hashlib

INITRD = b"initrd " * 50_000


async def test_a_file_comes_whole(listener) -> None:
    reply = await listener.get(listener.url("f/debian/initrd.img"))
    assert (reply.status, reply.body) == (200, INITRD)
    assert reply.headers["content-length"] == str(len(INITRD))
    assert reply.headers["etag"] == f'"{hashlib.sha256(INITRD).hexdigest()}"'
    assert reply.headers["accept-ranges"] == "bytes"

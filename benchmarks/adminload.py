"""People and programs at the admin plane, all at once: `python -m benchmarks.adminload URL TOKEN SECONDS`.

Viewers hold live streams open, others log in again and again, one uploads. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp

VIEWERS, LOGINS, UPLOAD = 100, 50, 1 << 30
_BLOCK = 1 << 18


class Crowd:
    """What they did until the end."""

    def __init__(self, url: str, token: str, seconds: float) -> None:
        self._url, self._end = url, time.monotonic() + seconds
        self._headers = {"Authorization": f"Bearer {token}"}
        self.told: Counter[str] = Counter()

    async def run(self) -> None:
        """Until the time is over."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            work = [self._view(session) for _ in range(VIEWERS)]
            work += [self._log_in(session) for _ in range(LOGINS)]
            tasks = [asyncio.ensure_future(one) for one in (*work, self._upload(session))]
            await asyncio.sleep(max(0.0, self._end - time.monotonic()))
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    self.told[f"failed: {type(result).__name__}: {result}"[:80]] += 1

    async def _view(self, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{self._url}/api/v1/live/boots/stream", headers=self._headers) as answer:
            answer.raise_for_status()
            self.told["viewers"] += 1
            async for _ in answer.content.iter_any():
                self.told["frames"] += 1

    async def _log_in(self, session: aiohttp.ClientSession) -> None:
        body = {"name": "demo", "password": "demo"}
        while True:
            async with session.post(f"{self._url}/api/v1/session", json=body) as answer:
                await answer.read()
                self.told["logins" if answer.status == 200 else f"login {answer.status}"] += 1

    async def _upload(self, session: aiohttp.ClientSession) -> None:
        while True:
            headers = {**self._headers, "Content-Type": "application/octet-stream"}
            headers["Content-Length"] = str(UPLOAD)
            url = f"{self._url}/api/v1/files?name=big&role=file"
            async with session.post(url, data=self._blocks(), headers=headers) as answer:
                await answer.read()
                self.told[f"upload {answer.status}"] += 1

    async def _blocks(self) -> AsyncIterator[bytes]:
        block = os.urandom(_BLOCK)
        for _ in range(UPLOAD // _BLOCK):
            yield block
            self.told["uploaded"] += _BLOCK


def main() -> int:
    """Run, and print what was done."""
    url, token, seconds = sys.argv[1:4]
    crowd = Crowd(url, token, float(seconds))
    asyncio.run(crowd.run())
    print(json.dumps(crowd.told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

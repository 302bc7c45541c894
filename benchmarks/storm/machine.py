"""One simulated machine: from power-on to the report of its system, and what it waited for on the way."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from benchmarks.storm.dhcp import Dhcp, ask_4011
from benchmarks.storm.failures import BootFailed
from benchmarks.storm.http import HttpAnswer, http
from benchmarks.storm.personalities import DISCOVER, IPXE_WAITS, REQUEST, Personality, dhcp
from benchmarks.storm.tftp import TftpFetch

T = TypeVar("T")
STAGES = ("dhcp", "4011", "loader", "dhcp-ipxe", "script", "turn", "kernel", "initrd", "report")
_FETCH = re.compile(r"^(?:kernel|initrd|imgfetch)\b.*?--timeout (\d+).*?(http://\S+)", re.MULTILINE)
_SLEEP = re.compile(r"^echo .*\n^sleep (\d+)$\n^chain --replace .*?(http://[^\s?]+)", re.MULTILINE)
"""The script of a machine that waits for its turn: how long, then where it asks again."""
_PATIENCE = (8.0, 8.0, 30.0)
"""Seconds without progress that the appliance's scripts allow the first, second and last try of a file."""
_PAUSES = (2.0, 5.0)
_OTHER_SERVER = bytes((10, 70, 0, 3))
"""The site's own DHCP server. It gives the addresses, is not what is measured, and takes no time here."""


@dataclass(slots=True)
class Story:
    """What happened to one machine. Seconds on the monotonic clock."""

    power_on: float = 0.0
    started: float | None = None
    """Its kernel has everything it needs."""
    reported: float | None = None
    failed: str = ""
    stage: str = ""
    waited: dict[str, float] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    """Why requests were made again."""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Lan:
    """What all machines share. `conversation`: every step is taken, but files are only asked for."""

    dhcp: Dhcp
    conversation: bool = False
    reboot_seconds: float = 300.0
    """A machine that has not started after so long counts as failed."""


class SimulatedMachine:
    """A machine with a MAC address, an IPv4 address of the site, and a firmware."""

    def __init__(self, lan: Lan, number: int, mac: str, address: str, kind: Personality) -> None:
        self._lan, self._kind, self._address = lan, kind, address
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._mac_text = mac
        self._uuid = b"\xbe" + bytes(9) + self._mac
        self._random = random.Random(number)
        self.story = Story()

    async def boot(self) -> Story:
        """Boot once, whatever comes of it."""
        story = self.story
        story.power_on = time.monotonic()
        try:
            async with asyncio.timeout(self._lan.reboot_seconds):
                await self._boot()
        except BootFailed as failure:
            story.failed = f"{story.stage}: {failure}"
        except TimeoutError:
            story.failed = f"{story.stage}: not up after {self._lan.reboot_seconds:.0f} s"
        return story

    async def _boot(self) -> None:
        file, server = await self._firmware()
        loader = file
        if loader and not loader.startswith("http"):
            await self._stage("loader", self._loader(server, loader))
        url = await self._stage("dhcp-ipxe", self._ipxe())
        script = await self._stage("script", self._script(url))
        while (turn := _SLEEP.search(script)) is not None:
            self.story.retries["turn"] += 1
            script = await self._stage("turn", self._turn(turn[2], float(turn[1])))
        files = self._files(script)
        for number, path in enumerate(files):
            await self._stage("initrd" if number else "kernel", self._file(path))
        self.story.started = time.monotonic()
        attempt = urlsplit(url).path.split("/")[2]
        await self._stage("report", self._get(f"http://{server}/a/{attempt}/report/booted"))
        self.story.reported = time.monotonic()

    async def _stage(self, name: str, step: Awaitable[T]) -> T:
        self.story.stage = name
        begun = time.monotonic()
        try:
            return await step
        finally:
            self.story.waited[name] = self.story.waited.get(name, 0.0) + time.monotonic() - begun

    def _retried(self) -> None:
        self.story.retries[self.story.stage] += 1

    # ------------------------------------------------------------------------------------------------ DHCP

    def _message(self, kind: int, xid: int, *, ipxe: bool, settled: bool = False) -> bytes:
        seconds = int(time.monotonic() - self.story.power_on)
        taken = {"address": socket.inet_aton(self._address), "server": _OTHER_SERVER} if settled else {}
        return dhcp(self._kind, kind, xid, self._mac, self._uuid, ipxe=ipxe, seconds=seconds, **taken)

    async def _firmware(self) -> tuple[str, str]:
        discover = partial(self._message, DISCOVER, ipxe=False)
        # edk2 and iPXE wait a little longer or shorter each time, so that machines do not ask in step.
        waits = tuple(wait * self._random.uniform(0.9, 1.1) for wait in self._kind.waits)
        offer = await self._stage("dhcp", self._lan.dhcp.ask(discover, waits, self._retried))
        # The address comes from the site's DHCP server; the boot server hears who took which.
        self._lan.dhcp.say(partial(self._message, REQUEST, ipxe=False, settled=True))
        if self._kind.always_4011 or not offer.at_once:
            request = dhcp(
                self._kind, REQUEST, self._random.getrandbits(32), self._mac, self._uuid,
                ipxe=False, ciaddr=socket.inet_aton(self._address),
            )  # fmt: skip
            offer = await self._stage(
                "4011", ask_4011(self._address, offer.server, request, 2.0, 4, self._retried)
            )
        return offer.file, offer.server

    async def _ipxe(self) -> str:
        discover = partial(self._message, DISCOVER, ipxe=True)
        offer = await self._lan.dhcp.ask(discover, IPXE_WAITS, self._retried)
        self._lan.dhcp.say(partial(self._message, REQUEST, ipxe=True, settled=True))
        if not offer.file.startswith("http://"):
            raise BootFailed(f"iPXE was offered {offer.file!r}")
        return offer.file

    # ------------------------------------------------------------------------------------------------ files

    async def _loader(self, server: str, name: str) -> None:
        if self._kind.probe or self._lan.conversation:
            await TftpFetch(self._kind, self._address, server, name, self._retried).run(size_only=True)
        if not self._lan.conversation:
            fetch = TftpFetch(self._kind, self._address, server, name, self._retried)
            self.story.bytes += await fetch.run()

    async def _script(self, url: str) -> str:
        """The first script comes back with the machine's facts, as the appliance has it do."""
        await self._get(url, keep=True)
        return await self._boot_script(url)

    async def _turn(self, url: str, seconds: float) -> str:
        """Wait as the script says, then ask again."""
        await asyncio.sleep(seconds)
        return await self._boot_script(url)

    async def _boot_script(self, url: str) -> str:
        mac, uuid = self._mac_text, self._uuid.hex()
        uuid = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
        facts = f"uuid={uuid}&serial=&mac={mac}&vendor=QEMU&product=storm&platform=efi&arch=x86_64"
        return (await self._get(f"{url}?{facts}", keep=True)).body.decode()

    def _files(self, script: str) -> list[str]:
        """The files that the script has fetched, in their order, once each."""
        found = [url for _, url in _FETCH.findall(script) if "/f/" in url]
        if not found:
            raise BootFailed(f"the script fetches nothing: {script[:200]!r}")
        return list(dict.fromkeys(found))

    async def _file(self, url: str) -> None:
        answer = await self._get(url, method="HEAD" if self._lan.conversation else "GET")
        if not self._lan.conversation:
            self.story.bytes += answer.length

    async def _get(self, url: str, *, method: str = "GET", keep: bool = False) -> HttpAnswer:
        """A request as iPXE and our scripts make it: 503 waits as told, a failure is tried again."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        why = ""
        for number, patience in enumerate(_PATIENCE):
            if number:
                self._retried()
                await asyncio.sleep(_PAUSES[number - 1])
            try:
                return await self._told_to_wait(
                    partial(http, self._address, parts.hostname or "", parts.port or 80, path,
                            method=method, keep=keep, stall=patience)
                )  # fmt: skip
            except BootFailed as failure:
                why = str(failure)
                self.story.troubles[f"{self.story.stage}: {why}"] += 1
        raise BootFailed(why)

    async def _told_to_wait(self, fetch: Callable[[], Awaitable[HttpAnswer]]) -> HttpAnswer:
        while True:
            answer = await fetch()
            if answer.status < 300:
                return answer
            if answer.status != 503 or not answer.retry_after:
                raise BootFailed(f"HTTP: status {answer.status}")
            self.story.retries["503"] += 1
            await asyncio.sleep(answer.retry_after)

"""Which answer each URL of the boot plane gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from pxeserver.boot.attempts import Attempt, Stage
from pxeserver.boot.decision import is_loader, waiting_script
from pxeserver.boot.identity import Identity, Known, identify
from pxeserver.boot.model import EventKind, FileRef, Ignore, Machine, Reason
from pxeserver.servers.http_admission import Gate
from pxeserver.servers.http_body import Refused
from pxeserver.servers.http_callbacks import MOVING, Callbacks
from pxeserver.servers.http_facts import fields_of, machine_of
from pxeserver.servers.http_files import FileAnswers
from pxeserver.servers.http_kept import Basis, Kept, KeptScripts
from pxeserver.servers.http_message import Request, Response, line, plain
from pxeserver.servers.http_progress import FileProgress
from pxeserver.servers.http_scripts import Detail, ScriptAnswer, Scripts
from pxeserver.servers.http_sender import Senders
from pxeserver.servers.http_target import Kind, Route
from pxeserver.servers.http_watch import FileWatch, LoaderWatch
from pxeserver.servers.plane import OpenFile, Plane

_READING = ("GET", "HEAD")
_FILES = (Kind.LOADER, Kind.FILE, Kind.BLOB, Kind.MANIFEST, Kind.BLOB_MANIFEST)
_LOADED = frozenset({"booted", "installed", "install-failed", "discovered", "not-loaded"})
"""Reports of machines that have what they wanted, or will not get it: the next one may load."""
_METHODS = {Kind.REPORT: ("GET", "POST"), Kind.INVENTORY: ("POST",), Kind.ORDERS: ("GET",)}


class Answers:
    """One answer for each kind of URL. Refused stands for those without content."""

    def __init__(
        self,
        plane: Plane,
        scripts: Scripts,
        open_manifest: Callable[[str], OpenFile],
        senders: Senders | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._senders = senders or Senders(plane)
        self.gate = gate or Gate(self._senders)
        self._plane = plane
        self._scripts = scripts
        self._open_manifest = open_manifest
        self.files = FileAnswers()
        self._callbacks = Callbacks(plane)
        self._progress = FileProgress(plane.now)
        self._kept = KeptScripts()

    def answer(self, request: Request, route: Route) -> Response | Awaitable[Response]:
        """The answer, at once where it needs nothing but memory."""
        allowed = _METHODS.get(route.kind, _READING)
        if request.method not in allowed:
            raise Refused(405, f"only {' and '.join(allowed)} here", {"Allow": ", ".join(allowed)})
        if route.kind is Kind.HEALTH:
            return line(200, "ok")
        peer = request.peer
        attempt = self._attempt(route, peer)
        detail: Detail = {}
        if attempt is not None and attempt.address != peer:
            # Its machine had another address before: a new system has a new lease, or it is somebody else.
            detail["address"] = peer
        if route.kind in (Kind.SCRIPT, Kind.CHOICE):
            return self._script(request, route, attempt, detail)
        if route.kind in _FILES:
            return self._file(request, route, attempt, detail)
        if attempt is None:
            raise Refused(404, "no such attempt")
        if route.kind is Kind.REPORT:
            return self._report(request, route, attempt, detail)
        self._refuse_strangers(attempt, peer)
        if route.kind is Kind.INVENTORY:
            return self._callbacks.inventory(request, attempt, detail)
        return self._callbacks.orders(attempt)

    async def _report(self, request: Request, route: Route, attempt: Attempt, detail: Detail) -> Response:
        told, event = await self._callbacks.read_report(request, route.name, route.query)
        if event in MOVING:
            self._refuse_strangers(attempt, request.peer)
        if event in _LOADED:
            self.gate.ended(attempt, request.peer)
        return await self._callbacks.report(attempt, event, {**told, **detail})

    # -------------------------------------------------------------------------------------------------
    # whose request it is

    def _attempt(self, route: Route, peer: str) -> Attempt | None:
        """The attempt of a request: by its id, else by the client's address."""
        attempts = self._plane.attempts
        if route.attempt is None:
            return attempts.by_address(peer)
        attempt = attempts.by_id(route.attempt) or self._taken_up(route, peer)
        if attempt is None:
            if route.kind in _FILES:
                return None  # files are the same for everybody: a boot goes on without its timeline
            self._plane.ignored(Ignore(Reason.UNKNOWN_ATTEMPT, route.attempt[:40]))
            raise Refused(404, "unknown attempt: this server does not know this boot (any more); start again")
        if attempt.address is None and peer and not self._senders.stranger(attempt, peer):
            attempts.bind_address(attempt, peer)
        return attempt

    def _taken_up(self, route: Route, peer: str) -> Attempt | None:
        """An attempt that this process does not know (any more): it was restarted, or an hour has passed.

        The end of an install finds its node by the state on disk. A loader that asks for its script says who
        it is; so may anybody, and what that machine could do is done to it. So it has to come from a network
        that is served, and on our own links with a MAC address that it tells.
        """
        attempts, now, id_ = self._plane.attempts, self._plane.now(), route.attempt or ""
        node = self._plane.nodes().installing(id_)
        if node is not None:
            mac = self._senders.mac(peer) or next(iter(node.macs), "")
            attempt = attempts.adopt(id_, Machine(mac, uuid=node.uuid, serial=node.serial), now)
            if attempt is not None:
                attempt.node_id = node.id
            return attempt
        if route.kind not in (Kind.SCRIPT, Kind.CHOICE):
            return None
        machine = machine_of(fields_of(route.query), "", peer)
        seen = self._senders.mac(peer)
        if not machine.mac or not self._senders.served(peer) or seen not in (None, *machine.macs):
            return None
        attempt = attempts.adopt(id_, machine, now)
        if attempt is not None:
            self._identify(attempt)
        return attempt

    def _refuse_strangers(self, attempt: Attempt, peer: str) -> None:
        """403 where another machine than the attempt's would move its node, or get its orders; told once per
        boot.
        """
        mac = self._senders.stranger(attempt, peer)
        if not mac:
            return
        told = Ignore(Reason.OTHER_MACHINE, f"{peer} has the MAC address {mac}")
        self._plane.ignored(told)
        if attempt.count("strangers") == 1:
            self._tell(attempt, EventKind.IGNORED, {"reason": told.reason.value, "text": told.detail})
        raise Refused(403, f"{told.detail}, which is none of this boot's machine")

    def _identify(self, attempt: Attempt) -> Identity:
        found = identify(attempt.machine, self._plane.nodes())
        attempt.node_id = found.node.id if isinstance(found, Known) else None
        return found

    # -------------------------------------------------------------------------------------------------
    # scripts

    def _script(
        self, request: Request, route: Route, attempt: Attempt | None, detail: Detail
    ) -> Response | Awaitable[Response]:
        if attempt is None:
            raise Refused(404, "no boot of this address is known here; start again")
        base = request.base_url()
        if route.kind is Kind.SCRIPT and not route.query:
            return _script_text(self._scripts.hello(attempt.id, base))
        if request.method == "HEAD":
            # The length of a script is known when it is written, and writing it may use up a boot order.
            raise Refused(405, "this script is for GET", {"Allow": "GET"})
        asked = (route.kind, route.name, route.query, base, request.peer, attempt.address)
        kept = self._kept.find(self._plane, attempt, asked)
        if kept is not None and not self._callbacks.has_turn(attempt):
            wait = self._wait(request, route, attempt, base, size=kept.size)
            return wait or self._send_script(attempt, kept.response, kept.told)
        if route.query:
            machine = machine_of(fields_of(route.query), attempt.mac, request.peer)
            self._plane.attempts.learn(attempt.id, machine)
        who = self._identify(attempt)
        if self._callbacks.has_turn(attempt):
            return self._in_turn(request, route, attempt, base, detail)
        basis = Basis.of(self._plane, attempt, who)
        answer = self._written(route, attempt, base)
        if isinstance(answer, Ignore):
            return self._refused(attempt, answer, detail)
        if answer.records:
            return self._in_turn(request, route, attempt, base, detail)
        told = {**facts_of(attempt), **detail, **answer.detail}
        response = _script_text(answer.text)
        if basis is not None:
            self._kept.keep(attempt, Kept(asked, basis, response, told, answer.size))
        wait = self._wait(request, route, attempt, base, size=answer.size)
        return wait or self._send_script(attempt, response, told)

    def _wait(
        self, request: Request, route: Route, attempt: Attempt, base: str, *, size: int
    ) -> Response | None:
        """The script that waits, where it is not this machine's turn to fetch `size` bytes."""
        turn = self.gate.ask(attempt, request.peer, size)
        if turn is None:
            return None
        choice = route.name if route.kind is Kind.CHOICE else ""
        text = waiting_script(turn, base, attempt.id, attempt.machine, choice)
        self._plane.attempts.reach(attempt, Stage.SCRIPT, self._plane.now())
        shown = f"waits for its turn to load: place {turn.place} of {turn.of}"
        told: Detail = {"place": turn.place, "of": turn.of, "seconds": turn.seconds, "text": shown}
        self._tell(attempt, EventKind.WAITING, told)
        return _script_text(text)

    def _written(self, route: Route, attempt: Attempt, base: str) -> ScriptAnswer | Ignore:
        if route.kind is Kind.CHOICE:
            return self._scripts.choice(self._plane, attempt, base, route.name)
        return self._scripts.boot(self._plane, attempt, base)

    async def _in_turn(
        self, request: Request, route: Route, attempt: Attempt, base: str, detail: Detail
    ) -> Response:
        """Decided and recorded in one turn: of two boots of one node, only one may be given its install."""
        async with self._callbacks.turn(attempt):
            answer = self._written(route, attempt, base)
            if isinstance(answer, Ignore):
                return self._refused(attempt, answer, detail)
            wait = self._wait(request, route, attempt, base, size=answer.size)
            if wait is not None:
                return wait  # and nothing is recorded: it has been handed nothing
            for kind, what in answer.records:
                await self._callbacks.take(attempt, kind, {**detail, **what})
        told = {**facts_of(attempt), **detail, **answer.detail}
        return self._send_script(attempt, _script_text(answer.text), told)

    def _refused(self, attempt: Attempt, why: Ignore, detail: Detail) -> Response:
        self._plane.ignored(why)
        self._tell(attempt, EventKind.IGNORED, {**detail, "reason": why.reason.value, "text": why.detail})
        return line(403, f"nothing for this machine: {why.reason.value} {why.detail}".rstrip())

    def _send_script(
        self, attempt: Attempt, response: Response, told: Mapping[str, str | int | float]
    ) -> Response:
        self._plane.attempts.reach(attempt, Stage.SCRIPT, self._plane.now())
        self._tell(attempt, EventKind.SCRIPT_SENT, told)
        return response

    # ---------------------------------------------------------------------------------------------------
    # files

    def _file(
        self, request: Request, route: Route, attempt: Attempt | None, detail: Detail
    ) -> Response | Awaitable[Response]:
        file = self._find(route)
        if file is None:
            self._plane.ignored(Ignore(Reason.NOT_FOUND, route.name[:100]))
            raise Refused(404, "no such file")
        if route.kind in (Kind.MANIFEST, Kind.BLOB_MANIFEST):
            return self.files.answer(
                request,
                file,
                partial(self._open_manifest, file.sha256),
                key=f"{file.sha256}.manifest",
                content_type="application/json",
            )
        tell = partial(self._tell_with, attempt, detail)
        now = self._plane.now()
        nodes = self._plane.nodes()
        own = attempt is not None and is_loader(file, attempt, self._plane.catalog(), nodes)
        if route.kind is Kind.LOADER or own:
            if attempt is not None:
                self._plane.attempts.reach(attempt, Stage.LOADER, now)
            return self.files.answer(
                request, file, partial(self._plane.open, file), watch=LoaderWatch(file, tell)
            )
        key = attempt.id if attempt is not None else request.peer
        watch = self.gate.watch(attempt, request.peer, file, FileWatch(self._progress, key, file, tell))
        send = partial(self.files.answer, request, file, partial(self._plane.open, file), watch=watch)
        if attempt is None:
            return send()
        self._plane.attempts.reach(attempt, Stage.FILES, now)
        starts = (
            request.method == "GET"
            and file.role == "kernel"
            and self._scripts.starts_install(self._plane, attempt, route.image)
        )
        return self._started(attempt, file, detail, send) if starts else send()

    async def _started(
        self, attempt: Attempt, file: FileRef, detail: Detail, send: Callable[[], Response]
    ) -> Response:
        await self._callbacks.install_started(attempt, file, detail)
        return send()

    def _find(self, route: Route) -> FileRef | None:
        """The published file a URL names. Only what the catalog lists is served, by content too."""
        catalog = self._plane.catalog()
        match route.kind:
            case Kind.LOADER:
                loaders = (loader.file for loader in catalog.loaders.values())
                return next((file for file in loaders if file.name == route.name), None)
            case Kind.FILE | Kind.MANIFEST:
                return catalog.find_file(route.image, route.name)
            case _:
                files = (file for image in catalog.images.values() for file in image.files)
                return next((file for file in files if file.sha256 == route.name), None)

    # --------------------------------------------------------------------------------------------------
    # events

    def _tell(
        self, attempt: Attempt | None, kind: EventKind, detail: Mapping[str, str | int | float]
    ) -> None:
        if attempt is not None:
            self._plane.report(self._callbacks.event(attempt, kind, detail))

    def _tell_with(
        self,
        attempt: Attempt | None,
        common: Detail,
        kind: EventKind,
        detail: Mapping[str, str | int | float],
    ) -> None:
        self._tell(attempt, kind, {**detail, **common})


def facts_of(attempt: Attempt) -> Detail:
    """What is known of the attempt's machine, as its timeline tells it to the control process."""
    machine = attempt.machine
    facts: dict[str, str | int | None] = {
        "uuid": machine.uuid,
        "serial": machine.serial,
        "vendor": machine.vendor,
        "product": machine.product,
        "platform": machine.platform,
        "arch": machine.arch,
        "address": attempt.address,
    }
    return {name: fact for name, fact in facts.items() if fact is not None and fact != ""}


def _script_text(text: str) -> Response:
    return plain(200, text.encode(), "text/plain; charset=utf-8")

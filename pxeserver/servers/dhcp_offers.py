"""The short way of a boot storm: from a plain DISCOVER to a ProxyDHCP offer with a few look-ups.

A plain DISCOVER is a broadcast of a machine on the link itself that has no address. Its form was learnt
from one that went the long way (protocols/dhcp/forms.py), so nothing is decoded; its answer is patched, not
encoded. A machine that asks the same again gets the same again, as long as nothing that the answer rested
on has changed. Whatever is unusual goes the long way (dhcp.py), and both give the same answers and the same
timeline: tests/unit/dhcp/test_short_way.py compares them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pxeserver.boot.decision import Offer
from pxeserver.boot.model import ClientKind, DhcpMode, Ignore, Machine, Reason
from pxeserver.protocols.dhcp.codes import MessageType
from pxeserver.protocols.dhcp.forms import ETHERNET_REQUEST, Form, Forms
from pxeserver.protocols.dhcp.packet import decode
from pxeserver.protocols.dhcp.pxe import NotPxe, PxeRequest, classify, read_uuid
from pxeserver.protocols.dhcp.reply import Boot, boot_reply
from pxeserver.servers.dhcp_choice import KINDS, Choices
from pxeserver.servers.dhcp_links import Link, Links
from pxeserver.servers.dhcp_repeats import Repeats
from pxeserver.servers.udp_vectors import pktinfo

if TYPE_CHECKING:
    from pxeserver.boot.attempts import Attempt
    from pxeserver.boot.catalog import Catalog, NodeTable, Standing
    from pxeserver.servers.plane import Plane

log = logging.getLogger(__name__)

_FULL: Final = frozenset((DhcpMode.FULL, DhcpMode.RESERVED))
Serving = tuple[Links, frozenset[int]]
"""The served networks, and the interfaces on which full DHCP is refused."""

_REPLY: Final = b"\x02\x01\x06\x00"
_UNKNOWN_ONLY: Final = frozenset((Reason.POLICY_IGNORE, Reason.POLICY_OBSERVE))
"""Silences that rest on a machine's being unknown, and on the catalog."""


class Answered:
    """The last answer to a machine's plain DISCOVER, and all that it rested on. Kept at its attempt."""

    __slots__ = (
        "asked", "at", "chosen", "epoch", "firmware", "form", "known", "link", "machine", "rest", "standing",
        "times", "waiting",
    )  # fmt: skip

    def __init__(
        self, asked: bytes, link: Link, form: Form, *, machine: Machine, chosen: Offer | Ignore, rest: bytes
    ) -> None:
        self.asked = asked
        """The request from the field `flags` on: all that a machine repeats when it asks again."""
        self.link, self.form = link, form
        self.machine, self.firmware = machine, machine.kind is not ClientKind.IPXE
        self.chosen = chosen
        self.rest = rest
        """The answer behind its transaction's number; empty for silence."""
        self.epoch: object = None
        self.standing: Standing | None = None
        self.known = machine
        """The attempt's machine after this request."""
        self.times, self.at, self.waiting = 0, 0.0, False  # see dhcp_repeats.py


class Offers:
    """Answers plain DISCOVERs on links that are served as ProxyDHCP; a udp.Short."""

    def __init__(self, plane: Plane, choices: Choices, serving: Callable[[], Serving]) -> None:
        """`serving` tells the served networks as they are now."""
        self._plane, self._choices, self._serving = plane, choices, serving
        self._attempts = plane.attempts
        self._forms = Forms()
        self._repeats = Repeats(self._tell_again)
        self._rests_on: tuple[Catalog, NodeTable, Links, frozenset[int]] | None = None
        self._epoch = object()
        self._links: dict[int, Link] = {}
        self._own: frozenset[str] = frozenset()
        self._nodes = plane.nodes()
        self._now = 0.0
        self._debug = False
        self.infos: dict[int, bytes] = {}

    def start(self) -> None:
        """Begin to tell of repetitions, on the running event loop."""
        self._repeats.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Tell of those that still wait."""
        self._repeats.stop()

    def learn(self, data: bytes, request: PxeRequest) -> None:
        """A DISCOVER went the long way: the next of its form need not."""
        self._forms.learn(data, request)

    def begin(self) -> None:
        """Datagrams follow, all of one moment: look whether what all answers rest on has changed."""
        plane, (links, contested) = self._plane, self._serving()
        self._now = plane.now()
        self._debug = log.isEnabledFor(logging.DEBUG)
        now = (plane.catalog(), plane.nodes(), links, contested)
        last = self._rests_on
        if last is None or any(a is not b for a, b in zip(now, last, strict=True)):
            self._rests_on, self._epoch = now, object()
            self._nodes = now[1]
            self._own = links.macs
            self._links = {i: link for i, link in links.nearest().items() if proxied(link, contested)}
            self.infos = {i: pktinfo(i, link.server) for i, link in self._links.items()}

    def answer(self, data: bytes, ifindex: int) -> bytes | None:
        """The offer for what a machine on the link broadcast, itself to be broadcast; b"" for silence, None
        where the long way has to look at it."""
        mac = data[28:34].hex(":")
        attempt = self._attempts.by_mac(mac)
        last = attempt.answered if attempt is not None else None
        if (
            isinstance(last, Answered)
            and attempt is not None
            and last.asked == data[10:]
            and last.epoch is self._epoch
            and last.link.ifindex == ifindex
            and data[:3] == ETHERNET_REQUEST
            and last.standing is not None
            and self._nodes.stands(last.standing)
        ):
            if self._attempts.goes_on(attempt, last.known, self._now, last.firmware):
                return self._again(data, attempt, last)
            return self._give(data, last.link, last.form, last.machine, attempt)
        form, link = self._forms.find(data), self._links.get(ifindex)
        if form is None or link is None or mac in self._own:
            return None
        uuid, kind = read_uuid(form.uuid(data)), KINDS[form.kind]
        machine = Machine(mac, uuid, None, form.arch, kind, subnet=link.subnet.network)
        return self._give(data, link, form, machine, None)

    def _again(self, data: bytes, attempt: Attempt, last: Answered) -> bytes:
        """The same answer to the same question."""
        self._repeats.count(attempt, last, self._now)
        if isinstance(last.chosen, Ignore):
            return self._silence(data, last.chosen)
        attempt.node_id = last.chosen.node_id
        return _REPLY + data[4:8] + last.rest

    def _give(self, data: bytes, link: Link, form: Form, machine: Machine, before: Attempt | None) -> bytes:
        """A new answer; as that of the attempt `before`, where nothing has changed but the attempt."""
        attempt = self._choices.begin(machine)
        chosen = None if before is None else _reused(before, attempt)
        if chosen is None:
            chosen = self._choices.choose(machine, attempt, link.server)
        self._choices.answered(attempt, chosen)
        attempt.answered = None
        if isinstance(chosen, Ignore):
            if chosen.reason in _UNKNOWN_ONLY:
                kept = Answered(data[10:], link, form, machine=machine, chosen=chosen, rest=b"")
                self._keep(attempt, kept, None)
            return self._silence(data, chosen)
        head, _, tail = chosen.file.partition(attempt.id)
        answer = form.offer(link.server, head, tail, data[10] & 0x80)
        if answer is None:
            return _encoded(data, chosen)
        rest = answer.rest(data, attempt.id.encode(), form.uuid(data))
        kept = Answered(data[10:], link, form, machine=machine, chosen=chosen, rest=rest)
        self._keep(attempt, kept, chosen.node_id)
        return _REPLY + data[4:8] + rest

    def _keep(self, attempt: Attempt, answered: Answered, node_id: int | None) -> None:
        """Remember an answer for when it is asked for again."""
        answered.known, answered.epoch = attempt.machine, self._epoch
        answered.standing = self._nodes.standing(answered.machine.uuid, attempt.mac, node_id)
        attempt.answered = answered

    def _silence(self, data: bytes, ignore: Ignore) -> bytes:
        self._plane.ignored(ignore)
        if self._debug:
            log.debug(
                "mac=%s event=silent reason=%s source=0.0.0.0", data[28:34].hex(":"), ignore.reason.name
            )
        return b""

    def _tell_again(self, attempt: Attempt, last: Answered) -> None:
        """Put repetitions on the timeline, as if the last of them had come the long way."""
        times, last.times = last.times, 0
        self._choices.asked(attempt, last.machine, last.at, times)
        self._choices.answered(attempt, last.chosen, at=last.at, times=times)


def _encoded(data: bytes, chosen: Offer) -> bytes:
    """An offer whose file has too long a name for the header."""
    request = classify(decode(data))
    if isinstance(request, NotPxe):
        raise TypeError("a request that has a form was taken for another")
    return boot_reply(request, MessageType.OFFER, Boot(chosen.server, chosen.file.encode()))


def proxied(link: Link, contested: frozenset[int]) -> bool:
    """Whether machines on this link get boot information only."""
    subnet = link.subnet
    taken = subnet.mode in _FULL and not subnet.force and link.ifindex in contested
    return subnet.mode is DhcpMode.PROXY or taken


def _reused(before: Attempt, attempt: Attempt) -> Offer | Ignore | None:
    """What another boot of the same machine was given, for this one; None where it has to be decided anew.

    A decision knows an attempt only by what the node's state says of it, and the state names no new attempt.
    """
    last = before.answered
    if not isinstance(last, Answered) or last.standing is None:
        return None
    chosen, state = last.chosen, last.standing.state
    if before is attempt or isinstance(chosen, Ignore):
        found = chosen
    elif state is not None and before.id in (state.attempt, state.once_attempt):
        return None
    else:
        found = replace(chosen, file=chosen.file.replace(before.id, attempt.id, 1))
    attempt.node_id = found.node_id if isinstance(found, Offer) else attempt.node_id
    return found

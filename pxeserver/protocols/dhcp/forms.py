"""Requests of one firmware are alike: what was once taken apart is known by its bytes the next time.

The machines of a site send the same options in the same order; a DISCOVER of one differs from another's in
its transaction, its addresses, its UUID (option 97) and its client identifier (option 61) only. So the
options of a DISCOVER without those two values are a key, and what the full decoder made of them is found
with one look-up. The decoder walks from code to length to code: where all bytes but two values of unchanged
length are the same, it makes the same of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pxeserver.protocols.dhcp.codes import MAGIC_COOKIE, MessageType, Option
from pxeserver.protocols.dhcp.packet import HEADER_SIZE, NO_ADDRESS
from pxeserver.protocols.dhcp.pxe import PxeRequest
from pxeserver.protocols.dhcp.reply import Boot, boot_reply

MAX_FORMS: Final = 512
"""Forms kept, each below 2 kB: far more than there are kinds of firmware. When a flood of made-up requests
fills the table, all are forgotten and the real ones are learnt again."""

MAX_CUTS: Final = 4
"""Pairs of places tried for requests of one length."""

MAX_LENGTH: Final = 1472
"""Bytes of a request that is learnt from: what fits into one Ethernet frame."""

MAX_ANSWERS: Final = 64
"""Answers kept for a form: one for each loader, server address and setting of the broadcast flag."""

ETHERNET_REQUEST: Final = b"\x01\x01\x06"
"""The first three bytes of every request that has a form: BOOTREQUEST, Ethernet, addresses of six bytes."""

ATTEMPT_SIZE: Final = 10
"""Characters of the name that a boot has, in the file that it is told."""

_COOKIE_AT: Final = HEADER_SIZE - len(MAGIC_COOKIE)
_FLAGS_AT: Final = 10
_CIADDR: Final = slice(12, 16)
_GIADDR: Final = slice(24, 28)
_CHADDR: Final = slice(28, 44)
_FILE_AT: Final = 108
_FILE_FIELD: Final = 127
_UUID_SIZE: Final = 17
_GROUP_BIT: Final = 1
_NO_MAC: Final = bytes(6)
_PAD, _END = Option.PAD.value, Option.END.value
_UUID, _CLIENT_ID = Option.CLIENT_UUID.value, Option.CLIENT_ID.value
_OVERLOAD = Option.OVERLOAD.value


class Answer:
    """An encoded answer with the client's own places left open."""

    __slots__ = ("_after", "_before", "_between", "_head")

    def __init__(self, reply: bytes, file: bytes, attempt_at: int) -> None:
        """`reply` is encoded for some client; the name of its boot stands at `attempt_at` of `file`, which is
        in the header."""
        name_at = _FILE_AT + attempt_at
        uuid_at = _value_of(reply, _UUID) or len(reply)
        self._head = reply[8 : _CHADDR.start]
        self._before = reply[_CHADDR.stop : name_at]
        self._between = reply[name_at + ATTEMPT_SIZE : uuid_at]
        self._after = reply[uuid_at + _UUID_SIZE :]

    def rest(self, request: bytes, attempt: bytes, uuid: bytes) -> bytes:
        """The answer from the field `secs` on: all that comes after the transaction's number.

        `uuid` is the client's option 97, where it sent one.
        """
        return b"".join((
            self._head, request[_CHADDR], self._before, attempt, self._between, uuid, self._after,
        ))  # fmt: skip


class Form:
    """What all requests of one form have in common. `uuid_at` is where their UUID lies, 0 without one."""

    __slots__ = ("_answers", "_first", "arch", "kind", "uuid_at")

    def __init__(self, first: PxeRequest, uuid_at: int) -> None:
        self.kind = first.kind
        self.arch = first.arch
        self.uuid_at = uuid_at
        self._first = first
        self._answers: dict[tuple[str, str, str, int], Answer] = {}

    def uuid(self, data: bytes) -> bytes:
        """Option 97 of a request, as its answer repeats it; empty without one."""
        at = self.uuid_at
        return data[at : at + _UUID_SIZE] if at else b""

    def offer(self, server: str, before: str, after: str, broadcast: int) -> Answer | None:
        """The offer of a file whose name has the boot's name between `before` and `after`.

        `broadcast` is the client's byte of flags. None where the name is too long for the header: then the
        options are others.
        """
        key = (server, before, after, broadcast)
        known = self._answers.get(key)
        if known is None and len(before) + ATTEMPT_SIZE + len(after) <= _FILE_FIELD:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            file = f"{before}{'-' * ATTEMPT_SIZE}{after}".encode()
            reply = bytearray(boot_reply(self._first, MessageType.OFFER, Boot(server, file)))
            reply[_FLAGS_AT] = broadcast & 0x80
            known = self._answers[key] = Answer(bytes(reply), file, len(before))
        return known


class _Cut(NamedTuple):
    """Where the two values lie that are no part of a form, and the forms that are known with this cut."""

    first: int
    first_end: int
    second: int
    second_end: int
    forms: dict[bytes, Form]


class Forms:
    """The forms of plain DISCOVERs: broadcast by a machine without an address, not through a relay."""

    def __init__(self) -> None:
        self._cuts: dict[int, list[_Cut]] = {}
        self._count = 0

    def find(self, data: bytes) -> Form | None:
        """The form of this request; None where it is not known, or the request is no plain DISCOVER."""
        for first, first_end, second, second_end, forms in self._cuts.get(len(data), ()):
            form = forms.get(data[_COOKIE_AT:first] + data[first_end:second] + data[second_end:])
            if form is not None:
                return form if is_plain(data) else None
        return None

    def learn(self, data: bytes, request: PxeRequest) -> None:
        """Keep the form of a request that the full decoder has read as `request`, if it has one."""
        if request.message is not MessageType.DISCOVER or len(data) > MAX_LENGTH or not is_plain(data):
            return
        found = _cut(data)
        if found is None:
            return
        if self._count >= MAX_FORMS:
            self._cuts.clear()
            self._count = 0
        (first, first_end), (second, second_end), uuid_at = found
        forms = self._with_cut(len(data), (first, first_end, second, second_end))
        key = data[_COOKIE_AT:first] + data[first_end:second] + data[second_end:]
        if key not in forms:
            forms[key] = Form(request, uuid_at)
            self._count += 1

    def _with_cut(self, length: int, cut: tuple[int, int, int, int]) -> dict[bytes, Form]:
        cuts = self._cuts.setdefault(length, [])
        for known in cuts:
            if known[:4] == cut:
                return known.forms
        if len(cuts) >= MAX_CUTS:
            self._count -= len(cuts.pop(0).forms)
        cuts.append(_Cut(*cut, {}))
        return cuts[-1].forms


def is_plain(data: bytes) -> bool:
    """Whether the header is that of a machine on the link itself that has no address yet."""
    mac = data[28:34]
    return (
        data[:3] == ETHERNET_REQUEST
        and data[_CIADDR] == NO_ADDRESS
        and data[_GIADDR] == NO_ADDRESS
        and mac != _NO_MAC
        and not mac[0] & _GROUP_BIT
    )


def _values(data: bytes) -> dict[int, tuple[int, int]] | None:
    """Where each option's value lies; None where one comes in parts, or options lie in the header fields."""
    found: dict[int, tuple[int, int]] = {}
    at = HEADER_SIZE
    while at < len(data) and data[at] != _END:
        code = data[at]
        if code == _PAD:
            at += 1
            continue
        start, at = at + 2, at + 2 + data[at + 1]
        if code in found or code == _OVERLOAD:
            return None
        found[code] = (start, at)
    return found


def _value_of(message: bytes, code: int) -> int | None:
    return (_values(message) or {}).get(code, (None, 0))[0]


def _cut(data: bytes) -> tuple[tuple[int, int], tuple[int, int], int] | None:
    """The two values to leave out, in order, and where the UUID lies; empty ones at the end where there are
    none. None for requests without a form."""
    values = _values(data)
    if values is None:
        return None
    end = (len(data), len(data))
    uuid = values.get(_UUID, end)
    if uuid[1] - uuid[0] != _UUID_SIZE:
        uuid = end
    first, second = sorted((uuid, values.get(_CLIENT_ID, end)))
    return first, second, uuid[0] if uuid is not end else 0

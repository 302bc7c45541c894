"""Who may speak for a node: the rules of claims, pure.

A claim is armed by a person or by the policy, made once, bound to the boot that makes it, and answered with
secrets that only the claimant's key opens. Whatever does not fit freezes the node until a person has looked:
one of two claimants is not who it says.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ARMED_SECONDS = 1800.0
"""How long a node stays armed, a join command can be used, and a boot may claim that needs no arming."""
ASK_AGAIN = 10.0
"""Seconds until an agent that has to wait for a person asks again."""
_LOOK_AGAIN = 3.0
"""Seconds until an agent asks again whose approval is being waited for."""
_CROSSING = 2.0
"""What an agent sent before its machine was started again may arrive so much later."""
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_CHARACTERS = 12

ATTEMPT, TOKEN = "attempt", "token"
State = Literal["armed", "asks", "waiting", "approved", "used", "revoked"]
"""armed: the next claim is granted; asks: a person has to compare the code of whoever claims; waiting: it
claimed and the person has not answered; approved: the person has."""
OPEN: tuple[State, ...] = ("armed", "asks", "waiting", "approved")


@dataclass(frozen=True, slots=True)
class Claim:
    """One permission to claim, and what became of it. Times in seconds since the epoch."""

    node_id: int
    kind: str
    """"attempt" or "token"."""
    armed_by: str
    armed_at: float
    expires: float
    state: State = "armed"
    id: int = 0
    attempt: str = ""
    token_sha256: str = ""
    used_at: float | None = None
    key: str = ""
    """The claimant's X25519 public key, base64."""
    address: str = ""
    why: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the claimant told of its machine. Nobody has checked it: a person who compares may look at it."""

    def is_open(self, now: float) -> bool:
        """Whether it can still be used."""
        return self.state in OPEN and now < self.expires


@dataclass(frozen=True, slots=True)
class Boot:
    """What the server saw itself of the boot that a claim names."""

    attempt: str
    macs: frozenset[str]
    """Of the machine that boots, and of the node it is."""
    addresses: frozenset[str]
    newest: bool = True
    """No later boot of this machine has begun."""
    started: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One claim as it arrives."""

    key: str
    address: str
    mac: str | None = None
    """From the neighbour table; None where the sender is behind a router."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The claim is good. `claim` is None where the policy lets the node in at each boot."""

    claim: Claim | None
    rung: int
    """1: armed; 2: a person compared the code."""
    repeat: bool = False
    """The same claimant has not had its answer, or lost it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet; the agent asks again after `seconds`."""

    seconds: float
    why: str
    code: str = ""
    """For a person to compare."""
    holds: Claim | None = None
    """From now on, this claim waits for that person's word on this claimant."""


@dataclass(frozen=True, slots=True)
class Deny:
    """No, and nothing changes."""

    why: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """No, and nobody speaks for this node until a person has looked."""

    why: str


Verdict = Grant | Wait | Deny | Freeze


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a node's claims: newest first."""

    claims: Sequence[Claim] = field(default=())
    frozen: str = ""
    """Why it is frozen; "" where it is not."""
    each_boot: bool = False
    """It keeps nothing over a restart, and its cluster says so: each of its boots may claim once, within
    ARMED_SECONDS of its beginning.
    """
    heard: float = 0.0
    """When the agent that speaks for it was heard last; 0: there is none, or never."""


def by_attempt(asking: Asking, boot: Boot, node: Record, now: float) -> Verdict:
    """A claim of a machine that this server booted."""
    if node.frozen:
        return Freeze(node.frozen)
    used = next((c for c in node.claims if c.attempt == boot.attempt and c.state == "used"), None)
    armed = next((c for c in node.claims if c.kind == ATTEMPT and c.is_open(now) and _fits(c, boot)), None)
    strange = stranger(asking, boot)
    if used is not None:
        if used.key == asking.key and not strange:
            return Grant(used, 1, repeat=True)
        return Freeze(strange or f"boot {boot.attempt} claimed twice, the second time from {asking.address}")
    if strange:
        return Freeze(strange) if armed or node.each_boot else Deny(strange)
    if not boot.newest:
        return Deny(f"boot {boot.attempt} is over: this machine has booted again since")
    if armed is not None:
        return _open(asking, armed)
    if node.each_boot and node.heard > boot.started + _CROSSING:
        return Freeze(
            f"boot {boot.attempt} is claimed from {asking.address}, and its agent ran on after it began"
        )
    if node.each_boot and now < boot.started + ARMED_SECONDS:
        return Grant(None, 1)
    rival = next((c for c in node.claims if c.state == "used" and now < c.expires), None)
    if rival is not None and rival.key != asking.key:
        return Freeze(f"claimed twice while it was armed once: by {rival.address}, then {asking.address}")
    return Wait(ASK_AGAIN, "this node is not armed: `pxeserver node arm NAME` arms it for 30 minutes")


def by_token(asking: Asking, claim: Claim | None, frozen: str, now: float) -> Verdict:
    """A claim with the token of a join command."""
    if claim is None or claim.state == "revoked":
        return Deny("this join command is not known: make another with `pxeserver node join-command`")
    if frozen:
        return Freeze(frozen)
    if claim.state == "used":
        if claim.key == asking.key:
            return Grant(claim, 1, repeat=True)
        return Freeze(f"its join command was used a second time, by {asking.address} after {claim.address}")
    if not claim.is_open(now):
        return Deny("this join command is too old: make another with `pxeserver node join-command`")
    return _open(asking, claim)


def _open(asking: Asking, claim: Claim) -> Verdict:
    if claim.state == "armed":
        return Grant(claim, 1)
    if claim.state == "asks":
        return Wait(_LOOK_AGAIN, _COMPARE, code(asking.key), claim)
    if claim.key != asking.key:
        return Freeze(f"two claimed it while one waited for approval: {claim.address}, {asking.address}")
    if claim.state == "approved":
        return Grant(claim, 2)
    return Wait(_LOOK_AGAIN, _COMPARE, code(asking.key))


_COMPARE = "a person has to compare this code: `pxeserver node admit NAME CODE`"


def _fits(claim: Claim, boot: Boot) -> bool:
    return claim.attempt in ("", boot.attempt)


def stranger(asking: Asking, boot: Boot) -> str:
    """Why the sender is not the machine of this boot; "" where it is, or cannot be told apart."""
    if asking.mac is not None and asking.mac not in boot.macs:
        return f"{asking.mac} ({asking.address}) claimed the boot of another machine"
    if asking.address not in boot.addresses:
        return f"{asking.address} claimed a boot that never had this address"
    return ""


def code(key: str) -> str:
    """What a person compares: 60 bits of the key's sha256, e.g. "4QZX-0M7B-K2NT". ValueError."""
    number = int.from_bytes(hashlib.sha256(base64.b64decode(key, validate=True)).digest()[:8], "big") >> 4
    letters = "".join(_ALPHABET[number >> (5 * i) & 31] for i in reversed(range(_CODE_CHARACTERS)))
    return "-".join(letters[i : i + 4] for i in range(0, _CODE_CHARACTERS, 4))


def same_code(typed: str, key: str) -> bool:
    """Whether a person typed the code of this key; case, dashes and look-alike letters do not matter."""
    plain = typed.upper().replace("-", "").replace(" ", "").translate(str.maketrans("OIL", "011"))
    return plain == code(key).replace("-", "")

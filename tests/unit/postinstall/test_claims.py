"""The rules of claims."""

import base64
from dataclasses import replace

import pytest

from pxeserver.postinstall.claims import (
    Asking,
    Boot,
    Claim,
    Deny,
    Freeze,
    Grant,
    Record,
    Wait,
    by_attempt,
    by_token,
    code,
    same_code,
)

NOW = 1_000_000.0
MINE, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
BOOT = Boot("abc", frozenset({"52:54:00:00:00:01"}), frozenset({"10.0.0.5"}), started=NOW - 100)
ASKING = Asking(MINE, "10.0.0.5", "52:54:00:00:00:01")
ARMED = Claim(1, "attempt", "cli:eva", NOW - 60, NOW + 1740, id=7)
USED = replace(ARMED, state="used", used_at=NOW - 5, key=MINE, address="10.0.0.5", attempt="abc")


def claimed(asking=ASKING, boot=BOOT, *claims, **more):
    return by_attempt(asking, boot, Record(claims, **more), NOW)


def test_an_armed_node_is_claimed_once():
    assert claimed(ASKING, BOOT, ARMED) == Grant(ARMED, 1)
    assert isinstance(claimed(replace(ASKING, key=OTHER), BOOT, USED), Freeze)


def test_who_lost_the_answer_gets_it_again_with_the_same_key():
    assert claimed(ASKING, BOOT, USED) == Grant(USED, 1, repeat=True)
    assert isinstance(claimed(replace(ASKING, address="10.0.0.9"), BOOT, USED), Freeze)


@pytest.mark.parametrize("armed", [(), (replace(ARMED, expires=NOW),), (replace(ARMED, state="revoked"),)])
def test_a_node_that_is_not_armed_waits(armed):
    assert isinstance(claimed(ASKING, BOOT, *armed), Wait)


def test_another_boot_s_arming_does_not_count():
    assert isinstance(claimed(ASKING, BOOT, replace(ARMED, attempt="xyz")), Wait)
    assert isinstance(claimed(ASKING, BOOT, replace(ARMED, kind="token")), Wait)


@pytest.mark.parametrize(
    "asking", [replace(ASKING, mac="52:54:00:00:00:99"), replace(ASKING, address="10.0.0.6")]
)
def test_a_stranger_freezes_an_armed_node_and_nothing_else(asking):
    assert isinstance(claimed(asking, BOOT, ARMED), Freeze)
    assert isinstance(claimed(asking, BOOT), Deny)


def test_behind_a_router_the_address_alone_decides():
    assert isinstance(claimed(replace(ASKING, mac=None), BOOT, ARMED), Grant)
    assert isinstance(claimed(replace(ASKING, mac=None, address="10.9.9.9"), BOOT, ARMED), Freeze)


def test_a_boot_that_is_over_does_not_claim():
    assert isinstance(claimed(ASKING, replace(BOOT, newest=False), ARMED), Deny)


def test_a_rival_in_the_window_freezes():
    rival = replace(USED, attempt="xyz", key=OTHER, address="10.0.0.66")
    assert isinstance(claimed(ASKING, BOOT, rival), Freeze)
    assert isinstance(claimed(ASKING, BOOT, replace(rival, expires=NOW - 1)), Wait)
    assert claimed(ASKING, BOOT, ARMED, rival) == Grant(ARMED, 1), "a person armed it anew"


def test_a_node_that_keeps_nothing_claims_at_each_boot_once():
    assert claimed(ASKING, BOOT, each_boot=True) == Grant(None, 1)
    assert claimed(ASKING, BOOT, replace(USED, attempt="old", key=OTHER), each_boot=True) == Grant(None, 1)
    assert isinstance(claimed(replace(ASKING, key=OTHER), BOOT, USED, each_boot=True), Freeze)
    assert isinstance(claimed(replace(ASKING, mac="52:54:00:00:00:99"), BOOT, each_boot=True), Freeze)


def test_the_window_of_a_boot_that_needs_no_arming_closes():
    old = replace(BOOT, started=NOW - 1800)
    assert isinstance(claimed(ASKING, old, each_boot=True), Wait)
    assert claimed(ASKING, replace(old, started=NOW - 1799), each_boot=True) == Grant(None, 1)
    assert claimed(ASKING, old, ARMED, each_boot=True) == Grant(ARMED, 1), "a person armed it"


def test_nobody_boots_as_a_machine_that_runs():
    assert claimed(ASKING, BOOT, each_boot=True, heard=NOW - 100.5) == Grant(None, 1)
    assert claimed(ASKING, BOOT, each_boot=True, heard=NOW - 99) == Grant(None, 1), "it was under way"
    frozen = claimed(ASKING, BOOT, each_boot=True, heard=NOW - 90)
    assert isinstance(frozen, Freeze)
    assert "its agent ran on after it began" in frozen.why
    assert claimed(ASKING, BOOT, USED, each_boot=True, heard=NOW) == Grant(USED, 1, repeat=True)


def test_frozen_is_frozen():
    assert claimed(ASKING, BOOT, ARMED, frozen="two claimed it") == Freeze("two claimed it")
    assert by_token(ASKING, replace(ARMED, kind="token"), "two claimed it", NOW) == Freeze("two claimed it")


def test_a_person_compares_the_code():
    asks = replace(ARMED, state="asks")
    first = claimed(ASKING, BOOT, asks)
    assert isinstance(first, Wait)
    assert first.code == code(MINE)
    assert first.holds == asks
    waiting = replace(asks, state="waiting", key=MINE, attempt="abc", address="10.0.0.5")
    assert claimed(ASKING, BOOT, waiting).code == code(MINE)
    assert isinstance(claimed(replace(ASKING, key=OTHER), BOOT, waiting), Freeze)
    approved = replace(waiting, state="approved")
    assert claimed(ASKING, BOOT, approved) == Grant(approved, 2)
    assert isinstance(claimed(replace(ASKING, key=OTHER), BOOT, approved), Freeze)


def test_a_join_token_is_used_once():
    token = replace(ARMED, kind="token")
    used = replace(token, state="used", key=MINE, address="10.0.0.5")
    assert by_token(ASKING, token, "", NOW) == Grant(token, 1)
    assert by_token(ASKING, used, "", NOW) == Grant(used, 1, repeat=True)
    assert isinstance(by_token(replace(ASKING, key=OTHER), used, "", NOW), Freeze)
    assert isinstance(by_token(ASKING, token, "", NOW + 1740), Deny)
    assert isinstance(by_token(ASKING, replace(token, state="revoked"), "", NOW), Deny)
    assert isinstance(by_token(ASKING, None, "", NOW), Deny)


def test_a_code_is_told_from_another_and_forgives_look_alikes():
    assert code(MINE) != code(OTHER)
    assert same_code(code(MINE).lower().replace("-", " "), MINE)
    assert same_code(code(MINE).replace("0", "O").replace("1", "l"), MINE)
    assert not same_code(code(OTHER), MINE)
    assert not same_code("", MINE)

"""The table of leases: which address a client gets, and when another may have it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pxeserver.boot.model import Lease
from pxeserver.protocols.dhcp.lease import BOUND, DECLINE_SECONDS, OFFER_SECONDS, RELEASED, LeaseTable

POOL = (("10.0.0.10", "10.0.0.12"),)
NOW = 1000.0


def lease(address: str, client: str, expires: float = NOW + 100, state: str = BOUND) -> Lease:
    return Lease(address, f"mac-{client}", client, expires, state=state)


def take(table: LeaseTable, client: str, now: float = NOW, seconds: float = 100) -> str | None:
    address = table.choose(client, POOL, now)
    if address is not None:
        table.put(lease(address, client, now + seconds))
    return address


def test_addresses_in_order_until_there_are_none() -> None:
    table = LeaseTable()
    assert [take(table, c) for c in "abcd"] == ["10.0.0.10", "10.0.0.11", "10.0.0.12", None]


def test_a_client_keeps_its_address_also_after_it_ran_out() -> None:
    table = LeaseTable()
    assert take(table, "a") == "10.0.0.10"
    assert table.choose("a", POOL, NOW + 50) == "10.0.0.10"
    assert table.choose("a", POOL, NOW + 5000) == "10.0.0.10"


def test_the_longest_free_comes_first_once_all_were_used() -> None:
    table = LeaseTable()
    for client, seconds in (("a", 300), ("b", 100), ("c", 200)):
        take(table, client, seconds=seconds)
    assert table.choose("d", POOL, NOW + 150) == "10.0.0.11"
    assert table.choose("d", POOL, NOW + 250) == "10.0.0.11"
    table.put(lease("10.0.0.11", "d", NOW + 900))
    assert table.choose("e", POOL, NOW + 250) == "10.0.0.12"
    assert table.choose("b", POOL, NOW + 250) == "10.0.0.12", "its own went to another client"


def test_a_renewed_lease_is_not_free_when_the_old_one_would_have_ended() -> None:
    table = LeaseTable()
    for client in "abc":
        take(table, client)
    table.put(lease("10.0.0.10", "a", NOW + 1000))
    assert table.choose("d", POOL, NOW + 150) == "10.0.0.11"
    for address, client in (("10.0.0.11", "b"), ("10.0.0.12", "c")):
        table.put(lease(address, client, NOW + 1000))
    assert table.choose("d", POOL, NOW + 150) is None


def test_the_wish_is_granted_only_where_it_is_free_in_the_pool_and_not_barred() -> None:
    table = LeaseTable()
    assert table.choose("a", POOL, NOW, wanted="10.0.0.12") == "10.0.0.12"
    assert table.choose("a", POOL, NOW, wanted="10.0.0.99") == "10.0.0.10"
    assert table.choose("a", POOL, NOW, wanted="10.0.0.12", barred=lambda a: a == "10.0.0.12") == "10.0.0.10"
    table.put(lease("10.0.0.12", "b"))
    assert table.choose("a", POOL, NOW, wanted="10.0.0.12") == "10.0.0.10"


def test_barred_addresses_come_back_when_the_bar_is_lifted() -> None:
    table = LeaseTable()
    barred = {"10.0.0.10"}
    first = table.choose("a", POOL, NOW, barred=barred.__contains__)
    assert first == "10.0.0.11"
    table.put(lease("10.0.0.11", "a", NOW + 9999))
    table.put(lease("10.0.0.12", "b", NOW + 9999))
    assert table.choose("c", POOL, NOW, barred=barred.__contains__) is None
    barred.clear()
    assert table.choose("c", POOL, NOW + 1) is None, "a full pool is not looked through for every packet"
    assert table.choose("c", POOL, NOW + 61) == "10.0.0.10"


def test_a_full_pool_is_looked_through_also_after_the_clock_was_set_back() -> None:
    table = LeaseTable()
    for client in "abc":
        take(table, client, seconds=9999)
    assert table.choose("d", POOL, NOW, barred=lambda a: True) is None
    table.put(lease("10.0.0.11", "b", NOW - 900, RELEASED))
    table._pools[POOL[0]].freed.clear()  # as a reservation does that is taken away again
    assert table.choose("d", POOL, NOW - 800) == "10.0.0.11"


def test_an_offer_holds_the_address_for_a_while() -> None:
    table = LeaseTable()
    table.hold("10.0.0.10", "a", "mac-a", NOW)
    assert table.choose("b", POOL, NOW) == "10.0.0.11"
    assert table.choose("a", POOL, NOW) == "10.0.0.10"
    for address, client in (("10.0.0.11", "x"), ("10.0.0.12", "y")):
        table.put(lease(address, client, NOW + 9999))
    assert table.choose("b", POOL, NOW + OFFER_SECONDS - 1) is None
    assert table.choose("b", POOL, NOW + OFFER_SECONDS) == "10.0.0.10"


def test_holding_does_not_shorten_a_lease() -> None:
    table = LeaseTable([lease("10.0.0.10", "a", NOW + 1000)])
    table.hold("10.0.0.10", "a", "mac-a", NOW)
    entry = table.get("10.0.0.10")
    assert entry is not None
    assert (entry.state, entry.expires) == (BOUND, NOW + 1000)


def test_letting_go_frees_offers_and_not_leases() -> None:
    table = LeaseTable([lease("10.0.0.10", "a")])
    table.hold("10.0.0.11", "b", "mac-b", NOW)
    table.let_go("a", NOW)
    table.let_go("b", NOW)
    assert not table.get("10.0.0.10").is_free(NOW)  # type: ignore[union-attr]
    assert table.get("10.0.0.11").is_free(NOW)  # type: ignore[union-attr]


def test_quarantine_takes_it_from_everybody() -> None:
    table = LeaseTable([lease("10.0.0.10", "a")])
    table.quarantine("10.0.0.10", NOW)
    assert table.choose("a", POOL, NOW) == "10.0.0.11"
    assert table.choose("z", POOL, NOW, wanted="10.0.0.10") == "10.0.0.11"
    assert table.choose("z", POOL, NOW + DECLINE_SECONDS, wanted="10.0.0.10") == "10.0.0.10"


def test_released_addresses_go_to_others_last_and_to_their_client_first() -> None:
    table = LeaseTable([lease("10.0.0.10", "a", NOW, RELEASED)])
    assert table.choose("b", POOL, NOW) == "10.0.0.11"
    assert table.choose("a", POOL, NOW) == "10.0.0.10"


def test_a_client_in_two_subnets_has_an_address_in_each() -> None:
    other = (("10.1.0.10", "10.1.0.12"),)
    table = LeaseTable()
    take(table, "a")
    assert table.choose("a", other, NOW) == "10.1.0.10"
    table.put(lease("10.1.0.10", "a"))
    assert table.choose("a", POOL, NOW) == "10.0.0.10"


def test_leases_of_a_restart() -> None:
    table = LeaseTable([lease("10.0.0.10", "a"), lease("10.0.0.11", "b", NOW - 1)])
    assert [e.client_id for e in table.bound(NOW)] == ["a"]
    assert len(table) == 2
    assert table.choose("c", POOL, NOW) == "10.0.0.12"


def test_renewals_do_not_pile_up() -> None:
    table = LeaseTable()
    for turn in range(2000):
        take(table, "a", NOW + turn)
    assert len(table._pools[POOL[0]].freed) <= 2 * 3 + 64


def test_a_large_pool_is_used_up_without_searching() -> None:
    table, pool = LeaseTable(), (("10.0.0.1", "10.0.255.254"),)
    for number in range(65_534):
        address = table.choose(str(number), pool, NOW)
        assert address is not None
        table.put(Lease(address, "", str(number), NOW + 100))
    assert table.choose("more", pool, NOW) is None


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "a.b.c.d", "1.2.3.4.5", "²00.1.1.1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        LeaseTable().get(text)


class Leasing(RuleBasedStateMachine):
    """Whatever clients do, no address is promised to two of them at once."""

    clients = st.sampled_from("abcdef")

    def __init__(self) -> None:
        super().__init__()
        self.table = LeaseTable()
        self.now = NOW
        self.promised: dict[str, tuple[str, float]] = {}

    @rule(client=clients, seconds=st.integers(1, 200))
    def lease(self, client: str, seconds: int) -> None:
        address = self.table.choose(client, POOL, self.now)
        if address is None:
            assert all(not e.is_free(self.now) for e in self.table)
            assert len(self.table) == 3
            return
        holder, until = self.promised.get(address, (client, 0.0))
        assert holder == client or until <= self.now, f"{address} is {holder}'s"
        self.table.put(lease(address, client, self.now + seconds))
        self.promised[address] = (client, self.now + seconds)

    @rule(client=clients)
    def offer(self, client: str) -> None:
        address = self.table.choose(client, POOL, self.now)
        if address is not None:
            self.table.hold(address, client, "mac", self.now)

    @precondition(lambda self: self.promised)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.promised)))
        client, until = self.promised[address]
        if until > self.now:
            self.table.put(lease(address, client, self.now, RELEASED))
            self.promised[address] = (client, self.now)

    @rule(seconds=st.integers(1, 120))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def promises_are_kept(self) -> None:
        for address, (client, until) in self.promised.items():
            if until > self.now:
                entry = self.table.get(address)
                assert entry is not None
                assert (entry.client_id, entry.state) == (client, BOUND)


Leasing.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLeasing = Leasing.TestCase

"""ProxyDHCP: offers a second to machines that all ask at once, and how long an answer takes below that."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cast import Cast, Contender

MACHINES = 10_000
MANY = 4_000_000
"""More than are asked for: each of them asks for the first time."""
OUTSTANDING = 32
SHARE = 0.8


def rows(bench: Bench) -> None:
    """DISCOVERs of 10,000 machines, 32 always under way: all are known from their first second on. The same
    at 80 % of what each side reached, one at a time, and from machines none of which has asked before.
    """
    with bench.cast() as cast:
        sides = [cast.appliance(), cast.peer("dnsmasq"), cast.appliance("uvloop")]
        bench.introduce(*sides)
        machines = f"{MACHINES:,} machines"
        in_turn(
            bench, cast, f"dhcp-{OUTSTANDING}", f"ProxyDHCP offers to {machines}, 32 under way", OUTSTANDING
        )
        at_a_rate(bench, cast, machines)
        in_turn(bench, cast, "dhcp-1", f"ProxyDHCP offers to {machines}, one at a time", 1)
        in_turn(
            bench, cast, "dhcp-new", "ProxyDHCP offers, each DISCOVER a boot of its own, 32 under way",
            OUTSTANDING, MANY,
        )  # fmt: skip


def in_turn(
    bench: Bench, cast: Cast, key: str, title: str, outstanding: int, machines: int = MACHINES
) -> None:
    """Always the same number of requests under way."""

    def words(_: Contender) -> list[str]:
        return [bench.tools["dhcp"], "-m", str(machines), "-o", str(outstanding)]

    kind = "throughput" if outstanding > 1 else "latency"
    bench.compare(key, title, "1000 requests", list(cast.members.values()), words, kind=kind)


def at_a_rate(bench: Bench, cast: Cast, machines: str) -> None:
    """A fixed rate, of which each side is far from its limit; the rate is in 1,000 a second in the row."""
    reached = next((row["medians"] for row in bench.done if row["key"] == f"dhcp-{OUTSTANDING}"), None)
    if reached is None:
        return

    def words(side: Contender) -> list[str]:
        rate = SHARE * 1000 * (reached[side.name]["rate"] or 1)
        return [bench.tools["dhcp"], "-m", str(MACHINES), "-R", str(round(rate))]

    title = f"ProxyDHCP offers to {machines} at {SHARE:.0%} of what each side reached"
    note = "at a fixed rate; a late request counts from when it was due"
    sides = list(cast.members.values())
    bench.compare("dhcp-rate", title, "1000 requests", sides, words, kind="latency", note=note)

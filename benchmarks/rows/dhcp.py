"""ProxyDHCP: offers a second to machines that all ask at once."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cast import Contender

MACHINES = 10_000
OUTSTANDING = 32


def rows(bench: Bench) -> None:
    """DISCOVERs of 10,000 machines, 32 always under way; and one at a time, for the time an answer takes."""
    with bench.cast() as cast:
        sides = [cast.appliance(), cast.peer("dnsmasq"), cast.appliance("uvloop")]
        bench.introduce(*sides)
        for outstanding, title in ((OUTSTANDING, "32 under way"), (1, "one at a time")):

            def words(_: Contender, count: int = outstanding) -> list[str]:
                return [bench.tools["dhcp"], "-m", str(MACHINES), "-o", str(count)]

            bench.compare(
                f"dhcp-{outstanding}", f"ProxyDHCP offers to 10,000 machines, {title}",
                "1000 requests", sides, words,
                kind="throughput" if outstanding > 1 else "latency",
            )  # fmt: skip

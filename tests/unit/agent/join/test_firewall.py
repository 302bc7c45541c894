"""The rules that keep virtual networks apart, as text; the kernel takes them in tests/cluster."""

from __future__ import annotations

from typing import Any

from pxeserver.agent.join.steps import firewall

ROUTER = {"vnet": "web", "gateway": "10.10.0.1/24", "nat": True, "peers": ["10.10.0.3"]}


def want(**more: Any) -> dict[str, Any]:
    """What a node is told of two networks, of which only `web` has a gateway."""
    none: dict[str, Any] = {"routers": [], "addresses": [], "isolated": [["web"]], "uplink": "switch-1"}
    return none | {"vnets": ["inner", "web"]} | more


def rules(**more: Any) -> list[str]:
    return [line.strip() for line in firewall.rules(want(**more)).splitlines()]


def test_a_network_without_a_gateway_is_reached_from_no_other() -> None:
    lines = rules(routers=[ROUTER])
    assert 'iifname "web" oifname { "inner" } drop' in lines
    assert 'iifname "inner" oifname { "web" } drop' in lines
    assert 'iifname { "inner" } oifname "switch-1" drop' in lines, "nothing leaves it"
    assert 'iifname "switch-1" oifname { "inner", "web" } drop' in lines


def test_a_node_that_is_no_router_forwards_for_nobody() -> None:
    lines = rules()
    assert 'iifname "web" oifname { "inner" } drop' in lines
    assert 'iifname { "inner", "web" } oifname "switch-1" drop' in lines
    assert 'iifname { "inner", "web" } fib daddr . iif type unicast drop' in lines
    assert not [line for line in lines if "masquerade" in line]

"""keepalived's configuration."""

from typing import Any

import pytest

from pxeserver.agent.join.steps import keepalived

ROUTER = {
    "vnet": "web",
    "gateway": "10.10.0.1/24",
    "nat": False,
    "vrid": 7,
    "priority": 100,
    "source": "10.10.0.2",
}


def config(*peers: str) -> list[str]:
    want: dict[str, Any] = {"routers": [ROUTER | {"peers": list(peers)}], "addresses": [], "advert_ms": 300}
    return [line.strip() for line in keepalived.config(want).splitlines()]


@pytest.mark.parametrize("peers", [("10.10.0.3",), ("10.10.0.4", "10.10.0.3")])
def test_routers_speak_to_their_peers_alone(peers: tuple[str, ...]) -> None:
    lines = config(*peers)
    begin = lines.index("unicast_peer {")
    assert lines[begin - 1] == "unicast_src_ip 10.10.0.2"
    assert lines[begin + 1 : lines.index("}", begin)] == sorted(peers)


def test_a_router_that_is_alone_has_no_list_of_peers() -> None:
    """keepalived refuses an empty one."""
    lines = config()
    assert "mcast_src_ip 10.10.0.2" in lines
    assert not any("unicast" in line for line in lines)

"""Real Open vSwitch, GlusterFS, keepalived and Docker on Debian containers of one LAN."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nodes_under_test import LENT, Nodes

from pxeserver.lab.container import missing


@pytest.fixture(scope="session", autouse=True)
def able() -> None:
    """Says what the machine lacks, where these tests cannot run on it."""
    if lacks := missing():
        pytest.skip(f"no containers on this machine: it lacks {', '.join(lacks)}")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes, switched on."""
    with Nodes(tmp_path_factory.mktemp("nodes"), 3, lent=LENT) as nodes:
        nodes.power_on()
        yield nodes

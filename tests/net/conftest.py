"""Fixtures of the tests that need network namespaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from server_under_test import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that is not started yet; stopped and cleared away after the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.close()

"""The start-up lines: the command that they end with can be typed as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pxeserver.run import own_name

SOURCE = Path(__file__).parents[3]


def test_where_the_shell_does_not_find_it_the_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("pxeserver") is None
    done = subprocess.run(
        f"{own_name()} --version", shell=True, capture_output=True, text=True, check=True, cwd=SOURCE
    )
    assert done.stdout.strip()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my python"))
    assert own_name() == f"'{tmp_path}/my python' -m pxeserver"


def test_where_the_shell_finds_it_its_name_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "pxeserver"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_name() == "pxeserver"

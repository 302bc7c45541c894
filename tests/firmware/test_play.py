"""`make demo` and `make try`, as a person sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.firmware, pytest.mark.long, pytest.mark.timeout(900)]

LAB = [sys.executable, "-m", "pxeserver.lab"]


def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the lab's program; nothing of it may be left, whatever else runs on this host."""
    command = [*LAB, *words]
    environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    ) as process:
        try:
            out, err = process.communicate(typed, timeout=800)
        finally:
            process.kill()
    assert not list(Path("/run/netns").glob(f"pxelab-{process.pid}-*"))
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def test_the_demo_boots_three_machines_and_leaves_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "boot.svg"
    shown = run("demo", "--seconds", "500", "--picture", str(picture))
    assert shown.returncode == 0, shown.stdout[-3000:] + shown.stderr[-1000:]
    for kind in ("bios-ipxe-virtio", "ovmf-pxe", "ovmf-http"):
        assert kind in shown.stdout
    assert "All are up in the discovery system" in shown.stdout
    assert picture.read_text().startswith("<svg")


def test_a_demo_that_cannot_be_in_time_says_so() -> None:
    shown = run("demo", "--seconds", "1")
    assert shown.returncode == 1
    assert "Did not come up" in shown.stdout


def test_the_playground_obeys_what_is_typed() -> None:
    typed = "status\non\non\nnode list\nfly\noff\nquit\n"
    shown = run("try", "--firmware", "bios-ipxe-virtio", typed=typed)
    assert shown.returncode == 0, shown.stdout[-3000:] + shown.stderr[-1000:]
    assert "10.77.0.2/24" in shown.stdout
    assert "is on" in shown.stdout
    assert "is already on" in shown.stdout
    assert "is off" in shown.stdout
    assert "not understood" in shown.stderr + shown.stdout

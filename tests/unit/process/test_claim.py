"""A folder has one owner at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pxeserver.claim import InUse, claim


def test_a_folder_is_had_by_one_process_until_it_ends(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from pxeserver.claim import claim; claim(Path({str(tmp_path)!r}))"
    words = [sys.executable, "-c", f"{program}; print('has it', flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(InUse):
            claim(tmp_path)
        other.kill()
    os.close(claim(tmp_path))


def test_the_programs_it_starts_do_not_keep_it(tmp_path: Path) -> None:
    fd = claim(tmp_path)
    words = [sys.executable, "-c", "print('runs', flush=True); input()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, close_fds=False) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"runs\n"
        os.close(fd)
        os.close(claim(tmp_path))

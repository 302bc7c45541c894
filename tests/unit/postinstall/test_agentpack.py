"""The agent as one file."""

import subprocess
import sys
import zipfile

from pxeserver.postinstall import agentpack


def test_the_same_sources_make_the_same_bytes(tmp_path):
    data = agentpack.pack()
    assert agentpack.pack() == data
    path = tmp_path / "agent.pyz"
    path.write_bytes(data)
    names = zipfile.ZipFile(path).namelist()
    assert names == sorted(names)
    assert {
        "__main__.py",
        "pxeserver/agent/join/runner.py",
        "pxeserver/agent/pxeserver-agent.service",
    } <= set(names)
    assert not [n for n in names if "__pycache__" in n or not n.startswith(("__main__", "pxeserver/"))]


def test_it_runs_from_anywhere_without_nacl(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(agentpack.pack())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path), "join", "--help"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "--server" in done.stdout

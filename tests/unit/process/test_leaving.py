"""The end of a process of ours: at once, with everything said that it had to say."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import atexit, logging, sys, threading, time
    from pxeserver import logs
    from pxeserver.forked import leave

    logs.start("control", "info")
    atexit.register(time.sleep, 30)
    threading.Thread(target=time.sleep, args=(30,)).start()
    print("last words")
    logging.getLogger("pxeserver.x").info("last line")
    leave(3)
"""


def test_it_waits_neither_for_threads_nor_for_the_interpreter_and_loses_no_line() -> None:
    words = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 3
    assert done.stdout == "last words\n"
    assert 'msg="last line"' in done.stderr

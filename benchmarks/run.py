"""`python -m benchmarks.run [--quick]`: the side-by-side benchmarks. Needs root; touches no network."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import agree, load, meter, peers, report
from benchmarks.bench import Bench
from benchmarks.peers import make_file
from benchmarks.rows import GROUPS
from benchmarks.stage import pin_harness
from pxeserver.lab.netns import need_root, sweep
from pxeserver.lab.process import LabError

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
PAIRS, SECONDS = 5, 8.0
QUICK_SECONDS = 4.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every row once, in at most 20 minutes")
    parser.add_argument("--only", default="", help="the rows whose key begins so, e.g. tftp-1468, storm-1000")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--no-check", action="store_true", help="leave out the check of the load generators")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


def main() -> int:
    """Run, and write the results."""
    options = arguments()
    try:
        need_root()
    except LabError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    sweep()
    tools, unpacked = load.build(CACHE / "load"), peers.unpack(CACHE)
    is_quiet, busy = meter.quiet()
    pin_harness()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the finally clauses
    work = Path(tempfile.mkdtemp(prefix="pxebench"))
    work.chmod(0o755)
    begun = time.monotonic()
    try:
        files = work / "files"
        for name, size in (("snponly.efi", 300_000), ("1m.bin", 1 << 20), ("64m.bin", 64 << 20)):
            make_file(files / name, size)
        repeats = 1 if options.quick else options.pairs
        seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
        bench = Bench(work, files, unpacked, tools, repeats, seconds, options.quick, options.only)
        if not is_quiet:
            bench.say(f"the machine is not idle: {busy}; these results will be marked as not to be published")
        checks = {} if options.no_check else agree.check(bench)
        failed = []
        for name, group in GROUPS.items():
            if not bench.wanted(name):
                continue
            try:
                group(bench)
            except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
                failed.append(name)
                bench.say(f"FAILED {name}: {error}")
            except KeyboardInterrupt:
                failed.append(f"{name} and what comes after it")
                bench.say("interrupted: the rows so far are written")
                break
        told = report.document(
            bench.done, command=shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]]), quiet=is_quiet,
            busy_before=busy, seconds=round(time.monotonic() - begun), checks=checks, verified=bench.verified,
            settings=bench.settings, failed_groups=failed,
        )  # fmt: skip
        report.write(told, options.out)
        print(report.table(told))
        bench.say(f"{time.monotonic() - begun:.0f} s; results in {options.out}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    wrong = [name for name, check in checks.items() if not check["agrees"]]
    if wrong:
        print(f"benchmarks: load generators disagree with the other client: {wrong}", file=sys.stderr)
    return 1 if failed or wrong or not (options.only or report.clean(told)) else 0


if __name__ == "__main__":
    sys.exit(main())

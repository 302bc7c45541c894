"""The harness's own parts: ratios, plots, the README's part, and the fence around the storm."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme, report, results, svg
from benchmarks.storm import guard
from benchmarks.storm.__main__ import _share, bits
from benchmarks.storm.client import by_second, main, share
from benchmarks.storm.machine import _SLEEP
from benchmarks.storm.personalities import read_answer
from pxeserver.boot.admission import Turn
from pxeserver.boot.decision import hello_script, waiting_script
from pxeserver.boot.model import Machine


def run(rate: float, cpu: float, *, saturated: bool = True) -> results.Sample:
    load = {
        "requests": 1000,
        "all_requests": 1000,
        "seconds": 1 / rate,
        "cpu": 0.1,
        "failures": 0,
        "p50": 1,
        "p99": 2,
    }
    meter = {"cpu": cpu, "saturated": saturated, "memory": 1, "core_busy": 1.0}
    return results.sample(load, meter, "1000 requests")


def told(**changes: Any) -> dict[str, Any]:
    sides = {"pxeserver": [run(2, 1), run(3, 1)], "nginx": [run(1, 2), run(1, 2)]}
    row = results.row("x", "a row", "1000 requests", sides, "pxeserver")
    whole = report.document(
        [row], command="make bench", quiet=True, busy_before={}, settings={}, checks={},
        verified={"HTTP": {"transfers": 1, "bytes": 1, "wrong": 0, "failures": 0}},
    )  # fmt: skip
    return whole | changes


def test_a_ratio_is_that_of_neighbours_with_its_spread() -> None:
    against = told()["rows"][0]["against"]["nginx"]
    assert against["rate"] == {"median": 2.5, "least": 2.0, "greatest": 3.0, "pairs": 2}
    assert against["cpu_per_unit"]["median"] == 0.5
    assert against["rate_counts"]


def test_a_rate_does_not_count_where_a_core_was_idle() -> None:
    sides = {"pxeserver": [run(2, 1)], "nginx": [run(1, 2, saturated=False)]}
    row = results.row("x", "a row", "1000 requests", sides, "pxeserver")
    assert not row["against"]["nginx"]["rate_counts"]
    assert "not saturated" in "\n".join(report._compared(row))


def test_the_readme_gets_ratios_between_its_markers_and_keeps_the_rest() -> None:
    text = f"# A\n\n{readme.BEGIN}\nold\n{readme.END}\n\n## When a machine does not boot\n"
    new = readme.put(text, readme.section(told()))
    assert "old" not in new
    assert "2.50x (2.00-3.00)" in new
    assert new.count(readme.BEGIN) == new.count(readme.END) == 1
    assert readme.put(new, readme.section(told())) == new
    fresh = readme.put("# A\n\n## When a machine does not boot\n", readme.section(told()))
    assert fresh.index(readme.END) < fresh.index("## When")


@pytest.mark.parametrize("fault", [
    {"quiet": False, "busy_before": {"core0": 0.5}},
    {"verified": {}},
    {"verified": {"HTTP": {"transfers": 1, "bytes": 1, "wrong": 1, "failures": 0}}},
])  # fmt: skip
def test_disturbed_or_unverified_results_are_not_published(fault: dict[str, Any]) -> None:
    with pytest.raises(readme.NotPublishable):
        readme.section(told(**fault))


def test_plots_are_well_formed_and_escape_names() -> None:
    for text in (
        svg.bars("a <b>", {"x & y": 1.0}, "GB/s", {"x & y": (0.5, 1.5)}),
        svg.curves("t", {"a": [1, 2]}, "n"),
    ):
        assert ElementTree.fromstring(text).tag.endswith("svg")
    assert set(report.plots(told())) == {"x.svg"}


def test_shares_and_seconds() -> None:
    assert share([3, 1, 2], 0.5) == 2
    assert share([], 0.5) is None
    assert by_second([10.5, 10.9, 12.1], 10.0) == [2, 2, 3]


def test_the_storm_stays_in_the_lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    own.touch()
    lab = tmp_path / "netns"
    lab.mkdir()
    with pytest.raises(guard.NotTheLab):
        guard.require_lab(named=lab, own=own)
    (lab / "somebody-elses").hardlink_to(own)
    with pytest.raises(guard.NotTheLab):
        guard.require_lab(named=lab, own=own)
    guard.require_lab(allow=True, named=lab, own=own)
    (lab / f"pxelab-{os.getpid()}-ab-c").hardlink_to(own)
    guard.require_lab(named=lab, own=own)


def test_the_storms_machines_read_the_script_that_makes_them_wait() -> None:
    machine, turn = Machine("52:54:00:00:00:01"), Turn(12, 130, 7, 14)
    found = _SLEEP.search(waiting_script(turn, "http://10.70.0.2", "abcdefghij", machine))
    assert found is not None
    assert found.groups() == ("7", "http://10.70.0.2/a/abcdefghij/boot.ipxe")
    assert _SLEEP.search(hello_script("http://10.70.0.2", "abcdefghij")) is None


def test_the_share_of_a_shaped_wire() -> None:
    assert bits("1gbit") == 1e9
    assert bits("100mbit") == 1e8
    with pytest.raises(ValueError, match="no rate"):
        bits("fast")
    told = _share({"bytes": 900_000_000, "drops": 3}, "1gbit", 8.0)
    assert told == {"share": 0.9, "drops": 3}


def test_the_storm_refuses_the_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert not guard.in_the_lab()
    assert main(["--machines", "1"]) == 2
    assert "lab" in capsys.readouterr().err


def test_no_answer_is_read_from_rubbish() -> None:
    assert read_answer(b"") is None
    assert read_answer(b"\1" * 300) is None
    assert read_answer(bytes((2,)) + bytes(235) + b"\x63\x82\x53\x63" + b"\x35\xff") is None

"""The cluster file that the documentation shows."""

from __future__ import annotations

from pathlib import Path

from pxeserver.postinstall import specfile
from pxeserver.postinstall.circumstances import Circumstances, check_against
from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.layout import Candidate

ROOT = Path(__file__).parents[3]
HERE = ROOT / "docs/examples"


def test_the_example_is_a_cluster_that_can_be() -> None:
    text = (HERE / "cluster.toml").read_text()
    files = {name: (HERE / name).read_text() for name in specfile.files_of(text)}
    spec = specfile.read(text, files)
    nodes = [Candidate(f"n{n}", f"10.77.0.{10 + n}/24", f"52:54:00:00:00:0{n}") for n in (1, 2, 3)]
    assert check_against(spec, Circumstances(candidates=nodes)) == []
    layout = lay_out(spec, nodes)
    assert layout.managers == ("n1", "n2", "n3")
    assert [brick.node for brick in layout.bricks] == ["n1", "n2", "n3"]
    assert layout.places["n2"].shares["data"].address == "10.20.0.2/24"
    assert {s.name for s in spec.stacks} == {"shop"} and {c.node for c in spec.compose} == {"n1"}
    assert spec.labels_of("n1") == {"disk": "fast", "site": "lab"}


def test_the_readme_shows_a_cluster_that_can_be() -> None:
    text = (ROOT / "README.md").read_text().split("```toml\n")[1].split("```")[0]
    spec = specfile.read(text)
    assert (spec.name, spec.uplink, len(spec.addresses)) == ("lab", "switch-1", 1)

"""Which bricks are behind, by what GlusterFS says of healing."""

from types import SimpleNamespace

import pytest

from pxeserver.agent.join.command import Done
from pxeserver.agent.join.steps import pool

ONE = """\
Brick 10.77.0.{0}:/srv/brick/shared-{0}
Status: {1}
Total Number of entries: {2}
Number of entries in heal pending: {2}
Number of entries in split-brain: 0
Number of entries possibly healing: 0
"""


@pytest.mark.parametrize(
    ("bricks", "lack"),
    [
        ([(11, "Connected", 0), (12, "Connected", 0), (13, "Connected", 0)], []),
        ([(11, "Connected", 4), (12, "Connected", 4), (13, "Connected", 0)], [13]),
        (
            [(11, "Connected", 1), (12, "Transport endpoint is not connected", "-"), (13, "Connected", 1)],
            [12],
        ),
    ],
)
def test_a_brick_is_behind_when_others_have_noted_what_it_lacks(bricks, lack, monkeypatch):
    text = "\n".join(ONE.format(*brick) for brick in bricks)
    monkeypatch.setattr(pool, "run", lambda *words, **_: Done(0, text, "", words))
    assert pool.behind(pool.pending("shared")) == [f"10.77.0.{n}:/srv/brick/shared-{n}" for n in lack]


def test_a_single_brick_is_not_asked_what_waits_to_be_healed(monkeypatch):
    def never(*words, **_):
        raise AssertionError(words)

    monkeypatch.setattr(pool, "run", never)
    monkeypatch.setattr(pool, "_there", lambda name: SimpleNamespace(id="one"))
    want = {
        "volume": "shared",
        "bricks": [{"address": "10.77.0.11", "path": "/srv/brick/shared-11", "node": "n1", "arbiter": False}],
    }
    assert pool.Pool().facts(want) == {"volume_id": "one", "healing": 0, "behind": []}

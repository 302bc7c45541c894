"""What losses teach: windows and blocks by machine."""

from __future__ import annotations

import pytest

from pxeserver.protocols.tftp.experience import UNKNOWN, Experience, fitting_window
from pxeserver.protocols.tftp.negotiation import Agreement
from pxeserver.protocols.tftp.outcome import Progress

HOUR = 3600.0


def progress(losses: int, acked: int = 1000, resent: int = 0) -> Progress:
    return Progress(acked + resent, resent, acked, acked * 1468, losses)


def agreed(windowsize: int = 64, blksize: int = 1468) -> Agreement:
    return Agreement(blksize, windowsize)


@pytest.fixture
def experience() -> Experience:
    return Experience()


@pytest.mark.parametrize(
    ("percent", "window"), [(0, 64), (0.5, 64), (1, 32), (2, 16), (5, 8), (10, 4), (20, 2), (100, 1)]
)
def test_the_window_follows_the_share_of_losses(percent, window):
    assert fitting_window(progress(round(percent * 100), 10_000)) == window


def test_nothing_is_known_of_a_machine_at_first(experience):
    assert experience.way_to("m", 0.0) is UNKNOWN


def test_a_loss_or_two_prove_nothing(experience):
    experience.suffers("m", agreed(), progress(2, acked=10), 0.0, 0.0)
    assert experience.way_to("m", 0.0) is UNKNOWN


def test_losses_lower_the_window_of_that_machine_only(experience):
    experience.suffers("m", agreed(), progress(50), 0.0, 0.0)
    assert experience.way_to("m", 1.0).windowsize == 8
    assert experience.way_to("n", 1.0) is UNKNOWN


def test_telling_again_changes_nothing(experience):
    for _ in range(10):
        experience.suffers("m", agreed(), progress(50), 0.0, 0.0)
    assert experience.way_to("m", 1.0).windowsize == 8


def test_it_is_forgotten_after_an_hour(experience):
    experience.suffers("m", agreed(), progress(50), 0.0, 10.0)
    assert experience.way_to("m", 10.0 + HOUR).windowsize == 8
    assert experience.way_to("m", 10.1 + HOUR) is UNKNOWN
    assert len(experience) == 0


def test_transfers_that_go_well_raise_it_step_by_step(experience):
    experience.suffers("m", agreed(), progress(50), 0.0, 0.0)
    windows = []
    while (way := experience.way_to("m", 1.0)) is not UNKNOWN:
        windows.append(way.windowsize)
        experience.succeeded("m", agreed(way.windowsize), progress(0), 1.0)
    assert windows == [8, 16, 32]


@pytest.mark.parametrize(
    ("agreement", "told"),
    [(agreed(8), progress(0, acked=3)), (agreed(4), progress(0)), (agreed(8), progress(40))],
    ids=["a few blocks", "a smaller window than allowed", "losses as before"],
)
def test_what_does_not_raise_it(experience, agreement, told):
    experience.suffers("m", agreed(), progress(50), 0.0, 0.0)
    experience.succeeded("m", agreement, told, 1.0)
    assert experience.way_to("m", 1.0).windowsize == 8


def test_where_no_block_arrives_smaller_ones_are_tried(experience):
    sizes = [1468]
    for _ in range(4):
        told = progress(1, acked=0, resent=7)
        experience.suffers("m", agreed(16, sizes[-1]), told, 2.0, 0.0)
        sizes.append(min(sizes[-1], experience.way_to("m", 0.0).blksize))
    assert sizes == [1468, 1360, 512, 512, 512]
    assert experience.way_to("m", 0.0).windowsize == 64


def test_a_client_that_is_busy_for_a_moment_is_no_narrow_way(experience):
    experience.suffers("m", agreed(), progress(1, acked=0, resent=7), 1.9, 0.0)
    assert experience.way_to("m", 0.0) is UNKNOWN


def test_memory_is_bounded_and_keeps_the_latest():
    experience = Experience(most=100)
    for number in range(1000):
        experience.suffers(f"m{number}", agreed(), progress(50), 0.0, 0.0)
    assert len(experience) == 100
    assert experience.way_to("m999", 0.0).windowsize == 8
    assert experience.way_to("m899", 0.0) is UNKNOWN

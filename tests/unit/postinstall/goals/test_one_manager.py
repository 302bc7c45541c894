"""One manager with a state disk and two workers, one of which keeps nothing: what is allowed, who becomes
what, and what `ephemeral` changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pxeserver.config.faults import ConfigErrors
from pxeserver.postinstall import specfile
from pxeserver.postinstall.circumstances import Circumstances, check_against
from pxeserver.postinstall.layingout import lay_out


def _around(lab: Any, *diskless: int) -> Circumstances:
    """n1 to n3, these without a state disk."""
    found = [replace(seen, diskless=number in diskless) for number, seen in enumerate(lab.candidates, 1)]
    return Circumstances(candidates=found, server=("10.77.0.2",))


@pytest.mark.parametrize("ephemeral", [False, True])
@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("diskless", [(3,), (1,), (2, 3), (1, 2)])
def test_workers_without_a_state_disk_need_nothing_said(
    lab: Any, lab_text: str, diskless: tuple[int, ...], replicas: int, ephemeral: bool
) -> None:
    around = _around(lab, *diskless)
    text = lab_text.replace("managers = 3", "managers = 1").replace("replicas = 3", f"replicas = {replicas}")
    spec = specfile.read(f"ephemeral = {str(ephemeral).lower()}\n{text}", {})
    assert check_against(spec, around) == []
    layout = lay_out(spec, around.candidates)
    (manager,) = layout.managers
    assert not layout.places[manager].diskless
    bricks = [layout.places[brick.node].diskless for brick in layout.bricks]
    assert len(bricks) == replicas
    assert bricks == sorted(bricks), "who keeps its state holds the data first"


def test_a_manager_without_a_state_disk_has_to_be_said(lab: Any, lab_text: str) -> None:
    text, around = lab_text.replace("managers = 3", "managers = 1"), _around(lab, 1, 2, 3)
    (fault,) = check_against(specfile.read(text, {}), around)
    assert "would be managers and keep nothing" in fault.what
    assert check_against(specfile.read(f"ephemeral = true\n{text}", {}), around) == []


def test_two_managers_stay_refused(lab_text: str) -> None:
    with pytest.raises(ConfigErrors, match="2 managers survive no more losses than 1"):
        specfile.read(lab_text.replace("managers = 3", "managers = 2"), {})

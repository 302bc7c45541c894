"""Boots that stop half-way get a sentence: each stage, its silence window, and what is no fault."""

from __future__ import annotations

import pytest

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS, Windows, diagnose, silence
from pxeserver.boot.diagnosis_texts import TEXTS
from pxeserver.boot.model import Event, EventKind

K = EventKind
W = DEFAULT_WINDOWS


def events(*kinds: EventKind, attempt: str = "a1", start: float = 0.0, **detail: str) -> list[Event]:
    """One event a second, the last one with the detail."""
    last = len(kinds) - 1
    return [
        Event(start + i, kind, attempt, "m", None, detail if i == last else {})
        for i, kind in enumerate(kinds)
    ]


LOADED = (K.DISCOVERED, K.OFFERED, K.LOADER_STARTED, K.LOADER_SENT)
SCRIPTED = (*LOADED, K.DISCOVERED, K.OFFERED, K.SCRIPT_SENT)
FILES = (*SCRIPTED, K.FILE_STARTED, K.FILE_SENT)


@pytest.mark.parametrize(
    ("kinds", "window", "code"),
    [
        ((K.DISCOVERED, K.OFFERED), W.after_offer, "no-request-after-offer"),
        ((K.DISCOVERED, K.OFFERED, K.BOOT_REQUESTED), W.after_offer, "no-request-after-offer"),
        (LOADED[:3], W.during_loader, "loader-stopped"),
        (LOADED, W.after_loader, "loader-silent"),
        (SCRIPTED, W.after_script, "kernel-not-fetched"),
        (FILES[:-1], W.during_file, "file-stopped"),
        ((*FILES[:-1], K.FILE_PROGRESS), W.during_file, "file-stopped"),
        (FILES, W.after_files, "no-report"),
        ((*SCRIPTED, K.INSTALL_STARTED, K.FILE_STARTED, K.FILE_SENT), W.during_install, "install-silent"),
        ((*FILES, K.INSTALL_STARTED, K.INSTALL_PROGRESS), W.during_install, "install-silent"),
    ],
)
def test_silence_is_a_fault_only_after_its_window(
    kinds: tuple[EventKind, ...], window: float, code: str
) -> None:
    told = events(*kinds, file="vmlinuz")
    last = len(kinds) - 1
    assert diagnose(told, last + window - 1) is None
    found = diagnose(told, last + window + 1)
    assert found is not None
    assert found.code == code
    assert f"{round(window + 1)} s" in found.text
    assert found.text[0].isupper()
    assert found.next_step


@pytest.mark.parametrize(
    ("kinds", "detail", "code", "words"),
    [
        (
            (K.DISCOVERED, K.IGNORED),
            {"reason": "no-loader", "detail": "architecture 6"},
            "no-loader",
            "architecture 6",
        ),
        ((K.DISCOVERED, K.IGNORED), {"reason": "policy-observe"}, "ignored", "policy-observe"),
        ((K.DISCOVERED, K.IGNORED), {"reason": "whatever"}, "ignored", "whatever"),
        ((*SCRIPTED, K.HELD), {"reason": "disk gone"}, "held", "disk gone"),
        ((*FILES, K.INSTALL_FAILED), {"reason": "no space"}, "install-failed", "no space"),
        (
            (*SCRIPTED, K.FILE_FAILED),
            {"file": "vmlinuz", "reason": "x", "trigger": "not-loaded"},
            "not-loaded",
            "vmlinuz",
        ),
        ((*FILES, K.FILE_FAILED), {"file": "initrd", "reason": "reset"}, "file-stopped", "initrd"),
        (
            (K.OFFERED, K.LOADER_STARTED, K.FILE_FAILED),
            {"file": "snponly.efi", "reason": "timed-out"},
            "loader-stopped",
            "snponly.efi",
        ),
    ],
)
def test_faults_that_are_told_at_once(
    kinds: tuple[EventKind, ...], detail: dict[str, str], code: str, words: str
) -> None:
    found = diagnose(events(*kinds, **detail), 100.0)
    assert found is not None
    assert found.code == code
    assert words in found.text + found.next_step
    assert "{" not in found.text + found.next_step


@pytest.mark.parametrize("kind", [K.BOOTED, K.INSTALLED, K.LOCAL_BOOT])
def test_a_boot_that_ended_is_no_fault(kind: EventKind) -> None:
    assert diagnose(events(*FILES, kind), 1e9) is None
    assert diagnose([], 1.0) is None


def test_a_menu_may_wait_for_a_person() -> None:
    assert diagnose(events(*SCRIPTED, action="menu"), 1e6) is None
    assert diagnose(events(*SCRIPTED, action="boot"), 1e6) is not None


def test_windows_can_be_shortened() -> None:
    found = diagnose(events(*LOADED), 10.0, Windows(after_loader=2.0))
    assert found is not None
    assert found.code == "loader-silent"


def boots(count: int, gap: float = 120.0, last: tuple[EventKind, ...] = FILES) -> list[Event]:
    return [e for i in range(count) for e in events(*last, attempt=f"a{i}", start=i * gap)]


def test_a_loop_is_seen_at_the_third_boot() -> None:
    assert diagnose(boots(2), 2 * 120.0) is None
    found = diagnose(boots(3), 3 * 120.0)
    assert found is not None
    assert found.code == "loop"
    assert "3 times" in found.text
    assert "kernel and RAM disks" in found.text
    again = diagnose(boots(5), 5 * 120.0, Windows(loop_attempts=6))
    assert again is None


def test_boots_that_report_or_lie_far_apart_are_no_loop() -> None:
    assert diagnose(boots(4, last=(*FILES, K.BOOTED)), 480.0) is None
    assert diagnose(boots(4, gap=7200.0), 3 * 7200.0 + 10) is None
    mixed = [
        *boots(2),
        *events(*FILES, K.BOOTED, attempt="ok", start=300),
        *events(*FILES, attempt="z", start=500),
    ]
    assert diagnose(mixed, 510.0) is None
    local = boots(4, last=(*SCRIPTED, K.LOCAL_BOOT))
    assert diagnose(local, 4 * 120.0) is None


def test_a_hold_is_told_rather_than_a_loop() -> None:
    told = [*boots(3), *events(*SCRIPTED, K.HELD, attempt="h", start=400, reason="cut off")]
    found = diagnose(told, 500.0)
    assert found is not None
    assert found.code == "held"


def test_every_text_says_what_to_do() -> None:
    for text, next_step in TEXTS.values():
        assert text.endswith((".", "}"))
        assert next_step.endswith(".")
        assert len(text) < 400


def test_an_address_does_not_hide_that_the_boot_was_ignored() -> None:
    ignored = [*events(K.DISCOVERED, K.IGNORED, reason="dry-run"), *events(K.ADDRESS_GIVEN, start=5)]
    assert (found := diagnose(ignored, 6)) is not None
    assert found == silence(ignored)
    assert "dry-run" in found.text
    offered = [*ignored, *events(K.DISCOVERED, K.OFFERED, K.ADDRESS_GIVEN, start=10)]
    assert diagnose(offered, 14) is None
    assert silence(offered) is None
    assert silence([]) is None

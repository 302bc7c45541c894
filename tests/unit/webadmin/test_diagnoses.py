"""Diagnoses are told in the page's language, with their facts, and in English everywhere else."""

import pytest

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS, diagnose
from pxeserver.boot.model import Event, EventKind
from webadmin import diagnoses
from webadmin.catalogues import language

GERMAN, ENGLISH = language("de"), language("en")


@pytest.mark.parametrize("code", diagnoses.TEMPLATES)
def test_every_sentence_is_translated(code):
    for sentence in diagnoses.TEMPLATES[code]:
        assert sentence in GERMAN.words, sentence
        names = set(diagnoses._NAME.findall(sentence))
        assert names == set(diagnoses._NAME.findall(GERMAN.words[sentence]))


def diagnosis():
    events = [
        Event(1000.0, EventKind.SCRIPT_SENT, "a", "52:54:00:00:00:01", detail={"action": "kernel"}),
        Event(1001.0, EventKind.FILE_STARTED, "a", "52:54:00:00:00:01", detail={"file": "a {b} <i>.img"}),
    ]
    return diagnose(events, 1e6, DEFAULT_WINDOWS)


def test_the_facts_stay_what_they_are():
    found = diagnosis()
    text = diagnoses.told(GERMAN, found.code, found.text)
    assert text.startswith("Die Übertragung von a {b} <i>.img kam 998999 s lang nicht voran.")
    assert diagnoses.told(GERMAN, found.code, found.next_step).startswith("Auf ihren Bildschirm sehen")
    assert diagnoses.told(ENGLISH, found.code, found.text) == found.text


def test_causes_are_told_apart():
    found = diagnosis()
    for speech in (GERMAN, ENGLISH):
        seen, likely = diagnoses.causes(speech, found.code, found.text)
        assert seen.endswith(".") and likely.endswith(".") and "ikely" not in seen + likely


def test_silence_is_told_with_its_reason():
    text = "The server answered nothing: policy-ignore: it is not known."
    assert diagnoses.told(GERMAN, "ignored", text) == (
        "Der Server hat nichts geantwortet: policy-ignore: it is not known."
    )


def test_what_is_not_known_stays_as_it_is():
    for code, text in (("file-stopped", "Something else."), ("invented", "Something."), ("", "")):
        assert diagnoses.told(GERMAN, code, text) == text


def test_scripts_are_given_the_same_sentences():
    assert diagnoses.translated(ENGLISH) == {}
    given = diagnoses.translated(GERMAN)
    assert set(given) == set(diagnoses.TEMPLATES)

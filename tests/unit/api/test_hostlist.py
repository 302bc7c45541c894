"""Lists of nodes: expanded, folded, and refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxeserver.hostlist import BadHostlist, expand, fold


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["n1"], ["n1"]),
        (["n[1-4,7]"], ["n1", "n2", "n3", "n4", "n7"]),
        (["n[001-003]"], ["n001", "n002", "n003"]),
        (["n[08-11]"], ["n08", "n09", "n10", "n11"]),
        (["a,b,n[1-2]"], ["a", "b", "n1", "n2"]),
        (["r[1-2]n[1-2]-ib"], ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]),
        (["n1", "n[1-2]"], ["n1", "n2"]),
    ],
)
def test_expand(words, names):
    assert expand(words) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n[",
        "n]",
        "n[]",
        "n[1-]",
        "n[3-1]",
        "n[a-b]",
        "a,,b",
        "n[[1]]",
        "n[1-999999999]",
        "a[1-999]b[1-999]c[1-9]",
    ],
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(BadHostlist):
        expand([text])


def test_256_names_in_one_word():
    names = expand(["n[001-256]"])
    assert (len(names), names[0], names[-1]) == (256, "n001", "n256")
    assert fold(names) == "n[001-256]"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["n1", "n2", "n3", "n7"], "n[1-3,7]"),
        (["n9", "n10", "n11"], "n[9-11]"),
        (["n099", "n100"], "n[099-100]"),
        (["login", "n5"], "login,n5"),
        (["n1-ib", "n2-ib"], "n[1-2]-ib"),
        (["n1", "n01"], "n01,n1"),
        ([], ""),
    ],
)
def test_fold(names, text):
    assert fold(names) == text


@given(st.sets(st.from_regex(r"[a-z]{1,2}[0-9]{1,4}(-[a-z])?", fullmatch=True), min_size=1, max_size=40))
def test_folding_loses_nothing(names):
    assert set(expand([fold(names)])) == names

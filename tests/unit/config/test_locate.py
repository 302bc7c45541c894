"""Every key of a TOML text has its line, however it is written."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxeserver.config.locate import locate

TEXT = (
    '''# a comment
[server]
"interface" = "eth0"  # [not.a.table]
dotted.key = 1
text = """
[http]
port = 1
"""
list = [
  "a,]",   # comment ]
  { name = "x", more = [1,
    2] },
]

[[subnet]]
network = "10.0.0.0/24"
[[subnet]]
mtu = 1500
[subnet.inner]
deep = 'it'''
    + "'"
)


def test_each_key_has_its_line():
    lines = locate(TEXT)
    assert tomllib.loads(TEXT)
    assert lines["server",] == 2
    assert lines["server", "interface"] == 3
    assert lines["server", "dotted", "key"] == 4
    assert lines["server", "text"] == 5
    assert ("http",) not in lines
    assert lines["server", "list"] == 9
    assert lines["server", "list", 0] == 10
    assert lines["server", "list", 1, "name"] == 11
    assert lines["server", "list", 1, "more", 1] == 12
    assert lines["subnet", 0] == 15
    assert lines["subnet", 0, "network"] == 16
    assert lines["subnet", 1] == 17
    assert lines["subnet", 1, "mtu"] == 18
    assert lines["subnet", 1, "inner", "deep"] == 20


def paths(value, at=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from paths(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield (*at, number)
            yield from paths(inner, (*at, number))


@pytest.mark.parametrize(
    "text", [TEXT, "a=1\r\nb.c=[[1,2],[3]]\r\n", "[a.b]\nc={d={e=1}}\n[a]\nf='''x\n'''\n"]
)
def test_nothing_that_tomllib_reads_is_without_a_line(text):
    lines = locate(text)
    assert not [p for p in paths(tomllib.loads(text)) if p not in lines]


@given(st.text(alphabet="ab=[]{}\"'#.,\n\\ 1", max_size=60))
def test_it_never_fails_and_finds_what_tomllib_finds(text):
    lines = locate(text)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert not [p for p in paths(data) if p not in lines]
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())

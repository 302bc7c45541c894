"""A file without what it must have is refused with a fault, not with an accident."""

import pytest
from pydantic import BaseModel

from pxeserver.config.checking import validate
from pxeserver.config.faults import ConfigErrors
from pxeserver.config.sources import Gathered
from pxeserver.postinstall import specfile


class Inner(BaseModel):
    size: int


class Outer(BaseModel):
    name: str
    part: Inner


@pytest.mark.parametrize("data", [{}, {"part": {}}, {"name": "a"}, {"name": 1, "part": {"size": "x"}}])
def test_each_fault_is_told(data):
    checked = validate(Outer, Gathered(data=data))
    assert checked.settings is None
    assert checked.faults


@pytest.mark.parametrize("text", ["", "x = 1", "[cluster]\nname = 'a'"])
def test_a_cluster_file_without_a_name(text):
    with pytest.raises(ConfigErrors):
        specfile.read(text, {}, "cluster.toml")

"""The form of a cluster as a file, a plan put together, a drawing; entries put into a file and taken out."""

import tomllib

import pytest

from pxeserver.api.schemas.cluster_outline import outline
from pxeserver.postinstall import specedit
from pxeserver.postinstall.specedit import CannotEdit, Entry
from pxeserver.postinstall.specfile import read
from webadmin import cluster_form as form
from webadmin.catalogues import language
from webadmin.cluster_drawing import MOST, draw

WHOLE = form.defaults([], []) | {
    "vnet.2.name": 'da"ta\n',
    "vnet.2.vlan": "twenty",
    "vnet.2.reach": "web, office",
    "address.0.name": "front",
    "address.0.address": "10.77.0.100/24",
}


def test_the_defaults_are_a_file_without_a_fault():
    spec = read(form.written(form.tidied(form.defaults([], []))))
    assert (spec.name, spec.members.next, spec.members.managers) == ("lab", 3, 3)
    assert (spec.vnets[0].nat, spec.storage.replicas) == (True, 3)


def test_what_was_typed_comes_into_the_file_as_it_is():
    data = tomllib.loads(form.written(form.tidied(WHOLE)))
    assert data["vnet"][1] == {"name": 'da"ta', "vlan": "twenty", "reach": ["web", "office"]}
    assert data["address"] == [{"name": "front", "address": "10.77.0.100/24"}]
    assert data["switch"] == [{"name": "switch-1", "uplink": True}]


@pytest.mark.parametrize("text", ['"', "\\", "\x7f", "a\nb = 1", "ü😀", "\x00\x1f", "'''", "]]"])
def test_no_text_leaves_its_place_in_the_file(text):
    fields = form.defaults([], []) | {
        "name": text,
        "vnet.0.name": text,
        "how": "select",
        "members.select": text,
    }
    data = tomllib.loads(form.written(fields))
    assert data["name"] == text.strip() and data["vnet"][0]["name"] == text
    assert set(data) == {"name", "members", "switch", "vnet", "storage"}


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("vnet[2].vlan", "vnet.1.vlan"),
        ("vnet[1].reach[2]", "vnet.0.reach"),
        ("vnet[3]", "vnet.2.name"),
        ("members.nodes[3]", "members.nodes"),
        ("members.managers", "members.managers"),
        ("name", "name"),
        ("", ""),
    ],
)
def test_a_fault_finds_its_field(key, field):
    assert form.field_of(key) == field


def test_faults_have_lines_and_are_put_together_by_field():
    found = form.faults(
        {"cluster.toml:28: vnet[1].vlan": "no", "cluster.toml:2: vnet[1].vlan": "twice", "x": "y"}
    )
    assert [(f.line, f.key) for f in found] == [(28, "vnet[1].vlan"), (2, "vnet[1].vlan"), (0, "")]
    assert form.beside(found) == {"vnet.0.vlan": "no; twice"}


def test_empty_rows_are_left_out_and_the_others_move_up():
    tidied = form.tidied(
        {"vnet.0.name": "", "vnet.0.switch": "switch-1", "vnet.1.name": "b", "vnet.1.vlan": "3"}
    )
    assert tidied == {"vnet.0.name": "b", "vnet.0.vlan": "3"}


def test_names_are_expanded_once_each():
    assert form.names("n[1-3] n2, web") == ["n1", "n2", "n3", "web"]
    assert form.names("n[1-") == ["n[1-"]


# ---------------------------------------------------------------------------------------------- the drawing

SPEC = """
name = "lab"
[members]
nodes = [{nodes}]
managers = 1
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "inner"
[[vnet]]
name = "web"
vlan = 10
subnet = "10.10.0.0/16"
gateway = "10.10.0.1"
[[vnet]]
name = "data"
switch = "inner"
vlan = 20
[storage]
replicas = 1
disk = "loop:512MiB"
[[address]]
name = "front"
address = "10.77.0.100/24"
[[stack]]
name = "shop"
file = "shop.yml"
"""


def drawing(count, code="en"):
    nodes = ", ".join(f'"n{k}"' for k in range(count))
    files = {"shop.yml": "services: {web: {image: x}}"}
    return draw(outline(read(SPEC.format(nodes=nodes), files)), language(code))


def test_everything_is_drawn_once_and_within_the_picture():
    found = drawing(3)
    told = [words.text for words in found.words]
    for text in ("n0", "n1", "n2", "web · VLAN 10", "data · VLAN 20", "◆ front 10.77.0.100/24", "shop"):
        assert told.count(text) == 1, text
    assert "glusterfs · loop:512MiB" in told
    assert all(box.x >= 0 and box.x + box.width <= found.width for box in found.boxes)
    assert all(box.y + box.height <= found.height for box in found.boxes)
    assert all(words.y <= found.height for words in found.words)
    assert sum(mark.kind == "dot" for mark in found.marks) == 6


def test_of_many_members_the_first_are_drawn_and_the_others_counted():
    found = drawing(MOST + 5)
    assert any(words.text == "and 6 more" for words in found.words)
    assert sum(box.kind.startswith("member") for box in found.boxes) == MOST
    assert drawing(40).width == found.width


def test_the_drawing_speaks_the_readers_language():
    assert any(words.text == "Das Netz des Standorts" for words in drawing(1, "de").words)


# ---------------------------------------------------------------------------------------------- entries

FILE = """# mine
name = "lab"

[[stack]]  # the shop
name = "shop"
file = "shop.yml"
[stack.env]
N = "3"

# about the network
[[vnet]]
name = "web"
vlan = 1

[[stack]]
name = "mon"
file = "mon.yml"
"""


def test_an_entry_is_put_at_the_end_and_taken_out_whole():
    with_it = specedit.put(FILE, Entry("stack", "db", file="db.yml", env={"A B": '"'}))
    assert with_it.startswith(FILE.rstrip("\n"))
    assert tomllib.loads(with_it)["stack"][2] == {"name": "db", "file": "db.yml", "env": {"A B": '"'}}
    assert specedit.take(with_it, Entry("stack", "db")).rstrip("\n") == FILE.rstrip("\n")


def test_taking_one_out_leaves_the_others_and_their_comments():
    left = specedit.take(FILE, Entry("stack", "shop"))
    assert "# about the network\n[[vnet]]" in left and "# mine" in left
    assert [table["name"] for table in tomllib.loads(left)["stack"]] == ["mon"]


def test_an_entry_that_is_there_already_changes_nothing():
    same = Entry("stack", "shop", file="shop.yml", env={"N": "3"})
    assert specedit.put(FILE, same) == FILE
    other = tomllib.loads(specedit.put(FILE, Entry("stack", "shop", file="shop.yml")))["stack"]
    assert {table["name"]: table.get("env") for table in other} == {"mon": None, "shop": None}


def test_projects_of_one_name_on_two_members_are_two():
    text = specedit.put('name = "x"\n', Entry("compose", "mon", "n1", "a.yml"))
    text = specedit.put(text, Entry("compose", "mon", "n2", "a.yml"))
    left = tomllib.loads(specedit.take(text, Entry("compose", "mon", "n1")))["compose"]
    assert [table["node"] for table in left] == ["n2"]


@pytest.mark.parametrize(
    "text", ['stack = [{name = "shop", file = "a"}]\n', 'stack = [\n{name = "shop", file = "a"}]\n']
)
def test_what_is_written_otherwise_is_left_to_people(text):
    with pytest.raises(CannotEdit):
        specedit.take(text, Entry("stack", "shop"))
    with pytest.raises(CannotEdit):
        specedit.put(text, Entry("stack", "mon", file="m"))

"""The frame of all pages: static files, languages, preferences, failures, words."""

import hashlib
import re
import tomllib

import pytest

import webadmin
from webadmin import assets, catalogues, words
from webadmin.render import local

FOLDER = assets.FOLDER.parent


def test_vendored_files_are_what_their_list_says():
    folder = assets.FOLDER / "vendor"
    listed = {}
    for package in tomllib.loads((folder / "VENDORED.toml").read_text()).values():
        assert {"package", "version", "tarball_sha256", "licence"} <= package.keys()
        assert any(name.endswith(".LICENSE") for name in package["files"])
        listed |= {name: entry["sha256"] for name, entry in package["files"].items()}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "VENDORED.toml"
    }
    assert there == listed


def test_nothing_is_inline_and_nothing_is_marked_safe():
    for path in sorted((FOLDER / "templates").rglob("*.html")):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert not re.search(r"(src|href|action)=[\"']?(https?:)?//", text), path


def test_every_text_of_the_templates_is_translated():
    german = catalogues.language("de").words
    keys = set()
    for path in (FOLDER / "templates").rglob("*.html"):
        text = path.read_text()
        keys |= {m[2] for m in re.finditer(r"\b_\(\s*([\"'])((?:(?!\1).)*)\1", text)}
        for found in re.finditer(r"\b_n\(\s*([\"'])((?:(?!\1).)*)\1\s*,\s*([\"'])((?:(?!\3).)*)\3", text):
            keys |= {found[2], found[4]}
    assert keys, "no text was found"
    assert sorted(keys - german.keys()) == []


def test_translations_have_the_places_of_the_original():
    for key, text in catalogues.language("de").words.items():
        assert set(re.findall(r"{\w*}", key)) == set(re.findall(r"{\w*}", text)), key


async def test_static_files_are_kept_for_ever_under_their_own_revision(site):
    async with site.client.get(assets.url("js/app.js")) as answer:
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.content_type == "text/javascript"
    async with site.client.get("/static/000000000000/js/app.js") as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    for name in ("js/none.js", "../render.py", "%2e%2e/render.py", "vendor/VENDORED.toml"):
        async with site.client.get(f"/static/{assets.revision()}/{name}") as answer:
            assert answer.status == 404


def test_modules_import_only_what_is_there():
    for path in (assets.FOLDER / "js").glob("*.js"):
        for name in re.findall(r"""from ["'](.+?)["']|import ["'](.+?)["']""", path.read_text()):
            assert (path.parent / "".join(name)).is_file(), (path, name)


async def test_the_language_is_the_browsers_or_the_chosen_one(site):
    assert 'lang="en"' in await site.get("/boots")
    assert 'lang="de"' in await site.get("/boots", **{"Accept-Language": "fr, de-AT;q=0.8, en;q=0.5"})
    async with site.client.post(
        "/preferences", data={"lang": "de", "theme": "dark", "back": "/boots"}, allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/boots")
    text = await site.get("/boots")
    assert 'lang="de" data-theme="dark"' in text
    assert "Startvorgänge" in text


@pytest.mark.parametrize("accepted", ["", ";q=", "x;q=nan,de;q=zz", "," * 900, "*"])
def test_an_odd_wish_for_a_language_means_english(accepted):
    assert catalogues.chosen("tlh", accepted).code == "en"


@pytest.mark.parametrize(
    "where",
    ["//evil.example/", "https://evil.example/x", "evil", "/\\evil", "javascript:alert(1)", "/a\r\nb", ""],
)
def test_the_way_back_leads_only_to_ourselves(where):
    assert local(where).startswith("/")
    assert "evil" not in local(where).split("/")[1:2]


async def test_a_failure_is_a_page_that_says_the_next_step(site):
    async with site.client.get("/none") as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert "<h1>" in await answer.text()
    async with site.client.post("/undo/none", headers={"HX-Request": "true"}) as answer:
        text = await answer.text()
        assert answer.status == 410
        assert "<h1>" not in text and "taken back" in text


def test_words():
    assert [words.size(n) for n in (0, 999, 1500, 120e6, 4.2e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "120 MB",
        "4.2 TB",
    ]
    assert [words.duration(n) for n in (0.05, 4.21, 59.6, 80, 3900, 8e5)] == [
        "50 ms", "4.2 s", "1 min", "1 min 20 s", "1 h 5 min", "9 d",
    ]  # fmt: skip


def test_what_is_exported():
    assert webadmin.__all__ == ["add_pages"]

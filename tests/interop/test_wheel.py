"""The wheel: everything in it, and it works from any directory in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from pxeserver.resources import FOLDERS

SOURCE = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel alone; the libraries it needs are lent by ours."""
    venv = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(words, check=True, capture_output=True)
    # Behind the wheel's own folder in the search order, so that no other pxeserver can stand in for it.
    (site / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return venv


def python(venv: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PXESERVER"))}
    return subprocess.run(
        [str(venv / "bin/python"), *words], cwd="/", env=environ, capture_output=True, text=True, check=False
    )


def test_the_folders_beside_the_package_are_inside_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in FOLDERS:
        beside = {p.relative_to(SOURCE).as_posix() for p in (SOURCE / folder).rglob("*") if p.is_file()}
        inside = {
            n.removeprefix("pxeserver/_data/") for n in names if n.startswith(f"pxeserver/_data/{folder}/")
        }
        assert inside
        assert {b for b in beside if "__pycache__" not in b} == inside


def test_the_pages_are_inside_the_wheel_with_their_templates_and_static_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    beside = {p.relative_to(SOURCE).as_posix() for p in (SOURCE / "webadmin").rglob("*") if p.is_file()}
    beside = {b for b in beside if "__pycache__" not in b}
    assert {"webadmin/templates/base.html", "webadmin/static/vendor/htmx.min.js"} <= beside
    assert beside <= names


def test_the_installed_pages_render(fresh: Path) -> None:
    show = "from webadmin import assets, render; render.environment().get_template('base.html')"
    show += "; print(assets.url('icon.svg'))"
    done = python(fresh, "-c", show)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("/static/")


def test_the_installed_package_finds_them(fresh: Path) -> None:
    show = "from pxeserver import resources as r; [print(r.folder(f)) for f in r.FOLDERS]"
    done = python(fresh, "-c", show)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(fresh)) for line in done.stdout.splitlines())


@pytest.mark.parametrize(("words", "said"), [(["--help"], "run"), (["config", "show"], "port")])
def test_the_command_works_from_the_root_directory(fresh: Path, words: list[str], said: str) -> None:
    done = python(fresh, "-m", "pxeserver", *words)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_the_console_script_is_declared(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    points = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
    assert "pxeserver = pxeserver.cli:main" in archive.read(points).decode()

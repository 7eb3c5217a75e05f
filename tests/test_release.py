"""What a release says of itself is the same everywhere, and what is published can be installed and works."""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from hadgeo import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Names of packages that conda has under another one.
CONDA_NAMES = {"dask": "dask-core", "lazy-loader": "lazy_loader", "torch": "pytorch", "matplotlib": "matplotlib-base"}


@pytest.mark.parametrize("script", ["stamp", "oldest"])
def test_what_scripts_write_from_pyproject_is_as_they_would_write_it(script: str) -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / f"{script}.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_citation_names_the_paper_of_every_detector_that_has_one() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for module, mark in (("bs3lnet", "10.1109/TGRS.2023.3246565"), ("scoread", "2601.12379")):
        assert mark in (ROOT / "hadgeo" / "detectors" / f"{module}.py").read_text(encoding="utf-8")
        assert mark in citation


def test_the_wheel_has_what_pages_are_made_from() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    report = "hadgeo/evidence/report/"
    for name in ("templates/report.html", "assets/page.js", "assets/page.css", "vendor/leaflet.js", "vendor/uPlot.js"):
        assert report + name in packed
    for library in ("leaflet", "uPlot"):
        assert f"{report}vendor/{library}-LICENSE.txt" in packed


def test_the_changelog_has_this_version_below_what_is_new() -> None:
    titles = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "]
    assert titles[0] == "## Unreleased"
    assert titles[1].startswith(f"## {__version__} - ")


def _bounds(*groups: list[str]) -> dict[str, str]:
    """Lower bounds by the names that conda has."""
    needed = [Requirement(text) for group in groups for text in group]
    found: dict[str, str] = {}
    for one in needed:
        found.setdefault(CONDA_NAMES.get(one.name, one.name), str(one.specifier))
    return found


def test_the_recipe_for_conda_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    extras = PROJECT["optional-dependencies"]

    def listed(key: str) -> dict[str, str]:
        return dict(text.split(" ") for text in recipe["requirements"][key])

    python = {"python": PROJECT["requires-python"]}
    assert listed("run") == python | _bounds(PROJECT["dependencies"], extras["vector"], extras["report"])
    assert listed("run_constraints") == _bounds(*(extras[e] for e in ("cluster", "hdf5", "zarr", "sklearn")))
    about = recipe["about"]
    assert (about["license"], about["license_file"]) == (PROJECT["license"], PROJECT["license-files"])
    assert recipe["build"]["python"]["entry_points"] == [f"{k} = {v}" for k, v in PROJECT["scripts"].items()]


def _build(project: Path, out: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", out, *(f"-t{target}" for target in targets)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _build(ROOT, folder, "wheel", "sdist")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def unpacked(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in the sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(distributions[1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"hadgeo-{__version__}"


def test_the_sdist_builds_the_same_wheel(distributions: tuple[Path, Path], unpacked: Path, tmp_path: Path) -> None:
    wheel, _ = distributions
    _build(unpacked, tmp_path, "wheel")
    again = tmp_path / wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


def _tracked() -> Iterator[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout: nothing says which files belong to the project")
    yield from listed.stdout.splitlines()


def test_the_sdist_holds_every_file_of_the_project(unpacked: Path) -> None:
    left_out = {".gitignore", ".pre-commit-config.yaml"}
    gone = [name for name in _tracked() if (ROOT / name).exists() and not (unpacked / name).exists()]
    assert set(gone) <= left_out


def _run(command: list[str | os.PathLike[str]], folder: Path) -> str:
    """What a command prints, run outside of the checkout and without knowing of it."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _try_out(python: Path, folder: Path) -> None:
    """Simulate and detect with the hadgeo of an environment."""
    hadgeo = python.parent / "hadgeo"
    where = _run([python, "-c", "import hadgeo; print(hadgeo.__file__)"], folder).strip()
    assert Path(where).is_relative_to(python.parents[1])
    assert _run([hadgeo, "--version"], folder).strip() == f"hadgeo, version {__version__}"
    _run([hadgeo, "simulate", "scene.tif", "--rows", "96", "--cols", "96", "--bands", "24", "--seed", "7"], folder)
    _run([hadgeo, "detect", "scene.tif", "-d", "rx", "--pfa", "1e-2", "--polygons", "found.gpkg"], folder)
    assert (folder / "scene_anomaly.tif").is_file()
    assert (folder / "found.gpkg").is_file()


def test_the_wheel_works_away_from_the_checkout(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    _run([*pip, distributions[0]], tmp_path)
    # The libraries of this environment; not its .pth files, one of which leads to the checkout.
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))
    _try_out(python, tmp_path)


@pytest.mark.slow
def test_the_wheel_brings_all_that_it_needs(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=True, with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    _run([*pip, f"{distributions[0]}[vector,report]"], tmp_path)
    _try_out(python, tmp_path)


@pytest.mark.slow
def test_the_sdist_has_what_its_tests_need(unpacked: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    kept = [
        "tests/test_docs.py",
        "tests/test_extending.py",
        "tests/test_release.py",
        "tests/test_schema.py",
        "tests/cli",
    ]
    collected = subprocess.run([*command, "--collect-only"], cwd=unpacked, env=env, capture_output=True, text=True)
    assert collected.returncode == 0, collected.stdout
    done = subprocess.run([*command, *kept], cwd=unpacked, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

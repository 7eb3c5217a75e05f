"""The measured spectrum of an anomaly: from evidence, from polygons that lead there, or from the scene of the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import xarray as xr
from click.testing import CliRunner

import hadgeo
from hadgeo.cli import cli
from hadgeo.errors import TargetError, TargetNotFoundError
from hadgeo.run.matching.anomaly_spectrum import read_anomaly


def run(*words: str | Path) -> None:
    result = CliRunner().invoke(cli, [*map(str, words), "-q"], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rotated scene, and two runs over it: with evidence, and with polygons alone."""
    home = tmp_path_factory.mktemp("made")
    hadgeo.simulate(home / "line.img", rows=60, cols=50, bands=30, targets=4, rotation=12, seed=2)
    detect = ("detect", home / "line.img", "-d", "rx", "--top", "25")
    run(*detect, "-o", home / "with.tif", "--polygons", home / "with.gpkg", "--evidence", home / "spectra.nc")
    run(*detect, "-o", home / "without.tif", "--polygons", home / "without.gpkg")
    run("threshold", home / "with.tif", "--top", "25", "--polygons", home / "bare.gpkg")
    run(
        "threshold",
        home / "with.tif",
        "--top",
        "25",
        "--polygons",
        home / "there.geojson",
        "--scene",
        home / "line.img",
    )
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy, as if its folder had been moved."""
    return shutil.copytree(made, tmp_path / "moved")


def test_evidence_has_it(made: Path) -> None:
    target = read_anomaly(f"{made}/spectra.nc#2")
    with xr.open_dataset(made / "spectra.nc", engine="scipy") as evidence:
        one = evidence.isel(anomaly=evidence.id.values.tolist().index(2))
        np.testing.assert_allclose(target.values, one.spectrum)
        np.testing.assert_allclose(target.wavelength, one.wavelength)
        np.testing.assert_allclose(target.fwhm, one.fwhm)
        assert target.bands is not None
        assert target.bands.tolist() == one.band.values.tolist()
    assert target.name == "anomaly 2 of line.img"
    assert target.level is not None


def test_polygons_lead_to_the_evidence_of_their_run(made: Path, home: Path) -> None:
    expected = read_anomaly(f"{made}/spectra.nc#2")
    for folder in (made, home):
        target = read_anomaly(f"{folder}/with.gpkg#2")
        np.testing.assert_array_equal(target.values, expected.values)
        assert set(target.files) == {folder / "with.gpkg", made / "spectra.nc"}
    for gone in ("with.json", "bare.json"):
        (home / gone).unlink()
    (home / "spectra.nc").rename(home / "with.nc")
    np.testing.assert_array_equal(read_anomaly(f"{home}/with.gpkg#2").values, expected.values)


@pytest.mark.parametrize("name", ["without.gpkg", "there.geojson"])
def test_without_evidence_the_pixels_are_read(name: str, made: Path) -> None:
    target = read_anomaly(f"{made}/{name}#2")
    expected = read_anomaly(f"{made}/spectra.nc#2")
    # The scene's own bands, of which the run had used the good ones that are not constant.
    assert target.bands is not None
    assert expected.bands is not None
    same = np.isin(target.bands, expected.bands)
    np.testing.assert_allclose(target.values[same], expected.values, rtol=1e-5)
    assert target.notes == (f"the mean of its pixels in {made / 'line.img'}",)
    assert made / "line.hdr" in target.files


def test_pixels_of_every_anomaly_are_its_own(made: Path) -> None:
    _, _, _, (ids,) = pyogrio.raw.read(made / "without.gpkg", columns=["id"], read_geometry=False)
    assert len(ids) > 3
    for number in ids:
        mean, expected = (read_anomaly(f"{made}/{name}#{number}") for name in ("without.gpkg", "spectra.nc"))
        assert mean.bands is not None
        assert expected.bands is not None
        np.testing.assert_allclose(mean.values[np.isin(mean.bands, expected.bands)], expected.values, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spectra.nc", r"spectra\.nc: which anomaly\? it contains \d+, from 1 to \d+; name one as spectra\.nc#3"),
        ("with.gpkg", r"with\.gpkg: which anomaly\? it contains \d+, from 1"),
        ("without.gpkg", r"which anomaly\? name one as without\.gpkg#3"),
        ("spectra.nc#99", r"spectra\.nc: no anomaly '99'; it contains"),
        ("spectra.nc#first", r"no anomaly 'first'; it contains"),
        ("without.gpkg#99", r"there is no such anomaly"),
        ("line.img#1", r"neither polygons .* nor evidence .*use --spectrum"),
        (
            "bare.gpkg#1",
            r"names no scene; write their spectra with `hadgeo threshold MAP --scene SCENE --polygons bare",
        ),
        ("broken.nc#1", r"broken\.nc: not the evidence of anomalies"),
        ("other.nc#1", r"other\.nc: not the evidence of anomalies"),
        ("alone/with.gpkg#1", r"nothing tells the spectra of its anomalies, and no manifest their scene; write"),
    ],
)
def test_what_is_not_there_is_said(name: str, message: str, home: Path) -> None:
    (home / "broken.nc").write_bytes((home / "spectra.nc").read_bytes()[:100])
    xr.Dataset({"x": ("y", [1.0, 2.0])}).to_netcdf(home / "other.nc", engine="scipy")
    (home / "alone").mkdir()
    shutil.copy(home / "with.gpkg", home / "alone")
    with pytest.raises(TargetError, match=message) as refused:
        read_anomaly(home / name)
    assert "\n" not in str(refused.value)


def test_a_scene_that_is_gone_is_named(home: Path, made: Path) -> None:
    manifest = home / "without.json"
    manifest.write_text(manifest.read_text().replace(str(made), "/gone"))
    with pytest.raises(TargetError, match=r"its scene cannot be read \(/gone/line\.img: no such file.*; write their"):
        read_anomaly(f"{home}/without.gpkg#1")


def test_a_file_that_is_gone(home: Path) -> None:
    with pytest.raises(TargetNotFoundError, match=r"gone\.gpkg: no such file"):
        read_anomaly(f"{home}/gone.gpkg#1")

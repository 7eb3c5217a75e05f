"""A target at the bands of a scene, in its units, and what is found with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import hadgeo
from hadgeo.cube import as_source
from hadgeo.detectors.registry import MATCHERS
from hadgeo.errors import ModelError, ParameterError, TargetError
from hadgeo.run.matching.search import Search, target_of
from hadgeo.run.matching.target import make_target
from hadgeo.simulation.spectra import _GRID, TARGETS
from tests.support import Recorder

#: Where a target was planted, and how much of the pixel it fills.
PLANTED, SHARE = (17, 23), 0.4

REFLECTANCE = TARGETS[1].reflectance()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with a planted target, the same times 10,000, and the laboratory spectrum of the target."""
    home = tmp_path_factory.mktemp("search")
    hadgeo.simulate(home / "bare.img", rows=60, cols=50, bands=60, targets=0, seed=5)
    cube = hadgeo.open_cube(home / "bare.img").load()
    sensor = as_source(home / "bare.img").metadata
    assert sensor.wavelength is not None
    np.savetxt(home / "target.txt", np.c_[_GRID, REFLECTANCE], header="nm reflectance")
    seen = np.interp(sensor.wavelength, _GRID, REFLECTANCE)
    cube[:, PLANTED[0], PLANTED[1]] = (1 - SHARE) * cube[:, PLANTED[0], PLANTED[1]] + SHARE * seen
    for name, factor in (("planted", 1), ("scaled", 10_000)):
        changed = (cube * factor).astype("float32").drop_attrs(deep=False)
        changed.rio.write_crs(cube.rio.crs).to_dataset(name="scene").to_netcdf(home / f"{name}.nc", engine="scipy")
    return home


@pytest.fixture(scope="module")
def cube(folder: Path) -> xr.DataArray:
    return scene(folder, "planted")


def scene(folder: Path, name: str) -> xr.DataArray:
    bare = hadgeo.open_cube(folder / "bare.img")
    with xr.open_dataset(folder / f"{name}.nc", engine="scipy") as opened:
        return bare.copy(data=opened["scene"].values)


def scores_of(done: hadgeo.Detection) -> np.ndarray:
    return np.concatenate([strip for _, strip in hadgeo.open_scores(done.path).strips()])


@pytest.mark.parametrize("method", ["ace", "mf", "cem"])
def test_a_planted_target_is_found_by_its_laboratory_spectrum(
    method: str, cube: xr.DataArray, folder: Path, tmp_path: Path
) -> None:
    done = hadgeo.match(cube, folder / "target.txt", method=method, out=tmp_path / "x.tif")
    scores = scores_of(done)
    assert np.unravel_index(np.nanargmax(scores), scores.shape) == PLANTED
    if method != "ace":
        assert scores[PLANTED] == pytest.approx(SHARE, abs=0.1)
    assert done.detector.params.target_name == "target"


def test_sam_finds_a_pixel_that_the_target_fills(cube: xr.DataArray, folder: Path, tmp_path: Path) -> None:
    full = cube.copy(deep=True)
    full[:, 3, 4] = np.interp(cube.wavelength, _GRID, REFLECTANCE) * 0.5
    scores = scores_of(hadgeo.match(full, folder / "target.txt", method="sam", out=tmp_path / "x.tif"))
    assert np.unravel_index(np.nanargmax(scores), scores.shape) == (3, 4)


def test_a_pixel_of_a_cube_is_a_target(cube: xr.DataArray, tmp_path: Path) -> None:
    scores = scores_of(hadgeo.match(cube, cube.isel(y=17, x=23), out=tmp_path / "x.tif"))
    assert scores[PLANTED] == pytest.approx(1, abs=1e-6)
    assert np.nanmax(np.delete(scores.ravel(), PLANTED[0] * scores.shape[1] + PLANTED[1])) < 0.9


@pytest.mark.parametrize("name", ["planted", "scaled"])
@pytest.mark.parametrize("own", [1, 100, 10_000])
def test_scales_of_target_and_scene_are_judged_by_magnitude(
    name: str, own: float, folder: Path, tmp_path: Path
) -> None:
    np.savetxt(tmp_path / "own.txt", np.c_[_GRID, REFLECTANCE * own])
    log = Recorder()
    search = Search(target_of(tmp_path / "own.txt"))
    detector, _ = search.detector_for(as_source(scene(folder, name)), progress=log)
    expected, _ = Search(target_of(folder / "target.txt"), scale=10_000 if name == "scaled" else 1).detector_for(
        as_source(scene(folder, name))
    )
    np.testing.assert_allclose(detector.params.target, expected.params.target, rtol=1e-6)
    factor = (10_000 if name == "scaled" else 1) / own
    assert f"its values are multiplied by {factor:g}, as its own reach" in log.messages[0]
    assert "--target-scale says otherwise" in log.messages[0]


def test_an_anomaly_is_as_its_scene_is(folder: Path) -> None:
    log = Recorder()
    dark = make_target("dark", "here", REFLECTANCE * 30, _GRID, level=3000.0)
    Search(dark).detector_for(as_source(scene(folder, "scaled")), progress=log)
    Search(dark).detector_for(as_source(scene(folder, "planted")), progress=log)
    assert "multiplied by 1, as its scene reaches 3e+03" in log.messages[0]
    assert "multiplied by 0.0001, as its scene reaches 3e+03" in log.messages[1]


def test_bands_that_the_target_does_not_reach_are_left_out(cube: xr.DataArray, folder: Path, tmp_path: Path) -> None:
    part = _GRID < 1200
    np.savetxt(tmp_path / "short.txt", np.c_[_GRID[part], REFLECTANCE[part]])
    done = hadgeo.match(cube, tmp_path / "short.txt", out=tmp_path / "x.tif")
    centres = as_source(cube).metadata.wavelength
    assert centres is not None
    assert (centres[list(done.bands.indices)] < 1200).all()
    assert dict(done.bands.dropped)["not in the target spectrum"] > 10
    whole = hadgeo.match(cube, folder / "target.txt", bands="400-1199", out=tmp_path / "y.tif")
    np.testing.assert_allclose(scores_of(done), scores_of(whole), atol=1e-2)


def test_the_background_of_a_model_is_that_of_its_scene(cube: xr.DataArray, folder: Path, tmp_path: Path) -> None:
    model = hadgeo.train(cube, "rx", out=tmp_path / "m.hadgeo")
    for method in MATCHERS:
        if method == "sam":
            continue
        own = hadgeo.match(cube, folder / "target.txt", method=method, out=tmp_path / f"{method}.tif")
        held = hadgeo.match(cube, folder / "target.txt", method=method, model=model, out=tmp_path / f"{method}2.tif")
        np.testing.assert_allclose(scores_of(held), scores_of(own), rtol=1e-3, atol=1e-4)
    part = _GRID < 1200
    np.savetxt(tmp_path / "short.txt", np.c_[_GRID[part], REFLECTANCE[part]])
    fewer = hadgeo.match(cube, tmp_path / "short.txt", model=model, out=tmp_path / "f.tif")
    alone = hadgeo.match(cube, tmp_path / "short.txt", out=tmp_path / "g.tif")
    np.testing.assert_allclose(scores_of(fewer), scores_of(alone), rtol=1e-3, atol=1e-4)
    with pytest.raises(ParameterError, match="ridge says how a background is learned, and a model holds one"):
        hadgeo.match(cube, folder / "target.txt", model=model, parameters={"ridge": 0.1}, out=tmp_path / "z.tif")


def test_a_model_without_a_covariance_is_no_background(cube: xr.DataArray, folder: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"steps": 1, "crop": 16}
    model = hadgeo.train(cube, "bs3lnet", parameters=quick, out=tmp_path / "m.hadgeo")
    with pytest.raises(ModelError, match=r"a model of bs3lnet has no mean and covariance.*train one with -d rx"):
        hadgeo.match(cube, folder / "target.txt", model=model, out=tmp_path / "x.tif")


def test_a_map_is_called_after_its_scene_and_says_what_it_is(folder: Path) -> None:
    done = hadgeo.match(folder / "bare.img", folder / "target.txt")
    assert done.path == folder / "bare_match.tif"
    opened = hadgeo.open_scores(done.path)
    assert opened.detector == "ace"
    assert '"target_name": "target"' in opened.tags["HADGEO_PARAMETERS"]


def test_without_wavelengths_bands_are_matched_by_number_between_scenes_alone(
    cube: xr.DataArray, folder: Path, tmp_path: Path
) -> None:
    plain = xr.DataArray(cube.values, dims=("band", "y", "x"), coords={"band": cube.band.values})
    with pytest.raises(TargetError, match="the scene has no wavelengths, so the target cannot be brought to its bands"):
        hadgeo.match(plain, folder / "target.txt", out=tmp_path / "x.tif")
    done = hadgeo.match(plain, plain.isel(y=17, x=23), out=tmp_path / "y.tif")
    assert scores_of(done)[PLANTED] == pytest.approx(1, abs=1e-6)
    with pytest.raises(TargetError, match="has values in band 60, beyond those of the scene"):
        hadgeo.match(plain.isel(band=slice(40)), plain.isel(y=17, x=23), out=tmp_path / "z.tif")
    assert not (tmp_path / "x.tif").exists()
    assert not (tmp_path / "z.tif").exists()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, ParameterError, "what shall be found"),
        ({"spectrum": "target.txt", "like": "a.nc#1"}, ParameterError, "and not both"),
        ({"spectrum": 3}, ParameterError, "not int"),
        ({"spectrum": "target.txt", "method": "osp"}, ParameterError, "no method 'osp'; there are ace, cem, mf, sam"),
        ({"spectrum": "target.txt", "scale": 0.0}, ParameterError, "must be above 0"),
        ({"spectrum": "target.txt", "parameters": {"ridg": 1}}, ParameterError, "did you mean 'ridge'"),
        ({"spectrum": "target.txt", "parameters": {"target": (1,)}}, ParameterError, "target is no parameter"),
        ({"spectrum": "thermal.txt"}, TargetError, "0 of its .* usable bands lie within the target thermal.*8000 to"),
        ({"spectrum": "target.txt", "out": "target.txt"}, hadgeo.errors.OutputError, "is the spectrum to be found"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    call: dict[str, Any],
    error: type[Exception],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.savetxt(tmp_path / "target.txt", np.c_[_GRID, REFLECTANCE])
    np.savetxt(tmp_path / "thermal.txt", np.c_[np.arange(8000, 9000, 10), np.linspace(0.9, 1, 100)])
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message) as refused:
        hadgeo.match(folder / "bare.img", **{"out": "x.tif", **call})
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_pixel_has_bands_alone(cube: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="it has band alone: select one pixel"):
        hadgeo.match(cube, cube, out=tmp_path / "x.tif")
    with pytest.raises(TargetError, match="a flat spectrum"):
        hadgeo.match(cube, xr.zeros_like(cube.isel(y=0, x=0)), out=tmp_path / "x.tif")

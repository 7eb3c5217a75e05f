"""Evidence: what was measured at an anomaly, what was expected, and what is read to tell."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import rasterio.warp
import torch
import xarray as xr
from affine import Affine
from PIL import Image

import hadgeo
from hadgeo.detectors.registry import make_detector
from hadgeo.errors import Cancelled, CubeError, OutputError, OutputExistsError
from hadgeo.evidence.gather import LARGEST_SIDE, SURROUNDINGS, Anomaly, gather_evidence, top_bands, write_evidence
from hadgeo.evidence.spectrum_plots import draw_spectrum, expected_seconds, power_of_ten, spectra_plots
from hadgeo.files import witnessed
from hadgeo.formats.source import Source
from hadgeo.sampling import Sample, Scene
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")
BANDS = 12
WAVELENGTH = 500.0 + 20 * np.arange(BANDS)
TRANSFORM = Affine.translation(5e5, 4.5e6) * Affine.rotation(20) * Affine.scale(2, -2)


def scene_with_target() -> npt.NDArray[np.float32]:
    scene = 100 * background((BANDS, 60, 50))
    scene[4, 30:32, 20:23] += 500
    scene[9, 30:32, 20:23] -= 300
    return scene


TARGET = Anomaly(7, *np.nonzero(np.pad(np.ones((2, 3)), ((30, 28), (20, 27)))))


def as_cube(scene: npt.NDArray[np.float32]) -> xr.DataArray:
    cube = xr.DataArray(
        scene, dims=("band", "y", "x"), coords={"wavelength": ("band", WAVELENGTH), "fwhm": ("band", WAVELENGTH / 50)}
    )
    return cube.rio.write_crs("EPSG:32633").rio.write_transform(TRANSFORM)


def fitted(name: str, scene: npt.NDArray[np.float32], readers: Executor, **parameters: Any) -> Any:
    sample = Sample(Scene(memory_source(scene), range(BANDS)), executor=readers, device=CPU)
    return make_detector(name, parameters).fit(sample, device=CPU)


class CountingSource(Source):
    """Counts the pixels that are read."""

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self.path, self.shape, self.dtype, self.block = inner.path, inner.shape, inner.dtype, inner.block
        self.metadata = inner.metadata
        self.reads: list[tuple[slice, slice]] = []

    def read(self, rows: slice, cols: slice, bands: Any = slice(None)) -> npt.NDArray[np.floating[Any]]:
        self.reads.append((rows, cols))
        return self._inner.read(rows, cols, bands)


def test_rx_expects_the_mean_and_the_difference_is_measured_in_usual_ones(readers: Executor) -> None:
    scene = scene_with_target()
    rx = fitted("rx", scene, readers)
    evidence = gather_evidence(as_cube(scene), rx, [TARGET], bands=range(BANDS)).isel(anomaly=0)
    target = scene[:, TARGET.rows, TARGET.cols].astype(np.float64)
    np.testing.assert_allclose(evidence.spectrum, target.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(evidence.expected, scene.reshape(BANDS, -1).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(evidence.difference, evidence.spectrum - evidence.expected)
    near = scene[:, 30 - SURROUNDINGS : 32 + SURROUNDINGS, 20 - SURROUNDINGS : 23 + SURROUNDINGS].astype(np.float64)
    around = np.ones(near.shape[1:], dtype=bool)
    around[SURROUNDINGS - 1 : SURROUNDINGS + 3, SURROUNDINGS - 1 : SURROUNDINGS + 4] = False
    usual = 1.4826 * np.median(np.abs(near[:, around] - evidence.expected.values[:, None]), axis=1)
    np.testing.assert_allclose(evidence.spread, usual, rtol=1e-6)
    assert int(evidence.pixels) == 6


@pytest.mark.parametrize("name", [None, "bs3lnet"])
def test_the_implanted_bands_stand_out_most(name: str | None, readers: Executor) -> None:
    scene = scene_with_target()
    detector = None if name is None else fitted(name, scene, readers, steps=60, crop=32)
    evidence = gather_evidence(as_cube(scene), detector, [TARGET], bands=range(BANDS))
    first, second = str(evidence.top_bands.values[0]).split(", ")[:2]
    assert first.startswith("580 nm (+")
    assert second.startswith("680 nm (-")


@pytest.mark.parametrize("corner", [(30, 20), (27, 23), (0, 0), (55, 44)])
def test_shares_are_those_of_the_map_wherever_an_anomaly_lies(corner: tuple[int, int], readers: Executor) -> None:
    scene = scene_with_target()
    fusion = fitted("fusion", scene, readers, parts="block_rx + rx@3")
    where = Anomaly(1, corner[0] + np.array([0, 0, 1, 1]), corner[1] + np.array([0, 1, 0, 1]))
    parts = fusion.contributions(torch.from_numpy(scene))[:, where.rows, where.cols].sum(dim=1)
    found = gather_evidence(as_cube(scene), fusion, [where], bands=range(BANDS))
    np.testing.assert_allclose(found.share[0], parts / parts.sum(), rtol=1e-6)
    explained = fusion.explain(torch.from_numpy(scene))[:, where.rows, where.cols].mean(dim=1)
    np.testing.assert_allclose(found.expected[0], explained, rtol=1e-5)


def test_places_are_those_of_the_rotated_grid() -> None:
    evidence = gather_evidence(as_cube(scene_with_target()), None, [TARGET], bands=range(BANDS)).isel(anomaly=0)
    x, y = rasterio.transform.xy(TRANSFORM, [30.5], [21.0])
    assert (float(evidence.row), float(evidence.col)) == (30.5, 21.0)
    np.testing.assert_allclose([evidence.x, evidence.y], [x[0], y[0]])
    longitude, latitude = rasterio.warp.transform("EPSG:32633", "EPSG:4326", x, y)
    np.testing.assert_allclose([evidence.longitude, evidence.latitude], [longitude[0], latitude[0]])


def test_a_model_knows_its_bands_and_explains_as_its_detector_does(tmp_path: Path, readers: Executor) -> None:
    scene = scene_with_target()
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": BANDS, "height": 60, "width": 50, "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=TRANSFORM, **profile) as dataset:
        dataset.update_tags(wavelength=", ".join(map(str, WAVELENGTH)), wavelength_units="nm")
        dataset.write(scene)
    model = hadgeo.train([path], "rx", out=tmp_path / "m.hadgeo", bands="2-9")
    told = gather_evidence(path, model, [TARGET])
    np.testing.assert_array_equal(told.band, np.arange(2, 10))
    assert told.attrs["scene"] == "scene.tif"
    assert told.attrs["detector"] == "rx"
    np.testing.assert_allclose(told.expected[0], scene[1:9].reshape(8, -1).mean(axis=1), rtol=1e-5)


def test_only_small_windows_are_read_in_the_order_of_the_file() -> None:
    scene = np.ones((2, 3000, 400), np.float32)
    source = CountingSource(memory_source(scene))
    rows = np.array([2900, 5, 1500])
    anomalies = [Anomaly(i, np.array([row]), np.array([40 * i])) for i, row in enumerate(rows)]
    whole_column = Anomaly(9, np.arange(3000), np.full(3000, 390))
    evidence = gather_evidence(source, None, [*anomalies, whole_column], bands=[0, 1])
    np.testing.assert_array_equal(evidence.id, [0, 1, 2, 9])
    np.testing.assert_array_equal(evidence.row, [2900, 5, 1500, 1499.5])
    assert int(evidence.pixels[3]) == LARGEST_SIDE + 2 * SURROUNDINGS
    # Each is looked at, and then drawn.
    starts = [read[0].start for read in source.reads[2::2]]
    assert len(starts) == 3
    assert starts == sorted(starts)
    for read_rows, read_cols in source.reads:
        assert read_rows.stop - read_rows.start <= LARGEST_SIDE + 2 * SURROUNDINGS
        assert read_cols.stop - read_cols.start <= LARGEST_SIDE + 2 * SURROUNDINGS


def test_other_anomalies_are_no_background() -> None:
    scene = np.ones((2, 40, 40), np.float32)
    scene[:, 14:26, 14:26] = 50
    scene[:, 19:21, 19:21] = 99
    inside = np.zeros((40, 40), dtype=bool)
    inside[19:21, 19:21] = True
    other = np.zeros((40, 40), dtype=bool)
    other[14:26, 14:26] = True
    anomalies = [Anomaly(1, *np.nonzero(inside)), Anomaly(2, *np.nonzero(other & ~inside))]
    evidence = gather_evidence(xr.DataArray(scene, dims=("band", "y", "x")), None, anomalies, bands=[0, 1])
    np.testing.assert_array_equal(evidence.expected, np.ones((2, 2)))


def test_an_anomaly_of_nodata_and_one_without_surroundings_are_unknown_not_wrong() -> None:
    scene = np.ones((2, 12, 12), np.float32)
    scene[:, 3, 3] = np.nan
    everything = Anomaly(2, *np.nonzero(np.ones((12, 12))))
    cube = xr.DataArray(scene, dims=("band", "y", "x"))
    lone = gather_evidence(cube, None, [Anomaly(1, np.array([3]), np.array([3]))], bands=[0, 1]).isel(anomaly=0)
    assert int(lone.pixels) == 0
    assert np.isnan(lone.spectrum).all()
    whole = gather_evidence(cube, None, [everything], bands=[0, 1])
    assert np.isnan(whole.expected).all()
    assert top_bands(whole) == [""]


def test_netcdf_round_trips_an_empty_table_too(tmp_path: Path) -> None:
    cube = as_cube(scene_with_target())
    for anomalies in ([TARGET], []):
        evidence = gather_evidence(cube, None, anomalies, bands=range(BANDS))
        out = write_evidence(evidence, tmp_path / "evidence.nc", overwrite=True)
        with xr.open_dataset(out, engine="scipy") as read:
            xr.testing.assert_allclose(read.load(), evidence)
            assert read.attrs["crs"].startswith("PROJCS")
        assert [path.name for path in tmp_path.iterdir()] == ["evidence.nc"]


@pytest.mark.parametrize("number", [7, 2**31, 2**62])
def test_numbers_that_others_have_given_are_kept(number: int) -> None:
    evidence = gather_evidence(as_cube(scene_with_target()), None, [replace(TARGET, id=number)], bands=range(BANDS))
    assert evidence["id"].values.tolist() == [number]
    assert evidence["id"].dtype == (np.int32 if number < 2**31 else np.int64)


@pytest.mark.parametrize(("row", "col"), [(60, 0), (0, 50), (-1, 3)])
def test_an_anomaly_of_another_scene_is_refused(row: int, col: int) -> None:
    outside = Anomaly(4, np.array([5, row]), np.array([5, col]))
    with pytest.raises(CubeError, match="60 x 50 pixels, but anomaly 4 extends outside"):
        gather_evidence(as_cube(scene_with_target()), None, [TARGET, outside], bands=range(BANDS))


def test_an_existing_table_is_kept_and_a_full_run_can_be_cancelled(tmp_path: Path) -> None:
    cube = as_cube(scene_with_target())
    out = tmp_path / "evidence.nc"
    out.write_bytes(b"yesterday's")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_evidence(gather_evidence(cube, None, [TARGET], bands=range(BANDS)), out)
    assert out.read_bytes() == b"yesterday's"
    with pytest.raises(Cancelled):
        gather_evidence(cube, None, [TARGET, TARGET], bands=range(BANDS), progress=Recorder(patience=1))


def test_one_picture_an_anomaly_and_none_of_an_earlier_run(tmp_path: Path) -> None:
    cube = as_cube(scene_with_target())
    evidence = gather_evidence(cube, None, [TARGET, Anomaly(3, np.array([5]), np.array([6]))], bands=range(BANDS))
    folder = tmp_path / "spectra"
    assert spectra_plots(evidence, folder) == [folder / "anomaly_7.png", folder / "anomaly_3.png"]
    with Image.open(folder / "anomaly_7.png") as picture:
        assert picture.size == (800, 360)
    with pytest.raises(OutputExistsError, match="not empty"):
        spectra_plots(evidence, folder)
    (folder / "notes.txt").write_text("mine")
    spectra_plots(evidence.isel(anomaly=[0]), folder, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["anomaly_7.png", "notes.txt"]
    with pytest.raises(OutputError, match="is a file"):
        spectra_plots(evidence, folder / "notes.txt")
    with pytest.raises(OutputError, match="does not exist"):
        spectra_plots(evidence, tmp_path / "no" / "where")


def test_the_first_are_plotted_and_counted_and_a_cancelled_run_leaves_none(tmp_path: Path) -> None:
    cube = as_cube(scene_with_target())
    others = [Anomaly(number, np.array([5]), np.array([number])) for number in (11, 3, 8)]
    evidence = gather_evidence(cube, None, [TARGET, *others], bands=range(BANDS))
    seen, folder = Recorder(), tmp_path / "spectra"
    made = spectra_plots(evidence, folder, limit=2, progress=seen)
    assert [path.name for path in made] == ["anomaly_7.png", "anomaly_11.png"]
    assert {path.name for path in folder.iterdir()} == {path.name for path in made}
    assert seen.stages == {"spectra": [2, 2]}
    assert any("the rarest 2 of 4 anomalies" in text for text in seen.messages)
    for place in (tmp_path / "new", folder):
        told: list[tuple[Path, bool]] = []
        with witnessed(lambda path, unfinished: told.append((path, unfinished))), pytest.raises(Cancelled):  # noqa: B023
            spectra_plots(evidence, place, overwrite=True, progress=Recorder(patience=2))
        assert told == ([] if place == folder else [(place, True), (place, False)])
    assert not (tmp_path / "new").exists()
    assert expected_seconds(10) > 0


def test_a_plot_says_what_was_measured_where_and_how_rare_it_is() -> None:
    evidence = gather_evidence(as_cube(scene_with_target()), None, [TARGET], bands=range(BANDS)).isel(anomaly=0)
    figure = draw_spectrum(evidence)
    assert figure.axes[0].get_ylabel() == "value"
    told = [text.get_text() for text in figure.texts]
    assert told[1] == f"{int(evidence.pixels)} pixels"
    assert not any("p =" in text for text in told)
    place = {"latitude": -34.5, "longitude": -58.25} if "latitude" not in evidence.coords else {}
    known = evidence.assign_coords(max_score=12.3456, p_value=1.234e-5, **place)
    known.spectrum.attrs["quantity"] = "radiance (W/m2/sr/um)"
    figure = draw_spectrum(known)
    assert figure.axes[0].get_ylabel() == "radiance (W/m2/sr/um)"
    told = [text.get_text() for text in figure.texts]
    assert told[1] == f"{int(evidence.pixels)} pixels  ·  score 12.35  ·  p = 1.2 × 10⁻⁵"
    latitude, longitude = float(known.latitude), float(known.longitude)
    assert told[2].endswith(f"{abs(latitude):.5f}° {'NS'[latitude < 0]}, {abs(longitude):.5f}° {'EW'[longitude < 0]}")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.012, "0.012"), (1e-3, "0.001"), (9.96e-4, "1.0 × 10⁻³"), (1.23e-38, "1.2 × 10⁻³⁸"), (0.0, "0")],
)
def test_small_numbers_are_written_as_people_do(value: float, text: str) -> None:
    assert power_of_ten(value) == text


def test_lines_are_not_drawn_across_bands_that_were_left_out() -> None:
    used = [0, 1, 2, 3, 7, 8, 9, 10, 11]
    evidence = gather_evidence(as_cube(scene_with_target()), None, [TARGET], bands=used).isel(anomaly=0)
    axes, _chip = draw_spectrum(evidence).axes
    for line in axes.lines:
        np.testing.assert_array_equal(np.isnan(line.get_ydata()), [False] * 4 + [True] + [False] * 5)

"""Simulated flight lines: the same whatever way they are made, georeferenced exactly, and true to their truth."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.crs import CRS

from hadgeo.cli import cli
from hadgeo.errors import Cancelled, OutputError, OutputExistsError, ParameterError
from hadgeo.progress import Silent
from hadgeo.simulation import simulate
from hadgeo.simulation.spectra import BACKGROUND, TARGETS, make_bands

SMALL = {"rows": 150, "cols": 90, "bands": 12, "targets": 6}
LAYOUTS = [
    ("line.img", {"interleave": "bip"}),
    ("line.img", {"interleave": "bil"}),
    ("line.img", {"interleave": "bsq"}),
    ("line.tif", {"interleave": "bip"}),
    ("line.tif", {"interleave": "bsq", "compress": "deflate"}),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def folders(tmp_path):
    made = []
    for name in "abc":
        (tmp_path / name).mkdir()
        made.append(tmp_path / name)
    return made


def test_another_flight_sees_the_same_ground_with_other_noise_and_targets(tmp_path):
    made = [simulate(tmp_path / f"{i}.img", flight=flight, seed=3, **SMALL) for i, flight in enumerate((0, 1, 1))]
    assert made[1].targets == made[2].targets != made[0].targets
    cubes = []
    for line in made[:2]:
        with rasterio.open(line.path) as scene, rasterio.open(line.truth) as truth:
            cubes.append(np.where(truth.read(1) == 0, scene.read().astype(float), np.nan))
    both = np.isfinite(cubes[0]).all(axis=0) & np.isfinite(cubes[1]).all(axis=0)
    first, second = (cube[10][both] for cube in cubes)
    assert 0.8 < np.corrcoef(first, second)[0, 1] < 1


def test_same_seed_gives_same_bytes_and_another_seed_another_scene(folders):
    for folder, seed in zip(folders, (3, 3, 4), strict=True):
        simulate(folder / "line.img", seed=seed, **SMALL)
    first, second, third = map(contents, folders)
    assert first == second
    assert first["line.img"] != third["line.img"]
    assert first["line_truth.tif"] != third["line_truth.tif"]


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_strip_height_does_not_change_the_files(folders, name, layout):
    scene = {**SMALL, "rows": 300, "wedges": 0.2, **layout}
    for folder, height in zip(folders, (7, 64, 300), strict=True):
        simulate(folder / name, strip_rows=height, **scene)
    first, *others = map(contents, folders)
    assert all(other == first for other in others)


def test_every_layout_holds_the_same_pixels(tmp_path):
    made = []
    for number, (name, layout) in enumerate(LAYOUTS):
        path = tmp_path / f"{number}{name}"
        simulate(path, wedges=0.3, **layout, **{**SMALL, "rows": 270, "cols": 300})
        made.append(pixels(path))
    assert made[0].shape == (12, 270, 300)
    assert all(np.array_equal(made[0], other) for other in made[1:])


@pytest.mark.parametrize("rotation", [0.0, 30.0, -117.3])
@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_grid_is_read_back_exactly(tmp_path, name, layout, rotation):
    made = simulate(tmp_path / name, rotation=rotation, pixel_size=3.7, **layout, **SMALL)
    parts = Affine.translation(500_000, 5_200_000), Affine.rotation(rotation), Affine.scale(3.7, -3.7)
    want = np.linalg.multi_dot([np.reshape(part, (3, 3)) for part in parts])
    with rasterio.open(made.path) as scene, rasterio.open(made.truth) as truth:
        assert scene.crs == truth.crs == CRS.from_epsg(32633)
        assert scene.transform == truth.transform
        np.testing.assert_allclose(np.reshape(scene.transform, (3, 3)), want, rtol=0, atol=1e-9)
        assert (scene.height, scene.width, scene.count) == made.shape == (150, 90, 12)
        assert scene.nodata == -9999


@pytest.mark.parametrize("crs", ["EPSG:32733", "EPSG:25832", "EPSG:3035", "EPSG:2056", "EPSG:3857", "EPSG:2263"])
def test_envi_header_carries_any_projected_system(tmp_path, crs):
    made = simulate(tmp_path / "line.img", crs=crs, rotation=12, **SMALL)
    with rasterio.open(made.path) as scene, rasterio.open(made.truth) as truth:
        assert scene.crs == truth.crs == CRS.from_user_input(crs)
        assert scene.transform == truth.transform


def test_envi_header_says_what_the_bands_are(tmp_path):
    made = simulate(tmp_path / "line.img", **{**SMALL, "bands": 120})
    text = made.path.with_suffix(".hdr").read_text()
    fields = dict(line.split(" = ", 1) for line in text.replace(",\n", ",").replace("{\n", "{").splitlines()[1:])
    wavelength, fwhm, bbl = (
        np.array(fields[key].strip("{}").split(","), dtype=float) for key in ("wavelength", "fwhm", "bbl")
    )
    bands = make_bands(120)
    np.testing.assert_allclose(wavelength, bands.wavelength, atol=1e-4)
    np.testing.assert_allclose(fwhm, 1.2 * np.diff(bands.wavelength).mean(), atol=1e-4)
    dead = ((wavelength >= 1340) & (wavelength <= 1450)) | ((wavelength >= 1790) & (wavelength <= 1960))
    assert np.array_equal(bbl == 0, dead | (wavelength >= 2450))
    assert fields["wavelength units"] == "Nanometers"
    assert fields["reflectance scale factor"] == "10000"


def test_geotiff_tags_say_what_the_bands_are(tmp_path):
    made = simulate(tmp_path / "line.tif", **SMALL)
    with rasterio.open(made.path) as scene:
        assert scene.tags(6) == {
            "wavelength": "1354.5455",
            "wavelength_units": "Nanometers",
            "fwhm": "229.0909",
            "bbl": "0",
        }
        assert scene.scales == (1e-4,) * 12
        assert scene.block_shapes[0] == (256, 256)


@pytest.mark.parametrize("wedges", [0.0, 0.35])
def test_truth_marks_exactly_what_was_implanted(tmp_path, wedges):
    scene = {"rows": 300, "cols": 200, "bands": 30, "wedges": wedges, "seed": 5}
    made = simulate(tmp_path / "line.img", targets=24, **scene)
    bare = simulate(tmp_path / "bare.img", targets=0, **scene)
    truth = pixels(made.truth)[0]
    assert np.array_equal((pixels(made.path) != pixels(bare.path)).any(axis=0), truth == 1)
    listed = np.zeros_like(truth)
    for target in made.targets:
        height, width = target.size
        listed[target.row : target.row + height, target.col : target.col + width] += 1
    assert listed.max() == 1
    assert np.array_equal(listed == 1, truth == 1)
    assert made.target_pixels == (truth == 1).sum() > 24
    assert {target.abundance for target in made.targets} == {1.0, 0.7, 0.5, 0.3, 0.15}
    assert {target.material for target in made.targets} == {material.name for material in TARGETS}


def test_targets_stand_apart_and_all_along_the_line(tmp_path):
    made = simulate(tmp_path / "line.img", rows=1200, cols=100, bands=4, wedges=0.3, targets=40)
    truth = pixels(made.truth)[0]
    for target in made.targets:
        rows = slice(max(0, target.row - 3), target.row + target.size[0] + 3)
        cols = slice(max(0, target.col - 3), target.col + target.size[1] + 3)
        assert (truth[rows, cols] == 1).sum() == target.size[0] * target.size[1]
        assert not (truth[rows, cols] == 255).any()
    thirds = np.histogram([target.row for target in made.targets], bins=3, range=(0, 1200))[0]
    assert thirds.min() >= 8


@pytest.mark.parametrize("wedges", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_wedges_are_nodata_in_every_band_and_as_large_as_asked(tmp_path, wedges, dtype):
    made = simulate(tmp_path / "line.img", wedges=wedges, dtype=dtype, **SMALL)
    empty = pixels(made.path) == -9999
    assert np.array_equal(empty.any(axis=0), empty.all(axis=0))
    assert np.array_equal(empty[0], pixels(made.truth)[0] == 255)
    assert empty[0].mean() == pytest.approx(wedges, abs=0.01)


def test_reflectance_is_believable(tmp_path):
    made = simulate(tmp_path / "line.img", rows=256, cols=200, bands=60, dtype="float32")
    values, bands = pixels(made.path), make_bands(60)
    assert 0.1 < values[bands.good].mean() < 0.4
    assert values[bands.good].max() < 1.5
    assert np.abs(values[~bands.good]).mean() < 0.05
    red, infrared = (values[np.abs(bands.wavelength - nm).argmin()] for nm in (670, 860))
    # Fields and meadows are green, soils are not, and neither is alone.
    assert 0.1 < ((infrared - red) / (infrared + red) > 0.55).mean() < 0.9


def test_global_rx_finds_many_targets_but_not_all(tmp_path):
    made = simulate(tmp_path / "line.img", rows=384, cols=300, bands=60)
    values = pixels(made.path)[make_bands(60).good].reshape(-1, 384 * 300).T
    centred = values - values.mean(axis=0, dtype=float)
    scores = (centred @ np.linalg.inv(np.cov(centred.T)) * centred).sum(axis=1)
    truth = pixels(made.truth).ravel() == 1
    ranks = scores.argsort().argsort()[truth] + 1
    hits, misses = truth.sum(), (~truth).sum()
    assert 0.85 < (ranks.sum() - hits * (hits + 1) / 2) / (hits * misses) < 0.985


def test_memory_does_not_grow_with_rows(tmp_path):
    def peak(rows: int, name: str) -> int:
        tracemalloc.start()
        simulate(tmp_path / name, rows=rows, cols=64, bands=20, targets=8)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for suffix in (".img", ".tif"):
        # What is loaded and cached once is not the scene's.
        peak(64, f"warm_{suffix[1:]}{suffix}")
        assert peak(2048, f"long_{suffix[1:]}{suffix}") < 1.2 * peak(512, f"short_{suffix[1:]}{suffix}")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rows", 2),
        ("cols", 0),
        ("bands", 1),
        ("wedges", 0.95),
        ("wedges", float("nan")),
        ("snr", 0),
        ("seed", -1),
        ("rotation", 270),
        ("pixel_size", -2),
        ("dtype", "uint8"),
        ("interleave", "bik"),
        ("format", "hdf"),
        ("compress", "deflate"),
        ("targets", 5000),
        ("strip_rows", -1),
        ("crs", "EPSG:99999999"),
        ("crs", "EPSG:4326"),
    ],
)
def test_wrong_option_is_named_with_its_value(tmp_path, option, value):
    with pytest.raises(ParameterError, match=f"^{option}={value!r}: ") as caught:
        simulate(tmp_path / "line.img", **{**SMALL, option: value})
    assert "\n" not in str(caught.value)
    assert re.search("must be|not a coordinate system; give one", str(caught.value))
    assert not contents(tmp_path)


def test_geotiff_cannot_be_line_interleaved(tmp_path):
    with pytest.raises(ParameterError, match="bip or bsq"):
        simulate(tmp_path / "line.tif", interleave="bil", **SMALL)


@pytest.mark.parametrize("existing", ["line.img", "line.hdr", "line_truth.tif"])
def test_existing_output_stays_unless_overwritten(tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    with pytest.raises(OutputExistsError, match=existing):
        simulate(tmp_path / "line.img", **SMALL)
    assert contents(tmp_path) == {existing: b"mine"}
    simulate(tmp_path / "line.img", overwrite=True, **SMALL)
    assert (tmp_path / existing).read_bytes() != b"mine"
    assert set(contents(tmp_path)) == {"line.img", "line.hdr", "line_truth.tif"}


def test_place_that_cannot_take_the_scene_is_refused_first(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        simulate(tmp_path / "no" / "line.img", **SMALL)
    with pytest.raises(OutputError, match="GB are free"):
        simulate(tmp_path / "line.img", rows=10_000_000, cols=30_000, bands=1000)
    with pytest.raises(OutputError, match="header is written next to"):
        simulate(tmp_path / "line.hdr", **SMALL)
    assert not contents(tmp_path)


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_failed_write_leaves_nothing_behind(tmp_path, name, layout):
    script = f"""
    import resource
    from hadgeo.errors import OutputError
    from hadgeo.simulation import simulate
    # As a full disk: no file may grow beyond a fraction of the scene.
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    try:
        simulate({str(tmp_path / name)!r}, rows=400, cols=90, bands=30, targets=6, **{layout!r})
    except OutputError as error:
        print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert "cannot be written" in ran.stdout, ran.stderr
    assert ran.returncode == 0
    assert not list(tmp_path.iterdir())


def test_cancelled_run_leaves_nothing_behind(tmp_path):
    class Impatient(Silent):
        done = 0

        def advance(self, n: int = 1) -> None:
            self.done += n

        def cancelled(self) -> bool:
            return self.done > 0

    progress = Impatient()
    with pytest.raises(Cancelled):
        simulate(tmp_path / "line.tif", progress=progress, strip_rows=50, **SMALL)
    assert progress.done == 50 * 90
    assert not contents(tmp_path)


def test_target_materials_are_not_in_the_background():
    known = np.stack([material.reflectance() for material in BACKGROUND])
    for target in TARGETS:
        shape = target.reflectance()
        angles = (known @ shape) / np.linalg.norm(known, axis=1) / np.linalg.norm(shape)
        assert angles.max() < 0.999


def test_command_takes_a_size_and_guesses_the_format(tmp_path):
    out = tmp_path / "line.tif"
    options = ["--size", "1MiB", "--cols", "90", "--bands", "12", "--targets", "3", "--wedges", "0.2", "--seed", "7"]
    ran = CliRunner().invoke(cli, ["simulate", str(out), *options])
    assert ran.exit_code == 0, ran.output
    assert "485 x 90 x 12" in ran.output
    with rasterio.open(out) as scene:
        assert (scene.driver, scene.height) == ("GTiff", 485)
    again = CliRunner().invoke(cli, ["simulate", str(out), *options])
    assert again.exit_code != 0


def test_command_reports_a_bad_option_in_one_line(tmp_path):
    ran = CliRunner().invoke(cli, ["simulate", str(tmp_path / "line.img"), "--wedges", "2"])
    assert ran.exit_code == 2
    assert "wedges=2.0: must be 0 to 0.9" in ran.output


def test_every_target_has_the_size_and_abundance_asked_for(tmp_path: Path) -> None:
    made = simulate(tmp_path / "scene.tif", rows=80, cols=80, targets=6, target_size=(3, 8), abundance=0.25)
    assert {(target.size, target.abundance) for target in made.targets} == {((3, 8), 0.25)}
    assert made.target_pixels == 6 * 24


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_size": (0, 3)}, "target_size"),
        ({"abundance": 0.0}, "abundance"),
        ({"abundance": 1.5}, "abundance"),
        ({"target_size": (90, 90)}, "targets=24: must be 0 to"),
    ],
)
def test_targets_that_cannot_be_are_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        simulate(tmp_path / "scene.tif", rows=100, cols=100, **options)
    assert not list(tmp_path.iterdir())


def test_flight_lines_lie_side_by_side_where_their_corners_are_told(tmp_path: Path) -> None:
    made = [
        simulate(tmp_path / f"{east}.img", rows=20, cols=30, bands=8, targets=1, origin=(east, 5.1e6))
        for east in (500_000.0, 500_060.0)
    ]
    left, right = (rasterio.open(scene.truth).bounds for scene in made)
    assert (left.left, left.top, left.right) == (500_000.0, 5.1e6, right.left)
    with pytest.raises(ParameterError, match="origin"):
        simulate(tmp_path / "x.img", origin=(float("nan"), 0.0))

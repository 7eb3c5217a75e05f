"""Masks from elsewhere: which pixels they leave, on any grid, and that what they leave out counts for nothing."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
import rasterio
import scipy.io
import scipy.ndimage
import shapely
import xarray as xr
from affine import Affine
from rasterio.enums import ColorInterp

import hadgeo
from hadgeo.cube import as_source, source_of
from hadgeo.errors import Cancelled, CubeNotFoundError, MaskError, OutputError, ReadError
from hadgeo.formats import open_source, overlay
from hadgeo.formats.masked import Masked, masked
from hadgeo.formats.source import Source
from tests.evaluation.test_truth import polygons
from tests.support import Recorder, background

from .test_raster import tag, write_tiff

BANDS, ROWS, COLS = 6, 40, 50
UTM = "EPSG:32633"
#: Turned by 20 degrees, of 2 m.
PLACE = Affine(1.8793852, 0.6840403, 500000, 0.6840403, -1.8793852, 4500000)
PLACED = {"crs": UTM, "transform": PLACE}

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture
def scene(tmp_path: Path) -> Source:
    path = write_tiff(tmp_path / "scene.tif", background((BANDS, ROWS, COLS)), **PLACED)
    return open_source(tag(path, [{"wavelength": str(500 + 10 * band)} for band in range(BANDS)]))


def some(seed: int = 0) -> npt.NDArray[np.bool_]:
    """Blobs of pixels to keep."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(ROWS, COLS)), 3)
    return noise > np.quantile(noise, 0.4)


def kept(left: Masked) -> npt.NDArray[np.bool_]:
    """Pixels of which all bands are data; nothing else may differ from the scene."""
    rows, cols = (slice(0, length) for length in left.shape[1:])
    samples, original = left.read(rows, cols), left.source.read(rows, cols)
    found = np.isfinite(samples).all(axis=0)
    np.testing.assert_array_equal(samples, np.where(found, original, np.nan))
    assert left.left == found.sum()
    return found


def write_mask(path: Path, values: npt.NDArray[Any], **profile: Any) -> Path:
    return write_tiff(path, values if values.ndim == 3 else values[None], **{**PLACED, **profile})


@pytest.mark.parametrize("yes", [1, 255, -3])
def test_what_is_not_0_in_a_raster_is_left(scene: Source, tmp_path: Path, yes: int) -> None:
    mask = write_mask(tmp_path / "mask.tif", np.where(some(), yes, 0).astype("i2"))
    np.testing.assert_array_equal(kept(masked(scene, mask)), some())


@pytest.mark.parametrize(("dtype", "nodata"), [("u1", 255), ("f4", -9999), ("f4", np.nan), ("u1", 0)])
def test_nodata_of_a_mask_is_not_data(scene: Source, tmp_path: Path, dtype: str, nodata: float) -> None:
    mask = write_mask(tmp_path / "mask.tif", np.where(some(), 7, nodata).astype(dtype), nodata=nodata)
    np.testing.assert_array_equal(kept(masked(scene, mask)), some())


def test_a_transparent_pixel_is_not_data(scene: Source, tmp_path: Path) -> None:
    picture = np.full((4, ROWS, COLS), 200, dtype="u1")
    picture[3] = some() * 255
    path = write_mask(tmp_path / "mask.tif", picture, photometric="RGB", alpha="YES")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] is ColorInterp.alpha
    np.testing.assert_array_equal(kept(masked(scene, path)), some())


def test_a_mask_within_a_mask_counts(scene: Source, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", np.ones((ROWS, COLS), "u1"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(some())
    np.testing.assert_array_equal(kept(masked(scene, path)), some())


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.mat"])
def test_a_mask_without_a_place_is_taken_pixel_by_pixel(scene: Source, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("mat"):
        scipy.io.savemat(path, {"mask": some().astype("u1")})
    else:
        driver = {"png": "PNG", "tif": "GTiff"}[name[-3:]]
        write_tiff(path, some().astype("u1")[None], driver=driver, crs=None, transform=None)
    np.testing.assert_array_equal(kept(masked(scene, path)), some())


def test_a_scene_without_a_place_takes_a_mask_pixel_by_pixel(tmp_path: Path) -> None:
    scene = open_source(write_tiff(tmp_path / "scene.tif", background((BANDS, ROWS, COLS)), crs=None, transform=None))
    mask = write_mask(tmp_path / "mask.tif", some().astype("u1"))
    np.testing.assert_array_equal(kept(masked(scene, mask)), some())
    with pytest.raises(MaskError, match=r"other\.tif: 39 x 50 pixels, but .*scene\.tif has 40 x 50; .* must be equal"):
        masked(scene, write_mask(tmp_path / "other.tif", some()[1:].astype("u1")))
    with pytest.raises(MaskError, match=r"land\.gpkg: polygons need a georeferenced scene"):
        masked(scene, polygons(tmp_path / "land.gpkg", [shapely.box(0, 0, 1, 1)]))


def centres(crs: str = UTM) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Middles of the scene's pixels in another CRS, by pyproj alone."""
    cols, rows = np.meshgrid(np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5)
    x, y = PLACE.c + PLACE.a * cols + PLACE.b * rows, PLACE.f + PLACE.d * cols + PLACE.e * rows
    return pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform(x, y)


@pytest.mark.parametrize("crs", [UTM, "EPSG:32632", "EPSG:4326", "EPSG:3857"])
@pytest.mark.parametrize("pixel", [7.0, 2.0, 0.4])
@pytest.mark.parametrize("strip", [300, 2**24])
def test_a_mask_on_another_grid_is_brought_onto_that_of_the_scene(
    scene: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crs: str, pixel: float, strip: int
) -> None:
    monkeypatch.setattr(overlay, "STRIP_PIXELS", strip)
    x, y = centres(crs)
    side = pixel / (111_000 if crs == "EPSG:4326" else 1)
    # Smaller than the scene on the right and below.
    width, height = int(np.ptp(x) * 0.8 / side), int(np.ptp(y) * 0.8 / side)
    place = Affine(side, 0, x.min() - 3.3 * side, 0, -side, y.max() + 2.2 * side)
    values = np.random.default_rng(1).random((height, width)) < 0.6
    mask = write_mask(tmp_path / "mask.tif", values.astype("u1"), crs=crs, transform=place)
    col, row = ((x - place.c) / side, (y - place.f) / -side)
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    expected = inside.copy()
    expected[inside] = values[row[inside].astype(int), col[inside].astype(int)]
    # GDAL may be off by an eighth of a pixel where it reprojects; within that of an edge either is right.
    near = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row))) < (1e-6 if crs == UTM else 0.13)
    found = kept(masked(scene, mask))
    np.testing.assert_array_equal(found[~near], expected[~near])
    assert (found == expected).mean() > 0.97


def blobs() -> list[shapely.Polygon]:
    """Two blobs in the scene, one of which reaches beyond it, and one far away."""
    x, y = centres()
    at = [(x[10, 12], y[10, 12]), (x[38, 45], y[38, 45]), (x[0, 0] + 5000, y[0, 0])]
    return [shapely.Point(point).buffer(radius) for point, radius in zip(at, (14.3, 25.1, 10), strict=True)]


@pytest.mark.parametrize("name", ["land.gpkg", "land.geojson", "land.shp", "land.fgb", "land.kml"])
@pytest.mark.parametrize("strip", [300, 2**24])
def test_pixels_whose_middle_lies_in_a_polygon_are_left(
    scene: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, strip: int
) -> None:
    monkeypatch.setattr(overlay, "STRIP_PIXELS", strip)
    crs = "EPSG:4326" if name.endswith(("geojson", "kml")) else UTM
    to = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform
    shapes = [shapely.transform(shape, to, interleaved=False) for shape in blobs()]
    x, y = centres()
    expected = shapely.contains_xy(shapely.union_all(blobs()), x, y)
    assert expected.sum() > 200
    found = kept(masked(scene, polygons(tmp_path / name, shapes, crs)))
    np.testing.assert_array_equal(found, expected)


def test_a_hole_in_a_polygon_is_left_out(scene: Source, tmp_path: Path) -> None:
    x, y = centres()
    ring = shapely.Point(x[20, 25], y[20, 25])
    shape = ring.buffer(30).difference(ring.buffer(12))
    found = kept(masked(scene, polygons(tmp_path / "ring.gpkg", [shape])))
    np.testing.assert_array_equal(found, shapely.contains_xy(shape, x, y))


def test_land_of_half_the_world_leaves_its_part_of_the_scene(scene: Source, tmp_path: Path) -> None:
    """Vertices at the poles have no place in UTM."""
    x, _ = centres("EPSG:4326")
    coast = float(np.median(x))
    world = shapely.Polygon([(-180, -90), (coast, -90), (coast, 90), (-180, 90)])
    path = tmp_path / "land.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(world)}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    np.testing.assert_array_equal(kept(masked(scene, path)), x < coast)


@pytest.mark.parametrize("kind", ["raster", "polygons", "nothing inside", "zeros"])
def test_a_mask_that_leaves_nothing_is_refused(scene: Source, tmp_path: Path, kind: str) -> None:
    x, y = centres()
    if kind == "raster":
        path = write_mask(tmp_path / "mask.tif", some().astype("u1"), transform=Affine(2, 0, 9e5, 0, -2, 4e6))
        words = r"mask\.tif: does not overlap .*scene\.tif; check both CRS"
    elif kind == "polygons":
        path = polygons(tmp_path / "mask.gpkg", [shapely.box(9e5, 4e6, 9e5 + 9, 4e6 + 9)])
        words = r"mask\.gpkg: does not overlap .*scene\.tif; check both CRS"
    elif kind == "nothing inside":
        path = polygons(tmp_path / "mask.gpkg", [shapely.Point(x[5, 5] + 0.7, y[5, 5]).buffer(0.2)])
        words = r"mask\.gpkg: the mask leaves no pixel of .*scene\.tif"
    else:
        path = write_mask(tmp_path / "mask.tif", np.zeros((ROWS, COLS), "u1"))
        words = r"mask\.tif: the mask leaves no pixel of .*scene\.tif"
    with pytest.raises(MaskError, match=words) as caught:
        masked(scene, path)
    assert "\n" not in str(caught.value)


def test_what_is_no_mask_is_refused(scene: Source, tmp_path: Path) -> None:
    import pyogrio

    (tmp_path / "notes.txt").write_text("nothing")
    lines = shapely.to_wkb(np.array([shapely.LineString([(5e5, 4.5e6), (6e5, 4.5e6)])], dtype=object))
    pyogrio.raw.write(tmp_path / "roads.gpkg", lines, [], [], crs=UTM, geometry_type="LineString", driver="GPKG")
    write_mask(tmp_path / "cube.tif", np.ones((5, ROWS, COLS), "u1"))
    write_tiff(tmp_path / "small.tif", np.ones((1, 3, 3), "u1"), crs=None, transform=None)
    for name, words in (
        ("notes.txt", "not a raster that GDAL can read"),
        ("roads.gpkg", "contains no polygon"),
        ("cube.tif", "5 bands, but a mask has one"),
        ("small.tif", "3 x 3 pixels, but .*; the mask is not georeferenced, so their shapes must be equal"),
    ):
        with pytest.raises(MaskError, match=f"{name}: {words}"):
            masked(scene, tmp_path / name)
    with pytest.raises(CubeNotFoundError, match=r"gone\.tif: no such mask"):
        masked(scene, tmp_path / "gone.tif")


def test_windows_and_bands_are_those_of_the_whole(scene: Source, tmp_path: Path) -> None:
    left = masked(scene, write_mask(tmp_path / "mask.tif", some().astype("u1")))
    whole = left.read(slice(0, ROWS), slice(0, COLS))
    for rows, cols in ((slice(3, 19), slice(5, 6)), (slice(0, 40), slice(13, 29)), (slice(39, 40), slice(48, 50))):
        for bands in (slice(None), np.array([4, 1])):
            np.testing.assert_array_equal(left.read(rows, cols, bands), whole[bands, rows, cols])
    again = pickle.loads(pickle.dumps(left))
    np.testing.assert_array_equal(again.read(slice(0, ROWS), slice(0, COLS)), whole)


def test_what_the_mask_leaves_out_is_not_read(scene: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = np.zeros((ROWS, COLS), "u1")
    keep[30:] = 1
    left = masked(scene, write_mask(tmp_path / "mask.tif", keep))

    def fail(*args: Any) -> None:
        raise AssertionError("samples were read")

    monkeypatch.setattr(type(scene), "read", fail)
    window = left.read(slice(0, 30), slice(0, COLS), np.array([2, 3]))
    assert window.shape == (2, 30, COLS)
    assert np.isnan(window).all()


def test_a_mask_and_its_side_files_belong_to_the_scene(scene: Source, tmp_path: Path) -> None:
    path = polygons(tmp_path / "land.shp", blobs())
    left = masked(scene, path)
    assert {file.suffix for file in left.files} >= {".tif", ".shp", ".dbf", ".shx", ".prj"}
    assert str(path) in left.variant
    assert masked(scene, write_mask(tmp_path / "mask.tif", some().astype("u1"))).variant != left.variant
    assert str(left) == f"{path} leaves {left.left:,} of 2,000 pixels of {scene.path}"


def test_a_cube_with_a_mask_is_as_lazy_and_leads_back_to_its_files(scene: Source, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.tif", some().astype("u1"))
    cube = hadgeo.open_cube(scene.path)
    left = hadgeo.mask(cube, mask)
    source = source_of(left)
    assert isinstance(source, Masked)
    assert mask in source.files
    assert left.chunks == cube.chunks
    xr.testing.assert_identical(left.compute(), cube.compute().where(xr.DataArray(some(), dims=("y", "x"))))
    xr.testing.assert_equal(cube.compute(), hadgeo.open_cube(scene.path).compute())
    assert as_source(cube).files == scene.files


@pytest.mark.parametrize("lazy", [True, False])
def test_an_array_of_ones_own_takes_a_mask(scene: Source, tmp_path: Path, lazy: bool) -> None:
    cube = hadgeo.open_cube(scene.path) * 2
    cube = cube if lazy else cube.compute()
    left = hadgeo.mask(cube, write_mask(tmp_path / "mask.tif", some().astype("u1")))
    assert (left.chunks is not None) == lazy
    np.testing.assert_array_equal(np.isfinite(left.values).all(axis=0), some())
    assert source_of(left).metadata.grid == source_of(cube).metadata.grid


QUICK = {"steps": 4, "crop": 24}


def scores(path: Path) -> npt.NDArray[np.float32]:
    with rasterio.open(path) as dataset:
        found: npt.NDArray[np.float32] = dataset.read(1)
    return found


@pytest.mark.parametrize(("detector", "parameters"), [("rx", {}), ("bs3lnet", QUICK)])
@pytest.mark.parametrize("window", [16, 500])
def test_what_is_masked_counts_for_nothing(
    tmp_path: Path, detector: str, parameters: dict[str, Any], window: int
) -> None:
    """The map is that of a scene whose file says nodata there, whatever the samples below the mask are."""
    cube = background((BANDS, ROWS, COLS))
    wild = np.where(some(), cube, 1e3 * np.random.default_rng(5).normal(size=cube.shape)).astype("f4")
    blank = np.where(some(), cube, -9999).astype("f4")
    mask = write_mask(tmp_path / "mask.tif", some().astype("u1"))

    def run(name: str, samples: npt.NDArray[np.float32], *, apply: bool) -> npt.NDArray[np.float32]:
        source: Source = open_source(write_tiff(tmp_path / f"{name}.tif", samples, nodata=-9999, **PLACED))
        source = masked(source, mask) if apply else source
        out = tmp_path / f"{name}_map.tif"
        return scores(hadgeo.detect(source, detector, parameters=parameters, out=out, window=window).path)

    expected = run("blank", blank, apply=False)
    np.testing.assert_array_equal(np.isfinite(expected), some())
    np.testing.assert_array_equal(run("tame", cube, apply=True), expected)
    np.testing.assert_array_equal(run("wild", wild, apply=True), expected)
    # And it is another one than without the mask, since the background is learned from what is left.
    assert not np.array_equal(run("whole", cube, apply=False)[some()], expected[some()])


def test_rx_learns_from_what_is_left_alone(scene: Source, tmp_path: Path) -> None:
    mask = write_mask(tmp_path / "mask.tif", some().astype("u1"))
    found = scores(hadgeo.detect(masked(scene, mask), "rx", out=tmp_path / "map.tif", bands="all").path)
    spectra = scene.read(slice(0, ROWS), slice(0, COLS))[:, some()].astype("f8")
    centred = spectra - spectra.mean(axis=1, keepdims=True)
    expected = np.einsum("bp,bc,cp->p", centred, np.linalg.inv(np.cov(spectra)), centred)
    np.testing.assert_allclose(found[some()], expected, rtol=1e-3)


def test_a_run_is_not_gone_on_with_under_another_mask(scene: Source, tmp_path: Path) -> None:
    one = masked(scene, write_mask(tmp_path / "one.tif", some().astype("u1")))
    other = masked(scene, write_mask(tmp_path / "other.tif", some(1).astype("u1")))
    out = tmp_path / "map.tif"
    with pytest.raises(Cancelled):
        hadgeo.detect(one, "rx", out=out, window=8, progress=Recorder(patience=12))
    for source in (other, scene):
        with pytest.raises(OutputError, match="belongs to a run with other settings"):
            hadgeo.detect(source, "rx", out=out, window=8, resume=True)
    done = hadgeo.detect(one, "rx", out=out, window=8, resume=True)
    assert done.windows_kept > 0
    assert done.valid == some().sum()


def test_a_mask_that_changes_meanwhile_stops_the_run(scene: Source, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.tif", some().astype("u1"))
    left = masked(scene, path)

    class Meddler(Recorder):
        def stage(self, name: str, total: int) -> None:
            super().stage(name, total)
            if name == "score":
                write_mask(path, some(1).astype("u1"), compress="deflate")

    with pytest.raises(ReadError, match="changed while it was being read"):
        hadgeo.detect(left, "rx", out=tmp_path / "map.tif", window=16, progress=Meddler())

"""What a detector learns from: fitted on some pixels as if the others were nodata, while all of them are scored."""

from __future__ import annotations

import pickle
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
import rasterio
import scipy.ndimage
import shapely
from affine import Affine

import hadgeo
from hadgeo.errors import (
    BandError,
    Cancelled,
    CubeNotFoundError,
    FitError,
    HadgeoError,
    OutputError,
    ParameterError,
    RegionElsewhereError,
    RegionError,
)
from hadgeo.formats import open_source
from hadgeo.formats.cropped import Cropped
from hadgeo.formats.masked import masked
from hadgeo.formats.source import Source
from hadgeo.run.learning import learning
from hadgeo.run.model_file import model_hash
from tests.evaluation.test_truth import polygons
from tests.formats.test_raster import tag, write_tiff
from tests.support import Recorder, background

BANDS, ROWS, COLS = 6, 40, 50
UTM = "EPSG:32633"
#: Turned by 20 degrees, of 2 m.
PLACE = Affine(1.8793852, 0.6840403, 500000, 0.6840403, -1.8793852, 4500000)
PLACED = {"crs": UTM, "transform": PLACE}
WAVELENGTHS = (480, 560, 670, 740, 800, 860)

QUICK = {"steps": 4, "crop": 24}
DETECTORS: list[tuple[str, dict[str, Any]]] = [
    ("rx", {}),
    ("bs3lnet", QUICK),
    ("scoread", {"steps": 3}),
    ("ring_predictor", {}),
]


def cube() -> npt.NDArray[np.float32]:
    return background((BANDS, ROWS, COLS))


def write_scene(path: Path, values: npt.NDArray[Any], **profile: Any) -> Path:
    return tag(
        write_tiff(path, values, nodata=-9999, **{**PLACED, **profile}), [{"wavelength": str(nm)} for nm in WAVELENGTHS]
    )


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", cube())


def some(seed: int = 0) -> npt.NDArray[np.bool_]:
    """Blobs of pixels."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(ROWS, COLS)), 3)
    return noise > np.quantile(noise, 0.4)


def write_region(path: Path, values: npt.NDArray[np.bool_], **profile: Any) -> Path:
    return write_tiff(path, values.astype("u1")[None], **{**PLACED, **profile})


def scores(path: Path) -> npt.NDArray[np.float32]:
    with rasterio.open(path) as dataset:
        found: npt.NDArray[np.float32] = dataset.read(1)
    return found


def hash_with_nodata_outside(tmp_path: Path, keep: npt.NDArray[np.bool_], detector: str, parameters: Any) -> str:
    """Of the fit on a scene that has nodata wherever it is not to be learned from."""
    blank = write_scene(tmp_path / "blank.tif", np.where(keep, cube(), -9999).astype("f4"))
    return model_hash(hadgeo.detect(blank, detector, parameters=parameters, overwrite=True).detector)


@pytest.mark.parametrize(("detector", "parameters"), DETECTORS)
@pytest.mark.parametrize("kind", ["background", "exclude", "both"])
def test_a_fit_is_that_of_a_scene_with_nodata_elsewhere_and_the_map_is_whole(
    scene: Path, tmp_path: Path, detector: str, parameters: dict[str, Any], kind: str
) -> None:
    regions: dict[str, Path] = {}
    keep = np.ones((ROWS, COLS), dtype=bool)
    if kind in ("background", "both"):
        regions["background"] = write_region(tmp_path / "inside.tif", some(0))
        keep &= some(0)
    if kind in ("exclude", "both"):
        regions["exclude"] = write_region(tmp_path / "outside.tif", some(1))
        keep &= ~some(1)
    watch = Recorder()
    done = hadgeo.detect(scene, detector, parameters=parameters, out=tmp_path / "map.tif", progress=watch, **regions)  # type: ignore[arg-type]
    assert done.valid == ROWS * COLS
    assert np.isfinite(scores(done.path)).all()
    assert done.learned_pixels == keep.sum()
    assert model_hash(done.detector) == hash_with_nodata_outside(tmp_path, keep, detector, parameters)
    (told,) = [message for message in watch.messages if "left for learning" in message]
    words = {"background": "inside inside.tif", "exclude": "outside outside.tif"}
    assert told == (
        f"{keep.sum():,} of 2,000 pixels of {scene} are left for learning: "
        + ", ".join(words[name] for name in regions)
    )
    with rasterio.open(done.path) as dataset:
        assert dataset.tags()["HADGEO_LEARNED_FROM"] == told.split("learning: ")[1]


@pytest.mark.parametrize(("detector", "parameters"), DETECTORS)
def test_windows_change_nothing(scene: Path, tmp_path: Path, detector: str, parameters: dict[str, Any]) -> None:
    region = write_region(tmp_path / "inside.tif", some())
    maps = [
        hadgeo.detect(
            scene, detector, parameters=parameters, background=region, window=window, out=tmp_path / f"{window}.tif"
        ).path
        for window in (9, 500)
    ]
    np.testing.assert_allclose(scores(maps[0]), scores(maps[1]), rtol=1e-5)


def test_what_is_not_learned_from_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hadgeo.sampling.PIECE_BYTES", 4 * BANDS * COLS * 5)
    scene = write_scene(tmp_path / "scene.tif", cube())
    keep = np.zeros((ROWS, COLS), dtype=bool)
    keep[:10] = True
    done = hadgeo.detect(scene, "rx", background=write_region(tmp_path / "top.tif", keep), window=5)
    assert np.isfinite(scores(done.path)).all()


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_polygons_of_another_system_are_reprojected(scene: Path, tmp_path: Path, crs: str) -> None:
    cols, rows = np.meshgrid(np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5)
    x, y = PLACE.c + PLACE.a * cols + PLACE.b * rows, PLACE.f + PLACE.d * cols + PLACE.e * rows
    shape = shapely.Point(x[18, 22], y[18, 22]).buffer(26.3)
    inside = shapely.contains_xy(shape, x, y)
    to = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform
    path = polygons(tmp_path / "field.gpkg", [shapely.transform(shape, to, interleaved=False)], crs)
    done = hadgeo.detect(scene, "rx", background=path, out=tmp_path / "in.tif")
    assert done.learned_pixels == inside.sum()
    assert model_hash(done.detector) == hash_with_nodata_outside(tmp_path, inside, "rx", {})
    done = hadgeo.detect(scene, "rx", exclude=path, out=tmp_path / "out.tif")
    assert done.learned_pixels == (~inside).sum()
    assert model_hash(done.detector) == hash_with_nodata_outside(tmp_path, ~inside, "rx", {})


def test_a_mask_holds_for_learning_and_for_the_map(scene: Path, tmp_path: Path) -> None:
    mask, region = write_region(tmp_path / "mask.tif", some(0)), write_region(tmp_path / "inside.tif", some(1))
    left = masked(open_source(scene), mask)
    watch = Recorder()
    done = hadgeo.detect(left, "rx", background=region, out=tmp_path / "map.tif", progress=watch)
    np.testing.assert_array_equal(np.isfinite(scores(done.path)), some(0))
    both = some(0) & some(1)
    assert model_hash(done.detector) == hash_with_nodata_outside(tmp_path, both, "rx", {})
    assert any(text.startswith(f"{both.sum():,} of {some(0).sum():,} pixels") for text in watch.messages)
    # And with an extent.
    part = Cropped(left, slice(3, 30), slice(7, 45))
    done = hadgeo.detect(part, "rx", background=region, out=tmp_path / "part.tif")
    assert done.learned_pixels == both[3:30, 7:45].sum()
    with pytest.raises(RegionError, match=r"inside\.tif: the mask leaves no pixel of the background region in .*scene"):
        hadgeo.detect(
            masked(open_source(scene), write_region(tmp_path / "rest.tif", ~some(1))),
            "rx",
            background=region,
            out=tmp_path / "none.tif",
        )


def test_pixels_without_data_are_not_counted(tmp_path: Path) -> None:
    values = cube()
    values[:, :, :20] = -9999
    scene = write_scene(tmp_path / "scene.tif", values)
    done = hadgeo.detect(scene, "rx", background=write_region(tmp_path / "inside.tif", some()))
    assert done.learned_pixels == some()[:, 20:].sum()


def region_of_no_use(kind: str, tmp_path: Path) -> Path:
    if kind == "far raster":
        return write_region(tmp_path / "region.tif", some(), transform=Affine(2, 0, 9e5, 0, -2, 4e6))
    if kind == "far polygons":
        return polygons(tmp_path / "region.gpkg", [shapely.box(9e5, 4e6, 9e5 + 9, 4e6 + 9)])
    if kind == "between pixels":
        x, y = PLACE @ (5.0, 5.0)
        return polygons(tmp_path / "region.gpkg", [shapely.Point(x, y).buffer(0.2)])
    if kind == "zeros":
        return write_region(tmp_path / "region.tif", np.zeros((ROWS, COLS), dtype=bool))
    if kind == "everything":
        return write_region(tmp_path / "region.tif", np.ones((ROWS, COLS), dtype=bool))
    return tmp_path / "region.gpkg"


MISSES = [
    ("background", "far raster", r"region\.tif: does not overlap .*scene\.tif; check both CRS"),
    ("background", "far polygons", r"region\.gpkg: does not overlap .*, or give the background region of this scene"),
    ("background", "between pixels", r"region\.gpkg: no pixel of .*scene\.tif lies in the background region"),
    ("background", "zeros", r"no pixel of .*scene\.tif lies in the background region.* nonzero in a raster"),
    ("exclude", "far raster", r"region\.tif: does not overlap .*scene\.tif"),
    ("exclude", "far polygons", r"or give the excluded region of this scene"),
    ("exclude", "zeros", r"no pixel of .*scene\.tif lies in the excluded region"),
]


@pytest.mark.parametrize(
    ("option", "kind", "words", "error"),
    [
        *[(*miss, RegionElsewhereError) for miss in MISSES],
        ("background", "gone", r"region\.gpkg: no such background region; check the path", CubeNotFoundError),
        ("exclude", "everything", r"contains all 2,000 pixels of .*scene\.tif that could be learned from", RegionError),
        ("exclude", "gone", r"region\.gpkg: no such excluded region", CubeNotFoundError),
    ],
)
@pytest.mark.parametrize("function", ["detect", "train"])
def test_a_region_that_leaves_nothing_is_one_clear_error(
    scene: Path, tmp_path: Path, option: str, kind: str, words: str, error: type[HadgeoError], function: str
) -> None:
    path = region_of_no_use(kind, tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(error, match=words) as caught:
        getattr(hadgeo, function)(scene, "rx", out=tmp_path / "out", **{option: path})
    assert "\n" not in str(caught.value)
    assert set(tmp_path.iterdir()) == before


def test_regions_that_leave_nothing_together_are_told(scene: Path, tmp_path: Path) -> None:
    region = write_region(tmp_path / "region.tif", some())
    with pytest.raises(RegionError, match=rf"contains all {some().sum():,} pixels of .* that could be learned from"):
        hadgeo.detect(scene, "rx", background=region, exclude=region)


def test_a_region_without_data_is_told(tmp_path: Path) -> None:
    values = cube()
    values[:, :, :20] = -9999
    scene = write_scene(tmp_path / "scene.tif", values)
    keep = np.zeros((ROWS, COLS), dtype=bool)
    keep[:, :15] = True
    region = write_region(tmp_path / "region.tif", keep)
    with pytest.raises(RegionError, match=r"region\.tif: .*scene\.tif has no data in the pixels that are left"):
        hadgeo.detect(scene, "rx", background=region)


def test_a_fit_that_fails_says_how_little_was_left(scene: Path, tmp_path: Path) -> None:
    keep = np.zeros((ROWS, COLS), dtype=bool)
    keep[7, 9] = True
    with pytest.raises(
        FitError, match=r"^the 1 pixels of .*scene\.tif .*\(inside one\.tif\) do not determine"
    ) as caught:
        hadgeo.detect(scene, "rx", background=write_region(tmp_path / "one.tif", keep))
    assert "choose a larger region" in str(caught.value)
    assert not (tmp_path / "scene_anomaly.tif").exists()


def test_a_model_learns_nothing_more(scene: Path, tmp_path: Path) -> None:
    model = hadgeo.train(scene, "rx", out=tmp_path / "rx.hadgeo")
    region = write_region(tmp_path / "region.tif", some())
    for given in ({"background": region}, {"exclude": region}, {"suppress": "water"}):
        with pytest.raises(ParameterError, match=rf"--{next(iter(given))}: a model is not fitted again"):
            hadgeo.detect(scene, model, **given)  # type: ignore[arg-type]
    watch = Recorder()
    done = hadgeo.detect(scene, model, suppress="shadow=0.9", suppress_from="map", progress=watch)
    assert 0 < done.valid < ROWS * COLS
    lost = ROWS * COLS - done.valid
    assert any(
        text.startswith(f"{lost:,} of 2,000 pixels of {scene} get no score: {lost:,} of shadow")
        for text in watch.messages
    )


def test_a_model_is_trained_on_a_region_of_several_scenes(scene: Path, tmp_path: Path) -> None:
    other = write_scene(tmp_path / "other.tif", cube() * 1.1, transform=PLACE @ Affine.translation(1000, 0))
    region = write_region(tmp_path / "inside.tif", some())
    one = hadgeo.train(scene, "rx", background=region, out=tmp_path / "one.hadgeo")
    done = hadgeo.detect(scene, "rx", background=region, out=tmp_path / "map.tif")
    assert model_hash(one.detector) == model_hash(done.detector)
    # A background elsewhere is an error; what is excluded may lie in some of the scenes.
    with pytest.raises(RegionElsewhereError, match=r"does not overlap .*other\.tif"):
        hadgeo.train([scene, other], "rx", background=region, out=tmp_path / "two.hadgeo")
    watch = Recorder()
    hadgeo.train([scene, other], "rx", exclude=region, out=tmp_path / "two.hadgeo", progress=watch)
    told = [text for text in watch.messages if "left for learning" in text]
    assert told[0].endswith("outside inside.tif")
    assert told[1].startswith(f"2,000 of 2,000 pixels of {other} are left for learning: all of them")
    far = write_region(tmp_path / "far.tif", some(), transform=Affine(2, 0, 9e5, 0, -2, 4e6))
    with pytest.raises(RegionElsewhereError):
        hadgeo.train([scene, other], "rx", exclude=far, out=tmp_path / "three.hadgeo")


def test_suppressed_surfaces_are_not_learned_from(tmp_path: Path) -> None:
    values = np.abs(cube()) + 0.1
    values[4:, 5:15, 5:15] += 20  # beyond the red edge: a leaf
    scene = write_scene(tmp_path / "scene.tif", values)
    leaf = (values[4] - values[2]) / (values[4] + values[2]) > 0.6
    blank = write_scene(tmp_path / "blank.tif", np.where(leaf, -9999, values).astype("f4"))
    expected = model_hash(hadgeo.detect(blank, "rx").detector)
    watch = Recorder()
    done = hadgeo.detect(
        scene, "rx", suppress={"vegetation": 0.6}, suppressed_mask=tmp_path / "classes.tif", progress=watch
    )
    assert model_hash(done.detector) == expected
    assert done.valid == ROWS * COLS
    assert done.learned_pixels == (~leaf).sum()
    told = f"without {leaf.sum():,} of vegetation (NDVI > 0.6)"
    assert any(text.endswith(f"left for learning: {told}") for text in watch.messages)
    with rasterio.open(tmp_path / "classes.tif") as classes, rasterio.open(done.path) as made:
        np.testing.assert_array_equal(classes.read(1), leaf.astype("u1"))
        assert (classes.crs, classes.transform, classes.nodata) == (made.crs, made.transform, 255)
        assert classes.dtypes == ("uint8",)
        assert classes.tags()["HADGEO_VALUE_1"] == "vegetation"
    assert done.surface_mask == tmp_path / "classes.tif"
    # Left out of the map, they get no score.
    done = hadgeo.detect(
        scene, "rx", suppress="vegetation=0.6", suppress_from="map", out=tmp_path / "map.tif", progress=watch
    )
    assert model_hash(done.detector) == expected
    np.testing.assert_array_equal(np.isfinite(scores(done.path)), ~leaf)
    assert watch.messages[-1] == f"{leaf.sum():,} pixels are nodata or not finite, and get no score"
    assert any(text.endswith(f"{told}, which get no score either") for text in watch.messages)


def test_suppression_and_a_region_are_combined(tmp_path: Path) -> None:
    values = np.abs(cube()) + 0.1
    scene = write_scene(tmp_path / "scene.tif", values)
    leaf = (values[4] - values[2]) / (values[4] + values[2]) > 0.0
    done = hadgeo.detect(scene, "rx", suppress="vegetation=0", background=write_region(tmp_path / "in.tif", some()))
    assert done.learned_pixels == (some() & ~leaf).sum()
    with pytest.raises(RegionError, match=r"all 2,000 pixels .* are suppressed \(2,000 of vegetation \(NDVI > -1\)\)"):
        hadgeo.detect(scene, "rx", suppress="vegetation=-1", out=tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()


def test_a_scene_without_the_bands_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    scene = write_tiff(tmp_path / "plain.tif", cube(), **PLACED)
    before = set(tmp_path.iterdir())
    with pytest.warns(hadgeo.errors.CubeWarning), pytest.raises(BandError, match="no wavelengths, but vegetation"):
        hadgeo.detect(scene, "rx", suppress="vegetation", suppressed_mask=tmp_path / "classes.tif")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"suppress": "snow"}, "'snow' is not a surface"),
        ({"suppress_from": "map"}, "nothing is suppressed; add --suppress"),
        ({"suppress": "water", "suppress_from": "both"}, "write learning or map"),
        ({"suppressed_mask": "x.tif"}, "--suppressed-mask x.tif: nothing is suppressed"),
    ],
)
def test_contradictions_are_refused(scene: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        hadgeo.detect(scene, "rx", **given)


def test_regions_and_masks_of_surfaces_are_not_written_over(scene: Path, tmp_path: Path) -> None:
    region = write_region(tmp_path / "region.tif", some())
    before = region.read_bytes()
    with pytest.raises(OutputError, match=r"region\.tif is a region to learn from"):
        hadgeo.detect(scene, "rx", background=region, out=region, overwrite=True)
    with pytest.raises(OutputError, match=r"region\.tif is a region to learn from"):
        hadgeo.train(scene, "rx", exclude=region, out=region, overwrite=True)
    for name in (region, scene, tmp_path / "map.tif"):
        with pytest.raises(OutputError, match="is one of the inputs; give another name with --suppressed-mask"):
            hadgeo.detect(
                scene, "rx", background=region, suppress="water", suppressed_mask=name, out=tmp_path / "map.tif",
                overwrite=True,
            )  # fmt: skip
    (tmp_path / "classes.tif").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"classes\.tif exists; use --overwrite"):
        hadgeo.detect(scene, "rx", suppress="water", suppressed_mask=tmp_path / "classes.tif")
    assert region.read_bytes() == before


class Stops(Recorder):
    """Cancels once some of the scores are there."""

    def cancelled(self) -> bool:
        return self.stages.get("score", [0])[0] >= 3 * 16 * 16


def test_an_interrupted_run_continues_with_its_region_alone(scene: Path, tmp_path: Path) -> None:
    region, out = write_region(tmp_path / "region.tif", some()), tmp_path / "map.tif"
    given: dict[str, Any] = {
        "background": region, "suppress": "shadow=0.5", "suppressed_mask": tmp_path / "classes.tif", "window": 16
    }  # fmt: skip
    with pytest.raises(Cancelled):
        hadgeo.detect(scene, "rx", out=out, progress=Stops(), **given)
    assert not (tmp_path / "classes.tif").exists()
    for other in (
        {**given, "background": None},
        {**given, "suppress": "shadow=0.4"},
        {**given, "suppress_from": "map"},
        {**given, "exclude": write_region(tmp_path / "other.tif", some(1) & some())},
    ):
        with pytest.raises(OutputError, match=r"other settings \(.*(learned from|read as) was .*\); resume with those"):
            hadgeo.detect(scene, "rx", out=out, resume=True, **other)
    done = hadgeo.detect(scene, "rx", out=out, resume=True, **given)
    assert done.windows_kept > 0
    whole = hadgeo.detect(
        scene, "rx", out=tmp_path / "whole.tif", **{**given, "suppressed_mask": tmp_path / "again.tif"}
    )
    assert done.path.read_bytes() == whole.path.read_bytes()
    assert (tmp_path / "classes.tif").read_bytes() == (tmp_path / "again.tif").read_bytes()


def test_a_changed_region_is_another_setting(scene: Path, tmp_path: Path) -> None:
    region, out = write_region(tmp_path / "region.tif", some()), tmp_path / "map.tif"
    with pytest.raises(Cancelled):
        hadgeo.detect(scene, "rx", out=out, background=region, window=16, progress=Stops())
    write_region(region, some(1), compress="deflate")
    with pytest.raises(OutputError, match="learned from was"):
        hadgeo.detect(scene, "rx", out=out, background=region, window=16, resume=True)


def test_an_array_in_memory_has_a_background_too(scene: Path, tmp_path: Path) -> None:
    region = write_region(tmp_path / "region.tif", some())
    values = hadgeo.open_cube(scene).compute() * 2
    done = hadgeo.detect(values, "rx", background=region, out=tmp_path / "map.tif")
    assert done.learned_pixels == some().sum()
    assert np.isfinite(scores(done.path)).all()


def test_detectors_are_compared_on_one_background(scene: Path, tmp_path: Path) -> None:
    truth = np.zeros((ROWS, COLS), dtype=bool)
    truth[3:5, 3:5] = True
    hadgeo.compare(
        scene,
        write_region(tmp_path / "truth.tif", truth),
        ["rx"],
        background=write_region(tmp_path / "inside.tif", some()),
        folder=tmp_path / "maps" if (tmp_path / "maps").mkdir() is None else None,
        resamples=0,
    )
    with rasterio.open(next((tmp_path / "maps").glob("*.tif"))) as dataset:
        made = dataset.tags()["HADGEO_MODEL_HASH"]
    assert made == hash_with_nodata_outside(tmp_path, some(), "rx", {})


def test_what_is_scored_can_be_sent_to_a_worker(scene: Path, readers: Executor) -> None:
    chosen = learning(suppress="shadow=0.8", suppress_from="map")
    assert chosen is not None
    source = open_source(scene)
    scored = chosen.look(source, readers).scored
    whole = (slice(0, ROWS), slice(0, COLS))
    again = pickle.loads(pickle.dumps(scored))
    np.testing.assert_array_equal(again.read(*whole), scored.read(*whole))
    assert np.isnan(again.read(*whole)).any()
    assert again.variant == scored.variant != source.variant
    assert again.files == source.files


def test_the_source_is_left_as_it_is(scene: Path, tmp_path: Path) -> None:
    source: Source = open_source(scene)
    hadgeo.detect(source, "rx", background=write_region(tmp_path / "inside.tif", some()), out=tmp_path / "map.tif")
    assert np.isfinite(source.read(slice(0, ROWS), slice(0, COLS))).all()

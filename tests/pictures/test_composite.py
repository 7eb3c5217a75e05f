"""Which bands become colours, and how little is read for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hadgeo.cube import open_cube, source_of
from hadgeo.errors import BandError, CubeError
from hadgeo.formats.source import Metadata, Source
from hadgeo.grid import Grid
from hadgeo.pictures.composite import colour_bands, read_colours, stretched
from tests.support import memory_source

VNIR_SWIR = np.arange(400.0, 2500.0, 10.0)


def metadata(wavelength: npt.NDArray[np.float64] | None, bad: tuple[int, ...] = ()) -> Metadata:
    total = 210 if wavelength is None else wavelength.size
    good = np.ones(total, dtype=bool)
    good[list(bad)] = False
    return Metadata("test", np.dtype("int16"), Grid((1, 1)), wavelength=wavelength, good=good)


@pytest.mark.parametrize(
    ("wavelength", "total", "rgb", "indices", "label"),
    [
        (VNIR_SWIR, 210, None, (24, 15, 6), "true colour, 640/550/460 nm"),
        (VNIR_SWIR, 210, "860,640,550", (46, 24, 15), "false colour, 860/640/550 nm"),
        (VNIR_SWIR, 210, "2204 / 1650 / 860 nm", (180, 125, 46), "false colour, 2200/1650/860 nm"),
        (VNIR_SWIR, 210, "30,20,10", (29, 19, 9), "false colour, 690/590/490 nm"),
        (VNIR_SWIR[60:], 150, None, (125, 69, 19), "false colour, 2250/1690/1190 nm"),
        (None, 210, None, (175, 105, 35), "false colour, bands 176/106/36"),
        (None, 210, "30,20,10", (29, 19, 9), "false colour, bands 30/20/10"),
        (None, 3, None, (0, 1, 2), "bands 1/2/3"),
        (None, 1, None, (0, 0, 0), "false colour, bands 1/1/1"),
        (None, 2, None, (1, 1, 0), "false colour, bands 2/2/1"),
    ],
)
def test_bands_are_chosen_by_wavelength_and_named(
    wavelength: npt.NDArray[np.float64] | None,
    total: int,
    rgb: str | None,
    indices: tuple[int, int, int],
    label: str,
) -> None:
    chosen = colour_bands(metadata(wavelength), total, rgb)
    assert (chosen.indices, chosen.label) == (indices, label)


def test_a_bad_band_is_passed_over() -> None:
    assert colour_bands(metadata(VNIR_SWIR, bad=(24,)), 210).indices in ((23, 15, 6), (25, 15, 6))


@pytest.mark.parametrize(
    ("wavelength", "rgb", "words"),
    [
        (VNIR_SWIR, "860,640", "three wavelengths"),
        (VNIR_SWIR, "red,green,blue", "three wavelengths"),
        (VNIR_SWIR, "nan,640,550", "three wavelengths"),
        (VNIR_SWIR, "-860,640,550", "three wavelengths"),
        (VNIR_SWIR, "860,640,8600", "from 400 to 2490 nm"),
        (VNIR_SWIR, "860,1400,640", "no good band"),
        (None, "860,640,550", "band numbers from 1 to 210"),
    ],
)
def test_bands_that_the_cube_does_not_have_are_refused(
    wavelength: npt.NDArray[np.float64] | None, rgb: str, words: str
) -> None:
    with pytest.raises(BandError, match=words):
        colour_bands(metadata(wavelength), 210, rgb)


class CountingSource(Source):
    """Remembers what is read of a scene whose samples tell their place."""

    def __init__(self, shape: tuple[int, int, int], block: tuple[int, int] | None) -> None:
        self.path, self.shape, self.block = "scene", shape, block
        self.dtype = np.dtype("float32")
        self.metadata = metadata(None)
        self.reads: list[tuple[int, int, int]] = []

    def read(self, rows: slice, cols: slice, bands: Any = slice(None)) -> npt.NDArray[np.floating[Any]]:
        index = np.arange(self.shape[0])[bands]
        self.reads.append((index.size, rows.stop - rows.start, cols.stop - cols.start))
        place = np.arange(rows.start, rows.stop)[:, None] * 10_000 + np.arange(cols.start, cols.stop)[None]
        return (place[None] + 1e9 * index[:, None, None]).astype(np.float64)


@pytest.mark.parametrize("block", [None, (64, 64), (1, 600)])
@pytest.mark.parametrize("step", [1, 7, 100])
def test_little_is_read_and_never_much_at_once(step: int, block: tuple[int, int] | None) -> None:
    source = CountingSource((210, 6_000, 600), block)
    chosen = colour_bands(source.metadata, 210)
    picture = read_colours(source, chosen, step)
    rows = np.minimum(np.arange(0, 6_000, step) + step // 2, 5_999)
    cols = np.minimum(np.arange(0, 600, step) + step // 2, 599)
    expected = np.float32(rows[:, None] * 10_000.0 + cols + 1e9 * chosen.indices[2])
    np.testing.assert_array_equal(picture[..., 2], expected)
    assert {bands for bands, _, _ in source.reads} == {3}
    assert max(height * width for _, height, width in source.reads) <= 2**21 < 6_000 * 600
    rows_read = sum(height for _, height, _ in source.reads)
    if block is None or block[0] == 1 or step >= block[0]:
        assert rows_read == rows.size
    else:
        assert rows_read <= 6_000


def test_the_stretch_spans_the_percentiles_and_leaves_nodata() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(80, 90, 3)).astype(np.float32) * [1, 100, 0] + [5, 0, 7]
    picture = picture.astype(np.float32)
    picture[:10] = np.nan
    out = stretched(picture, (5, 95))
    assert np.isnan(out[:10]).all()
    assert np.isfinite(out[10:]).all()
    for band in (0, 1):
        assert (out[10:, :, band] == 0).mean() == pytest.approx(0.05, abs=0.002)
        assert (out[10:, :, band] == 1).mean() == pytest.approx(0.05, abs=0.002)
    assert (out[10:, :, 2] == 0.5).all()


def test_a_scene_without_data_is_refused() -> None:
    source = memory_source(np.full((5, 20, 20), np.nan, np.float32))
    with pytest.raises(CubeError, match="no data in false colour, bands 5/3/1; choose other bands with --rgb"):
        read_colours(source, colour_bands(source.metadata, 5), 1)


def test_real_scenes_are_seen_in_true_colour(data_dir: Path) -> None:
    for name in ("enmap_potsdam_block_128x64.tif", "SDData", "HyMap02_Berlin_Urban_Gradient_2009.bsq"):
        source = source_of(open_cube(data_dir / "geo" / name))
        assert colour_bands(source.metadata, source.shape[0]).label.startswith("true colour")


def test_colours_that_may_be_numbers_or_wavelengths_are_refused() -> None:
    many = metadata(np.linspace(400, 900, 700))
    with pytest.raises(BandError, match="may be band numbers or wavelengths; write 640,550,460# or 640,550,460nm"):
        colour_bands(many, 700, "640,550,460")
    assert colour_bands(many, 700, "640,550,460#").indices == (639, 549, 459)
    assert colour_bands(many, 700, "640,550,460nm").label.startswith("true colour")

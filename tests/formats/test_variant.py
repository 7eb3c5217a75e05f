"""What was said of a file tells one cube from another, however often its source is wrapped, and a run keeps to it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hadgeo
from hadgeo.errors import Cancelled, HadgeoError
from hadgeo.formats import Reading, Source, open_source
from hadgeo.formats.cropped import Cropped
from hadgeo.formats.fill_pixels import Fill, FillPixels
from hadgeo.formats.mask_bands import MaskedByBands
from hadgeo.formats.quality import MaskedByProduct
from hadgeo.formats.resampled import ResampledSource
from hadgeo.formats.source import BandSubset
from tests.formats.products.makers import BANDS, neon
from tests.support import Recorder, background, memory_source

SAID = {
    "variable": Reading(variable="reflectance"),
    "band axis": Reading(band_axis=2),
    "place": Reading(place="gdal"),
    "fill": Reading(fill=-1.0),
    "quality": Reading(quality=("cloud", "haze")),
}
CUBE = background((4, 5, 6))


def _with_wavelengths(source: Source) -> Source:
    source.metadata = replace(source.metadata, wavelength=np.array([400.0, 500.0, 600.0, 700.0]))
    return source


WRAPPERS: dict[str, Callable[[Source], Source]] = {
    "subset": lambda source: BandSubset(source, [2, 0]),
    "mask bands": lambda source: MaskedByBands(source, np.array([False, False, False, True])),
    "fill pixels": lambda source: FillPixels(source, Fill(np.zeros(4), np.zeros(4, "f4"), by_sample=False)),
    "product's masks": lambda source: MaskedByProduct(source, []),
    "part": lambda source: Cropped(source, slice(1, 3), slice(0, 2)),
    "resampled": lambda source: ResampledSource(_with_wavelengths(source), np.array([450.0])),
}


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("option", SAID)
def test_every_option_shows_through_every_wrapper(option: str, wrap: str) -> None:
    inner = memory_source(CUBE)
    outer = BandSubset(WRAPPERS[wrap](inner), [0])
    plain = outer.variant
    # A format hands over a source that it may have wrapped; what was said is set on what it hands over.
    outer.reading = SAID[option]
    assert option in outer.variant
    assert outer.variant != plain
    assert inner.reading == outer.reading == pickle.loads(pickle.dumps(outer)).reading


def test_a_product_with_quality_layers_is_another_cube_than_without(tmp_path: Path) -> None:
    neon(tmp_path / "x.h5")
    some = [Reading(), Reading(quality=("cloud",)), Reading(quality=("haze",)), Reading(fill="none")]
    assert len({open_source(tmp_path / "x.h5", reading=reading).variant for reading in some}) == len(some)


def test_a_run_does_not_go_on_with_other_quality_layers(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).integers(100, 9000, (BANDS, 60, 20)).astype("i2")
    neon(tmp_path / "x.h5", samples)
    clear, all_of_it = (
        open_source(tmp_path / "x.h5", reading=Reading(quality=quality)) for quality in (("cloud",), ())
    )
    out = tmp_path / "map.tif"
    with pytest.raises(Cancelled):
        hadgeo.detect(clear, "rx", window=10, out=out, progress=Recorder(8))
    with pytest.raises(HadgeoError, match="read as"):
        hadgeo.detect(all_of_it, "rx", window=10, out=out, resume=True)
    assert hadgeo.detect(clear, "rx", window=10, out=out, resume=True).windows_kept > 0

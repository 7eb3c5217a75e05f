"""A decision as a whole: memory, which must not grow with the map."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from hadgeo.decisions import calibration as threshold
from hadgeo.decisions import groups
from hadgeo.decisions.calibration import Rule
from hadgeo.decisions.decision import Outputs, decide
from hadgeo.maps import raw_tiff as rawtiff
from hadgeo.maps import reader as scores
from tests.maps.made import write_map


@pytest.mark.filterwarnings("ignore:.*too many to hold")
def test_memory_does_not_grow_with_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_STRIP_BYTES", 2**16)
    monkeypatch.setattr(rawtiff, "STRIP_BYTES", 2**16)
    for name in ("_KEPT", "_PIECE", "_BINS"):
        monkeypatch.setattr(threshold, name, 2**12)
    monkeypatch.setattr(groups, "MAX_PIXELS", 1000)
    peaks = []
    for rows in (500, 500, 4000):  # the first loads libraries
        values = np.random.default_rng(0).exponential(size=(rows, 500)).astype(np.float32)
        path = write_map(tmp_path / f"{rows}.tif", values).path
        tracemalloc.start()
        outputs = {"polygons": tmp_path / "x.gpkg", "p_values": tmp_path / "x.tif"}
        decision = decide(path, Rule(top=100), Outputs(**outputs), overwrite=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert decision.pixels == 100
        assert decision.valid == values.size
    # Eight times the pixels: what held them all would take megabytes more.
    assert peaks[2] < 1.5 * peaks[1]
    assert peaks[2] < 4000 * 500 * 4

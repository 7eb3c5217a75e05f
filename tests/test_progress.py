"""What a stage of progress counts."""

from __future__ import annotations

import json

from hadgeo.progress import Stage, unit_of


def test_a_fit_counts_steps_and_scoring_pixels_under_plain_names() -> None:
    assert (unit_of("fit"), unit_of("score"), unit_of("composite")) == ("steps", "px", "rows")
    assert json.dumps(Stage.FIT) == '"fit"'
    assert f"{Stage.FIT:>5}" == "  fit"


def test_a_stage_that_a_detector_names_itself_counts_pixels() -> None:
    assert unit_of("endmembers") == "px"

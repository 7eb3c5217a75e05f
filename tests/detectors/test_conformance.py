"""What holds for every registered detector, those of other packages included; see `hadgeo.testing`."""

from __future__ import annotations

from typing import Any

import pytest

from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import list_detectors, make_detector
from hadgeo.testing import DetectorContract


class TestEveryDetector(DetectorContract):
    @pytest.fixture(params=list_detectors())
    def detector(self, request: pytest.FixtureRequest) -> Detector[Any]:
        return make_detector(request.param)
